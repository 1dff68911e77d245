"""What a probe's search and solver say of themselves: from the probe on pictures to the terminal, the page and the JSON."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.config import EvaluateConfig
from evaluation.notes import Note, notes_of
from evaluation.probe.ladder import GRID
from evaluation.probe.linear_probe import How, probe, validation_part
from evaluation.protocols.probed import details_of
from evaluation.report import SOLVE
from evaluation.run import evaluate
from orchestration.report import build_html, build_json
from orchestration.report_data import ReportData
from orchestration.show import run_result
from pipeline.errors import DataError
from tests.evaluation.test_compare import outcomes, report
from tests.evaluation.test_parts import mine, shop

RANDOM = np.random.default_rng(0)


def accuracy(right: np.ndarray, scores: np.ndarray) -> float:
    return float((right == scores.argmax(axis=1)).mean())


def noted(details: dict[str, Any], mode: str = "exact", precision: str = "float32") -> list[Note]:
    made = report(outcomes("fruit", ["1"], np.ones(1, bool)), "a", fruit={"linear_probe": details})
    return notes_of(replace(made, config={**made.config, "probe": {"mode": mode, "precision": precision}}))


def test_a_penalty_at_an_end_of_the_grid_and_a_search_that_decides_nothing_are_told() -> None:
    labels = np.repeat([0, 1, 2], 40)
    noise = RANDOM.normal(size=(120, 4)).astype(np.float32)
    easy = np.eye(3, 4, dtype=np.float32)[labels] + 0.01 * noise

    def graded(right: np.ndarray, scores: np.ndarray) -> float:  # the larger the penalty, the flatter the answers
        return -float(np.abs(scores).sum())

    (flat,) = noted(details_of(probe(easy, labels, easy, accuracy, 0)))
    assert (flat.kind, flat.protocol) == ("penalty_undecided", "linear_probe")
    assert "do equally well on the validation part" in flat.says
    strong = details_of(probe(noise, labels, noise, graded, 0))
    assert strong["penalty"] == GRID[-1]
    assert [each.says for each in noted(strong)] == [
        "the penalty 1e+06 is the highest of its grid: the best one may lie beyond it"
    ]
    weak = details_of(probe(noise, labels, noise, lambda right, scores: -graded(right, scores), 0))
    assert weak["penalty"] == GRID[0]
    assert "the lowest of its grid" in noted(weak)[0].says
    middle = {**strong, "penalty": 1.0}
    assert noted(middle) == []


def test_a_fit_that_is_not_at_its_optimum_is_told() -> None:
    labels = RANDOM.integers(0, 3, 150)
    rows = RANDOM.normal(size=(150, 8)).astype(np.float32)
    good = details_of(probe(rows, labels, rows, accuracy, 0))
    assert [note for note in noted(good) if not note.kind.startswith("penalty_")] == []
    solve = good[SOLVE]
    assert isinstance(solve, dict)
    far = {**good, "search": [], "penalty": 1.0, SOLVE: {**solve, "gap_bound": 0.01 * solve["objective"]}}
    assert [note.kind for note in noted(far)] == ["not_certified"]
    assert "within 0.01 of its objective only" in noted(far)[0].says
    for share in ("1.04e-05", "1.00001e-05", "0.0012"):
        near = {**far, SOLVE: {**solve, "gap_bound": float(share) * solve["objective"]}}
        assert f"within {share} of its objective only, not 1e-05" in noted(near)[0].says
    assert noted(far)[0].says.endswith("; evaluate.probe.precision=float64 may get nearer")
    assert noted(far, precision="float64")[0].says.endswith("not 1e-05")
    assert noted(far, "sklearn") == []  # that mode promises where it stops, not how near it is
    out = {**far, SOLVE: {**solve, "iterations": 2000}}
    assert "not_converged" not in {note.kind for note in noted({**far, SOLVE: {**solve, "iterations": 1999}})}
    assert [note.kind for note in noted(out)] == [note.kind for note in noted(out, "sklearn")] == ["not_converged"]
    stopped = details_of(probe(1000 * rows, labels, rows, accuracy, 0, How(mode="sklearn")))
    assert isinstance(stopped[SOLVE], dict)
    assert ("not_converged" in {note.kind for note in noted(stopped, "sklearn")}) == (
        stopped[SOLVE]["iterations"] == 1000
    )


def test_classes_of_the_same_words_and_a_validation_part_that_is_gone_are_told(tmp_path: Path) -> None:
    card = Path(shop(tmp_path, "fruit", "splits: {train: 6, val: 4, test: 4}\n"))
    card.write_text(card.read_text().replace("[apple, pear]", "{apple: [crane], pear: [crane]}"))
    config = EvaluateConfig(
        tasks=(str(card),), protocols=("zero_shot", "linear_probe"), bootstrap_resamples=100, threads=1
    )
    made = evaluate(config, mine(tmp_path), str(tmp_path / "features"))
    told = {note.kind: note.says for note in notes_of(made)}
    assert told["same_names"] == "'apple', 'pear' are asked for in the same words, so only one of them can be right"
    assert "the benchmark's own val part is not there" in told["validation_absent"]


def test_few_pictures_still_choose_a_penalty_and_one_of_each_is_one_line() -> None:
    labels = np.repeat([0, 1, 2], [4, 3, 1])
    assert np.bincount(labels[validation_part(labels, 0)], minlength=3).tolist() == [1, 1, 0]
    assert np.bincount(np.repeat([0, 1], [9, 4])[validation_part(np.repeat([0, 1], [9, 4]), 0)]).tolist() == [1]
    with pytest.raises(DataError, match="every class has one picture to learn from"):
        validation_part(np.arange(5), 0)


def test_the_page_and_its_json_have_them() -> None:
    search = [{"penalty": 1e-6, "validation": 0.9}, {"penalty": 1e6, "validation": 0.2}]
    made = replace(
        report([], "a", fruit={"linear_probe": {"search": search, "penalty": 1e-6, SOLVE: {}}}),
        versions={"prompts": {}},
        config={"metrics": {"fruit": "top1"}},
    )
    data = ReportData("few", "few-1", "", evaluation=made)
    page = build_html(data)
    assert "About these figures" in page
    assert "the penalty 1e-06 is the lowest of its grid" in page
    assert build_json(data)["results"]["evaluation"]["notes"][0]["kind"] == "penalty_at_edge"


def test_they_end_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    class Result:
        steps, scores, absent, notes = (), (), (), (Note("fruit", "linear_probe", "penalty_at_edge", "is the highest"),)
        dataset = manifest_id = checkpoint_id = report = peak_memory_bytes = tracked = None
        recipe = run_id = ""
        seconds = 1.0

    run_result(Result(), "runs")
    told = capsys.readouterr().out
    assert "about these figures:" in told
    assert "is the highest" in told
