"""The paired test of orderings (areas under the curve, average precision): each picture's two models change places by a coin.

Were the models equal, a picture's two scores might as well have come the other way round; so the difference of the two numbers
after every pattern of exchanges is as likely as the observed one, and p is the share of patterns that lie as far out (those as
far count half, as everywhere in paired.py). Nothing is assumed of how scores are distributed, which is what a bootstrap's normal
tail gets wrong for average precision: of a few hundred right pictures its tail is too thin.

Scores of two models have no common scale, so what is exchanged are their ranks among the pictures (Bandos, Rockette and Gur 2005,
"A permutation test sensitive to differences in areas for comparing ROC curves from a paired design", Statistics in Medicine
24:2873; before them Venkatraman and Begg 1996, Biometrika 83:835, for whole curves). All classes of a picture change places
together, and so do all pictures of a cluster. infra/benchmarks/paired_test_size.py measures it, also where one model's scores
are those of another shape.

Calibration errors keep the bootstrap: two models with the same error, one too sure and one too shy, are not exchangeable, and
this test would call them different twice as often as it should. N = pictures, C = classes, R = coins per chunk, G = clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from evaluation.statistics.intervals import CHUNK_WEIGHTS, Statistic
from evaluation.statistics.metrics import OfOne, of_classes
from evaluation.statistics.ranked import mean_over_classes


@dataclass(frozen=True)
class Ordered:
    """A metric that looks at the order of the pictures alone: `of_one` of each class's scores (N, C) and right pictures (N, C),
    without those `ignored` (N, C), averaged over the classes."""

    of_one: OfOne
    scores: NDArray[np.floating]
    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_] | None = None

    def beside(self, other: "Ordered") -> Statistic:
        """Of weights (R, 2N): this model's answers to the pictures, and then the other's, all on one scale of ranks."""
        models = [np.where(_counted(self), each.scores, np.nan) for each in (self, other)]
        ranks_MC = np.concatenate([rankdata(scores_NC, axis=0, nan_policy="omit") for scores_NC in models])
        right_MC, there = np.tile(self.right, (2, 1)), np.flatnonzero(self.right.any(axis=0))
        ignored_MC = None if self.ignored is None else np.tile(self.ignored, (2, 1))
        return mean_over_classes(of_classes(ranks_MC, right_MC, ignored_MC, self.of_one, there))


def _counted(of: Ordered) -> NDArray[np.bool_] | bool:
    return True if of.ignored is None else ~of.ignored


def exchanged_p(
    first: Sequence[Ordered], second: Sequence[Ordered], coins: int, seed: int, clusters: ArrayLike | None = None
) -> float:
    """Two-sided p of no difference between the means of `first` and of `second`, metrics of the same N pictures (one of each
    model, or one per draw of pictures to learn from: those of a picture change places together). With `clusters` (N,) one coin
    is for all pictures of a cluster."""
    pairs = [one.beside(other) for one, other in zip(first, second, strict=True)]
    count = len(first[0].right)
    place_N = np.arange(count) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    generator = np.random.default_rng([seed, 2])

    def apart(swapped_RN: NDArray[np.float64]) -> NDArray[np.float64]:
        theirs_RM = np.concatenate([swapped_RN, 1 - swapped_RN], axis=1)
        return np.abs(np.mean([pair(theirs_RM) - pair(1 - theirs_RM) for pair in pairs], axis=0))

    observed = float(apart(np.zeros((1, count)))[0])
    slack = 1e-9  # a sum in another order differs in its last bits
    if observed <= slack:
        return 1.0
    more, equal, done, step = 0, 0, 0, max(1, CHUNK_WEIGHTS // (4 * count))
    while done < coins:
        rows = min(step, coins - done)
        apart_R = apart(generator.integers(0, 2, (rows, int(place_N.max()) + 1)).astype(np.float64)[:, place_N])
        more += int((apart_R > observed + slack).sum())
        equal += int((np.abs(apart_R - observed) <= slack).sum())
        done += rows
    return (more + (equal + 1) / 2) / (coins + 1)
