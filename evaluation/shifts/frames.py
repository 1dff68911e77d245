"""Anchors of films: answered right alone (pm-0), and with every verified frame within ten of them (pm-10).

Of a frame's picture, `frame` is its key, `anchor` "yes" where it is one, and `of` the anchors in whose set it is, itself included
(evaluation/pictures/frames.py). Each frame is asked for the labels that stand with it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.pictures.pictures import Pictures
from evaluation.shifts.scoring import any_label_right, pm_k


def anchors_right(pictures: Pictures, label: str, answers: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """(A,) each, the anchors in the order of their pictures: "pm-0" and "pm-10"."""
    correct_N = any_label_right(answers, pictures.words(label))
    frames, is_anchor = pictures.column("frame"), pictures.column("anchor")
    own = {frames[at]: at for at in range(pictures.count) if is_anchor[at] == "yes"}
    sets: dict[str, list[int]] = {key: [at] for key, at in own.items()}
    for at, owners in enumerate(pictures.words("of")):
        for key in owners:
            sets[key].append(at)
    alone = [[at] for at in own.values()]
    return {"pm-0": pm_k(correct_N, alone), "pm-10": pm_k(correct_N, list(sets.values()))}
