"""Nearest neighbours as a protocol (probe/neighbours.py): what the features say before anything is learned from them.

Variants are "k=20". Details: "values" by k (the task's own metric), "temperature", and the confusions of the first k.
"""

from collections.abc import Sequence

from evaluation.catalog.benchmarks import Task
from evaluation.features.store import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.probe.neighbours import nearest, votes
from evaluation.protocols.classified import add_classified, metric_of_scores
from evaluation.protocols.lesson import how_of, lesson_of, parts_of, unfit_to_learn, usual_layer
from evaluation.protocols.protocol import Findings, Question, significant


class NearestNeighbours:
    name = "knn"
    learns = True

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        return unfit_to_learn(task, ("classification",))

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        return [(part, usual_layer(question.encoder)) for part in parts_of(question)]

    def measure(self, question: Question) -> Findings:
        assert question.prompts is not None
        findings = Findings(question.task.name, self.name)
        config, how, lesson = question.config.probe, how_of(question), lesson_of(question)
        layer = usual_layer(question.encoder)
        stored_MW, labels_M = lesson.everything(layer)
        counts = [each for each in config.neighbours if each <= len(stored_MW)] or [len(stored_MW)]
        similar_NK, found_NK = nearest(stored_MW, lesson.test(layer), max(counts), how.device, how.precision)
        classes = len(question.prompts.classes)
        shares = votes(similar_NK, labels_M[found_NK], classes, counts, config.temperature)
        for count in reversed(counts):
            add_classified(findings, question, f"k={count}", lesson.asked, lesson.spread(shares[count]), scale=None)
        findings.scores.reverse()
        findings.details |= {
            "values": {
                str(count): significant(metric_of_scores(question, lesson.asked, lesson.spread(shares[count])).value)
                for count in counts
            },
            "temperature": config.temperature,
            "skipped": [each for each in config.neighbours if each > len(stored_MW)],
        }
        return findings
