"""Robustness to corruptions as a protocol: accuracy, in words or by the model's own classes, on pictures corrupted in memory."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Task
from evaluation.corruptions.constants import Setting, setting_for
from evaluation.corruptions.variants import SEVERITIES, Variant, drawn, drawn_pictures, means, variants
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.answers import answerer, unable, want
from evaluation.protocols.classified import label_positions
from evaluation.protocols.outcomes import add_answered_rows, add_value_rows, asked_of
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.truth import clusters_of
from evaluation.statistics.clustered import means_interval, share_interval


class Robustness:
    name = "robustness"
    learns = False

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        return unable(task, encoder) if task.kind == "classification" else "has no classes"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        drawn = drawn_for(question)
        return [(drawn, want(question.encoder, variant)) for variant in (None, *_variants(question))]

    def measure(self, question: Question) -> Findings:
        assert question.prompts is not None
        config, task = question.config, question.task
        findings = Findings(task.name, self.name)
        answers = answerer(question)
        altered_pictures, altered = drawn_for(question), _variants(question)
        labels_N = label_positions(altered_pictures, task.label, question.prompts)
        features = question.features(altered_pictures, [wanted for _, wanted in self.reads(question)])

        classes = np.array(list(question.prompts.classes))
        spoken, places_N = classes[labels_N].tolist(), places_of(question)
        clusters_N = clusters_of(altered_pictures)
        correct: dict[Variant, NDArray[np.bool_]] = {}
        for variant in (None, *altered):
            answers_N = answers(features[want(question.encoder, variant)])
            right_N = np.asarray(answers_N == labels_N)
            name = str(variant) if variant else "clean"
            findings.add("top1", name, share_interval(right_N, clusters_N), len(right_N))
            add_answered_rows(findings, question.pictures, name, spoken, classes[answers_N].tolist(), places_N)
            if variant:
                correct[variant] = right_N
        for name, share_N in means(correct).items():
            findings.add("top1", name, means_interval(share_N, clusters=clusters_N), len(share_N))
            add_value_rows(findings, question.pictures, f"top1/{name}", share_N, spoken, places_N)
        asked_of(findings, identity=question.pictures.identity)
        findings.details["constants"] = altered[0].setting
        values = {score.variant: score.value for score in findings.scores}
        findings.details["curves"] = {"clean": values["clean"]} | {
            name: [values[f"{name}/{severity}"] for severity in SEVERITIES] for name in config.corruptions
        }
        return findings


def places_of(question: Question) -> NDArray[np.int64]:
    """Where in the task's list those that are altered stand."""
    return drawn(question.pictures, question.config.robustness_pictures, question.config.seed)


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
