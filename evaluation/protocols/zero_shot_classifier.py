"""Zero-shot classification: class names in sentences are the classifier (Radford et al. 2021, arXiv:2103.00020, 3.1.4).

C = classes, S = synonyms of a class, T = templates, D = embedding width, N = pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Prompts

Rows = NDArray[np.float32]


def unit(rows: Rows) -> Rows:
    """Rows scaled to length 1."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@dataclass(frozen=True)
class Classifier:
    """`weights` (C, D) of all templates together, `single` (T, C, D) of each template alone; rows have unit length."""

    weights: Rows
    single: Rows


def classifier(encode_texts: Callable[[Sequence[str]], Rows], prompts: Prompts) -> Classifier:
    """Each prompt's embedding to unit length, mean over a class's synonyms and templates, unit length again.

    Averaged as embeddings, not as probabilities: the ensemble then costs what one prompt costs. Without the first
    normalisation long embeddings would outvote the others, and published figures are not reproduced.
    """
    spoken = [
        [template.replace("{}", name) for name in names]
        for template in prompts.templates
        for names in prompts.classes.values()
    ]
    distinct = sorted({prompt for group in spoken for prompt in group})
    embedded_PD = unit(encode_texts(distinct))
    place = {prompt: position for position, prompt in enumerate(distinct)}
    groups = [embedded_PD[[place[prompt] for prompt in group]] for group in spoken]

    classes = len(prompts.classes)
    single_TCD = unit(np.stack([group.mean(axis=0) for group in groups]).reshape(len(prompts.templates), classes, -1))
    weights_CD = unit(np.stack([np.concatenate(groups[c::classes]).mean(axis=0) for c in range(classes)]))
    return Classifier(weights_CD, single_TCD)


def cosines(embeddings_ND: Rows, weights_CD: Rows) -> Rows:
    """Cosine of each picture with each class, shape (N, C); the model's logits are these times its logit scale."""
    return unit(np.asarray(embeddings_ND)) @ weights_CD.T


def margins(scores_NC: Rows, labels_N: NDArray[np.int64]) -> Rows:
    """Score of the right class minus the best other one: positive where the answer is right."""
    rows = np.arange(len(labels_N))
    others_NC = scores_NC.copy()
    others_NC[rows, labels_N] = -np.inf
    return scores_NC[rows, labels_N] - others_NC.max(axis=1)
