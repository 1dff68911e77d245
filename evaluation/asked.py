"""What is asked of one task: which protocols are measured, why others are not, and which features they read.

Decided here alone, so that an evaluation (run.py) and the plan of one (plan.py) cannot differ.
"""

from collections.abc import Sequence

from evaluation import results
from evaluation.catalog.benchmarks import Task
from evaluation.config import EvaluateConfig
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.parts import Parts, nothing_to_learn, status_of
from evaluation.pictures.pictures import Pictures, readable
from evaluation.protocols.protocol import Measure, Question
from evaluation.protocols.stored_corruptions import StoredCorruptions
from evaluation.protocols.table import PROTOCOLS
from pipeline.errors import DataError

Row = dict[str, str]
"""{protocol, status, reason} of what is not measured; "" for the whole task."""


def learns(config: EvaluateConfig) -> bool:
    """Whether anything looks at pictures to learn from."""
    return bool(config.zero_shot.temperature_pictures) or any(PROTOCOLS[name].learns for name in config.protocols)


def fitting(task: Task, config: EvaluateConfig, encoder: Encoder) -> tuple[list[Measure], list[Row]]:
    """The protocols that can be asked of a task. A row for each other one that the recipe names, and one for the task where
    nothing fits."""
    protocols = [PROTOCOLS[name] for name in config.protocols]
    why = {each.name: _unfit(each, task, encoder) for each in protocols}
    found = [each for each in protocols if why[each.name] is None]
    if "protocols" in config.model_fields_set:
        return found, [_row(name, "unfit", reason) for name, reason in why.items() if reason]
    if found:
        return found, []
    return [], [_row("", "unfit", next(reason for reason in why.values() if reason))]


def able(protocols: Sequence[Measure], parts: Parts, config: EvaluateConfig) -> tuple[list[Measure], list[Row]]:
    """Without those that would learn where there are no training pictures; rows of these."""
    lack = nothing_to_learn(parts)
    if lack is None:
        return list(protocols), []
    told = lack[0] != "unfit" or "protocols" in config.model_fields_set
    lacking = [each for each in protocols if each.learns] if told else []
    return [each for each in protocols if not each.learns], [_row(each.name, *lack) for each in lacking]


def keys(protocols: Sequence[Measure], question: Question) -> tuple[dict[str, str], list[Row]]:
    """The names of their findings; a row for a protocol whose pictures cannot be had."""
    found, rows = {}, []
    for each in protocols:
        try:
            found[each.name] = results.key_of(question, each)
        except DataError as error:
            rows.append(_row(each.name, status_of(error), str(error)))
    return found, rows


def by_list(reads: Sequence[tuple[Pictures, Wanted]]) -> list[tuple[Pictures, list[Wanted]]]:
    """All features that protocols read, list by list, so that each picture is decoded once."""
    lists = {pictures.identity: pictures for pictures, _ in reads}
    return [
        (pictures, list(dict.fromkeys(want for each, want in reads if each.identity == identity)))
        for identity, pictures in lists.items()
    ]


def _unfit(protocol: Measure, task: Task, encoder: Encoder) -> str | None:
    """Why a protocol cannot be asked of a task, None where it can."""
    stored = protocol.name == StoredCorruptions.name
    if task.conditions and not stored:
        return f"is stored under corruptions, which {StoredCorruptions.name} measures"
    return protocol.unfit(task, encoder)


def _row(protocol: str, status: str, reason: str) -> Row:
    return {"protocol": protocol, "status": status, "reason": readable(reason)}
