"""Pictures that stand or fall together: clips of one video, frames of one film, drives of one car.

A model that knows one of them is likely to know the others, so they are not as many independent questions as they are pictures.
Column `cluster` says which belong together. A reader gives it where lists say it (KITTI's sequences); else a card does, by a
regular expression that finds the cluster's name in a picture's own (`cluster` in catalog/card.py). A copy whose names are
numbers (a webdataset) does not say it: intervals then take its pictures as independent, and a note says so (evaluation/notes.py).
"""

import re
from dataclasses import replace

from evaluation.pictures.pictures import Pictures

CLUSTER = "cluster"


def with_clusters(pictures: Pictures, pattern: str | None) -> Pictures:
    """With the column `cluster` where it is known; what the pattern does not find in a name stands for itself."""
    if CLUSTER in pictures.columns or pattern is None or "id" not in pictures.columns:
        return pictures
    found = [re.search(pattern, name) for name in pictures.column("id")]
    if not any(found):
        return pictures
    names = tuple(each.group() if each else name for each, name in zip(found, pictures.column("id"), strict=True))
    return replace(pictures, columns={**pictures.columns, CLUSTER: names})
