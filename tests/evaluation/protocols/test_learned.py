"""The protocols that learn from training pictures, end to end on the tiny checkpoint: names, counts, evidence."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.compare import compare
from evaluation.config import EvaluateConfig
from evaluation.probe.config import ProbeConfig
from evaluation.probe.efficiency import data_efficiency, labels_to_match
from evaluation.probe.few_shot import draw
from evaluation.protocols.few_shot import enough, over_draws
from evaluation.protocols.protocol import Findings
from evaluation.report import Report, headline
from evaluation.run import evaluate
from evaluation.statistics.intervals import Interval
from pipeline.errors import DataError

CONFIG = EvaluateConfig(
    tasks=("digits",),
    protocols=("zero_shot", "few_shot", "few_shot_lsr", "knn"),
    probe=ProbeConfig(shots=(1, 4), seeds=(1, 2), lsr_shots=(1, 5), neighbours=(10, 20)),
    bootstrap_resamples=100,
    threads=1,
)


@pytest.fixture(scope="module")
def report(checkpoint_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return evaluate(CONFIG, checkpoint_folder, str(tmp_path_factory.mktemp("features")))


def test_every_variant_is_a_score_on_all_test_pictures(report: Report) -> None:
    assert not report.absent
    for name in (
        "digits/few_shot/top1/1 shots",
        "digits/few_shot/top1/4 shots, from zero_shot",
        "digits/few_shot_lsr/mean_per_class/5 shots",
        "digits/knn/top1/k=20",
    ):
        score = report.score(name)
        assert score.n == 360
        assert 0 <= score.low <= score.value <= score.high <= 1
    assert "digits/knn/top1/k=20" in [score.name for score in headline(report)]


def test_neighbours_are_as_sure_as_their_votes(report: Report) -> None:
    """The share of the votes is the confidence: it is no logit, of which a softmax would make near equal ones."""
    rows = report.outcomes.to_pandas()
    rows = rows[(rows.protocol == "knn") & (rows.variant == "k=10")]
    assert rows.probability.max() > 0.6  # seven of ten are of one class
    assert rows.probability.min() >= 0.1
    assert (rows.margin[rows.correct] <= rows.probability[rows.correct] + 1e-4).all()
    bins = report.details["digits"]["knn"]["calibration"]["bins"]  # of the first k
    sure = sum(each["pictures"] * each["confidence"] for each in bins if each["pictures"]) / 360
    assert sure == pytest.approx(rows.probability.mean(), abs=1e-4)
    error = np.abs(
        [each["pictures"] * (each["confidence"] - each["accuracy"]) for each in bins if each["pictures"]]
    ).sum()
    assert report.score("digits/knn/calibration_error/k=10").value == pytest.approx(error / 360, abs=1e-4)


def test_draws_are_kept_and_compared_as_their_mean(report: Report) -> None:
    rows = report.outcomes.to_pandas()
    draws = rows[(rows.protocol == "few_shot") & rows.variant.str.startswith("4 shots, seed ")]
    assert set(draws.variant) == {"4 shots, seed 1", "4 shots, seed 2"}
    assert draws.correct.mean() == pytest.approx(report.score("digits/few_shot/top1/4 shots").value, abs=1e-6)
    found = compare(report, report)
    assert {row.protocol for row in found.rows} == {"zero_shot", "few_shot", "few_shot_lsr", "knn"}
    assert not found.apart
    for row in found.rows:
        score = report.score(f"{row.task}/{row.protocol}/{row.metric}/{row.variant}")
        assert row.first == pytest.approx(score.value, abs=2e-4 if row.metric == "calibration_error" else 2e-6)
    other = replace(report, config=report.config | {"seed": 1, "probe": report.config["probe"] | {"temperature": 0.1}})
    (told,) = compare(report, other).apart
    assert (told["protocol"], told["variant"]) == ("knn", "")
    assert told["reason"] == (
        "evaluate.probe.temperature is 0.07 in the first run and 0.1 in the second; evaluate both alike"
    )


def test_the_interval_of_a_mean_over_draws_counts_the_draws_too() -> None:
    alike = over_draws([Interval(0.5, 0.4, 0.6)] * 3)
    assert alike == pytest.approx((0.5, 0.4, 0.6))
    apart = over_draws([Interval(value, value - 0.1, value + 0.1) for value in (0.4, 0.5, 0.6)])
    reach = 4.302653 * 0.1 / 3**0.5  # Student's, two degrees of freedom
    assert apart == pytest.approx((0.5, 0.5 - np.hypot(0.1, reach), 0.5 + np.hypot(0.1, reach)), abs=1e-6)


def test_more_shots_are_worth_more_and_details_say_which_draw_gave_what(report: Report) -> None:
    found = report.details["digits"]["few_shot"]
    assert found["values"]["zero"]["1"] < found["values"]["zero"]["4"]
    assert np.mean(found["draws"]["zero"]["4"]["each"]) == pytest.approx(found["values"]["zero"]["4"], rel=1e-5)
    assert len(found["draws"]["zero_shot"]["1"]["penalties"]) == 2
    assert found["labels_per_class"] == pytest.approx(143.7)


def test_labels_to_match_zero_shot_are_read_off_a_log_linear_curve(report: Report) -> None:
    curve = {1: 0.2, 4: 0.4, 16: 0.8}
    assert labels_to_match(curve, 0.3) == pytest.approx(2)
    assert labels_to_match(curve, 0.6) == pytest.approx(8)
    assert labels_to_match(curve, 0.1) == 1
    assert labels_to_match(curve, 0.9) is None
    told = data_efficiency(report)
    assert set(told["labels_per_class"]) == {"digits"}
    assert (told["median"] is None) == (told["unmatched"] == ["digits"])


def test_a_class_of_sixteen_pictures_has_no_sixteen_to_learn_from() -> None:
    """One of them chooses the penalty: what is called 16 shots would have learned from 15. The closed form chooses nothing."""
    labels_N = np.repeat([0, 1], [16, 40])
    findings = Findings("fruit", "few_shot")
    assert enough(labels_N, (1, 8, 16), findings, to_choose=1) == [1, 8]
    assert findings.details["skipped"] == [16]
    assert all(len(draw(labels_N, shots, 1).learn) == 2 * shots for shots in (1, 8))
    assert enough(labels_N, (1, 8, 16), findings) == [1, 8, 16]
    assert len(draw(labels_N, 16, 1, validation=0).learn) == 32
    assert enough(np.array([0, 1, 1]), (1, 2), findings, to_choose=1) == [1]
    with pytest.raises(
        DataError, match=r"smallest class has 16 pictures .* any of \[16\] and one more to choose a penalty by"
    ):
        enough(labels_N, (16,), findings, to_choose=1)
