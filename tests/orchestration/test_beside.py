"""Evaluation beside a training: every snapshot once, in order, across crashes, and never at the training's cost."""

from pathlib import Path

import pytest
from PIL import Image

from orchestration.beside import Beside, measure
from orchestration.narrator import Narrator
from orchestration.recipe import load, wanted_beside
from orchestration.training_rows import evaluation_note, numbers, read_evaluations, train_note
from pipeline.errors import DataError
from tests.evaluation.test_parts import mine
from training.config import TrainConfig


class Measuring:
    """An evaluation that ends when the test says so."""

    def __init__(self, snapshot: str, fails: Exception | None = None) -> None:
        self.snapshot, self.fails, self.ended = snapshot, fails, False

    def done(self) -> bool:
        return self.ended

    def result(self) -> dict[str, float]:
        if self.fails:
            raise self.fails
        return {"digits/zero_shot/top1/ensemble": int(Path(self.snapshot).name) / 100}


def config(every: int = 10) -> TrainConfig:
    return TrainConfig.model_validate({"model": "clip-tiny", "watch": {"evaluate_every_steps": every}})


def leave_snapshot(folder: Path, step: int, sealed: bool = True) -> Path:
    snapshot = folder / "snapshots" / f"{step:09d}"
    snapshot.mkdir(parents=True)
    if sealed:
        (snapshot / "checkpoint.json").write_text("{}")
    return snapshot


def test_snapshots_are_measured_one_at_a_time_and_removed(tmp_path: Path) -> None:
    begun: list[Measuring] = []

    def start(config: TrainConfig, snapshot: str) -> Measuring:
        begun.append(Measuring(snapshot))
        return begun[-1]

    beside = Beside(config(), str(tmp_path), start)
    assert list(beside.new_lines()) == []
    first = leave_snapshot(tmp_path, 10)
    assert list(beside.new_lines()) == []
    second = leave_snapshot(tmp_path, 20)
    leave_snapshot(tmp_path, 30, sealed=False)
    assert list(beside.new_lines()) == []  # it goes on, and nothing waits for it
    assert [each.snapshot for each in begun] == [str(first)]
    begun[0].ended = True
    assert [line["step"] for line in beside.new_lines()] == [10]
    assert not first.exists()
    assert [each.snapshot for each in begun] == [str(first), str(second)]
    assert [line["scores"] for line in beside.rest()] == [{"digits/zero_shot/top1/ensemble": 0.2}]
    assert not (tmp_path / "snapshots").exists()
    assert [line["step"] for line in read_evaluations(str(tmp_path))] == [10, 20]


def test_where_measuring_is_slow_the_newest_waits_and_the_last_is_always_measured(tmp_path: Path) -> None:
    begun: list[Measuring] = []
    beside = Beside(config(), str(tmp_path), lambda _, snapshot: begun.append(Measuring(snapshot)) or begun[-1])  # type: ignore[func-returns-value]
    for step in (10, 20, 30, 40):
        leave_snapshot(tmp_path, step)
        assert list(beside.new_lines()) == []
        assert len(list((tmp_path / "snapshots").iterdir())) <= 2  # that which is read, and the newest
    begun[0].ended = True
    lines = list(beside.new_lines())
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert evaluation_note(lines[1]).startswith(
        "step 20 could not be measured: passed over for that of step 30: measuring"
    )
    leave_snapshot(tmp_path, 50)
    leave_snapshot(tmp_path, 60)
    rest = list(beside.rest())
    assert [(line["step"], "scores" in line) for line in rest] == [(40, True), (50, False), (60, True)]
    assert [Path(each.snapshot).name for each in begun] == ["000000010", "000000040", "000000060"]
    assert not (tmp_path / "snapshots").exists()


def test_what_was_measured_before_a_crash_is_not_measured_again(tmp_path: Path) -> None:
    leave_snapshot(tmp_path, 10)
    assert [line["step"] for line in Beside(config(), str(tmp_path), lambda _, s: Measuring(s)).rest()] == [10]
    leave_snapshot(tmp_path, 10)  # the training resumed before step 10, and came by it again
    leave_snapshot(tmp_path, 20)
    again: list[str] = []
    beside = Beside(config(), str(tmp_path), lambda _, s: again.append(s) or Measuring(s))  # type: ignore[func-returns-value]
    assert [line["step"] for line in beside.rest()] == [10, 20]
    assert [Path(each).name for each in again] == ["000000020"]


@pytest.mark.parametrize("fails", [DataError("digits: not there"), RuntimeError("the process died\nsomewhere")])
def test_an_evaluation_that_fails_is_a_line_and_no_end(tmp_path: Path, fails: Exception) -> None:
    leave_snapshot(tmp_path, 10)
    (line,) = Beside(config(), str(tmp_path), lambda _, s: Measuring(s, fails)).rest()
    assert "scores" not in line
    assert "\n" not in line["error"]
    assert evaluation_note(line) == f"step 10 could not be measured: {line['error']}"


def test_where_nothing_is_wanted_nothing_is_looked_at(tmp_path: Path) -> None:
    leave_snapshot(tmp_path, 10)
    assert list(Beside(config(0), str(tmp_path), lambda _, s: Measuring(s)).new_lines()) == []


def test_a_row_is_told_in_one_line_and_its_numbers_go_to_the_tracker() -> None:
    row = {
        "step": 3,
        "total_steps": 9,
        "loss": 2.25,
        "learning_rate": 0.0005,
        "logit_scale": None,
        "samples_per_second": 610.2,
        "seconds_left": 4.0,
        "metrics": {"accuracy_image_to_text": 0.4, "accuracy_text_to_image": 0.5},
        "measured": {"mfu": 0.31, "data_wait_share": 0.02},
    }
    assert train_note(row) == "loss 2.250, accuracy 45%, lr 5.0e-04, 610 samples/s, MFU 31%, data wait 2%"
    assert numbers(row)["accuracy"] == pytest.approx(0.45)
    assert set(numbers(row)) >= {"loss", "mfu", "accuracy_image_to_text", "samples_per_second"}
    assert not {"step", "seconds_left", "logit_scale"} & set(numbers(row))
    assert train_note({"loss": 1.0, "metrics": {"bits_per_pixel": 3.01}}) == "loss 1.000, 3.010 bits per pixel"
    line = {
        "step": 500,
        "scores": {"digits/zero_shot/top1/ensemble": 0.912, "scenes-retrieval/retrieval/recall@1/x": 0.1},
    }
    assert evaluation_note(line) == "at step 500: digits zero_shot 91.2%"


class Told:
    """A journal that remembers what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, float], int]] = []

    def run_started(self, *names: object, **more: object) -> None:
        pass

    def metrics(self, run: str, values: dict[str, float], step: int) -> None:
        self.said.append((run, values, step))


def test_the_tracker_is_told_each_step_and_each_snapshot_once(tmp_path: Path) -> None:
    journal = Told()
    narrator = Narrator(journal, load("demo"), str(tmp_path))  # type: ignore[arg-type]
    for _ in range(2):  # while it goes on, and again from the finished step's files
        narrator.train_step({"step": 1, "total_steps": 9, "loss": 2.5, "measured": {"mfu": 0.3}})
        narrator.evaluation({"step": 1, "scores": {"digits/zero_shot/top1/ensemble": 0.9}})
        narrator.evaluation({"step": 2, "error": "the process died"})
    assert journal.said == [
        ("train", {"mfu": 0.3, "loss": 2.5}, 1),
        ("train", {"while_training/digits/zero_shot/top1/ensemble": 0.9}, 1),
    ]


def test_a_snapshot_is_asked_benchmarks_of_the_recipes_folder_and_nothing_measured_is_an_error(tmp_path: Path) -> None:
    home = tmp_path / "data/kinetics700"
    (home / "val").mkdir(parents=True)
    Image.new("RGB", (8, 8), (9, 90, 9)).save(home / "val/0wR5jVB-WPk_000417_000427.png")
    rows = ["label,youtube_id,time_start,time_end,split", "abseiling,0wR5jVB-WPk,417,427,val", "archery,gone,1,11,val"]
    (home / "val.csv").write_text("\n".join(rows) + "\n")
    watch = {"evaluate_every_steps": 10, "evaluate_tasks": ["kinetics700"], "evaluate_protocols": ["zero_shot"]}
    training = TrainConfig.model_validate({"model": "clip-tiny", "watch": watch})
    scores = measure(wanted_beside(training, str(tmp_path / "data")), mine(tmp_path))
    assert list(scores) == ["kinetics700/zero_shot/mean_top1_top5/ensemble"]
    with pytest.raises(DataError, match="nothing was measured of kinetics700: "):
        measure(wanted_beside(training), mine(tmp_path))
