"""A probe of every layer of a model, made once for all protocols of a question that ask for it.

Of the answers only the best layer's are kept: a table of pictures x classes per layer would be gigabytes on ImageNet.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.features.wanted import Wanted
from evaluation.probe.linear_probe import Probe, probe
from evaluation.protocols.classified import metric_of_scores, plain
from evaluation.protocols.lesson import Lesson, how_of, labels_of, layers_of
from evaluation.protocols.protocol import Question, significant
from evaluation.report import SOLVE

MEMORY = "probed layers"
LACKING = "validation_part"


@dataclass(frozen=True)
class Layer:
    """What is kept of one layer's probe: its best validation value, and its test value with interval."""

    want: Wanted
    validation: float
    test: dict[str, float]

    @property
    def told(self) -> dict[str, float]:
        return {"validation": significant(self.validation), "test": self.test["value"]} | {
            end: self.test[end] for end in ("low", "high")
        }


@dataclass(frozen=True)
class Probed:
    """All layers in their order, which one does best on the validation part, and that one's probe."""

    layers: tuple[Layer, ...]
    best: int
    probe: Probe
    scores: NDArray[np.floating]


def probed(question: Question, lesson: Lesson) -> Probed:
    """Of several layers the one that does best on the validation part is tested: the test part is used once."""
    known = question.shared.get(MEMORY)
    if isinstance(known, Probed):
        return known
    labels, score, how, seed = labels_of(lesson.learned), lesson.score(), how_of(question), question.config.seed
    layers: list[Layer] = []
    best: Probe | None = None
    for want in layers_of(question.encoder):
        done = probe(lesson.train(want), labels, lesson.test(want), score, seed, how, lesson.validation(want))
        interval = metric_of_scores(question, lesson.asked, lesson.spread(done.scores))
        layers.append(Layer(want, done.validation, plain(interval)))
        if best is None or done.validation > best.validation:
            best, place = done, len(layers) - 1
    assert best is not None
    found = Probed(tuple(layers), place, best, lesson.spread(best.scores))
    question.shared[MEMORY] = found
    return found


def chosen_on(question: Question) -> dict[str, str]:
    """Under LACKING, that the benchmark's own validation part is not there: another penalty may be chosen than published
    probes have; {} where it is, or where there is none."""
    if question.task.val is None or question.val is not None:
        return {}
    return {
        LACKING: "the penalty is chosen on a fifth of the training part, since the benchmark's own val part is not there"
    }


def details_of(done: Probe) -> dict[str, object]:
    """The search, and under SOLVE the certificate of the final fit."""
    solve = {
        "iterations": done.fit.evaluations,
        "objective": significant(done.fit.objective),
        "gradient_norm": significant(done.fit.gradient_norm),
        "gap_bound": significant(done.fit.gap_bound),
        "search_iterations": [each.iterations for each in done.search],
    }
    search = [_of_search(asdict(each)) for each in done.search]
    found: dict[str, object] = {"search": search, "penalty": done.fit.penalty, SOLVE: solve}
    return found | ({"path": [_of_search(asdict(each)) for each in done.path]} if done.path else {})


def _of_search(row: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if key != "iterations"}
