"""Looking inside as a protocol: no score but for the map's trust, all in `details`, for the report to draw.

    filters    {"explained", "components"}: principal components of the patch filters, as pictures
    positions  {"asked", "similarity"}: cosine of positions
    distances  per layer the mean attention distance of each head, in pixels of the model's square
    attention  pictures, each with the share of every patch that reaches the answer
    mistakes, confused   the surest wrong answers and the pairs most often confused, with pictures
    map        {"points", "labels", "trust"}: pictures in the plane

What a model has not (a residual network no attention, one without words and named classes no answers) is left out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Task
from evaluation.corruptions.variants import drawn, drawn_pictures
from evaluation.features.pixels import picture_pixels, square_of
from evaluation.features.wanted import Wanted
from evaluation.inside import attention, map, mistakes, weights
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.answers import groups, of_classes, unable, want
from evaluation.protocols.classified import label_positions
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.zero_shot_classifier import classifier, cosines
from evaluation.statistics.intervals import Interval


class Inside:
    name = "inside"
    learns = False

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        return None if task.kind == "classification" else "has no classes"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        wanted = dict.fromkeys((_wanted(question.encoder), *_answers(question)))
        return [(question.pictures, each) for each in wanted]

    def measure(self, question: Question) -> Findings:
        findings = Findings(question.task.name, self.name)
        model = getattr(question.encoder, "model", None)
        wanted = _wanted(question.encoder)
        features_ND = question.features(question.pictures, [wanted])[wanted]
        findings.details |= _of_weights(model) | _of_attention(question, model)
        for answers in _answers(question):
            rows_NK = question.features(question.pictures, [answers])[answers]
            findings.details |= _of_mistakes(question, *_scores(question, rows_NK))
        chosen = drawn_pictures(question.pictures, question.config.inside.map_pictures, question.config.seed)
        rows = drawn(question.pictures, question.config.inside.map_pictures, question.config.seed).tolist()
        plane = map.feature_map(np.asarray(features_ND)[rows])
        findings.details["map"] = {
            "points": np.round(plane.points, 4).tolist(),
            "labels": list(chosen.column(question.task.label)),
            "trust": round(plane.trust, 4),
        }
        # The trust of this map of these pictures: it is computed, not estimated, so its interval is the number itself.
        findings.add("trustworthiness", "map", Interval(plane.trust, plane.trust, plane.trust), len(rows))
        return findings


def _wanted(encoder: Encoder) -> Wanted:
    return Wanted() if encoder.reads_text else Wanted(encoder.probe_layers[len(encoder.probe_layers) // 2])


def _answers(question: Question) -> list[Wanted]:
    """The features that the model's answers are made of, none where it has no answers to this task."""
    return [] if unable(question.task, question.encoder) else [want(question.encoder)]


def _scores(question: Question, rows_NK: NDArray[np.float32]) -> tuple[NDArray[np.floating], float]:
    """Scores (N, C) of the task's classes, and what makes logits of them."""
    assert question.prompts is not None
    if not question.encoder.reads_text:
        return of_classes(rows_NK, groups(question.encoder, question.task)), 1.0
    return cosines(rows_NK, classifier(question.embed, question.prompts).weights), question.encoder.logit_scale


def _of_weights(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kernel = weights.patch_kernel(model)
    if kernel is not None:
        filters = weights.principal_filters(kernel)
        found["filters"] = {
            "explained": np.round(filters.explained, 4).tolist(),
            "components": [mistakes.small_picture(np.rint(each * 255).astype(np.uint8)) for each in filters.components],
        }
    positions = weights.patch_positions(model)
    if positions is not None:
        similarity, asked = weights.position_similarity(positions)
        found["positions"] = {"asked": asked, "similarity": np.round(similarity, 2).tolist()}
    return found


def _of_attention(question: Question, model: Any) -> dict[str, Any]:
    watched = attention.seer(model)
    if watched is None:
        return {}
    config, form = question.config.inside, question.encoder.form
    rows = drawn(question.pictures, config.attention_pictures, question.config.seed).tolist()
    squares = np.empty((len(rows), 3, form.side, form.side), np.uint8)
    for place, row in enumerate(rows):
        square_of(picture_pixels(question.pictures, row), form, squares[place])
    device = next(model.parameters()).device
    heard, shown = [], []
    step = 8  # a layer's weights, 16 heads x 577 x 577 tokens, take 21 MB per picture
    for start in range(0, len(rows), step):
        pixels_B3SS = torch.from_numpy(squares[start : start + step]).to(device)
        looked = attention.look(watched, pixels_B3SS)
        heard.append(len(pixels_B3SS) * looked.distances)
        if start < config.shown_pictures:
            shown.append(looked.reaches)
    maps = np.concatenate(shown)[: config.shown_pictures] if shown else np.zeros((0, 1, 1))
    return {
        "distances": np.round(np.sum(heard, axis=0) / len(rows), 3).tolist(),
        "square_pixels": form.side,
        "attention": [
            {
                "picture": mistakes.small_picture(squares[place].transpose(1, 2, 0)),
                "reaches": np.round(each, 3).tolist(),
            }
            for place, each in enumerate(maps)
        ],
    }


def _of_mistakes(question: Question, scores_NC: NDArray[np.floating], scale: float) -> dict[str, Any]:
    assert question.prompts is not None
    prompts, most, pictures = question.prompts, question.config.inside.mistakes, question.pictures
    labels_N = label_positions(pictures, question.task.label, prompts)
    answers_N = scores_NC.argmax(axis=1)
    sure_N = mistakes.confidence(scores_NC, scale)
    names = list(prompts.classes)

    def shown(index: int) -> str:
        return mistakes.small_picture(picture_pixels(pictures, index))

    wrong = mistakes.surest_mistakes(labels_N, answers_N, sure_N, most)
    pairs = mistakes.confused_pairs(labels_N, answers_N, sure_N, len(names), most)
    return {
        "mistakes": [
            {"index": index, "label": names[labels_N[index]], "answer": names[answers_N[index]],
             "confidence": round(float(sure_N[index]), 4), "picture": shown(index)}
            for index in wrong
        ],
        "confused": [
            {"label": names[pair.label], "answer": names[pair.answer], "count": pair.times, "of": pair.of,
             "picture": shown(pair.example)}
            for pair in pairs
        ],
    }  # fmt: skip
