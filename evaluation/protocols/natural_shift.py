"""Natural distribution shifts: accuracy there, on ImageNet's own pictures of the same classes, and what lies between.

Effective robustness (Taori et al. 2020, arXiv:2007.00644) against two lines: `published`, the least squares of that paper, and
`weighted` (shifts/lines.py). The same classifier answers on both sides, so ImageNet's pictures are those of the
shift's classes alone: 200 for -A and -R, the classes that fall on ObjectNet's 113 and on the frame sets' 30 and 22.

Frame sets count anchors: pm-0 asks for the anchor, pm-10 for every verified frame within ten of it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog import benchmarks as catalog
from evaluation.catalog.benchmarks import Task
from evaluation.catalog.words import imagenet_classes_of
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.open import open_pictures
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.answers import Answerer, answerer, unable, want
from evaluation.protocols.outcomes import SEVERAL, add_answered_rows, asked_of
from evaluation.protocols.protocol import Findings, Question, significant
from evaluation.protocols.truth import clusters_of, truth_of
from evaluation.shifts.frames import anchors_right
from evaluation.shifts.lines import COUNTS, Method, standard_line
from evaluation.shifts.robustness import effective_robustness
from evaluation.statistics.clustered import independent_count, share_interval
from evaluation.statistics.intervals import wilson
from pipeline.errors import DataError

METHODS: tuple[Method, ...] = ("published", "weighted")


class NaturalShift:
    name = "natural_shift"
    learns = False

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        if task.reference is None or task.conditions or task.kind not in ("classification", "frames"):
            return "is no shift of another benchmark"
        return unable(task, encoder)

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        reference = _reference(question)
        lists = [question.pictures] if isinstance(reference, DataError) else [question.pictures, reference]
        return [(pictures, want(question.encoder)) for pictures in lists]

    def measure(self, question: Question) -> Findings:
        assert question.prompts is not None
        findings = Findings(question.task.name, self.name)
        answers = answerer(question)
        asked_of(findings, identity=question.pictures.identity)
        hits, asked_N = _shifted(question, answers, findings)
        clusters = clusters_of(question.pictures, asked_N)
        for part, right in hits.items():
            findings.add("top1", part, share_interval(right, clusters), len(right))
        reference = _reference(question)
        if isinstance(reference, DataError):
            known_as = question.task.reference
            findings.lacks(
                f"effective robustness of {findings.task}: its reference {known_as} is not there ({reference}); put {known_as}"
                f" beside it (`openwit tasks show {known_as}` says where to get it) and evaluate again: only this is made anew"
            )
            return findings
        asked_of(findings, reference=reference.identity)
        known = _reference_hits(question, reference, answers, findings)
        findings.add("top1", "reference", wilson(int(known.sum()), len(known)), len(known))
        for part, right in hits.items():
            self._against_lines(findings, part, known, right, independent_count(right, clusters))
        return findings

    def _against_lines(
        self, findings: Findings, part: str, known: NDArray[np.bool_], right: NDArray[np.bool_], independent: int
    ) -> None:
        shift = _line_of(findings.task, part)
        if shift not in COUNTS:
            return
        counts = (int(known.sum()), len(known)), (int(right.sum()), len(right))
        point: dict[str, float] = {
            "reference": significant(float(known.mean())),
            "shifted": significant(float(right.mean())),
        }
        for method in METHODS:
            line = standard_line(shift, method)
            rho = effective_robustness(*counts, line, independent=independent)
            variant = method if part == "shifted" else f"{part}/{method}"
            findings.add("effective_robustness", variant, rho, len(right))
            point[f"expected_{method}"] = significant(float(right.mean()) - rho.value)
        findings.details.setdefault("points", {})[shift] = point


def _line_of(task: str, part: str) -> str:
    shift = task.partition("@")[0]  # of each there is one variant, which may be named
    return shift if part == "shifted" else f"{shift}/{part}"


def _shifted(
    question: Question, answers: Answerer, findings: Findings
) -> tuple[dict[str, NDArray[np.bool_]], NDArray[np.int64]]:
    """Whether each shifted picture, or each anchor as "pm-0" and "pm-10", was answered right, and where in the list these are;
    outcomes of each."""
    assert question.prompts is not None
    wanted = want(question.encoder)
    answers_N = answers(question.features(question.pictures, [wanted])[wanted])
    pictures, classes = question.pictures, np.array(list(question.prompts.classes))
    if question.task.kind == "frames":
        words = classes[answers_N].tolist()
        hits = anchors_right(pictures, question.task.label, words)
        anchors_A = np.flatnonzero([each == "yes" for each in pictures.column("anchor")])
        labels = [SEVERAL.join(pictures.words(question.task.label)[at]) for at in anchors_A]
        answered = [words[at] for at in anchors_A]
        for part, right_A in hits.items():
            add_answered_rows(findings, pictures, part, labels, answered, anchors_A, correct=right_A)
        return hits, anchors_A
    truth = truth_of(question.task, pictures, question.prompts)
    asked_N = answers_N[truth.asked]
    right = truth.labels == asked_N if truth.right is None else truth.right[np.arange(len(asked_N)), asked_N]
    spoken = classes[truth.labels].tolist()
    add_answered_rows(findings, pictures, "shifted", spoken, classes[asked_N].tolist(), truth.asked, correct=right)
    return {"shifted": np.asarray(right)}, truth.asked


def _reference(question: Question) -> Pictures | DataError:
    """The pictures that this is a shift of, or why they cannot be had: the shift is then measured without them."""
    assert question.task.reference is not None
    try:
        return open_pictures(catalog.find(question.task.reference), "test", question.config.datasets)
    except DataError as error:
        return error


def _reference_hits(
    question: Question, reference: Pictures, answers: Answerer, findings: Findings
) -> NDArray[np.bool_]:
    """Whether each reference picture of one of the shift's classes was answered right, by the shift's own words."""
    assert question.prompts is not None
    labels = list(question.prompts.classes)
    falls_on = {
        synset: place
        for place, label in enumerate(labels)
        for synset in imagenet_classes_of(question.task.prompts or question.task.name).get(label, ())
    }
    words = reference.column(catalog.find(question.task.reference or "").label)
    asked = np.array([at for at, word in enumerate(words) if word in falls_on], np.int64)
    if not len(asked):
        raise DataError(f"{reference.name}: has no picture of the classes of {question.task.name}")
    wanted = want(question.encoder)
    answers_N, spoken = answers(question.features(reference, [wanted])[wanted][asked]), np.array(labels)
    right_N = np.array([falls_on[words[at]] for at in asked])
    add_answered_rows(
        findings, reference, "reference", spoken[right_N].tolist(), spoken[answers_N].tolist(), asked
    )  # fmt: skip
    return np.asarray(answers_N == right_N)
