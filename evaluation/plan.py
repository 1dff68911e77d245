"""What an evaluation would do, before it is done: which benchmarks are there, how many pictures, how long, what is made already.

Minutes are pictures by the pace that the same model had in this store (features/rates.py); where it has none yet, by a
product of matrices that is timed here and the model's forward FLOPs. Probes come on top, and are short beside that.
"""

import time
from typing import Any

import numpy as np

from evaluation.catalog import benchmarks as catalog
from evaluation.catalog.benchmarks import Task
from evaluation.catalog.presence import present
from evaluation.config import EvaluateConfig
from evaluation.features import rates
from evaluation.features.names import Names
from evaluation.features.wanted import Wanted
from evaluation.models.layers import EMBEDDING, PENULTIMATE
from evaluation.parts import Parts, look, nothing_to_learn, settled, status_of
from evaluation.pictures.pictures import Pictures, readable
from pipeline.errors import DataError

_CLASSES = ("classification", "multilabel")
LEARNING = {
    "linear_probe": _CLASSES,
    "layers": _CLASSES,
    "few_shot": _CLASSES[:1],
    "few_shot_lsr": _CLASSES[:1],
    "knn": _CLASSES[:1],
}
"""Protocols that read the training part, and the kinds of task that they can learn. Here, because theirs imports torch."""
DECODED_PER_SECOND = 300.0
"""Pictures of ImageNet's size that one decoder thread makes ready in a second; 250 to 400 on processors of the 2020s."""
USED_SHARE = 0.5
"""Of the speed of one large product, what a model reaches."""


def plan_evaluation(
    config: EvaluateConfig, folder: str, model: str, flops: float | None, checkpoint_id: str | None
) -> list[dict[str, Any]]:
    """A row per task: what `present` says, with the status and reason that an evaluation would come to (evaluation/parts.py),
    `to_read` (pictures that would go through the model), `cached` (None where the checkpoint is not known yet), `minutes` (None
    where nothing can be said), and `lacks`: rows {protocol, status, reason} of those that learn and would find nothing to learn
    from. Decodes nothing.
    """
    pace = rates.known(folder, model) or _pace(config, flops)
    names = Names(folder, checkpoint_id, config.features.precision, config.seed) if checkpoint_id else None
    return [_row(settled(catalog.find(name), config.datasets), config, pace, names) for name in config.tasks]


def _row(task: Task, config: EvaluateConfig, pace: float | None, names: Names | None) -> dict[str, Any]:
    row = present(task, config.datasets) | {"to_read": 0, "cached": None, "minutes": None, "lacks": []}
    learning = [name for name in config.protocols if task.kind in LEARNING.get(name, ())]
    try:
        parts = look(task, config.datasets, bool(learning or config.zero_shot.temperature_pictures))
    except DataError as error:
        return row | {"status": status_of(error), "reason": readable(str(error))}
    if row["status"] != "drawn":
        row |= {"status": "present", "reason": ""}
    lack = nothing_to_learn(parts) if learning else None
    if lack is not None and (lack[0] != "unfit" or "protocols" in config.model_fields_set):
        row["lacks"] = [{"protocol": name, "status": lack[0], "reason": readable(lack[1])} for name in learning]
    cached = _cached(parts, config, names)
    to_read = sum(part.count for part, made in cached if not made)
    if "robustness" in config.protocols and task.kind == "classification" and not cached[0][1]:
        to_read += min(parts.test.count, config.robustness_pictures) * (1 + 5 * len(config.corruptions))
    if "stored_corruptions" in config.protocols and task.conditions and not cached[0][1]:
        to_read += parts.test.count * (5 * len(task.conditions) - 1)
    minutes = round(to_read / pace / 60, 2) if pace else None
    made = all(made for _, made in cached) if names else None
    return row | {"pictures": _asked(parts), "to_read": to_read, "cached": made, "minutes": minutes}


def _asked(parts: Parts) -> int:
    """Pictures that are scored: of films those in the middle."""
    if parts.task.kind == "frames":
        return sum(word == "yes" for word in parts.test.column("anchor"))
    return parts.test.count


def _cached(parts: Parts, config: EvaluateConfig, names: Names | None) -> list[tuple[Pictures, bool]]:
    """Every list that would be read, the test part first, and whether its features are made."""
    spoken = {"zero_shot", "retrieval"} & set(config.protocols)
    asked = [Wanted(EMBEDDING if spoken else PENULTIMATE)]
    found = [(parts.test, names is not None and names.has(parts.test, asked))]
    for part in (parts.train, parts.val):
        if part is not None:
            found.append((part, names is not None and names.has(part, [Wanted(PENULTIMATE)])))
    return found


def _pace(config: EvaluateConfig, flops: float | None) -> float | None:
    """Pictures a second of a model with `flops` per picture: the slower of decoding and the forward pass."""
    if flops is None:
        return None
    square = np.ones((1024, 1024), np.float32)
    square @ square
    start = time.perf_counter()
    for _ in range(5):
        square @ square
    speed = 5 * 2 * 1024**3 / (time.perf_counter() - start)
    return min(config.features.decoders * DECODED_PER_SECOND, USED_SHARE * speed / flops)
