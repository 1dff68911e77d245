"""Scoring with a scorer that needs no model: bounds, fractions, fates, determinism, mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from phases import phase_of, split
from pydantic import ValidationError
from scored_rows import Brightness, brightness, fetched_rows

from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import PhaseResult
from pipeline.scoring.score import score
from pipeline.scoring.scorers import ScorerConfig, Scores, make_scorer

ROWS = 40


def config(**options: object) -> ScorerConfig:
    return ScorerConfig.model_validate({"scorer": "scored_rows:brightness", **options})


def run(folder: Path, *configs: ScorerConfig, rows: pa.Table | None = None, parts: int = 3) -> PhaseResult:
    table = fetched_rows(ROWS) if rows is None else rows
    source = phase_of(str(folder / "in"), split(table, parts))
    scorers = [make_scorer(i, each, each.scorer) for i, each in enumerate(configs)]
    return score(configs, scorers, source, str(folder / "out"), InProcess())


def numbers(result: PhaseResult) -> list[int]:
    """Which of the rows stayed, by the number in their text."""
    return sorted(int(text.split()[1]) for text in result.read_kept().column("text").to_pylist())


def test_a_minimum_drops_with_the_number_as_evidence(tmp_path: Path) -> None:
    result = run(tmp_path, config(minimum=0.5))
    # Picture i has the grey value i * 255 // 40.
    assert numbers(result) == [i for i in range(ROWS) if i * 255 // ROWS / 255 >= 0.5]
    assert dict(result.fates["pairs"].reasons) == {"below_score": 19 + 1, "no_score": 1}
    evidence = {row["text"]: row["evidence"] for row in result.read_dropped().to_pylist()}
    assert evidence["text 8"] == "brightness 0.2000 < 0.5"
    assert evidence["text 7"] == "brightness gave no number"
    column = result.read_kept().column("score_brightness")
    assert column.type == pa.float32()
    assert result.extra["scorers"][0]["scored"] == ROWS - 1


@pytest.mark.parametrize("parts", [1, 4])
def test_the_best_fraction_is_of_all_files_together(tmp_path: Path, parts: int) -> None:
    result = run(tmp_path, config(keep_fraction=0.25), parts=parts)
    # 39 have a number; DataComp's index int(39 * 0.25) = 9 is the tenth best, and stays.
    assert numbers(result) == list(range(30, 40))
    assert result.extra["scorers"][0]["stay"] == 10
    darkest = run(tmp_path / "d", config(keep_fraction=0.25, options={"darkest": True}), parts=parts)
    assert numbers(darkest) == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]


def test_several_scorers_meet_and_the_embedding_is_kept(tmp_path: Path) -> None:
    bounds = (config(name="low", maximum=0.8, store_embedding=True), config(name="high", minimum=0.3))
    result = run(tmp_path, *bounds)
    kept = result.read_kept()
    values = np.asarray(kept.column("score_low"))
    assert ((values >= 0.3) & (values <= 0.8)).all()
    assert {"below_score", "above_score", "no_score"} == set(result.fates["pairs"].reasons)
    assert kept.column("embedding").type == pa.list_(pa.float16(), 3)
    assert kept.column("embedding").to_pylist()[0] == pytest.approx([values[0]] * 3, abs=1e-3)


def test_a_picture_that_cannot_be_opened_falls_alone(tmp_path: Path) -> None:
    rows = fetched_rows(6)
    images = rows.column("image").to_pylist()
    images[2] = images[2][:40]
    rows = rows.set_column(rows.column_names.index("image"), "image", pa.array(images, pa.binary()))
    result = run(tmp_path, config(), rows=rows)
    assert dict(result.fates["pairs"].reasons) == {"decode_failed": 1}
    assert numbers(result) == [0, 1, 3, 4, 5]


def test_the_same_rows_give_the_same_id_and_finished_files_are_not_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path, config(keep_fraction=0.5))
    elsewhere = run(tmp_path / "other", config(keep_fraction=0.5))
    assert first.id == elsewhere.id

    def never(*_: object) -> None:
        raise AssertionError("judged again")

    monkeypatch.setattr(Brightness, "__call__", never)
    assert run(tmp_path, config(keep_fraction=0.5)).id == first.id


def test_bounds_that_nothing_meets_stop_with_advice(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"curate.score.0 \(brightness\) asks minimum 2 and saw 0 to 0.9688.*widen"
    ) as told:
        run(tmp_path, config(minimum=2.0))
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out" / "phase.json").exists()


def test_no_rows_are_no_mistake(tmp_path: Path) -> None:
    result = run(tmp_path, config(keep_fraction=0.5), rows=fetched_rows(3).slice(0, 0), parts=1)
    assert result.fates["pairs"].rows_in == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"minimum": 0.5, "maximum": 0.2},
        {"keep_fraction": 0},
        {"keep_fraction": 1.5},
        {"scorer": "rm -rf"},
        {"name": "A b"},
        {"minumum": 1},
        {"gpus": -1},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        config(**wrong)


def test_two_scorers_of_one_name_and_unknown_functions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"curate.score.1.name: there is a scorer 'brightness' already"):
        run(tmp_path, config(), config())
    with pytest.raises(ConfigError, match=r"curate.score.0.scorer: scored_rows:darkness cannot be loaded"):
        make_scorer(0, config(), "scored_rows:darkness")
    assert brightness(config()).higher_is_better


@dataclass(frozen=True)
class Odd(Brightness):
    """A scorer whose answer is what its config says."""

    answer: str = "values"

    def __call__(self, pixels_BSS3: NDArray[np.uint8], texts: Sequence[str]) -> Scores:
        right = super().__call__(pixels_BSS3, texts)
        if self.answer == "bug":
            raise ValueError("no such thing")
        answers: dict[str, object] = {
            "one for all": Scores(right.values.mean()),
            "one too few": Scores(right.values[:-1]),
            "a column": Scores(right.values[:, None]),
            "an array": right.values,
            "words": Scores(np.array(texts)),
            "no embedding": Scores(right.values),
            "one embedding": Scores(right.values, np.ones(3, np.float32)),
            "a list": Scores([float(value) for value in right.values]),  # type: ignore[arg-type]
        }
        return answers[self.answer]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("one for all", r"gave as values shape \(\); give float32 numbers of shape \(8,\), for 8 pictures"),
        ("one too few", r"gave as values shape \(7,\)"),
        ("a column", r"gave as values shape \(8, 1\)"),
        ("an array", "gave a ndarray; give a pipeline.scoring.scorers.Scores"),
        ("words", "gave as values a ndarray that is no array of numbers"),
        ("no embedding", r"gave as embeddings nothing; give float32 numbers of shape \(8, 3\)"),
        ("one embedding", r"gave as embeddings shape \(3,\)"),
        ("bug", r"failed \(ValueError: no such thing; .*test_score.py, line \d+\); correct it"),
    ],
)
def test_an_answer_that_does_not_fit_the_pictures_is_refused(tmp_path: Path, answer: str, said: str) -> None:
    wanted = (config(store_embedding="embedding" in answer),)
    source = phase_of(str(tmp_path / "in"), [fetched_rows(ROWS)])
    with pytest.raises(ConfigError, match="curate.score.0.scorer: scored_rows:brightness " + said) as told:
        score(wanted, [Odd(answer=answer)], source, str(tmp_path / "out"), InProcess())
    assert "\n" not in str(told.value)


def test_a_list_of_numbers_is_as_good_as_an_array(tmp_path: Path) -> None:
    source = phase_of(str(tmp_path / "in"), [fetched_rows(ROWS)])
    result = score((config(),), [Odd(answer="a list")], source, str(tmp_path / "out"), InProcess())
    assert result.read_kept().equals(run(tmp_path / "array", config()).read_kept())
