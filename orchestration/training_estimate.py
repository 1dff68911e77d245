"""What a training will cost, before it is run: samples, FLOPs, time on a named card, memory per worker. Closed forms.

Time = 3 x forward FLOPs x samples / (workers x the card's peak x the assumed MFU), less the gradients that nothing needs where
weights stand still, and with what is computed again to save memory (training/watching/flops.py). The MFU is an assumption, and the
line says which: published CLIP trainings reached 11-13 % (open_clip on A100, from the GPU hours in its PRETRAINED.md) and 21-39 %
(NeMo on H100 and A100). Texts are counted at their full length, so batches of short captions take less. No torch is imported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestration import show
from orchestration.recipe import Recipe
from orchestration.show import PlannedStep
from orchestration.snapshot_estimate import snapshot_estimate
from pipeline import storage
from pipeline.manifest import NAME as MANIFEST
from pipeline.manifest import Manifest
from training.config import TrainConfig
from training.engine.memory_estimate import estimate as estimate_memory
from training.spec import get_spec
from training.watching.cards import CARDS, DEFAULT
from training.watching.flops import model_flops, repeated_flops

SPARE = 1.1
"""A tenth more than the closed form: fragments, and the driver's own."""
DAY = 86_400.0
UNITS = (("day", DAY), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))


def training_estimate(config: TrainConfig, rows: int | None) -> dict[str, Any]:
    """As JSON values; what cannot be known without the dataset's rows is null."""
    spec = get_spec(config.model).with_text(config.vocabulary_size, config.context_length)
    spec = spec if config.image_size is None else spec.with_image_size(config.image_size)
    card = CARDS[config.watch.card or DEFAULT]
    sample_flops, again = model_flops(spec, config), repeated_flops(spec, config)
    steps = config.total_steps(rows or 0) if rows or config.steps else None
    samples = steps * config.global_batch_size if steps else None
    per_second = config.workers * card.peak_flops(config.precision) * config.watch.assumed_mfu / (sample_flops + again)
    seconds = samples / per_second if samples else None
    memory = estimate_memory(spec, config, config.workers)
    return {
        "model": config.model,
        "parameters": spec.parameters(),
        "rows": rows,
        "steps": steps,
        "samples": samples,
        "flops": samples * sample_flops if samples else None,
        "computed_again": round(again / sample_flops, 4),
        "workers": config.workers,
        "samples_per_worker": config.global_batch_size // config.workers,
        "card": config.watch.card or DEFAULT,
        "card_is_assumed": config.watch.card is None,
        "card_gib": card.memory_gib,
        "assumed_mfu": config.watch.assumed_mfu,
        "samples_per_second": round(per_second, 1),
        "seconds": seconds,
        "gpu_days": float(f"{seconds * config.workers / DAY:.6g}") if seconds else None,
        "memory_gib": {
            part: round(size / 2**30, 3) for part, size in asdict(memory).items() if part != "host" and size
        },
        "host_gib": round(memory.host / 2**30, 3),
        "fits": memory.device * SPARE / 2**30 <= card.memory_gib,
    }


def estimate_of(
    recipe: Recipe, steps: Sequence[PlannedStep], found: int | None = None, start: bool | None = None
) -> dict[str, Any] | None:
    """The recipe's training, with the `found` rows or those of its dataset where that is finished, else with those that it
    expects; `config` is its section as JSON, which launchers other than Ray take, `snapshots` what is evaluated meanwhile,
    `start_is_there` whether the model is that it starts from."""
    if recipe.train is None:
        return None
    rows = recipe.expects.rows if recipe.expects else None
    for step in steps:
        if step.name in ("pack", "data") and (folder := recipe.data or (step.path if step.done else "")):
            rows = Manifest.load(folder).rows if storage.exists(storage.join(folder, MANIFEST)) else rows
    estimate = training_estimate(recipe.train, found or rows)
    datasets = recipe.evaluate.datasets if recipe.evaluate else None
    snapshots = snapshot_estimate(recipe.train, estimate["steps"], estimate["seconds"], datasets)
    return estimate | {"config": recipe.shown()["train"], "snapshots": snapshots, "start_is_there": start}


def print_estimate(found: Mapping[str, Any]) -> None:
    """Some lines: what is trained, how long it takes on what, what a worker holds, and what to change where it does not fit."""
    card, parts = found["card"], found["memory_gib"]
    told = {
        "model": f"{found['model']}, {found['parameters'] / 1e6:,.1f} M parameters",
        "samples": _samples(found),
        "time": _time(found),
        "card": _card(found),
        "memory": f"{_size(sum(parts.values()))} per worker of {found['card_gib']:g} GiB ("
        + ", ".join(f"{part} {_size(size)}" for part, size in parts.items())
        + ")",
    }
    if found.get("start_is_there") is not None:
        place = found["config"]["start_from"]
        told["start"] = (
            place if found["start_is_there"] else f"{place}: nothing is there yet, and training cannot begin without it"
        )
    if not found["fits"]:
        told["too much"] = (
            f"for a {card}: raise train.memory.chunks or train.workers, set train.memory.activation_checkpointing=true,"
            " or a higher train.zero_stage"
        )
    show.facts(told)


def _samples(found: Mapping[str, Any]) -> str:
    each = f"{found['workers']:,} workers x {found['samples_per_worker']:,}"
    if found["samples"] is None:
        return f"{each} a step; how many steps follows from the dataset's rows: name it with --set data=FOLDER"
    return f"{found['samples']:,} in {found['steps']:,} steps of {each}; {found['flops']:.2g} FLOPs"


def _time(found: Mapping[str, Any]) -> str:
    pace = f"{found['samples_per_second']:,.0f} samples/s at an assumed MFU of {found['assumed_mfu']:.0%} (train.watch.assumed_mfu)"
    if found["computed_again"]:
        pace += f", {found['computed_again']:.0%} more computed again to save memory"
    if found["seconds"] is None:
        return pace
    spent = _length(found["seconds"] * found["workers"], "CPU-" if found["card"] == "cpu" else "GPU-")
    return f"{_length(found['seconds'])}, {spent}; {pace}"


def _card(found: Mapping[str, Any]) -> str:
    cards = f"{found['workers']:,} x {found['card']}"
    if not found["card_is_assumed"]:
        return f"{cards} (train.watch.card)"
    others = ", ".join(name for name in CARDS if name != found["card"])
    return f"{cards}, assumed; for another --set train.watch.card=NAME: {others}"


def _length(seconds: float, of: str = "") -> str:
    """In the largest unit of which there is at least one: `1.5 hours`, `2,117.0 GPU-days`."""
    name, unit = next((each for each in UNITS if seconds >= each[1]), UNITS[-1])
    return f"{seconds / unit:,.1f} {of}{name}s"


def _size(gib: float) -> str:
    return f"{gib:,.1f} GiB" if gib >= 1 else f"{gib * 1024:,.0f} MiB"
