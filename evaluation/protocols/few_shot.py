"""Few-shot as a protocol: a linear probe on 1, 2, 4, 8, 16 pictures per class (Radford et al. 2021, figure 6).

Variants are "4 shots" (penultimate features, |W|^2) and "4 shots, from zero_shot" (embeddings of length 1, |W - W_zs|^2 with
W_zs = the model's logit scale x its zero-shot classifier). A score is the mean over draws; its interval joins the mean of
their intervals (the test pictures are the same) with Student's of the mean over draws. Outcomes are kept per draw ("4 shots,
seed 1"). Details: "values" (anchor -> shots -> mean), "draws" (deviation, each draw's value and penalty), "mode",
"labels_per_class" (of the whole training part). probe/efficiency.py reads them.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from evaluation.catalog.benchmarks import Task
from evaluation.features.store import Wanted
from evaluation.models.directions import unit
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.probe.few_shot import few_shot
from evaluation.probe.rows import check_finite
from evaluation.protocols.lesson import Lesson, how_of, lesson_of, parts_of, unfit_to_learn, usual_layer
from evaluation.protocols.outcomes import add_classified_rows, asked_of
from evaluation.protocols.protocol import Findings, Question, significant
from evaluation.protocols.zero_shot_classifier import classifier
from evaluation.statistics.intervals import CONFIDENCE, Interval
from evaluation.statistics.metrics import METRICS, applicable
from pipeline.errors import DataError


class FewShot:
    name = "few_shot"
    learns = True

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        return unfit_to_learn(task, ("classification",))

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        return [(part, want) for part in parts_of(question) for want in _layers(question)]

    def measure(self, question: Question) -> Findings:
        findings = Findings(question.task.name, self.name)
        config, how, lesson = question.config.probe, how_of(question), lesson_of(question)
        values: dict[str, Any] = {}
        for anchor in _anchors(question):
            train_ND, labels_N, test_ND, anchor_DC = _material(question, lesson, anchor)
            values[anchor] = {}
            for shots in enough(labels_N, config.shots, findings, to_choose=1):
                drawn = few_shot(
                    train_ND, labels_N, test_ND, shots, config.seeds, lesson.score(), anchor_DC, how.device, how.precision,
                    how.mode,
                )  # fmt: skip
                variant = f"{shots} shots" if anchor == "zero" else f"{shots} shots, from {anchor}"
                found = add_mean(findings, question, lesson, variant, {each.seed: each.scores for each in drawn})
                penalties = [each.fit.penalty for each in drawn]
                values[anchor][str(shots)] = found | {"penalties": penalties}
        _, counts = np.unique(labels_N, return_counts=True)
        findings.details |= {
            "values": {name: {shots: each["value"] for shots, each in by.items()} for name, by in values.items()},
            "draws": values,
            "seeds": list(config.seeds),
            "mode": config.mode,
            "labels_per_class": significant(float(counts.mean())),
        }
        return findings


def enough(labels_N: NDArray[np.int64], shots: Sequence[int], findings: Findings, to_choose: int = 0) -> list[int]:
    """Those of the shots that every class has pictures for, and beyond one shot `to_choose` more; the others are told in
    details["skipped"].

    Raises DataError where none is left.
    """
    smallest = int(np.unique(labels_N, return_counts=True)[1].min())
    possible = [each for each in shots if each <= max(min(1, smallest), smallest - to_choose)]
    findings.details["skipped"] = [each for each in shots if each not in possible]
    if not possible:
        raise DataError(
            f"{findings.task}: its smallest class has {smallest} pictures to learn from, too few for any of {list(shots)}"
            + (" and one more to choose a penalty by" if to_choose else "")
        )
    return possible


def add_mean(
    findings: Findings,
    question: Question,
    lesson: Lesson,
    variant: str,
    scores: Mapping[int, NDArray[np.floating]],
) -> dict[str, Any]:
    """Scores of `variant`: the mean over draws, by seed, with outcomes of each; the task's own metric of each draw."""
    assert question.prompts is not None
    truth, classes = lesson.asked, list(question.prompts.classes)
    resamples, seed = question.config.bootstrap_resamples, question.config.seed
    found: dict[str, list[Interval]] = {}
    for draw, each in scores.items():
        answers = truth.answers(lesson.spread(np.asarray(each)))
        for name in applicable(answers, question.task.metric):
            found.setdefault(name, []).append(METRICS[name](answers, resamples, seed))
        add_classified_rows(
            findings, question.pictures, f"{variant}, seed {draw}", truth, answers, classes, 1.0, best=False
        )
    findings.details["classes"] = classes
    asked_of(findings, identity=question.pictures.identity)
    for name, intervals in found.items():
        findings.add(name, variant, over_draws(intervals), len(truth.labels))
    own = [each.value for each in found[question.task.metric]]
    return {
        "value": significant(statistics.fmean(own)),
        "deviation": significant(statistics.stdev(own)) if len(own) > 1 else None,
        "each": [significant(value) for value in own],
    }


def over_draws(draws: Sequence[Interval]) -> Interval:
    """The mean over draws, and how far it can be off for two reasons: these pictures were tested, and these draws were learned
    from. One draw tells nothing of the second."""
    value, low, high = (statistics.fmean(end) for end in zip(*draws, strict=True))
    if len(draws) == 1:
        return Interval(value, low, high)
    deviation = statistics.stdev(draw.value for draw in draws)
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, len(draws) - 1)) * deviation / len(draws) ** 0.5
    return Interval(
        value, max(0.0, value - math.hypot(value - low, reach)), min(1.0, value + math.hypot(high - value, reach))
    )


def _anchors(question: Question) -> list[str]:
    config = question.config.probe
    anchors = ("zero",) if config.mode == "sklearn" else config.anchors
    able: list[str] = [each for each in anchors if each == "zero" or question.encoder.reads_text]
    if not able:
        raise DataError(
            f"{question.task.name}: {question.encoder.name} reads no text, so there is no zero-shot classifier to stay near;"
            " set evaluate.probe.anchors=[zero]"
        )
    return able


def _layers(question: Question) -> list[Wanted]:
    layer = {"zero": usual_layer(question.encoder), "zero_shot": Wanted()}
    return [layer[anchor] for anchor in _anchors(question)]


def _material(
    question: Question, lesson: Lesson, anchor: str
) -> tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.floating], NDArray[np.floating] | None]:
    """Features and labels to draw from, features of the test part, and the weights that the penalty pulls to."""
    assert question.prompts is not None
    if anchor == "zero":
        layer = usual_layer(question.encoder)
        return *lesson.everything(layer), lesson.test(layer), None
    train_ND, labels_N = lesson.everything(Wanted())
    weights_CD = classifier(question.embed, question.prompts).weights
    learned_ND, asked_ND = unit(train_ND), unit(lesson.test(Wanted()))
    for embeddings_ND in (learned_ND, asked_ND):
        check_finite(embeddings_ND, f"{question.task.name}, embeddings of length 1")
    return learned_ND, labels_N, asked_ND, question.encoder.logit_scale * weights_CD.T
