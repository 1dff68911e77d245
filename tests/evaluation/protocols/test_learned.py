"""The protocols that learn from training pictures, end to end on the tiny checkpoint: names, counts, evidence."""

import numpy as np
import pytest

from evaluation.config import EvaluateConfig
from evaluation.probe.config import ProbeConfig
from evaluation.probe.efficiency import data_efficiency, labels_to_match
from evaluation.report import Report, headline
from evaluation.run import evaluate

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
