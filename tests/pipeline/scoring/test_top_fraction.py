"""The threshold found by counting digits is the one that sorting everything gives."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from phases import phase_of, split

from pipeline.execution.exchange import Files
from pipeline.execution.executor import InProcess
from pipeline.sample import pair_uid
from pipeline.scoring.top_fraction import sort_keys, top_fraction

CASES = {
    "cosines": lambda draw, n: draw.normal(0.2, 0.07, n),
    "both signs": lambda draw, n: draw.normal(0, 1, n),
    "few values": lambda draw, n: draw.integers(-2, 3, n) / 4,
    "all equal": lambda draw, n: np.full(n, 0.25),
    "extremes": lambda draw, n: draw.choice([0.0, -0.0, 1e-42, -1e-42, np.inf, -np.inf, 3e38, 0.1], n),
}


def the_obvious_way(scores: list[float], uids: list[str], fraction: float, highest: bool) -> set[str]:
    """Sort all, DataComp's index, everything up to that row."""
    rows = sorted(zip(scores, uids, strict=True), key=lambda row: ((-row[0] if highest else row[0]), row[1]))
    return {uid for _, uid in rows[: min(int(len(rows) * fraction), len(rows) - 1) + 1]}


@pytest.mark.parametrize("highest", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_it_keeps_what_sorting_keeps(tmp_path: Path, case: str, highest: bool) -> None:
    draw = np.random.default_rng(5)
    scores = CASES[case](draw, 700).astype(np.float32)
    uids = [pair_uid(str(i), "") for i in range(700)]
    rows = pa.table({"uid": uids, "score_x": pa.array(scores)})
    for number, (parts, few, fraction) in enumerate([(1, 1, 0.3), (7, 1, 0.3), (3, 10**6, 0.03), (3, 20, 1.0)]):
        folder = str(tmp_path / str(number))
        phase = phase_of(folder, split(rows, parts))
        cut = top_fraction(
            Files(folder, phase.kept), "score_x", fraction, highest, f"{folder}/cut", InProcess(), few=few
        )
        assert cut is not None
        kept = {uid for uid, stays in zip(uids, cut.keeps(scores, uids, highest), strict=True) if stays}
        assert kept == the_obvious_way([float(score) for score in scores], uids, fraction, highest)
        assert (cut.rows, cut.stay) == (700, len(kept))


def test_rows_without_a_score_do_not_count_and_never_stay(tmp_path: Path) -> None:
    scores = np.array([np.nan, 0.1, 0.2, np.nan, 0.3, 0.4], np.float32)
    uids = [f"{i:032x}" for i in range(6)]
    phase = phase_of(str(tmp_path), [pa.table({"uid": uids, "score_x": pa.array(scores)})])
    cut = top_fraction(Files(str(tmp_path), phase.kept), "score_x", 0.5, True, str(tmp_path / "cut"), InProcess())
    assert cut is not None
    assert cut.keeps(scores, uids, True).tolist() == [False, False, True, False, True, True]
    none = phase_of(str(tmp_path / "n"), [pa.table({"uid": uids[:1], "score_x": pa.array(scores[:1])})])
    assert top_fraction(Files(none.folder, none.kept), "score_x", 0.5, True, f"{none.folder}/cut", InProcess()) is None


def test_keys_sort_like_the_numbers() -> None:
    numbers = np.array([-np.inf, -1.5, -1e-45, -0.0, 0.0, 1e-45, 0.2, 0.20000002, np.inf], np.float32)
    keys = sort_keys(numbers, False)
    assert (np.diff(keys.astype(np.int64)) >= 0).all()
    assert keys[3] == keys[4]
    assert (sort_keys(numbers, True) == ~keys).all()
