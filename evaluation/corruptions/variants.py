"""Robustness: accuracy on corrupted pictures, per corruption and severity, and over all of them.

The mean over corruptions and severities is what Hendrycks and Dietterich (arXiv:1903.12261) report, here as plain
accuracy; divided by AlexNet's errors, which exist for ImageNet only, it is in corruption_error.py. The same pictures are
corrupted in every way, so their outcomes hang together: intervals of means come from a bootstrap over pictures.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.corruptions.constants import Setting
from evaluation.corruptions.corruptions import SEVERITIES
from evaluation.corruptions.variant import Variant
from evaluation.pictures.pictures import Pictures
from evaluation.statistics.intervals import Interval, bootstrap_mean, wilson


def variants(corruptions: Sequence[str], setting: Setting = "tiny-imagenet-c", frost: str = "") -> list[Variant]:
    return [Variant(corruption, severity, setting, frost) for corruption in corruptions for severity in SEVERITIES]


def drawn_pictures(pictures: Pictures, limit: int, seed: int) -> Pictures:
    """At most `limit` pictures, drawn once by seed and kept in the list's order."""
    if pictures.count <= limit:
        return pictures
    return pictures.subset(sorted(np.random.default_rng(seed).choice(pictures.count, limit, replace=False)))


def summarise(correct: dict[Variant, NDArray[np.bool_]], resamples: int, seed: int) -> dict[str, Interval]:
    """Accuracy by name: "corruption/severity", "corruption" (mean over severities) and "mean" (over all)."""
    scores = {str(variant): wilson(int(hits.sum()), len(hits)) for variant, hits in correct.items()}
    for corruption in dict.fromkeys(variant.corruption for variant in correct):
        hits_VN = np.stack([hits for variant, hits in correct.items() if variant.corruption == corruption])
        scores[corruption] = bootstrap_mean(hits_VN.mean(axis=0), resamples, seed)
    scores["mean"] = bootstrap_mean(np.stack(list(correct.values())).mean(axis=0), resamples, seed)
    return scores


__all__ = ["SEVERITIES", "Variant", "drawn_pictures", "summarise", "variants"]
