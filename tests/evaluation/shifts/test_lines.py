"""Table B.6's lines from the shipped points, and what is made of them, against SciPy and a bootstrap."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import linregress

from evaluation.shifts.lines import COUNTS, Point, fit, standard_line, standard_points
from evaluation.shifts.robustness import effective_robustness
from evaluation.shifts.scoring import any_label_right, pm_k

# slope, intercept, r squared: fitted by hand from robustness_top1s.csv of modestyachts/imagenet-testbed.
PUBLISHED = {
    "imagenetv2": (0.9232, -0.4977, 0.996),
    "imagenet-sketch": (1.0709, -2.3701, 0.869),
    "imagenet-r": (0.6368, -2.1077, 0.889),
    "imagenet-a": (1.9900, -7.6325, 0.828),
    "objectnet": (0.9809, -1.9283, 0.953),
    "imagenet-vid-robust/pm-0": (0.5336, -1.4617, 0.949),
    "imagenet-vid-robust/pm-10": (0.5909, -2.4280, 0.947),
    "ytbb-robust/pm-0": (0.3388, -1.1119, 0.830),
    "ytbb-robust/pm-10": (0.4697, -2.2732, 0.892),
}


@pytest.mark.parametrize("shift", COUNTS)
def test_the_shipped_points_give_the_published_lines_and_scipys(shift: str) -> None:
    line = standard_line(shift, "published")
    slope, intercept, r_squared = PUBLISHED[shift]
    assert line.slope == pytest.approx(slope, abs=6e-5)
    assert line.intercept == pytest.approx(intercept, abs=6e-5)
    assert line.r_squared == pytest.approx(r_squared, abs=6e-4)
    inside = [point for point in standard_points(shift) if 0 < point.shifted < 1]
    anchor = linregress(logit([p.reference for p in inside]), logit([p.shifted for p in inside]))
    assert line.slope == pytest.approx(anchor.slope, rel=1e-9)
    assert np.sqrt(line.covariance[0][0]) == pytest.approx(anchor.stderr, rel=1e-9)
    assert np.sqrt(line.covariance[1][1]) == pytest.approx(anchor.intercept_stderr, rel=1e-9)


@pytest.mark.parametrize("shift", COUNTS)
def test_every_shipped_accuracy_is_a_whole_number_of_the_pictures_it_is_said_to_be_of(shift: str) -> None:
    for end in (0, 1):
        share = np.array([point[end] for point in standard_points(shift)])
        count = COUNTS[shift][end]
        apart = np.abs(share * count - np.round(share * count))
        assert apart.max() < 1e-6 * count, (shift, count)  # printed to six digits
        # Of another number they are not: 2,530 and 2,467 anchors, 18,574 pictures.
        if shift in ("ytbb-robust/pm-0", "ytbb-robust/pm-10", "objectnet") and end:
            other = np.outer((2530, 2467, 18574), share)
            assert (np.abs(other - np.round(other)).max(axis=1) > 0.4).all()


def test_the_papers_model_stands_above_the_lines_as_told() -> None:
    assert 100 * standard_line("imagenetv2", "published").expected(0.762) == pytest.approx(64.0, abs=0.1)
    assert 100 * standard_line("imagenet-sketch", "published").expected(0.762) == pytest.approx(24.5, abs=0.1)
    rho = effective_robustness((38_100, 50_000), (30_635, 50_889), standard_line("imagenet-sketch", "published"))
    assert 100 * rho.value == pytest.approx(35.7, abs=0.1)
    assert rho.low < rho.value < rho.high


def test_the_weighted_fit_keeps_a_model_that_scores_nothing() -> None:
    points = standard_points("imagenet-a")
    zero = [point for point in points if point.shifted == 0]
    assert len(zero) == 1  # ResNet-50, by which the set was filtered
    assert fit(points, "weighted").models == fit(points, "published").models + 1 == len(points)
    # Models that are nearly always wrong there say little by their count, so the better ones decide: the line is steeper.
    assert fit(points, "published").slope < fit(points, "weighted").slope < 3


def test_the_weighted_fit_finds_the_line_that_counts_were_drawn_from_and_its_interval_covers_it() -> None:
    random, covered, slopes = np.random.default_rng(0), 0, []
    for _ in range(150):
        x = random.uniform(0.1, 0.95, 40)
        truth = expit(0.9 * logit(x) - 0.8)
        drawn = random.binomial(400, truth) / 400
        line = fit([Point(a, b, 10**7, 400) for a, b in zip(x, drawn, strict=True)])
        slopes.append(line.slope)
        rho = effective_robustness((7 * 10**6, 10**7), (int(random.binomial(2000, 0.6)), 2000), line)
        covered += rho.low <= 0.6 - expit(0.9 * logit(0.7) - 0.8) <= rho.high
    assert np.mean(slopes) == pytest.approx(0.9, abs=0.01)
    assert 132 <= covered <= 149  # 95 % of 150, three deviations either way
    with pytest.raises(ValueError, match="too few for a line"):
        fit([Point(0.5, 0.4, 10, 10)] * 9)


def test_frames_are_right_when_the_worst_of_them_is() -> None:
    correct = np.array([True, True, False, True])
    assert pm_k(correct, [[0], [2]]).tolist() == [True, False]
    assert pm_k(correct, [[0, 1], [1, 2, 3]]).tolist() == [True, False]
    assert any_label_right(["a", "b"], [("x", "a"), ("a",)]).tolist() == [True, False]
