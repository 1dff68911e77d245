"""The right classes of a task's pictures, joined by word: one per picture, several of which any counts, or any number.

N = pictures that are asked about, C = classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Prompts, Task
from evaluation.pictures.clusters import CLUSTER
from evaluation.pictures.pictures import Pictures
from evaluation.statistics.metrics import EACH_ALONE, Answers
from pipeline.errors import DataError

DIFFICULT = "difficult"
"""Column of the classes of which a picture has doubtful objects alone: they count neither way in a multi-label metric."""
SEVERAL_LABELS = "its pictures have several labels, which this is not asked of; zero_shot and linear_probe are"
FOLD = "fold"
"""Column of pictures whose benchmark predefines parts that are averaged."""


@dataclass(frozen=True)
class Truth:
    """labels   (N,) position of the right class, of the first of several, -1 where a picture has none
    right    (N, C) where pictures may have any number of classes, else None
    asked    (N,) where in the list the pictures are: those without a label are left out where one is asked for
    folds    (N,) or None
    ignored  (N, C) classes for which a picture is neither right nor wrong, or None: VOC's difficult objects
    clusters (N,) which pictures stand or fall together, or None: clips of one video
    """

    labels: NDArray[np.int64]
    right: NDArray[np.bool_] | None
    asked: NDArray[np.int64]
    folds: NDArray[np.int64] | None = None
    ignored: NDArray[np.bool_] | None = None
    clusters: NDArray[np.int64] | None = None

    def answers(self, scores_NC: NDArray[np.floating]) -> Answers:
        """What scores (N, C) of the pictures asked about amount to."""
        return Answers.of(scores_NC, self.labels, self.right, self.folds, self.ignored, self.clusters)


def clusters_of(pictures: Pictures, places_N: NDArray[np.int64] | None = None) -> NDArray[np.int64] | None:
    """(N,) which of the pictures at `places_N`, or of all, are of one cluster; None where nothing is known of any."""
    if CLUSTER not in pictures.columns:
        return None
    clusters_N = _positions(pictures.column(CLUSTER))
    return clusters_N if places_N is None else clusters_N[places_N]


def truth_of(task: Task, pictures: Pictures, prompts: Prompts) -> Truth:
    """What is right, by the task's label column. Raises DataError for a class without a name, or where nothing is labelled.

    A tuple of words per picture is many labels for a task whose metric ranks pictures by class, all of which count on their
    own; for any other it is labels any of which is right (ReaL, Beyer et al. 2020, arXiv:2006.07159), and pictures without are
    left out.
    """
    column: Sequence[str | tuple[str, ...]] = pictures.column(task.label)
    place = {name: position for position, name in enumerate(prompts.classes)}
    words = {word for each in column for word in ((each,) if isinstance(each, str) else each)}
    unknown = sorted(words - set(place))
    if unknown:
        raise DataError(f"{pictures.name}: class '{unknown[0]}' has no prompts; add it to the task's prompt file")
    folds = _positions(pictures.column(FOLD)) if FOLD in pictures.columns else None
    alone = task.metric in EACH_ALONE  # one label of each picture, as in a small validation part, is any number, too
    if not alone and all(isinstance(each, str) for each in column):
        labels_N = np.array([place[str(word)] for word in column], np.int64)
        return Truth(labels_N, None, np.arange(len(column)), folds, clusters=clusters_of(pictures))
    right_NC = np.zeros((len(column), len(place)), bool)
    for row, each in enumerate(column):
        right_NC[row, [place[word] for word in ((each,) if isinstance(each, str) else each)]] = True
    some_N = right_NC.any(axis=1)
    if not some_N.any():
        raise DataError(f"{pictures.name}: no picture has a label in column '{task.label}'")
    asked = np.arange(len(column)) if alone else np.flatnonzero(some_N)
    labels_N = np.where(some_N, right_NC.argmax(axis=1), -1)[asked]
    ignored = _ignored(task, pictures, place)
    return Truth(
        labels_N,
        right_NC[asked],
        asked,
        folds[asked] if folds is not None else None,
        ignored[asked] if ignored is not None else None,
        clusters_of(pictures, asked),
    )


def _ignored(task: Task, pictures: Pictures, place: Mapping[str, int]) -> NDArray[np.bool_] | None:
    """(N, C), None where no picture has such a class: VOC's own scoring (VOCevalcls of its devkit) counts a picture that is 0
    in a class's list neither as found nor as a mistake."""
    if task.kind != "multilabel" or DIFFICULT not in pictures.columns:
        return None
    ignored_NC = np.zeros((pictures.count, len(place)), bool)
    for row, words in enumerate(pictures.words(DIFFICULT)):
        ignored_NC[row, [place[word] for word in words if word in place]] = True
    return ignored_NC if ignored_NC.any() else None


def _positions(words: Sequence[str]) -> NDArray[np.int64]:
    place = {word: position for position, word in enumerate(sorted(set(words)))}
    return np.array([place[word] for word in words], np.int64)
