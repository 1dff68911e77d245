"""Zero-shot classification as a protocol: the ensemble of all templates, and each template alone for the spread."""

from collections.abc import Sequence

from evaluation.catalog.benchmarks import Task
from evaluation.features.store import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.classified import add_classified, label_positions, metric_value
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.zero_shot_classifier import classifier, cosines


class ZeroShot:
    name = "zero_shot"

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        if not encoder.reads_text:
            return f"asks in words, and {encoder.spec.name} reads none"
        return None if task.kind == "classification" else f"{task.name} has no classes"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        return [(question.pictures, Wanted())]

    def measure(self, question: Question) -> Findings:
        assert question.prompts is not None
        findings = Findings(question.task.name, self.name)
        labels_N = label_positions(question.pictures, question.task.label, question.prompts)
        words = classifier(question.encoder.texts, question.prompts)
        embeddings_ND = question.features(question.pictures, [Wanted()])[Wanted()]
        add_classified(findings, question, "ensemble", labels_N, cosines(embeddings_ND, words.weights))
        findings.details["templates"] = [
            {
                "template": template,
                "value": metric_value(question, labels_N, cosines(embeddings_ND, one).argmax(axis=1)),
            }
            for template, one in zip(question.prompts.templates, words.single, strict=True)
        ]
        return findings
