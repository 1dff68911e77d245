"""A linear probe of every layer, and of the five around the best one together (Chen et al. 2020, "Generative Pretraining from
Pixels", section 4.2 and table 1: iGPT-XL goes from 68.7 to 72.0 % on ImageNet by five layers, 15,360 features).

A score per layer, too, named by it. Details: "curve" (layer -> validation, test with interval), "best", "together" (the layers
that were joined), and the joined probe's search.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.catalog.benchmarks import Task
from evaluation.features.store import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.probe.linear_probe import probe
from evaluation.protocols.classified import add_classified
from evaluation.protocols.lesson import how_of, labels_of, layers_of, lesson_of, parts_of, unfit_to_learn
from evaluation.protocols.probed import chosen_on, details_of, probed
from evaluation.protocols.protocol import Findings, Question
from evaluation.statistics.intervals import Interval

JOINED = 5


class Layers:
    name = "layers"
    learns = True

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        if len(encoder.probe_layers) < 2:
            return f"{encoder.name} gives the features of one layer"
        return unfit_to_learn(task)

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        return [(part, want) for part in parts_of(question) for want in layers_of(question.encoder)]

    def measure(self, question: Question) -> Findings:
        findings, lesson = Findings(question.task.name, self.name), lesson_of(question)
        found = probed(question, lesson)
        add_classified(findings, question, "best", lesson.asked, found.scores)
        together = [each.want for each in found.layers[_around(found.best, len(found.layers))]]
        own = [lesson.validation(want) for want in together]
        joined = probe(
            np.hstack([lesson.train(want) for want in together]),
            labels_of(lesson.learned),
            np.hstack([lesson.test(want) for want in together]),
            lesson.score(),
            question.config.seed,
            how_of(question),
            (np.hstack([part[0] for part in own if part]), own[0][1]) if own[0] else None,
        )
        add_classified(findings, question, f"{len(together)} layers", lesson.asked, lesson.spread(joined.scores))
        for each in found.layers:
            interval = Interval(each.test["value"], each.test["low"], each.test["high"])
            findings.add(question.task.metric, each.want.layer, interval, len(lesson.asked.labels))
        findings.details |= (
            details_of(joined)
            | chosen_on(question)
            | {
                "curve": {each.want.layer: each.told for each in found.layers},
                "best": found.layers[found.best].want.layer,
                "together": [want.layer for want in together],
            }
        )
        return findings


def _around(best: int, count: int) -> slice:
    """JOINED neighbours with the best one in the middle, moved inwards at either end."""
    first = min(max(0, best - JOINED // 2), max(0, count - JOINED))
    return slice(first, first + JOINED)
