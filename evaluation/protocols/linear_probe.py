"""The linear probe as a protocol: of several layers, the one that does best on the validation part is tested.

Details: "search" (penalty, validation), "path" (all 97, with evaluate.probe.full_path), "penalty", "solve" ("iterations",
"objective", "gradient_norm" (largest entry per picture), "gap_bound": how far above the optimum the fit can be, with the intercept
at its best), "no_examples" (pairs of picture and class that were not learned from), and for models with several layers "layer" and
"layers" (validation and test by layer).
"""

from collections.abc import Sequence

from evaluation.catalog.benchmarks import Task
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.classified import add_classified
from evaluation.protocols.lesson import labels_of, layers_of, lesson_of, parts_of, unfit_to_learn
from evaluation.protocols.probed import chosen_on, details_of, probed
from evaluation.protocols.protocol import Findings, Question


class LinearProbe:
    name = "linear_probe"
    learns = True

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        return unfit_to_learn(task)

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        return [(part, want) for part in parts_of(question) for want in layers_of(question.encoder)]

    def measure(self, question: Question) -> Findings:
        findings, lesson = Findings(question.task.name, self.name), lesson_of(question)
        found = probed(question, lesson)
        add_classified(findings, question, "test", lesson.asked, found.scores)
        findings.details |= details_of(found.probe) | chosen_on(question)
        if lesson.learned.ignored is not None:
            findings.details["no_examples"] = {"pairs": int((labels_of(lesson.learned) < 0).sum())}
        if len(found.layers) > 1:
            findings.details["layer"] = found.layers[found.best].want.layer
            findings.details["layers"] = {each.want.layer: each.told for each in found.layers}
        return findings
