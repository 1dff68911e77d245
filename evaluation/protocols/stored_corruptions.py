"""Corruptions as their authors stored them: ImageNet-C, CIFAR-10-C, CIFAR-100-C; mCE and relative mCE for the first.

A setting of its own, never mixed with corruptions made in memory (`robustness`): stored files went through JPEG once more, and
figures differ by up to ten points. ImageNet-C's pictures are 224 pixels wide and high: a model of that size reads them as they
are, none is resized to 256 and cut, which would give other numbers (RobustBench#59).

N = pictures.
"""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog import benchmarks as catalog
from evaluation.catalog.benchmarks import Task
from evaluation.corruptions.corruption_error import ALEXNET_ERROR, corruption_errors, mce_terms, relative_mce_terms
from evaluation.corruptions.corruptions import BENCHMARK
from evaluation.corruptions.variants import SEVERITIES
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.open import open_pictures
from evaluation.pictures.pictures import Absent, Broken, Pictures
from evaluation.protocols.classified import label_positions
from evaluation.protocols.protocol import Findings, Question, significant
from evaluation.protocols.zero_shot_classifier import classifier, cosines
from evaluation.statistics.intervals import bootstrap_mean, wilson
from pipeline.errors import DataError


class StoredCorruptions:
    name = "stored_corruptions"
    learns = False

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        if not encoder.reads_text:
            return f"asks in words, and {encoder.spec.name} reads none"
        return None if task.conditions else f"{task.name} is not stored under corruptions"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        lists = [pictures for by_severity in _there(question).values() for pictures in by_severity]
        clean = _clean(question)
        return [(pictures, Wanted()) for pictures in (*lists, *([clean] if clean else []))]

    def measure(self, question: Question) -> Findings:
        assert question.prompts is not None
        findings, prompts, config = Findings(question.task.name, self.name), question.prompts, question.config
        weights = classifier(question.embed, prompts).weights

        def right(pictures: Pictures) -> NDArray[np.bool_]:
            rows_ND = question.features(pictures, [Wanted()])[Wanted()]
            labels_N = label_positions(pictures, question.task.label, prompts)
            return np.asarray(cosines(rows_ND, weights).argmax(axis=1) == labels_N)

        there = _there(question)
        right_5N = {kind: np.stack([right(each) for each in lists]) for kind, lists in there.items()}
        count = len(next(iter(right_5N.values()))[0])
        for kind, rows in right_5N.items():
            for severity, hits in zip(SEVERITIES, rows, strict=True):
                findings.add("top1", f"{kind}/{severity}", wilson(int(hits.sum()), count), count)
            findings.add(
                "top1", kind, bootstrap_mean(rows.mean(axis=0), config.bootstrap_resamples, config.seed), count
            )
        clean = _clean(question)
        clean_N = right(clean) if clean else None
        if clean_N is not None:
            findings.add("top1", "clean", wilson(int(clean_N.sum()), len(clean_N)), len(clean_N))
        self._means(question, findings, right_5N, clean_N)
        curves = {kind: [significant(float(hits.mean())) for hits in rows] for kind, rows in right_5N.items()}
        first = {"clean": significant(float(clean_N.mean()))} if clean_N is not None else {}
        findings.details |= {
            "curves": first | curves,
            "missing": [kind for kind in question.task.conditions if kind not in there],
        }
        return findings

    def _means(
        self,
        question: Question,
        findings: Findings,
        right_5N: dict[str, NDArray[np.bool_]],
        clean_N: NDArray[np.bool_] | None,
    ) -> None:
        """Means over the benchmark's fifteen, where all of them are there: a mean over fewer would pass for another."""
        if not set(BENCHMARK) <= set(right_5N):
            return
        config, error_N = question.config, {kind: 1 - right_5N[kind].mean(axis=0) for kind in BENCHMARK}
        count = len(error_N["fog"])
        terms = {("top1", "mean"): 1 - np.mean(list(error_N.values()), axis=0)}
        if question.task.reference == "imagenet":
            terms["mce", "alexnet"] = mce_terms(error_N)
            if clean_N is not None:
                terms["relative_mce", "alexnet"] = relative_mce_terms(error_N, np.full(count, 1 - clean_N.mean()))
            errors = {kind: float(error_N[kind].mean()) for kind in ALEXNET_ERROR}
            findings.details["corruption_error"] = {k: significant(v) for k, v in corruption_errors(errors).items()}
        for (metric, variant), values_N in terms.items():
            findings.add(metric, variant, bootstrap_mean(values_N, config.bootstrap_resamples, config.seed), count)


def first_split(task: Task) -> str:
    """The split that stands for a task which is stored under corruptions only."""
    return f"{task.conditions[0]}/1"


def _there(question: Question) -> dict[str, tuple[Pictures, ...]]:
    """corruption -> its five lists, for those that lie in the folder. Raises Absent where none does."""
    found = {}
    for kind in question.task.conditions:
        lists = _severities(question.task.name, kind, question.config.datasets)
        if lists:
            found[kind] = lists
    if not found:
        raise Absent(
            f"{question.task.name}: none of its {len(question.task.conditions)} corruptions lies in its folder"
        )
    labels = {each.column(question.task.label) for lists in found.values() for each in lists}
    if len(labels) != 1:
        raise Broken(
            f"{question.task.name}: its corruptions are not of the same pictures in the same order; a file is missing"
        )
    return found


@functools.lru_cache(maxsize=64)
def _severities(task: str, kind: str, datasets: str | None) -> tuple[Pictures, ...]:
    """The five lists of one corruption, () where it is not there. Raises Broken where only some severities are."""
    opened: list[Pictures] = []
    for severity in SEVERITIES:
        try:
            opened.append(open_pictures(catalog.find(task), f"{kind}/{severity}", datasets))
        except Absent as error:
            if opened:
                raise Broken(f"{task}: {kind} has no severity {severity} ({error})") from error
            return ()
    return tuple(opened)


def _clean(question: Question) -> Pictures | None:
    """The pictures before corruption, where they are there too."""
    if question.task.reference is None:
        return None
    try:
        return open_pictures(catalog.find(question.task.reference), "test", question.config.datasets)
    except DataError:
        return None
