"""Report: everything measured on one checkpoint, as values. Printing, plotting and tracking are others' work.

    folder/outcomes.parquet   a row per picture and protocol: what was asked, what was answered, by how much
    folder/report.json        scores and the data behind plots; written last

Equal checkpoints under equal settings give equal reports: `id` is a hash of the content, and nothing in the content
tells of time, place or speed.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.errors import DataError

NAME = "report.json"
OUTCOMES_NAME = "outcomes.parquet"
SOLVE = "solve"
"""Key of details for iterations, objectives and certificates: facts about one solve, which rounding of features changes."""
FINGERPRINT_ROWS = 1 << 16
GRAVEST = ("failed", "broken", "absent", "unfit")
"""Every status of `Report.absent`, in the order in which they are told."""

OUTCOMES = pa.schema(
    [
        ("task", pa.string()),
        ("protocol", pa.string()),
        ("variant", pa.string()),
        ("index", pa.int32()),  # of the picture (or text) in the task's list
        ("id", pa.string()),  # its own name where it has one, else its index
        ("label", pa.string()),  # several of one picture are joined by "|"
        ("prediction", pa.string()),
        ("correct", pa.bool_()),
        ("rank", pa.int32()),  # answers before the right one: 0 exactly where correct
        ("margin", pa.float32()),  # score of the right class minus the best other
        ("probability", pa.float32()),  # of the prediction; null for retrieval
        ("top5", pa.list_(pa.string())),  # the best five answers, best first
        ("scores", pa.list_(pa.float32())),  # of all classes, where a metric needs them: two classes, or many labels
        ("value", pa.float32()),  # the picture's term of a mean that is not one of right answers
        # the predefined fold, or the groups of people, that it is in; of a caption its picture, where pictures have several; of
        # many labels the classes that do not count, by "|"
        ("group", pa.string()),
        ("cluster", pa.string()),  # of pictures that stand or fall together: the video that clips or frames are of
    ]
)


@dataclass(frozen=True)
class Score:
    """One number with its 95 % interval; `n` counts the pictures (or texts) it was measured on.

    `name` is "task/protocol/metric/variant", unique in a report.
    """

    task: str
    protocol: str
    metric: str
    variant: str
    value: float
    low: float
    high: float
    n: int

    @property
    def name(self) -> str:
        return "/".join((self.task, self.protocol, self.metric, self.variant))


@dataclass(frozen=True)
class Report:
    """All scores of one checkpoint.

    versions    what a number depends on besides the weights: protocol -> words (solver, prompts by task, seed)
    details     task -> protocol -> what is behind its scores, plain JSON; each protocol's file says which keys
    absent      rows {task, protocol, status, reason}: what was asked for and could not be measured; status is "absent" (not
                there), "broken" (there, and not usable), "unfit" (nothing that was asked for can be asked of it) or "failed"
                (an error that is a defect here or in a model of one's own); protocol is "" where it concerns all of them
    overlaps    rows of evaluation/overlap.py: what overlap with the training data does to each classification task
    telemetry   seconds, pictures decoded, damaged files of features that were made again; part of no id
    """

    checkpoint_id: str
    config: Mapping[str, Any]
    versions: Mapping[str, Any]
    scores: tuple[Score, ...]
    outcomes: pa.Table
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    absent: tuple[Mapping[str, str], ...] = ()
    overlaps: tuple[Mapping[str, Any], ...] = ()
    telemetry: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """SHA-256 over all but the telemetry, the reasons in `absent`, which name folders of this machine, and how solvers
        came to their answers (details under SOLVE), which the last bits of a feature decide."""
        content = self._content()
        del content["telemetry"]
        content["details"] = {
            task: {
                protocol: {key: value for key, value in found.items() if key != SOLVE}
                for protocol, found in by_protocol.items()
            }
            for task, by_protocol in self.details.items()
        }
        content["absent"] = [{key: row[key] for key in row if key != "reason"} for row in self.absent]
        return storage.sha256(storage.canonical_json(content))

    def _content(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("scores", "outcomes")}
        return fields | {
            "scores": [asdict(score) for score in self.scores],
            "absent": list(self.absent),
            "overlaps": list(self.overlaps),
            "outcomes": fingerprint(self.outcomes),
        }

    def found(self, protocol: str, key: str) -> dict[str, Any]:
        """task -> details[key] of this protocol, for the tasks that have it."""
        return {task: by[protocol][key] for task, by in self.details.items() if key in by.get(protocol, {})}

    def score(self, name: str) -> Score:
        """The score called `name`, as in "digits/zero_shot/top1/ensemble". Raises DataError when it was not measured."""
        for score in self.scores:
            if score.name == name:
                return score
        raise DataError(f"no score '{name}' in this report; it has {', '.join(score.name for score in headline(self))}")

    @property
    def nothing(self) -> str | None:
        """Why not one number was measured and what to do, in a line; None where there is one."""
        if self.scores:
            return None
        # What is there and cannot be used is the reason before what could never be asked.
        rows = sorted(self.absent, key=lambda row: GRAVEST.index(row["status"]))
        reasons = dict.fromkeys(row["reason"].rstrip(".") for row in rows)
        tasks = dict.fromkeys(row["task"] for row in self.absent)
        first, *more = reasons or ["no protocol fits any task"]
        others = (
            f" (and {len(more)} more reason{'s' if len(more) > 1 else ''}, in the table and report.json)"
            if more
            else ""
        )
        return (
            f"nothing was measured of {', '.join(list(tasks)[:4])}{' ...' if len(tasks) > 4 else ''}: {first}{others}"
        )

    def table(self) -> pd.DataFrame:
        """Tidy: a row per score, columns task, protocol, metric, variant, value, low, high, n."""
        return pd.DataFrame([asdict(score) for score in self.scores], columns=list(Score.__dataclass_fields__))

    def save(self, folder: str) -> None:
        """Write the outcomes, then report.json."""
        storage.write_table(storage.join(folder, OUTCOMES_NAME), self.outcomes)
        storage.write_json(storage.join(folder, NAME), self._content() | {"id": self.id})

    @staticmethod
    def load(folder: str) -> "Report":
        """Read a saved report. Raises DataError where there is none, where it is damaged, and where its content does not fit
        its id."""
        path, table = storage.join(folder, NAME), storage.join(folder, OUTCOMES_NAME)
        if not storage.exists(path):
            raise DataError(f"{folder}: no {NAME}, so no finished evaluation; run the recipe again")
        with _whole(table, folder):
            outcomes = storage.read_table(table)
        with _whole(path, folder):
            value = storage.read_json(path)
            report = Report(
                checkpoint_id=value["checkpoint_id"],
                config=value["config"],
                versions=value["versions"],
                scores=tuple(Score(**score) for score in value["scores"]),
                outcomes=outcomes,
                details=value["details"],
                absent=tuple(value["absent"]),
                overlaps=tuple(value["overlaps"]),
                telemetry=value["telemetry"],
            )
            fits = report.id == value["id"]
        if not fits:
            raise DataError(
                f"{path}: its id does not fit its content: it was changed by hand, or another version of openwit wrote it;"
                " evaluate again"
            )
        return report


@contextlib.contextmanager
def _whole(path: str, folder: str) -> Iterator[None]:
    """A file that is cut off, gone, or not what was written there is one line."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OSError, pa.ArrowException) as error:
        said = (isinstance(error, DataError) and error.__cause__) or error  # what the reader of the bytes said
        what = " ".join(str(said).split())[:120]
        raise DataError(
            f"{path}: is damaged ({type(said).__name__}: {what}); remove {folder} and evaluate again"
        ) from error


def fingerprint(table: pa.Table) -> str:
    """SHA-256 of a table's content, whatever its chunks: in steps of rows, so that millions of outcomes need no memory."""
    found = hashlib.sha256(storage.canonical_json(table.schema.names))
    for start in range(0, table.num_rows, FINGERPRINT_ROWS):
        for column in table.slice(start, FINGERPRINT_ROWS).columns:
            for part in _plain_parts(column.combine_chunks()):
                found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()


def _plain_parts(column: pa.Array) -> Iterator[bytes]:
    """Which values are there, and the values, as bytes that do not depend on how Arrow holds them."""
    yield np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).tobytes()
    if pa.types.is_list(column.type):
        yield pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype("<i4").tobytes()
        yield from _plain_parts(column.flatten())
    elif pa.types.is_string(column.type):
        words = column.fill_null("")
        yield pc.binary_length(words).to_numpy(zero_copy_only=False).astype("<i4").tobytes()
        yield "".join(words.to_pylist()).encode()
    else:
        yield (
            column.fill_null(False if pa.types.is_boolean(column.type) else 0).to_numpy(zero_copy_only=False).tobytes()
        )


HEADLINE = {
    "zero_shot": ("ensemble",),
    "own_classes": ("head",),
    "linear_probe": ("test",),
    "layers": ("best", "5 layers"),
    "few_shot": ("1 shots", "4 shots", "16 shots", "4 shots, from zero_shot"),
    "few_shot_lsr": ("10 shots",),
    "knn": ("k=20",),
    "robustness": ("mean",),
    "retrieval": ("image_to_text", "text_to_image"),
    "stored_corruptions": ("mean", "alexnet"),
    "natural_shift": ("published", "pm-0/published", "pm-10/published"),
    "shape_bias": ("all",),
    "bias": ("as_published/all", "with_child/all"),
}
"""Variants worth a line in a result table, by protocol."""
HEADLINE_METRICS = ("recall@5", "mce", "effective_robustness", "shape_bias", "non_human", "crime")
"""Worth a line though they are no task's own metric."""


def headline(report: Report) -> list[Score]:
    """The scores for a result table: per task the zero-shot and probe figures, mean over corruptions, recall at 1 and 5; of
    stored corruptions that are not all there, and so have no mean, each one that is."""
    stored = [score for score in report.scores if score.protocol == "stored_corruptions"]
    means = {score.task for score in stored if score.variant == "mean"}
    alone = {score.name for score in stored if score.task not in means and "/" not in score.variant}
    return [
        score
        for score in report.scores
        if (score.variant in HEADLINE.get(score.protocol, ()) or score.name in alone)
        and (
            score.metric in (report.config["metrics"][score.task], *HEADLINE_METRICS)
            or score.protocol == "robustness"  # accuracy, whatever the task's own metric is
        )
    ]
