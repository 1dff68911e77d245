"""The overlap analysis against sums written out by hand."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from evaluation.catalog.references import reference_sets
from evaluation.config import EvaluateConfig
from evaluation.overlap import corrected, effect, effects_of
from evaluation.report import OUTCOMES
from evaluation.run import evaluate
from pipeline import storage
from tests.evaluation.test_parts import mine, shop


def tail(successes: int, trials: int, share: float) -> float:
    """P(X >= successes), term by term."""
    return sum(math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(successes, trials + 1))


def test_the_effect_is_all_minus_clean_with_its_test_and_interval() -> None:
    near = np.arange(200) < 40
    right = np.where(near, np.arange(200) < 36, np.arange(200) % 4 != 0)  # 36 of 40, 120 of 160
    found = effect("t", "zero_shot", "ensemble", right, near)
    assert (found.pictures, found.overlapping, found.clean, found.overlap) == (200, 40, 0.75, 0.9)
    assert found.all_minus_clean == pytest.approx(156 / 200 - 120 / 160)
    assert found.p_value == pytest.approx(tail(36, 40, 0.75))
    # Clopper-Pearson's ends are where either tail is 0.25 %.
    assert tail(36, 40, found.overlap_low or 0) == pytest.approx(0.0025)
    assert 1 - tail(37, 40, found.overlap_high or 0) == pytest.approx(0.0025)
    assert (found.low or 0) == pytest.approx(0.2 * ((found.overlap_low or 0) - 0.75))
    assert (found.low or 0) < (found.all_minus_clean or 0) < (found.high or 0)


def test_nothing_or_everything_overlapping_has_no_test() -> None:
    none = effect("t", "zero_shot", "ensemble", [True, False], [False, False])
    assert (none.all_minus_clean, none.p_value, none.overlap) == (0.0, None, None)
    everything = effect("t", "zero_shot", "ensemble", [True, False], [True, True])
    assert (everything.clean, everything.p_value, everything.overlap) == (None, None, 0.5)
    assert tail(1, 2, everything.overlap_low or 0) == pytest.approx(0.0025)  # what is told has its interval
    assert (everything.overlap_high or 0) == pytest.approx(1 - (everything.overlap_low or 0))
    with pytest.raises(ValueError, match=r"\(0,\) answers"):
        effect("t", "zero_shot", "ensemble", [], [])


def test_bonferroni_divides_by_the_benchmarks_that_have_an_overlap() -> None:
    near = np.arange(100) < 20
    right = np.where(near, np.arange(100) < 18, np.arange(100) % 10 < 7)
    p = effect("a", "zero_shot", "ensemble", right, near).p_value
    assert p is not None
    assert 0.025 < p < 0.05
    one, none = (
        effect("a", "zero_shot", "ensemble", right, near),
        effect("n", "zero_shot", "ensemble", right, near & False),
    )
    assert [e.significant for e in corrected([one, none])] == [True, None]
    assert [e.significant for e in corrected([one, one, none])] == [False, False, None]


def outcomes(task: str, right: list[bool]) -> pa.Table:
    rows = [
        {"task": task, "protocol": "zero_shot", "variant": "ensemble", "index": n, "label": "a", "prediction": "a",
         "correct": ok, "margin": 0.0}
        for n, ok in enumerate(right)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=OUTCOMES)


def test_lists_beside_a_dataset_are_found_for_all_tasks_of_the_same_pictures(tmp_path: Path) -> None:
    folder = str(tmp_path)
    answers = pa.concat_tables([outcomes("scenes-colour", [True] * 6 + [False] * 4), outcomes("digits", [True] * 4)])
    assert effects_of(answers, folder) == ([], [])
    storage.write_json(f"{folder}/overlap/summary.json", {"mode": "mark", "tasks": {"scenes": {}}})
    storage.write_table(f"{folder}/overlap/scenes/overlap.parquet", pa.table({"index": pa.array([0, 9], pa.int64())}))
    (found,), _ = effects_of(answers, folder)
    assert (found["task"], found["overlapping"], found["overlap"], found["clean"]) == ("scenes-colour", 2, 0.5, 0.625)
    assert not found["removed"]
    storage.write_table(f"{folder}/overlap/scenes/overlap.parquet", pa.table({"index": pa.array([0, 77], pa.int64())}))
    found, (row,) = effects_of(answers, folder)
    assert (found, row["task"], row["status"]) == ([], "scenes-colour", "broken")
    assert "lists picture 77, which 'scenes-colour' does not have" in row["reason"]


def test_a_list_of_another_copys_pictures_is_not_joined_by_their_places(tmp_path: Path) -> None:
    folder = str(tmp_path)
    answers = outcomes("digits", [True] * 6 + [False] * 4)
    storage.write_json(f"{folder}/overlap/summary.json", {"mode": "mark", "tasks": {"digits": {}}})
    storage.write_table(f"{folder}/overlap/digits/overlap.parquet", pa.table({"index": pa.array([0, 9], pa.int64())}))
    asked = {"digits": {"zero_shot": {"pictures": {"identity": "these"}}, "inside": {}}}
    for listed, known in (("these", True), ("others", False)):
        storage.write_json(f"{folder}/overlap/identities.json", {"digits": listed})
        found, lacks = effects_of(answers, folder, asked)
        assert [row["overlap"] for row in found] == ([0.5] if known else [])
        assert ["list of other pictures" in row["reason"] for row in lacks] == ([] if known else [True])


def test_every_protocol_is_looked_at_by_its_headline_and_its_first_draw(tmp_path: Path) -> None:
    folder = str(tmp_path)
    kept = [
        ("zero_shot", "ensemble"), ("few_shot", "4 shots, seed 7"), ("knn", "k=20"), ("robustness", "clean"),
        ("retrieval", "image_to_text"), ("natural_shift", "shifted"), ("layers", "best"), ("occlusion", "whole"),
    ]  # fmt: skip
    left = [
        ("few_shot", "4 shots, seed 2"), ("few_shot", "2 shots, seed 7"), ("knn", "k=10"), ("robustness", "fog/3"),
        ("retrieval", "text_to_image"), ("natural_shift", "reference"), ("layers", "layer-1"), ("bias", "as_published"),
    ]  # fmt: skip
    tables = []
    for protocol, variant in (*kept, *left):
        rows = outcomes("digits", [True, False, True, True]).to_pylist()
        tables += [row | {"protocol": protocol, "variant": variant} for row in rows]
    storage.write_json(f"{folder}/overlap/summary.json", {"mode": "mark", "tasks": {"digits": {}}})
    storage.write_table(f"{folder}/overlap/digits/overlap.parquet", pa.table({"index": pa.array([1, 2], pa.int64())}))
    found, _ = effects_of(pa.Table.from_pylist(tables, schema=OUTCOMES), folder)
    assert [(row["protocol"], row["variant"]) for row in found] == kept
    assert {(row["all"], row["clean"], row["overlap"]) for row in found} == {(0.75, 1.0, 0.5)}


def test_the_list_of_a_card_of_ones_own_is_found_by_the_name_that_reports_call_it_by(tmp_path: Path) -> None:
    card, folder = shop(tmp_path, "fruit"), str(tmp_path / "data")
    storage.write_json(f"{folder}/overlap/summary.json", {"mode": "mark", "tasks": {"fruit": {}}})
    storage.write_table(f"{folder}/overlap/fruit/overlap.parquet", pa.table({"index": pa.array([0, 3], pa.int64())}))
    config = EvaluateConfig(tasks=(card,), protocols=("zero_shot",), bootstrap_resamples=100)
    known = {one.name: one.identity for one in reference_sets([card])}
    for identities, overlapping in ((known, [2]), ({"fruit": "others"}, [])):
        storage.write_json(f"{folder}/overlap/identities.json", identities)
        report = evaluate(config, mine(tmp_path), str(tmp_path / "features"), dataset=folder)
        assert [row["overlapping"] for row in report.overlaps] == overlapping
        assert [row["protocol"] for row in report.absent] == ([] if overlapping else ["overlap"])
        assert report.scores
