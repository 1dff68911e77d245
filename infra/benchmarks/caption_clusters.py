"""Five captions of one picture are found or missed together, and so are the clips of one video: what does an interval cover, and
how often does the paired test call two equal models different, with pictures (videos) as the unit and with captions (clips) as if
they were independent?

    make bench NAME=caption_clusters

A picture is easy or hard for a model, and so is each of its captions; how much of a caption's ease is the picture's is the column
`shared`. Coverage is of the recall over all pictures and captions that could have been drawn. Two models of a pair are equally
good over those: half of what makes a picture easy is the same for both. "In 101 classes": the clips of UCF101's first split, 707
videos of 101 classes, by the mean over classes.
"""

import os

import numpy as np
from harness import write_facts
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from evaluation.statistics.clustered import clustered_interval, means_interval
from evaluation.statistics.paired import mcnemar, swapped_signs

DRAWS = int(os.environ.get("CAPTION_DRAWS", 4000))
PAIRS = int(os.environ.get("CAPTION_PAIRS", 10_000))
LEVEL = 0.05
SPREAD = 2.0
"""Standard deviation of the ease of a caption, on the scale of logits."""
HEADINGS = (
    "pictures x captions", "recall", "shared", "covered, by pictures", "covered, by captions",
    "equal pairs called different, by pictures", "by captions",
)  # fmt: skip


def recall(centre: float) -> float:
    """Of all captions that could be drawn."""
    return float(quad(lambda z: expit(centre + SPREAD * z) * norm.pdf(z), -9, 9)[0])


def ease(random: np.random.Generator, pictures: int, captions: int, shared: float) -> tuple[NDArray[np.float64], ...]:
    """(G, 1) what is the picture's and (G, T) what is the caption's."""
    own = SPREAD * np.sqrt(shared) * random.normal(size=(pictures, 1))
    return own, SPREAD * np.sqrt(1 - shared) * random.normal(size=(pictures, captions))


def classes_of(clusters_N: NDArray[np.int64], classes: int) -> NDArray[np.int64] | None:
    return clusters_N % classes if classes else None


def covered(
    random: np.random.Generator, pictures: int, captions: int, shared: float, classes: int
) -> tuple[float, float, float]:
    """(recall, coverage by pictures, coverage by captions)."""
    clusters, hits = np.repeat(np.arange(pictures), captions), np.zeros(2)
    groups = classes_of(clusters, classes)
    centre = float(random.uniform(-2, 2))
    truth = recall(centre)
    for _ in range(DRAWS):
        own, each = ease(random, pictures, captions, shared)
        right = (random.random((pictures, captions)) < expit(centre + own + each)).ravel()
        found = clustered_interval(right, clusters, groups=groups), means_interval(right, groups)
        hits += [low <= truth <= high for _, low, high in found]
    return truth, *(hits / DRAWS).tolist()


def called(
    random: np.random.Generator, pictures: int, captions: int, shared: float, classes: int
) -> tuple[float, float]:
    """Shares of equal pairs that are called different, by pictures and by captions."""
    clusters, calls = np.repeat(np.arange(pictures), captions), np.zeros(2)
    groups = classes_of(clusters, classes)
    for n in range(PAIRS):
        centre, both = random.uniform(-2, 2), ease(random, pictures, captions, shared)
        answers = []
        for _ in range(2):
            mine = ease(random, pictures, captions, shared)
            sums = [np.sqrt(0.5) * (a + b) for a, b in zip(both, mine, strict=True)]
            answers.append((random.random((pictures, captions)) < expit(centre + sums[0] + sums[1])).ravel())
        first, second = answers
        by_pictures = swapped_signs(first, second, 400, n, groups, clusters=clusters)
        by_captions = swapped_signs(first, second, 400, n, groups) if classes else mcnemar(first, second)
        calls += [by_pictures.p_value < LEVEL, by_captions.p_value < LEVEL]
    low, high = (calls / PAIRS).tolist()
    return low, high


def row(pictures: int, captions: int, shared: float, classes: int = 0) -> list[object]:
    random = np.random.default_rng([pictures, int(100 * shared)])
    truth, right, naive = covered(random, pictures, captions, shared, classes)
    own, alone = called(random, pictures, captions, shared, classes)
    if PAIRS >= 10_000:
        assert 0.045 <= own <= 0.055, own
    if DRAWS >= 4000:
        assert 0.94 <= right <= (0.975 if classes else 0.965), right
    shares = (right, naive, own, alone)
    return [
        f"{pictures:,} x {captions}" + (f" in {classes} classes" if classes else ""),
        f"{100 * truth:.0f} %",
        f"{shared:.2f}",
        *(f"{100 * x:.2f} %" for x in shares),
    ]


def main() -> None:
    rows = [row(1000, 5, 0.6), row(1000, 5, 0.3), row(1000, 5, 0.0), row(200, 5, 0.6)]
    rows += [row(707, 5, 0.6, classes=101), row(707, 5, 0.3, classes=101)]
    write_facts("caption_clusters", "simulated answers to captions of pictures and clips of videos", HEADINGS, rows)


if __name__ == "__main__":
    main()
