"""Zero-shot classification: class names in sentences are the classifier (Radford et al. 2021, arXiv:2103.00020, 3.1.4).

C = classes, T = templates, P = distinct sentences, D = embedding width, N = pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Prompts
from evaluation.models.directions import unit
from evaluation.protocols.spoken import Spoken, spoken
from pipeline.errors import DataError

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """`weights` (C, D) of all sentences together, `single` (T, C, D) of each template alone; rows have unit length."""

    weights: Rows
    single: Rows


def classifier(encode_texts: Callable[[Sequence[str]], Rows], prompts: Prompts | Spoken) -> Classifier:
    """Each sentence's embedding to unit length, mean over a class's sentences, unit length again.

    Averaged as embeddings, not as probabilities: the ensemble then costs what one prompt costs. Without the first
    normalisation long embeddings would outvote the others, and published figures are not reproduced.
    Raises DataError where an embedding has no direction.
    """
    words = prompts if isinstance(prompts, Spoken) else spoken(prompts)
    ensemble = words.ensemble()
    distinct = sorted({sentence for group in ensemble for sentence in group})
    embedded_PD = unit(encode_texts(distinct))
    wrong_P = ~np.isfinite(embedded_PD).all(axis=1)
    if wrong_P.any():
        raise DataError(
            f"the model's embedding of {distinct[int(wrong_P.argmax())]!r} (and {int(wrong_P.sum()) - 1} other prompts) is NaN,"
            " infinite or zero; its weights or its precision are broken"
        )
    place = {sentence: position for position, sentence in enumerate(distinct)}

    def means(groups: Sequence[Sequence[str]]) -> Rows:
        return unit(np.stack([embedded_PD[[place[each] for each in group]].mean(axis=0) for group in groups]))

    single = [means(template) for template in words.single]
    width = embedded_PD.shape[1]
    return Classifier(means(ensemble), np.stack(single) if single else np.zeros((0, len(ensemble), width), np.float32))


def cosines(embeddings_ND: Rows, weights_CD: Rows) -> Rows:
    """Cosine of each picture with each class, shape (N, C); the model's logits are these times its logit scale."""
    return unit(np.asarray(embeddings_ND)) @ weights_CD.T


def margins(
    scores_NC: NDArray[np.floating], labels_N: NDArray[np.int64], right_NC: NDArray[np.bool_] | None = None
) -> NDArray[np.floating]:
    """Score of the right class (the best of several) minus the best other one: positive where the answer is right."""
    if right_NC is None:
        right_NC = np.eye(scores_NC.shape[1], dtype=bool)[labels_N]
    best_N = np.where(right_NC, scores_NC, -np.inf).max(axis=1)
    out: NDArray[np.floating] = best_N - np.where(right_NC, -np.inf, scores_NC).max(axis=1)
    return out
