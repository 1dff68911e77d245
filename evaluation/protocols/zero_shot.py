"""Zero-shot classification as a protocol: the ensemble of all sentences, and each template alone for the spread.

Details: "templates" (value of each alone), "template_statistics", "prompts" (what was asked, where it is from), "calibration".
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Task
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.classified import add_classified, metric_of_scores, plain
from evaluation.protocols.protocol import Findings, Question, significant
from evaluation.protocols.spoken import Spoken, read_descriptions, spoken
from evaluation.protocols.truth import Truth, truth_of
from evaluation.protocols.zero_shot_classifier import Classifier, Rows, classifier, cosines
from evaluation.statistics.calibration import calibration_error, confidences, fit_temperature, probabilities
from pipeline import storage

CLIP_SCALE = 100.0
"""What cosines are multiplied by before the softmax behind VOC's published figures (openai/CLIP#153)."""


class ZeroShot:
    name = "zero_shot"
    learns = False

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        if not encoder.reads_text:
            return f"asks in words, and {encoder.spec.name} reads none"
        return None if task.kind in ("classification", "multilabel") else "has no classes"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        held_out = _held_out(question)
        return [(part, Wanted()) for part in (question.pictures, held_out) if part is not None]

    def measure(self, question: Question) -> Findings:
        assert question.prompts is not None
        task = question.task
        findings = Findings(task.name, self.name)
        truth = truth_of(task, question.pictures, question.prompts)
        said, about = _said(question)
        words = classifier(question.embed, said)
        rows_ND = question.features(question.pictures, [Wanted()])[Wanted()]
        embeddings_ND = rows_ND if len(truth.asked) == len(rows_ND) else rows_ND[truth.asked]
        scores_NC = cosines(embeddings_ND, words.weights)
        add_classified(
            findings, question, "ensemble", truth, scores_NC, question.encoder.logit_scale, _scores_of(task, scores_NC)
        )
        findings.details["prompts"] = about
        if alike := _alike(list(question.prompts.classes), said):
            findings.details["same_names"] = alike
        if task.kind == "classification" and (held_out := _held_out(question)):
            findings.details["calibration"] |= _with_temperature(findings, question, held_out, words, truth, scores_NC)
        elif task.kind == "classification" and task.train and question.config.zero_shot.temperature_pictures:
            findings.lacks(f"{task.name}: no temperature, since its training pictures cannot be read; put them beside")
        values = [
            metric_of_scores(question, truth, _own(task, cosines(embeddings_ND, one_CD))) for one_CD in words.single
        ]
        if values:
            whole = metric_of_scores(question, truth, _own(task, scores_NC)).value
            templates = question.prompts.templates
            findings.details["templates"] = [
                {"template": template} | plain(value) for template, value in zip(templates, values, strict=True)
            ]
            findings.details["template_statistics"] = _spread(
                templates, [significant(each.value) for each in values], whole
            )
        return findings


def _said(question: Question) -> tuple[Spoken, dict[str, Any]]:
    """The sentences, and what the report says of them: counts, a hash, where descriptions are from."""
    assert question.prompts is not None
    config = question.config.zero_shot
    path = config.descriptions.get(question.task.name)
    descriptions = read_descriptions(question.task.name, path, question.prompts) if path else None
    said = spoken(question.prompts, descriptions, config.with_templates, config.canonical_text)
    ensemble = said.ensemble()
    about = {
        "version": question.prompts.version,
        "templates": len(said.single),
        "sentences": sum(map(len, ensemble)),
        "sha256": storage.sha256(storage.canonical_json(ensemble)),
        "canonical_text": config.canonical_text,
    }
    return said, about | ({"descriptions": dict(descriptions.provenance)} if descriptions else {})


def _alike(classes: Sequence[str], said: Spoken) -> list[list[str]]:
    """Groups of classes that are asked for in the very same sentences."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, sentences in zip(classes, said.ensemble(), strict=True):
        groups.setdefault(tuple(sentences), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _scores_of(task: Task, scores_NC: Rows) -> Mapping[str, NDArray[np.floating]]:
    return {"map_11_point": _softmax(scores_NC)} if task.kind == "multilabel" else {}


def _own(task: Task, scores_NC: Rows) -> NDArray[np.floating]:
    """The scores that the task's own metric is defined on."""
    return _softmax(scores_NC) if task.metric == "map_11_point" else scores_NC


def _softmax(scores_NC: Rows) -> NDArray[np.floating]:
    """VOC's published figures are only reproduced when a picture's classes compete before pictures are ranked."""
    return probabilities(CLIP_SCALE * scores_NC)


def _spread(templates: Sequence[str], values: Sequence[float], ensemble: float) -> dict[str, Any]:
    """Best, worst and median single template: the choice of one is worth up to five points."""
    best, worst = max(range(len(values)), key=values.__getitem__), min(range(len(values)), key=values.__getitem__)
    return {
        "count": len(values),
        "best": {"template": templates[best], "value": values[best]},
        "worst": {"template": templates[worst], "value": values[worst]},
        "median": significant(statistics.median(values)),
        "spread": significant(values[best] - values[worst]),
        "deviation": significant(statistics.pstdev(values)),
        "ensemble_minus_median": significant(ensemble - statistics.median(values)),
    }


def _held_out(question: Question) -> Pictures | None:
    """The training pictures that a temperature is fitted on, drawn once by seed; None where none is asked for."""
    wanted, train = question.config.zero_shot.temperature_pictures, question.train
    if not wanted or train is None:
        return None
    drawn = np.random.default_rng(question.config.seed).permutation(train.count)[:wanted]
    return train.subset(sorted(drawn.tolist()))


def _with_temperature(
    findings: Findings, question: Question, held_out: Pictures, words: Classifier, truth: Truth, scores_NC: Rows
) -> dict[str, Any]:
    """The error after dividing the logits by a temperature that the held-out training pictures gave."""
    assert question.prompts is not None
    config, scale = question.config, question.encoder.logit_scale
    learned = truth_of(question.task, held_out, question.prompts)
    rows_ND = question.features(held_out, [Wanted()])[Wanted()][learned.asked]
    temperature = fit_temperature(cosines(rows_ND, words.weights) * scale, learned.labels)
    confidence_N = confidences(scores_NC, scale / temperature)
    answered_N = scores_NC.argmax(axis=1)
    right_N = answered_N == truth.labels
    if truth.right is not None:
        right_N = truth.right[np.arange(len(answered_N)), answered_N]
    how = config.bootstrap_resamples, config.seed
    error = calibration_error(confidence_N, right_N, *how, clusters=truth.clusters)
    findings.add("calibration_error", "temperature", error, len(scores_NC))
    return {
        "temperature": significant(temperature),
        "fitted_on": len(learned.labels),
        "error_with_temperature": significant(error.value),
    }
