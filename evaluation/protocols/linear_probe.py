"""The linear probe as a protocol: of several layers, the one that does best on the validation part is tested.

Details: "search" (penalty, validation, iterations), "path" (all 97, with evaluate.probe.full_path), "penalty", "iterations",
"objective", "gradient_norm" (largest entry per picture), "gap_bound" (how far above the optimum the fit can be, with the
intercept at its best), and for models with several layers "layer" and "layers" (validation and test by layer).
"""

from collections.abc import Sequence
from dataclasses import asdict

from evaluation.catalog.benchmarks import Task
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.probe.linear_probe import Probe, probe
from evaluation.protocols.classified import add_classified, metric_of_scores
from evaluation.protocols.lesson import how_of, labels_of, layers_of, lesson_of, parts_of, unfit_to_learn
from evaluation.protocols.protocol import Findings, Question, significant


class LinearProbe:
    name = "linear_probe"
    learns = True

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        return unfit_to_learn(task)

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        return [(part, want) for part in parts_of(question) for want in layers_of(question.encoder)]

    def measure(self, question: Question) -> Findings:
        findings = Findings(question.task.name, self.name)
        lesson, how = lesson_of(question), how_of(question)
        labels, score = labels_of(lesson.learned), lesson.score()
        tried = {
            want: probe(
                lesson.train(want), labels, lesson.test(want), score, question.config.seed, how, lesson.validation(want)
            )
            for want in layers_of(question.encoder)
        }
        # Of several layers the one that does best on the validation part; the test part is used once.
        best = max(tried, key=lambda want: tried[want].validation)
        add_classified(findings, question, "test", lesson.asked, lesson.spread(tried[best].scores))
        findings.details |= details_of(tried[best])
        if len(tried) > 1:
            findings.details["layer"] = best.layer
            findings.details["layers"] = {
                want.layer: {
                    "validation": significant(found.validation),
                    "test": significant(metric_of_scores(question, lesson.asked, lesson.spread(found.scores))),
                }
                for want, found in tried.items()
            }
        return findings


def details_of(done: Probe) -> dict[str, object]:
    """The search and the certificate of the final fit."""
    found: dict[str, object] = {
        "search": [asdict(each) for each in done.search],
        "penalty": done.fit.penalty,
        "iterations": done.fit.evaluations,
        "objective": significant(done.fit.objective),
        "gradient_norm": significant(done.fit.gradient_norm),
        "gap_bound": significant(done.fit.gap_bound),
    }
    return found | ({"path": [asdict(each) for each in done.path]} if done.path else {})
