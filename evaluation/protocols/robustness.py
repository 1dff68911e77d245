"""Robustness to corruptions as a protocol: zero-shot accuracy on pictures corrupted in memory."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Task
from evaluation.corruptions.constants import Setting, setting_for
from evaluation.corruptions.variants import SEVERITIES, Variant, drawn_pictures, summarise, variants
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.classified import label_positions
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.zero_shot_classifier import classifier, cosines
from evaluation.statistics.intervals import wilson


class Robustness:
    name = "robustness"
    learns = False

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        if not encoder.reads_text:
            return f"asks in words, and {encoder.spec.name} reads none"
        return None if task.kind == "classification" else f"{task.name} has no classes"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        drawn = drawn_for(question)
        corrupted = [Wanted(variant=variant) for variant in _variants(question)]
        return [(drawn, want) for want in (Wanted(), *corrupted)]

    def measure(self, question: Question) -> Findings:
        assert question.prompts is not None
        config, task = question.config, question.task
        findings = Findings(task.name, self.name)
        words = classifier(question.embed, question.prompts)
        drawn, altered = drawn_for(question), _variants(question)
        labels_N = label_positions(drawn, task.label, question.prompts)
        features = question.features(drawn, [want for _, want in self.reads(question)])

        def right(want: Wanted) -> NDArray[np.bool_]:
            return np.asarray(cosines(features[want], words.weights).argmax(axis=1) == labels_N)

        correct = {variant: right(Wanted(variant=variant)) for variant in altered}
        clean = right(Wanted())
        summary = {"clean": wilson(int(clean.sum()), len(clean))}
        summary |= summarise(correct, config.bootstrap_resamples, config.seed)
        for variant, interval in summary.items():
            findings.add("top1", variant, interval, len(labels_N))
        findings.details["constants"] = altered[0].setting
        findings.details["curves"] = {"clean": summary["clean"].value} | {
            name: [summary[f"{name}/{severity}"].value for severity in SEVERITIES] for name in config.corruptions
        }
        return findings


def drawn_for(question: Question) -> Pictures:
    """The pictures that are altered: at most `evaluate.robustness_pictures`."""
    return drawn_pictures(question.pictures, question.config.robustness_pictures, question.config.seed)


def _variants(question: Question) -> list[Variant]:
    config = question.config.robustness
    setting: Setting = _fitting(question) if config.constants == "auto" else config.constants
    return variants(question.config.corruptions, setting, config.frost or "")


def _fitting(question: Question) -> Setting:
    """The table made for pictures of this size: a dataset is of one size, or of photographs of all sizes."""
    return setting_for(min(question.pictures.read(0).size))
