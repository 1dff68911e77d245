"""What an evaluation tells MLflow: a run per benchmark below the evaluation's, each score with the ends of its interval."""

from pathlib import Path

from evaluation.report import OUTCOMES, Report, Score
from orchestration.journal import read
from orchestration.journal_writer import Journal
from orchestration.narrator import Narrator
from orchestration.recipe import load
from orchestration.step import Step, StepRecord


def test_each_benchmark_has_a_run_of_its_own_below_the_evaluation(tmp_path: Path) -> None:
    folder = tmp_path / "steps" / "evaluate"
    scores = (
        Score("digits", "zero_shot", "top1", "ensemble", 0.9, 0.86, 0.93, 360),
        Score("scenes", "natural_shift", "effective_robustness", "published", -0.1, -0.2, 0.0, 400),
    )
    absent = ({"task": "birdsnap", "protocol": "", "status": "absent", "reason": "no such folder"},)
    config = {"metrics": {"digits": "top1", "scenes": "top1"}}
    report = Report("c" * 64, config, {"prompts": {"digits": "p1"}}, scores, OUTCOMES.empty_table(), absent=absent)
    report.save(str(folder))
    step = Step("evaluate", {}, "evaluation.run", (), lambda *_: None, "measures the checkpoint")  # type: ignore[arg-type]
    record = StepRecord("evaluate", str(folder), {}, "code", {}, report.id, 1.0, {})
    with Journal(str(tmp_path), "run-1") as journal:
        narrator = Narrator(journal, load("demo"), str(tmp_path))
        narrator.step_started(step, "done")
        narrator.step_ended(step, record)
        path = journal.path
    events = list(read(path))
    started = {event.run: event.body for event in events if event.kind == "run_started"}
    assert started["evaluate/digits"]["parent"] == started["evaluate/scenes"]["parent"] == "evaluate"
    assert started["evaluate/digits"]["params"] == {"metric": "top1", "prompts": "p1"}
    told = {event.run: event.body["metrics"] for event in events if event.kind == "metrics"}
    assert told["evaluate/digits"] == {
        "zero_shot/top1/ensemble": 0.9,
        "zero_shot/top1/ensemble/low": 0.86,
        "zero_shot/top1/ensemble/high": 0.93,
    }
    tags = [event.body["tags"] for event in events if event.kind == "tags" and event.run == "evaluate"]
    assert {"openwit.not_measured.birdsnap": "no such folder"} in tags
    ended = [event.run for event in events if event.kind == "run_ended"]
    assert ended[:3] == ["evaluate/digits", "evaluate/scenes", "evaluate"]
