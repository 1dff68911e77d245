"""Score: each pair gets numbers (how well picture and text agree, how likely a watermark is), and pairs fall by them.

    judge    per file: pictures decoded in the sandbox, one forward pass per scorer; writes numbers, never pictures
    cut      where a fraction is kept: the exact threshold over all files (pipeline/scoring/top_fraction.py)
    apply    per file: the rows get their columns, those outside the bounds fall

Every bound is computed over all rows that come in, so the order of scorers changes which reason a row falls for and not
which rows stay (DataComp's intersection of filters). Columns: score_<name> float32, and `embedding` float16 where asked.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.batch import Batch
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, PhaseResult, Record, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.scoring.asking import ask
from pipeline.scoring.score_pixels import Fall, squares
from pipeline.scoring.scorers import Scorer, ScorerConfig, distinct
from pipeline.scoring.top_fraction import Cut, sort_keys, top_fraction

Cuts = Mapping[str, Cut]


def score(
    config: Sequence[ScorerConfig],
    scorers: Sequence[Scorer],
    fetched: PhaseResult,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Judge every pair with `scorers` (made of `config`, in its order). Raises DataError where no pair would stay."""
    distinct(config)
    source = Files(fetched.folder, fetched.kept)
    identity = identities(config, scorers)
    judged = run_items(
        storage.join(folder, "judge"),
        functools.partial(_judge, tuple(config), tuple(scorers)),
        source.items("judge", identity),
        executor.with_resources(
            max(each.resources.cpus for each in scorers),
            max(each.resources.gpus for each in scorers),
            sum(each.resources.memory_bytes for each in scorers),
        ),
        progress,
        "scores",
    )
    numbers = Files(storage.join(folder, "judge"), tuple(record.files["scores"] for record in judged))
    cuts: dict[str, Cut] = {}
    for each, scorer in zip(config, scorers, strict=True):
        if each.keep_fraction is not None:
            highest, below = scorer.higher_is_better, storage.join(folder, f"cut-{each.label}")
            cut = top_fraction(numbers, each.column, each.keep_fraction, highest, below, executor, progress)
            if cut is not None:
                cuts[each.label] = cut
    bounds = [(each.label, cuts[each.label].score, cuts[each.label].uid) for each in config if each.label in cuts]
    records = run_items(
        storage.join(folder, "apply"),
        functools.partial(_apply, tuple(config), tuple(each.higher_is_better for each in scorers), cuts),
        _pairs_of_files(source, numbers, [identity, bounds]),
        executor,
        progress,
        "drop by score",
    )
    result = _result(config, scorers, cuts, folder, judged, records)
    fate = result.fates["pairs"]
    if fate.rows_in and not fate.kept:
        raise DataError(f"no pair left after the score filters: {_advice(config, result)}")
    result.save()
    return result


def identities(config: Sequence[ScorerConfig], scorers: Sequence[Scorer]) -> list[Any]:
    """What the rows depend on, per scorer: its settings, with ids of content where the recipe has paths."""
    paths = {"checkpoint", "head", "cpus", "gpus"}
    return [
        each.model_dump(mode="json", exclude=paths) | {"column": each.column, "weights": scorer.identity}
        for each, scorer in zip(config, scorers, strict=True)
    ]


def _pairs_of_files(source: Files, numbers: Files, identity: Any) -> list[WorkItem]:
    return [
        WorkItem(f"apply-{i:05d}", [rows.sha256, scores.sha256, identity], (source.path(rows), numbers.path(scores)))
        for i, (rows, scores) in enumerate(zip(source.parts, numbers.parts, strict=True))
    ]


# --- one work item ------------------------------------------------------------------------------------------------------


def _judge(config: Sequence[ScorerConfig], scorers: Sequence[Scorer], path: str) -> Output:
    """(uid, reason, evidence, a column per scorer, perhaps the embedding) of one file's rows, in their order."""
    rows = storage.read_table(path, ["uid", "image", "text"])
    images, texts = rows.column("image").to_pylist(), rows.column("text").to_pylist()
    size = min(scorer.resources.batch_size for scorer in scorers)
    values = {each.column: np.full(len(images), np.nan, np.float32) for each in config}
    width = next((scorer.embedding_width for each, scorer in _both(config, scorers) if each.store_embedding), 0)
    embeddings = np.zeros((len(images), width), np.float16)
    falls: list[Fall | None] = [None] * len(images)
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        seen: dict[Any, tuple[NDArray[np.uint8], list[Fall | None]]] = {}
        for place, (each, scorer) in enumerate(_both(config, scorers)):
            if scorer.pixels not in seen:  # the same array for all that want this form: their towers run once
                seen[scorer.pixels] = squares(scorer.pixels, images[part])
            pixels_BSS3, fell = seen[scorer.pixels]
            given = ask(place, each, scorer, pixels_BSS3, texts[part])
            opened = np.array([why is None for why in fell], bool)
            values[each.column][part] = np.where(opened, given.values, np.float32(np.nan))
            if given.embeddings is not None:
                embeddings[part] = given.embeddings.astype(np.float16)
            falls[part] = [a or b for a, b in zip(falls[part], fell, strict=True)]
    for each in config:
        for row in np.flatnonzero(~np.isfinite(values[each.column])):
            values[each.column][row] = np.nan
            falls[row] = falls[row] or ("no_score", f"{each.label} gave no number")
    table = pa.table({"uid": rows.column("uid")})
    table = table.append_column("reason", pa.array([fall and fall[0] for fall in falls], pa.string()))
    table = table.append_column("evidence", pa.array([fall and fall[1] for fall in falls], pa.string()))
    for name, column in values.items():
        table = table.append_column(name, pa.array(column, pa.float32()))
    if width:
        flat = pa.array(embeddings.reshape(-1), pa.float16())
        table = table.append_column("embedding", pa.FixedSizeListArray.from_arrays(flat, width))
    return Output({"scores": table}, {"pairs": Fate(rows.num_rows, rows.num_rows)})


def _both(config: Sequence[ScorerConfig], scorers: Sequence[Scorer]) -> list[tuple[ScorerConfig, Scorer]]:
    return list(zip(config, scorers, strict=True))


def _apply(config: Sequence[ScorerConfig], highest: Sequence[bool], cuts: Cuts, paths: tuple[str, str]) -> Output:
    rows, scores = storage.read_table(paths[0]), storage.read_table(paths[1])
    uids = rows.column("uid").to_pylist()
    if scores.column("uid").to_pylist() != uids:
        raise AssertionError("scores and rows are not of the same pairs")
    batch = Batch.of(rows)
    reasons: list[str | None] = scores.column("reason").to_pylist()
    evidence: list[str | None] = scores.column("evidence").to_pylist()
    for each, best_first in zip(config, highest, strict=True):
        column = scores.column(each.column).to_numpy(zero_copy_only=False).astype(np.float32)
        batch = batch.with_column(each.column, pa.array(column, pa.float32()))
        for place, verdict in enumerate(_verdicts(each, best_first, cuts.get(each.label), column, uids)):
            if verdict is not None and reasons[place] is None:
                reasons[place], evidence[place] = verdict
    if "embedding" in scores.column_names:
        batch = batch.with_column("embedding", scores.column("embedding"))
    return Output.of_batch(rows.num_rows, batch.drop(reasons, evidence))


def _verdicts(
    config: ScorerConfig, highest: bool, cut: Cut | None, values: NDArray[np.float32], uids: Sequence[str]
) -> list[Fall | None]:
    """Why each row falls by this scorer. Bounds are compared in float32, as the column is written."""
    found: list[Fall | None] = [None] * len(values)
    stays = cut.keeps(values, uids, highest) if cut is not None else np.ones(len(values), bool)
    for place, value in enumerate(values):
        said = f"{config.label} {value:.4f}"
        if config.minimum is not None and value < np.float32(config.minimum):
            found[place] = ("below_score", f"{said} < {config.minimum:g}")
        elif config.maximum is not None and value > np.float32(config.maximum):
            found[place] = ("above_score", f"{said} > {config.maximum:g}")
        elif not stays[place] and cut is not None:
            sign = "<" if highest else ">"
            found[place] = ("outside_top_fraction", f"{said} {sign} {cut.score:.4f}, the best {config.keep_fraction:g}")
    return found


# --- the result ---------------------------------------------------------------------------------------------------------


def _result(
    config: Sequence[ScorerConfig],
    scorers: Sequence[Scorer],
    cuts: Cuts,
    folder: str,
    judged: Sequence[Record],
    records: Sequence[Record],
) -> PhaseResult:
    applied = PhaseResult.of_records("score", folder, records)
    told = []
    for each, scorer in _both(config, scorers):
        facts: dict[str, Any] = {"name": each.label, "weights": scorer.identity}
        facts |= _quantiles(storage.join(folder, "judge"), judged, each.column)
        if each.label in cuts:
            facts |= {"threshold": cuts[each.label].score, "stay": cuts[each.label].stay}
        told.append(facts)
    return PhaseResult(
        "score",
        folder,
        tuple(file.below("apply") for file in applied.kept),
        tuple(file.below("apply") for file in applied.dropped),
        applied.fates,
        {"scorers": told},
    )


def _quantiles(folder: str, judged: Sequence[Record], column: str) -> dict[str, Any]:
    """How the scores lie, file by file, from counts of their first 16 bits: exact to 1 part in 128."""
    counts = np.zeros(1 << 16, np.int64)
    for record in judged:
        values = storage.read_table(storage.join(folder, record.files["scores"].path), [column]).column(column)
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float32)
        counts += np.bincount(sort_keys(numbers[~np.isnan(numbers)], False) >> 16, minlength=1 << 16)
    rows = int(counts.sum())
    if not rows:
        return {"scored": 0}
    ends = np.cumsum(counts)
    middles = {}
    for name, share in (("lowest", 0.0), ("p05", 0.05), ("median", 0.5), ("p95", 0.95), ("highest", 1.0)):
        key = np.uint32(int(np.searchsorted(ends, min(int(rows * share), rows - 1), side="right")) << 16)
        bits = key ^ np.uint32(0x80000000) if key >> 31 else ~key
        middles[name] = round(float(np.array([bits], np.uint32).view(np.float32)[0]), 4)
    return {"scored": rows, **middles}


def _advice(config: Sequence[ScorerConfig], result: PhaseResult) -> str:
    lines = []
    for place, (each, facts) in enumerate(zip(config, result.extra["scorers"], strict=True)):
        bound = {"minimum": each.minimum, "maximum": each.maximum, "keep_fraction": each.keep_fraction}
        asked = ", ".join(f"{name} {value:g}" for name, value in bound.items() if value is not None)
        seen = f"{facts['lowest']:g} to {facts['highest']:g}" if facts["scored"] else "no number at all"
        lines.append(f"curate.score.{place} ({each.label}) asks {asked or 'nothing'} and saw {seen}")
    return "; ".join(lines) + f" ({dict(result.fates['pairs'].reasons)}); widen the bounds"
