"""What was found about checkpoints, as tables for people."""

from collections.abc import Mapping
from typing import Any

from orchestration import show

CAPTION_LETTERS = 60
LAYERS = 40


def replay(found: Mapping[str, Any]) -> None:
    show.facts(
        {
            "training": found["folder"],
            "step": f"{found['step']:,}, replayed from step {found['replayed_from_step']:,}",
            "loss": _beside(found["loss"], found["recorded_loss"]),
            "gradient norm": _beside(found["gradient_norm"], found["recorded_gradient_norm"]),
            "largest difference": _number(found["largest_difference_since_checkpoint"]),
            "not finite": ", ".join(found["not_finite"][:5]) or "nothing",
        }
    )
    print()
    layers = found["gradient_norm_by_layer"]
    show.rows(["layer", "gradient norm"], [(name, _number(norm)) for name, norm in list(layers.items())[:LAYERS]])
    if len(layers) > LAYERS:
        print(f"and {len(layers) - LAYERS} more; --json has all")
    print()
    lines = [
        (each["key"], _number(each["loss"]), each["caption"][:CAPTION_LETTERS], each["url"])
        for each in found["samples"]
    ]
    show.rows(["sample", "loss", "caption", "url"], lines)


def _beside(value: float, recorded: float | None) -> str:
    return _number(value) + (" (no record)" if recorded is None else f" (recorded {_number(recorded)})")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def export(found: Mapping[str, Any]) -> None:
    told = {**found, "files": ", ".join(found["files"]), "bytes": show.bytes_text(found["bytes"])}
    show.facts(told | ({"left_out": ", ".join(found["left_out"])} if "left_out" in found else {}))


def import_(found: Mapping[str, Any]) -> None:
    show.facts(found)


def sample(found: Mapping[str, Any]) -> None:
    show.facts(found)
