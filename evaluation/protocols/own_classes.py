"""The classes that the model itself tells apart, beside those of the task: top-1 of a ViT or iGPT after (fine-)tuning.

Classes are joined by name (answers.py). A model that tells more classes than the task has answers with the task's alone; one
that lacks some of them is no model for the task. Details: "model_classes", how many the model tells apart.
"""

from collections.abc import Sequence

from evaluation.catalog.benchmarks import Task
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.models.layers import CLASSES
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.answers import groups, of_classes, unable
from evaluation.protocols.classified import add_classified
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.truth import truth_of

LOGITS = Wanted(CLASSES)


class OwnClasses:
    name = "own_classes"
    learns = False

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        if not encoder.class_names:
            return f"asks for the model's own classes, and {encoder.name} has none with names"
        return unable(task, encoder) if task.kind in ("classification", "multilabel") else "has no classes"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        return [(question.pictures, LOGITS)]

    def measure(self, question: Question) -> Findings:
        assert question.prompts is not None
        findings = Findings(question.task.name, self.name)
        truth = truth_of(question.task, question.pictures, question.prompts)
        logits_NK = question.features(question.pictures, [LOGITS])[LOGITS]
        places_C = groups(question.encoder, question.task)
        add_classified(findings, question, "head", truth, of_classes(logits_NK[truth.asked], places_C))
        findings.details["model_classes"] = len(question.encoder.class_names)
        return findings
