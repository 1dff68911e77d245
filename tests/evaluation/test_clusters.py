"""Clips of one video and frames of one film: read as clusters, counted as such in intervals, and in comparisons of two models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from miniatures import make
from numpy.typing import NDArray
from PIL import Image

from evaluation.catalog.benchmarks import find
from evaluation.compare import compare
from evaluation.config import EvaluateConfig
from evaluation.notes import notes_of
from evaluation.pictures.clusters import CLUSTER, with_clusters
from evaluation.pictures.open import open_pictures
from evaluation.probe.config import ProbeConfig
from evaluation.report import Report
from evaluation.run import evaluate
from evaluation.statistics.calibration import calibration_error
from evaluation.statistics.clustered import clustered_interval, means_interval, share_interval
from evaluation.statistics.metrics import METRICS, Answers
from pipeline.errors import ConfigError
from tests.evaluation.test_parts import mine


@pytest.mark.parametrize(
    ("name", "split", "clusters"),
    [
        ("ucf101", "train", {"v_ApplyEyeMakeup_g08", "v_HandStandPushups_g01"}),
        ("imagenet-vid-robust", "test", {"ILSVRC2015_val_00000000"}),
        ("ytbb-robust", "test", {"AAA_b"}),
        ("kitti-distance", "test", {"2011_09_26_drive_0001_sync"}),
    ],
)
def test_the_official_layouts_tell_what_belongs_together(
    name: str, split: str, clusters: set[str], tmp_path: Path
) -> None:
    make(name, tmp_path / name)
    task = replace(find(name), prompts=None, counts={})
    found = set(open_pictures(task, split, str(tmp_path)).column(CLUSTER))
    assert found == clusters


def test_a_copy_whose_names_tell_nothing_has_no_clusters(tmp_path: Path) -> None:
    make("webdataset", tmp_path / "ucf101")
    task = replace(find("ucf101"), prompts=None, counts={})
    assert CLUSTER not in open_pictures(task, "test", str(tmp_path)).columns
    pictures = open_pictures(find("digits"), "test")
    assert with_clusters(pictures, "x") is pictures


def videos(above: Path, cluster: str, name: str = "films") -> str:
    """Twelve films of two kinds, 4 frames each of nearly the same light, some of which pass for the other kind."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for film in range(12):
            word = "day" if film % 2 else "night"
            folder = above / "films" / split / word
            folder.mkdir(parents=True, exist_ok=True)
            light = (180 if film % 2 else 60) + random.integers(-90, 70)
            for frame in range(4):
                Image.new("RGB", (8, 8), (int(light) + frame, 90, 90)).save(folder / f"v{film}_{frame}.png")
    card = above / f"{name}.yaml"
    card.write_text(f"folder: films\nclasses: [day, night]\n{cluster}")
    return str(card)


def measured(above: Path, card: str, **changes: object) -> Report:
    probe = ProbeConfig(shots=(1,), seeds=(1, 2), lsr_shots=(1,))
    settings = {"protocols": ("linear_probe", "few_shot", "knn"), "probe": probe, "bootstrap_resamples": 100}
    config = EvaluateConfig.model_validate({"tasks": (card,), "threads": 1} | settings | changes)
    return evaluate(config, mine(above), str(above / "features"))


def test_a_card_of_ones_own_makes_intervals_and_tests_count_films(tmp_path: Path) -> None:
    report, alone = (
        measured(tmp_path, videos(tmp_path, words, name))
        for words, name in (("cluster: v[0-9]+\n", "films"), ("", "plain"))
    )
    wider = []
    for metric in ("top1", "mean_per_class", "roc_auc", "calibration_error"):
        by_film = report.score(f"films/linear_probe/{metric}/test")
        by_frame = alone.score(f"plain/linear_probe/{metric}/test")
        assert by_film.value == by_frame.value
        wider.append((by_film.high - by_film.low) / (by_frame.high - by_frame.low))
    assert min(wider[:2]) > 1.3
    assert min(wider) > 0.95
    rows = report.outcomes.to_pandas()
    assert set(rows["cluster"]) == {f"v{film}" for film in range(12)}
    assert report.details["films"]["knn"]["clusters"] == 12
    assert "clusters" not in alone.details["plain"]["knn"]
    comparison = compare(report, report)
    tests = {(row.protocol, row.metric): row.test for row in comparison.rows}
    assert comparison.scope[1].startswith("Those of films hold for other videos")
    assert tests["knn", "top1"] == tests["linear_probe", "mean_per_class"] == "signs of clusters swapped, mid-p"
    assert tests["linear_probe", "roc_auc"] == "models by cluster exchanged, mid-p"
    assert tests["linear_probe", "calibration_error"] == "paired bootstrap of clusters"
    assert tests["few_shot", "top1"].startswith("signs of clusters swapped, mid-p; Student's t")


def test_where_the_names_do_not_tell_a_note_says_so(tmp_path: Path) -> None:
    report = measured(tmp_path, videos(tmp_path, "cluster: group_.+\n"), protocols=("knn",))
    assert report.details["films"]["knn"]["clusters"] is None
    (note,) = notes_of(report)
    assert (note.kind, "too sure" in note.says) == ("clusters_unknown", True)
    with pytest.raises(ConfigError, match=r"films.yaml: cluster: '\(v' is no regular expression"):
        find(videos(tmp_path, 'cluster: "(v"\n'))


def grouped(
    random: np.random.Generator, groups: int, clusters: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Answers, clusters and groups: 3 to 5 answers a cluster, half of whose ease is the cluster's; half of all are right."""
    sizes = random.integers(3, 6, groups * clusters)
    cluster_N = np.repeat(np.arange(groups * clusters), sizes)
    ease_N = 2 * random.normal(size=groups * clusters)[cluster_N] + 2 * random.normal(size=len(cluster_N))
    return random.random(len(cluster_N)) < 1 / (1 + np.exp(-ease_N)), cluster_N, cluster_N // clusters


def test_a_mean_over_classes_is_covered_by_cluster_and_not_by_picture() -> None:
    random, covered, naive = np.random.default_rng(1), 0, 0
    for _ in range(500):
        right_N, cluster_N, group_N = grouped(random, 20, 7)
        found, alone = clustered_interval(right_N, cluster_N, groups=group_N), means_interval(right_N, group_N)
        assert found.value == pytest.approx(alone.value)
        covered += found.low <= 0.5 <= found.high
        naive += alone.low <= 0.5 <= alone.high
    assert 0.93 <= covered / 500 <= 0.985
    assert naive / 500 < 0.88


def test_clusters_that_lie_in_several_groups_are_still_clusters() -> None:
    """Every film has one frame of each class, all right or all wrong: as many answers as films."""
    right_N, cluster_N, group_N = (
        np.repeat(np.arange(60) < 40, 5),
        np.repeat(np.arange(60), 5),
        np.tile(np.arange(5), 60),
    )
    found = clustered_interval(right_N, cluster_N, groups=group_N)
    assert found == pytest.approx(share_interval(np.arange(60) < 40, None), abs=0.01)


def test_metrics_by_resampling_draw_whole_clusters() -> None:
    """Every picture four times over: as wide as of the pictures once."""
    random = np.random.default_rng(2)
    labels, scores = random.integers(0, 2, 80), random.normal(size=(80, 2))
    scores[np.arange(80), labels] += 0.7
    four = np.repeat(np.arange(80), 4)
    once, often = Answers.of(scores, labels), Answers.of(scores[four], labels[four], clusters_N=four)
    for metric in ("roc_auc", "map", "map_11_point"):
        one, other = (METRICS[metric](each, 600, 0) for each in (once, often))
        assert one.value == pytest.approx(other.value)
        assert (other.high - other.low) / (one.high - one.low) == pytest.approx(1, abs=0.15)
    sure = random.random(80)
    errors = [
        calibration_error(sure, labels > 0, 600, 0),
        calibration_error(sure[four], labels[four] > 0, 600, 0, clusters=four),
    ]
    assert errors[1].high - errors[1].low == pytest.approx(errors[0].high - errors[0].low, rel=0.1)
