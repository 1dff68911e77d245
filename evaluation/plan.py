"""What an evaluation would do, before it is done: which benchmarks are there, how many pictures, how long, what is made already.

What is asked and read is decided where an evaluation decides it (asked.py, features/names.py), so the counts are those that it
comes to. Minutes are pictures by the pace that the same model had in this store (features/rates.py); where it has none yet, by a
product of matrices that is timed here and the model's forward FLOPs. Probes come on top, and are short beside that.
"""

import time
from typing import Any, cast

import numpy as np

from evaluation.catalog import benchmarks as catalog
from evaluation.catalog.benchmarks import Task
from evaluation.catalog.presence import present
from evaluation.config import EvaluateConfig
from evaluation.features import rates
from evaluation.features.names import Foreseen
from evaluation.models.abilities import Abilities
from evaluation.parts import Parts, look, settled, status_of
from evaluation.pictures.pictures import readable
from pipeline import storage
from pipeline.errors import DataError

DECODED_PER_SECOND = 300.0
"""Pictures of ImageNet's size that one decoder thread makes ready in a second; 250 to 400 on processors of the 2020s."""
USED_SHARE = 0.5
"""Of the speed of one large product, what a model reaches."""


def plan_evaluation(config: EvaluateConfig, folder: str, model: Abilities, flops: float | None) -> list[dict[str, Any]]:
    """A row per task: what `present` says, with the status and reason that an evaluation would come to (evaluation/parts.py),
    `to_decode` and `to_read` (pictures that would be decoded, and that would go through the model, corrupted ones too: an
    evaluation's `pictures_decoded` and `pictures_encoded`), `cached` (whether none would; None where the checkpoint is not known
    yet), `minutes` (None where nothing can be said), and `lacks`: rows {protocol, status, reason} of what would not be measured.

    Reads no more than a first picture, whose size decides the strength of corruptions. A model that is yet to learn classes is
    taken to have each task's. Imports torch. Raises ConfigError for descriptions that an evaluation would refuse.
    """
    from evaluation.protocols.spoken import check_descriptions

    names = Foreseen(folder, model.checkpoint_id, config.features.precision, config.seed)
    pace = rates.known(folder, model.name), _forwards_per_second(flops)
    tasks = [settled(catalog.find(name), config.datasets) for name in config.tasks]
    check_descriptions(config.zero_shot.descriptions, tasks)
    return [_row(task, config, model, names, pace) for task in tasks]


def _row(
    task: Task, config: EvaluateConfig, model: Abilities, names: Foreseen, pace: tuple[float | None, float | None]
) -> dict[str, Any]:
    from evaluation import asked

    nothing: dict[str, Any] = {"to_decode": 0, "to_read": 0, "cached": None, "minutes": None, "lacks": []}
    row = present(task, config.datasets) | nothing
    try:
        parts = look(task, config.datasets, asked.learns(config))
    except DataError as error:
        return row | {"status": status_of(error), "reason": readable(str(error))}
    if row["status"] != "drawn":
        row |= {"status": "present", "reason": ""}
    decoded, encoded, lacks = _counts(parts, config, model, names)
    return row | {
        "pictures": _asked(parts),
        "to_decode": decoded,
        "to_read": encoded,
        "cached": None if model.checkpoint_id is None else decoded == 0,
        "minutes": _minutes(decoded, encoded, config, pace),
        "lacks": lacks,
    }


def _counts(
    parts: Parts, config: EvaluateConfig, model: Abilities, names: Foreseen
) -> tuple[int, int, list[dict[str, str]]]:
    """Pictures to decode and to put through the model, and rows of what would not be measured."""
    from evaluation import asked, results
    from evaluation.models.encoder import Encoder
    from evaluation.protocols.protocol import Question

    task = parts.task
    prompts = catalog.prompts_of(task.prompts or task.name) if task.kind != "retrieval" else None
    # Protocols say by its abilities alone what they read.
    seen = cast(Encoder, model.for_classes(list(prompts.classes) if prompts else ()))
    question = Question(task, config, seen, parts.test, parts.train, parts.val, prompts, _no_features)
    fitting, unfit = asked.fitting(task, config, seen)
    fitting, unlearned = asked.able(fitting, parts, config)
    keys, unread = asked.keys(fitting, question)
    findings = storage.join(names.folder, results.FOLDER)
    to_find = [
        each
        for each in fitting
        if each.name in keys and (model.checkpoint_id is None or results.load(findings, keys[each.name]) is None)
    ]
    decoded = encoded = 0
    for pictures, wanted in asked.by_list([pair for each in to_find for pair in each.reads(question)]):
        for part, every in names.missing(pictures, wanted, model.by_the_way):
            decoded += len(part)
            encoded += len(part) * len({want.variant for want in every})
            names.make(pictures, part, every)
    return decoded, encoded, [*(unfit if model.known else []), *unlearned, *unread]


def _no_features(*_: object) -> Any:
    raise AssertionError("a plan reads no features")


def _minutes(
    decoded: int, encoded: int, config: EvaluateConfig, pace: tuple[float | None, float | None]
) -> float | None:
    """By the pace that was measured, else the slower of decoding and the forward passes."""
    measured, forwards = pace
    if measured:
        return round(encoded / measured / 60, 2)
    if not forwards:
        return None
    return round(max(decoded / (config.features.decoders * DECODED_PER_SECOND), encoded / forwards) / 60, 2)


def _asked(parts: Parts) -> int:
    """Pictures that are scored: of films those in the middle."""
    if parts.task.kind == "frames":
        return sum(word == "yes" for word in parts.test.column("anchor"))
    return parts.test.count


def _forwards_per_second(flops: float | None) -> float | None:
    """Pictures a second through a model with `flops` per picture."""
    if flops is None:
        return None
    square = np.ones((1024, 1024), np.float32)
    square @ square
    start = time.perf_counter()
    for _ in range(5):
        square @ square
    return USED_SHARE * 5 * 2 * 1024**3 / (time.perf_counter() - start) / flops
