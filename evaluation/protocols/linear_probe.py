"""The linear probe as a protocol: of several layers, the one that does best on the validation part is tested."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Task
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.probe.linear_probe import probe
from evaluation.protocols.classified import add_classified, label_positions, metric_value
from evaluation.protocols.protocol import Findings, Question, significant


class LinearProbe:
    name = "linear_probe"
    learns = True

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        return (
            None
            if task.kind == "classification" and task.train
            else f"{task.name} has no training pictures with classes"
        )

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        assert question.train is not None
        return [(part, want) for part in (question.train, question.pictures) for want in _layers(question.encoder)]

    def measure(self, question: Question) -> Findings:
        assert question.train is not None
        assert question.prompts is not None
        task, layers = question.task, _layers(question.encoder)
        findings = Findings(task.name, self.name)
        labels_N = label_positions(question.pictures, task.label, question.prompts)
        train_labels_N = label_positions(question.train, task.label, question.prompts)
        learned, asked = question.features(question.train, layers), question.features(question.pictures, layers)

        def value(right: NDArray[np.int64], answered: NDArray[np.int64]) -> float:
            return metric_value(question, right, answered)

        tried = {w: probe(learned[w], train_labels_N, asked[w], value, question.config.seed) for w in layers}
        # Of several layers the one that does best on the validation part; the test part is used once.
        best = max(tried, key=lambda want: max(each.validation for each in tried[want].search))
        done = tried[best]
        scores_NC = np.full((question.pictures.count, len(question.prompts.classes)), -np.inf)
        scores_NC[:, : done.scores.shape[1]] = done.scores
        add_classified(findings, question, "test", labels_N, scores_NC)
        findings.details |= {
            "search": [asdict(each) for each in done.search],
            "penalty": done.penalty,
            "iterations": done.iterations,
            "gradient_norm": significant(done.gradient_norm),
        }
        if len(tried) > 1:
            findings.details["layer"] = best.layer
            findings.details["layers"] = {
                want.layer: {
                    "validation": max(each.validation for each in found.search),
                    "test": significant(value(labels_N, found.scores.argmax(axis=1))),
                }
                for want, found in tried.items()
            }
        return findings


def _layers(encoder: Encoder) -> list[Wanted]:
    return [Wanted(layer) for layer in encoder.probe_layers]
