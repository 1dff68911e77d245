"""Corruptions as their authors stored them: ImageNet-C, CIFAR-10-C, CIFAR-100-C; mCE and relative mCE for the first.

A setting of its own, never mixed with corruptions made in memory (`robustness`): stored files went through JPEG once more, and
figures differ by up to ten points. ImageNet-C's pictures are 224 pixels wide and high: a model of that size reads them as they
are, none is resized to 256 and cut, which would give other numbers (RobustBench#59).

N = pictures.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog import benchmarks as catalog
from evaluation.catalog.benchmarks import Task
from evaluation.corruptions.corruption_error import ALEXNET_ERROR, mce_terms, relative_mce_terms
from evaluation.corruptions.corruptions import BENCHMARK
from evaluation.corruptions.variants import SEVERITIES
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.open import open_pictures
from evaluation.pictures.pictures import Absent, Broken, Pictures
from evaluation.protocols.answers import answerer, unable, want
from evaluation.protocols.classified import label_positions
from evaluation.protocols.outcomes import add_value_rows, asked_of
from evaluation.protocols.protocol import Findings, Question, significant
from evaluation.statistics.intervals import mean_interval, wilson
from pipeline import storage
from pipeline.errors import DataError

STORED = "stored corruptions"
"""Under which a question keeps its opened lists."""


class StoredCorruptions:
    name = "stored_corruptions"
    learns = False

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        return unable(task, encoder) if task.conditions else "is not stored under corruptions"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        lists = [pictures for by_severity in _there(question).values() for pictures in by_severity]
        clean = _clean(question)
        return [(pictures, want(question.encoder)) for pictures in (*lists, *([clean] if clean else []))]

    def measure(self, question: Question) -> Findings:
        assert question.prompts is not None
        findings, prompts = Findings(question.task.name, self.name), question.prompts
        answers, wanted = answerer(question), want(question.encoder)

        def right(pictures: Pictures) -> NDArray[np.bool_]:
            labels_N = label_positions(pictures, question.task.label, prompts)
            return np.asarray(answers(question.features(pictures, [wanted])[wanted]) == labels_N)

        there = _there(question)
        right_5N = {kind: np.stack([right(each) for each in lists]) for kind, lists in there.items()}
        first = next(iter(there.values()))[0]
        for kind, rows in right_5N.items():
            for severity, hits in zip(SEVERITIES, rows, strict=True):
                findings.add("top1", f"{kind}/{severity}", wilson(int(hits.sum()), first.count), first.count)
            self._add(findings, first, "top1", kind, rows.mean(axis=0), question.task.label)
            asked_of(findings, **{kind: "|".join(each.identity for each in there[kind])})
        clean = _clean(question)
        clean_N = right(clean) if clean else None
        if clean is not None and clean_N is not None:
            findings.add("top1", "clean", wilson(int(clean_N.sum()), len(clean_N)), len(clean_N))
            add_value_rows(findings, clean, "top1/clean", clean_N.astype(np.float64), clean.column(question.task.label))
            asked_of(findings, clean=clean.identity)
        asked_of(findings, identity=storage.sha256("|".join(findings.details["pictures"].values()).encode()))
        missing = [kind for kind in question.task.conditions if kind not in there]
        self._means(question, findings, first, right_5N, clean, clean_N)
        self._say_what_lacks(question, findings, missing)
        curves = {kind: [significant(float(hits.mean())) for hits in rows] for kind, rows in right_5N.items()}
        uncorrupted = {"clean": significant(float(clean_N.mean()))} if clean_N is not None else {}
        findings.details |= {"curves": uncorrupted | curves, "missing": missing}
        return findings

    def _add(
        self,
        findings: Findings,
        pictures: Pictures,
        metric: str,
        variant: str,
        values_N: NDArray[np.float64],
        label: str,
        span: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """A mean of one number per picture, with these numbers as outcomes."""
        findings.add(metric, variant, mean_interval(values_N, span=span), len(values_N))
        add_value_rows(findings, pictures, f"{metric}/{variant}", values_N, pictures.column(label))

    def _means(
        self,
        question: Question,
        findings: Findings,
        first: Pictures,
        right_5N: dict[str, NDArray[np.bool_]],
        clean: Pictures | None,
        clean_N: NDArray[np.bool_] | None,
    ) -> None:
        """Means over the benchmark's fifteen, where all of them are there: a mean over fewer would pass for another."""
        label = question.task.label
        error_N = {kind: 1 - right_5N[kind].mean(axis=0) for kind in BENCHMARK if kind in right_5N}
        if question.task.reference == "imagenet":
            for kind, terms_N in error_N.items():
                worst = 1 / ALEXNET_ERROR[kind]
                interval = mean_interval(terms_N * worst, span=(0.0, worst))
                findings.add("corruption_error", kind, interval, first.count)
        if len(error_N) < len(BENCHMARK):
            return
        self._add(findings, first, "top1", "mean", 1 - np.mean(list(error_N.values()), axis=0), label)
        if question.task.reference != "imagenet":
            return
        worst = float(mce_terms(dict.fromkeys(BENCHMARK, np.ones(1)))[0])
        self._add(findings, first, "mce", "alexnet", mce_terms(error_N), label, (0.0, worst))
        if clean is None or clean_N is None:
            return
        # The same pictures before corruption, if they stand in the same order; else each counts with the mean of all.
        same = clean.column(label) == first.column(label)
        clean_error_N = (
            np.asarray(1.0 - clean_N, np.float64) if same else np.full(first.count, 1.0 - float(clean_N.mean()))
        )
        ends = [
            relative_mce_terms(dict.fromkeys(BENCHMARK, np.full(1, bad)), np.full(1, 1.0 - bad))[0]
            for bad in (0.0, 1.0)
        ]
        terms_N = relative_mce_terms(error_N, clean_error_N)
        self._add(findings, first, "relative_mce", "alexnet", terms_N, label, (float(ends[0]), float(ends[1])))

    def _say_what_lacks(self, question: Question, findings: Findings, missing: Sequence[str]) -> None:
        """Rows of the report for means that could not be made."""
        task, reference = question.task, question.task.reference
        fifteen = [kind for kind in BENCHMARK if kind in missing]
        if fifteen:
            findings.lacks(
                f"{task.name}: no mean over the fifteen corruptions without {', '.join(fifteen)}; add their folders"
            )
        if reference is not None and "clean" not in findings.details["pictures"]:
            findings.lacks(
                f"{task.name}: no figures without corruption{' and no relative mCE' if reference == 'imagenet' else ''}, since"
                f" {reference} is not there; put it beside (`openwit tasks show {reference}` says where to get it)"
            )


def _there(question: Question) -> dict[str, tuple[Pictures, ...]]:
    """corruption -> its five lists, for those that lie in the folder, opened once. Raises Absent where none does."""
    if STORED not in question.shared:
        question.shared[STORED] = _opened(question)
    return dict(question.shared[STORED])


def _opened(question: Question) -> dict[str, tuple[Pictures, ...]]:
    each = {kind: _severities(question.task, kind, question.config.datasets) for kind in question.task.conditions}
    found = {kind: lists for kind, lists in each.items() if lists}
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


def _severities(task: Task, kind: str, datasets: str | None) -> tuple[Pictures, ...]:
    """The five lists of one corruption, () where it is not there. Raises Broken where only some severities are."""
    opened: list[Pictures] = []
    for severity in SEVERITIES:
        try:
            opened.append(open_pictures(task, f"{kind}/{severity}", datasets))
        except Absent as error:
            if opened:
                raise Broken(f"{task.name}: {kind} has no severity {severity} ({error})") from error
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
