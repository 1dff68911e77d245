"""What evaluation while training costs (train.watch), before it is run: how many snapshots, how often, how long each takes.

Time = the pictures of its tasks x the model's forward FLOPs / half of the peak of one CPU core, or of the card where
`evaluate_gpus` asks for one; decoding bounds it from below. Fits of probes come on top.
"""

from collections.abc import Mapping
from typing import Any

from evaluation.config import EvaluateConfig
from evaluation.models.abilities import abilities_of
from evaluation.plan import DECODED_PER_SECOND, USED_SHARE, plan_evaluation
from orchestration import show
from orchestration.recipe import wanted_beside
from orchestration.show_forecast import hours_text
from training.config import TrainConfig
from training.spec import get_spec
from training.watching.cards import CARDS, DEFAULT


def snapshot_estimate(
    config: TrainConfig, steps: int | None, seconds: float | None, datasets: str | None = None
) -> dict[str, Any] | None:
    """Of a training of so many steps and seconds, as JSON values; None where nothing is evaluated meanwhile."""
    watch = config.watch
    if not watch.evaluate_every_steps:
        return None
    evaluate = EvaluateConfig.model_validate(wanted_beside(config, datasets))
    spec = get_spec(config.model)
    spec = spec if config.image_size is None else spec.with_image_size(config.image_size)
    # The folder that holds no features: those of a snapshot are always made anew.
    rows = plan_evaluation(evaluate, "", abilities_of(spec), None)
    pictures, decoded = (sum(row[key] for row in rows) for key in ("to_read", "to_decode"))
    card = CARDS[watch.card or DEFAULT] if watch.evaluate_gpus else CARDS["cpu"]
    interval = seconds * watch.evaluate_every_steps / steps if seconds and steps else None
    count = steps // watch.evaluate_every_steps if steps else None
    forwards = USED_SHARE * card.peak_flops("float32") / spec.image_flops()
    each = round(max(pictures / forwards, decoded / (evaluate.features.decoders * DECODED_PER_SECOND)), 1)
    return {
        "every_steps": watch.evaluate_every_steps,
        "count": count,
        "interval_seconds": interval,
        "pictures": pictures,
        "gpus": watch.evaluate_gpus,
        "seconds_each": each,
        "keeps_up": None if interval is None or count is None else each <= interval or count < 2,
    }


def print_snapshots(found: Mapping[str, Any]) -> None:
    """A line, and a second one where measuring is slower than training."""
    each, interval = found["seconds_each"], found["interval_seconds"]
    if found["count"] == 0:
        show.facts(
            {"meanwhile": f"no snapshot is measured: train.watch.evaluate_every_steps is {found['every_steps']:,}"}
        )
        return
    by = f"{found['gpus']:g} GPUs beside the workers'" if found["gpus"] else "one CPU core"
    count = "a snapshot" if found["count"] is None else f"{found['count']:,} snapshots, one"
    often = f" ({hours_text(interval / 3600)})" if interval is not None else ""
    told = {
        "meanwhile": f"{count} each {found['every_steps']:,} steps{often}, each measured in about"
        f" {hours_text(each / 3600)} by {by} ({found['pictures']:,} pictures)"
    }
    if found["keeps_up"] is False:
        least = round(1.2 * each / interval * found["every_steps"])
        told["too often"] = (
            f"snapshots are passed over for newer ones: set train.watch.evaluate_every_steps={least} or more, fewer"
            " train.watch.evaluate_tasks or _protocols"
            + ("" if found["gpus"] else ", or train.watch.evaluate_gpus=1, one more than the workers have")
        )
    show.facts(told)
