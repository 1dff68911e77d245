"""What one protocol found on one task, kept beside the features: an interrupted evaluation does only what is not there.

    folder/<key>.json      scores and details, with the checksum of the table; written last
    folder/<key>.parquet   outcomes of the pictures

The key is a hash of all that decides the content: checkpoint, picture lists, task, prompts, settings and code.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from evaluation.contents import by_content
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.protocol import Findings, Measure, Question
from evaluation.protocols.spoken import content_of
from evaluation.report import Score
from pipeline import storage
from pipeline.code_version import code_version

HOW: Any = {
    **dict.fromkeys(("tasks", "protocols", "batch_size", "threads", "datasets", "features", "published"), True),
    "zero_shot": {"descriptions": True},
}
"""Keys of the config that decide which findings are made, or how fast; never what one of them says."""

ANSWERS = "answers"
FOLDER = "findings"
"""Below the folder of features."""


def key_of(question: Question, protocol: Measure) -> str:
    """The name of the findings of `protocol` on this question. Raises DataError where its pictures cannot be had."""
    settings = by_content(question.config, exclude=HOW)
    learns = protocol.learns or question.config.zero_shot.temperature_pictures
    parts = [question.pictures, *((question.train, question.val) if learns else ())]
    # Lists beside the task's own too: a reference benchmark that comes later, or whose labels were mended, must be seen.
    lists = {pictures.identity: pictures for pictures, _ in protocol.reads(question)}
    read = sorted([identity, _said(pictures)] for identity, pictures in lists.items())
    key = {
        "checkpoint": question.encoder.checkpoint_id,
        "task": asdict(question.task),
        "protocol": protocol.name,
        "pictures": [part.identity if part else None for part in parts],
        "read": read,
        "answers": _answers(question),
        "prompts": question.prompts.version if question.prompts else None,
        "descriptions": content_of(question.config.zero_shot.descriptions, question.task.name),
        "precision": question.config.features.precision,
        "settings": settings,
        "code": code_version("evaluation.protocols.table"),
    }
    return storage.sha256(storage.canonical_json(key))[:32]


def _answers(question: Question) -> list[str]:
    """What each part says of its pictures: labels, captions, folds. They may be mended while the pictures stay."""
    if ANSWERS not in question.shared:
        parts = [part for part in (question.pictures, question.train, question.val) if part is not None]
        question.shared[ANSWERS] = [_said(part) for part in parts]
    return list(question.shared[ANSWERS])


def _said(pictures: Pictures) -> str:
    # json's own escapes: the name of a file need not be UTF-8
    columns = {name: list(pictures.columns[name]) for name in sorted(pictures.columns)}
    return storage.sha256(json.dumps(columns).encode())


def save(folder: str, key: str, findings: Findings) -> None:
    """Write the outcomes, then the rest; where the second file exists, both are whole."""
    table = findings.outcome_table()
    data = storage.table_bytes(table)
    storage.write_bytes(storage.join(folder, f"{key}.parquet"), data)
    value = {
        "task": findings.task,
        "protocol": findings.protocol,
        "scores": [asdict(score) for score in findings.scores],
        "details": findings.details,
        "absent": findings.absent,
        "outcomes": storage.sha256(data),
    }
    storage.write_json(storage.join(folder, f"{key}.json"), value)


def load(folder: str, key: str) -> Findings | None:
    """What was saved under this key, None where nothing is or where it was damaged since: it is then found again."""
    path, table = storage.join(folder, f"{key}.json"), storage.join(folder, f"{key}.parquet")
    if not storage.exists(path) or not storage.exists(table):
        return None
    try:
        value: Mapping[str, Any] = storage.read_json(path)
        if storage.sha256_file(table) != value["outcomes"]:
            return None
        scores = [Score(**score) for score in value["scores"]]
        outcomes = [storage.read_table(table)]
        return Findings(
            value["task"], value["protocol"], scores, outcomes, dict(value["details"]), list(value["absent"])
        )
    except (ValueError, KeyError, TypeError):
        return None
