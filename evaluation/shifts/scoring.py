"""How answers on shifted pictures count: heads of more classes than are asked for, several classes as one, frames of a film.

N = pictures, C = classes of the head, K = classes that are asked for, A = anchor frames.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def class_subset(
    scores_NC: NDArray[np.floating], head: Sequence[str], asked: Mapping[str, Sequence[str]]
) -> NDArray[np.float64]:
    """(N, K): a class's score is the best of the head's classes that fall on it, in the order of `asked`.

    ImageNet-A and -R ask for 200 of the head's 1000 (one to one); ObjectNet's 113 stand for 125 of them, the frame sets' 30 and
    22 for some hundreds. Head classes that nobody asks for take no part. Raises KeyError for a class that the head lacks.
    """
    place = {name: position for position, name in enumerate(head)}
    columns = [np.asarray(scores_NC)[:, [place[name] for name in names]].max(axis=1) for names in asked.values()]
    return np.stack(columns, axis=1).astype(np.float64)


def pm_k(correct_N: NDArray[np.bool_], near: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """(A,): whether every frame of an anchor's set was answered right (Shankar et al. 2019, arXiv:1906.02168).

    `near[a]` are positions of the anchor and of the verified frames within k of it; the anchor alone gives pm-0.
    """
    return np.array([bool(np.asarray(correct_N)[list(frames)].all()) for frames in near], bool)


def any_label_right(predictions: Sequence[str], labels: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """Whether the answer is one of a picture's labels; frames and ReaL have several."""
    return np.array([answer in set(right) for answer, right in zip(predictions, labels, strict=True)], bool)
