"""The whole chain, run once for real, then looked at from every side a user looks from."""

import json
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
from runs import STEPS, Ran, answer, openwit, steps_of

from evaluation.catalog.suites import SUITES


def test_every_step_was_done_and_the_result_says_so(smoke: Ran) -> None:
    assert steps_of(smoke.result, "done") == STEPS
    assert smoke.result["manifest_id"]
    assert smoke.result["checkpoint_id"]
    for score in smoke.result["scores"]:
        assert 0 <= score["low"] <= score["value"] <= score["high"]
        assert score["n"] > 0
    protocols = {score["protocol"] for score in smoke.result["scores"]}
    assert protocols == {"zero_shot", "linear_probe", "robustness", "retrieval"}


def test_every_planted_defect_was_counted_under_its_own_reason(smoke: Ran) -> None:
    found = answer("inspect", str(smoke.step("pack")))
    assert found["planted_equal"] is True
    planted = {
        (p, u, r): n
        for p, units in found["planted"].items()
        if p != "recovered"
        for u, rs in units.items()
        for r, n in rs.items()
    }
    assert len(planted) > 20
    for (phase, unit, reason), number in planted.items():
        assert found["counts"][phase][unit]["reasons"][reason] == number > 0
    assert found["recovered"] == found["planted"]["recovered"]
    assert Path(found["contact_sheet"]).stat().st_size > 10_000


def test_no_reason_was_counted_that_was_not_planted_but_the_balance(smoke: Ran) -> None:
    found = answer("inspect", str(smoke.step("pack")))
    for phase, units in found["counts"].items():
        for unit, fate in units.items():
            planted = set(found["planted"].get(phase, {}).get(unit, {}))
            assert set(fate["reasons"]) - planted <= {"balanced_out"}


def test_a_second_run_finds_everything_up_to_date(smoke: Ran) -> None:
    again = answer("run", "smoke", "--root", str(smoke.root), timeout=15)
    assert steps_of(again, "up to date") == STEPS
    assert again["manifest_id"] == smoke.result["manifest_id"]
    assert again["run_id"] == ""


def test_a_changed_training_setting_repeats_no_curation(smoke: Ran) -> None:
    planned = answer("plan", "smoke", "--set", "train.learning_rate=0.003", "--root", str(smoke.root))["steps"]
    states = {step["name"]: step["done"] for step in planned}
    assert [name for name, done in states.items() if not done] == ["train", "evaluate", "report"]
    assert next(step for step in planned if step["name"] == "train")["why"] == "train.learning_rate: 0.002 -> 0.003"


def test_a_changed_radius_keeps_the_downloads(smoke: Ran) -> None:
    planned = answer("plan", "smoke", "--set", "curate.deduplicate.radius=5", "--root", str(smoke.root))["steps"]
    assert [step["name"] for step in planned if step["done"]] == ["web", "references", "crawl", "select", "fetch"]


def test_mlflow_holds_a_run_per_step_with_metrics_dataset_and_model(smoke: Ran) -> None:
    with sqlite3.connect(smoke.root / "mlflow.db") as store:
        runs = dict(store.execute("SELECT name, run_uuid FROM runs"))
        assert set(runs) == {"smoke", *STEPS, *SUITES["small"]}
        assert {status for (status,) in store.execute("SELECT status FROM runs")} == {"FINISHED"}
        parents = dict(store.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'"))
        below = {name: parents[run] for name, run in runs.items() if run in parents}
        assert below == dict.fromkeys(STEPS, runs["smoke"]) | dict.fromkeys(SUITES["small"], runs["evaluate"])
        loss = store.execute(
            "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = 'loss'", (runs["train"],)
        ).fetchall()
        assert sorted(step for step, _ in loss) == list(range(1, 41))
        digests = [digest for (digest,) in store.execute("SELECT digest FROM datasets")]
        assert smoke.result["manifest_id"][:32] in digests
        versions = store.execute("SELECT name, version FROM model_versions").fetchall()
        assert versions == [("openwit-smoke", 1)]


def test_mlflow_has_every_answer_of_the_evaluation(smoke: Ran) -> None:
    logged = {path.name: path for path in (smoke.root / "mlartifacts").rglob("scores/*")}
    assert set(logged) == {"report.json", "outcomes.parquet"}
    assert set(pq.read_table(logged["outcomes.parquet"])["task"].to_pylist()) >= {"digits"}


def test_the_metrics_in_mlflow_are_those_of_the_training(smoke: Ran) -> None:
    rows = [json.loads(line) for line in (smoke.step("train") / "steps.jsonl").read_text().splitlines()]
    with sqlite3.connect(smoke.root / "mlflow.db") as store:
        run = store.execute("SELECT run_uuid FROM runs WHERE name = 'train'").fetchone()[0]
        told = dict(store.execute("SELECT step, value FROM metrics WHERE run_uuid = ? AND key = 'loss'", (run,)))
    assert told == {row["step"]: row["loss"] for row in rows}


def test_report_json_and_report_html_tell_the_same_numbers(smoke: Ran) -> None:
    folder = smoke.step("report")
    facts = json.loads((folder / "report.json").read_text())
    page = (folder / "report.html").read_text()
    assert facts["results"]["dataset"]["manifest_id"] == smoke.result["manifest_id"]
    assert all(row["equal"] for row in facts["results"]["planted"])
    assert smoke.result["manifest_id"][:12] in page
    assert "http-equiv" in page
    assert "<script" not in page


def test_a_person_reads_the_same_result_as_tables(smoke: Ran) -> None:
    done = openwit("run", "smoke", "--root", str(smoke.root), timeout=30)
    assert done.returncode == 0
    for words in ("up to date", "zero_shot", "linear_probe", "report.html", "openwit ui --root"):
        assert words in done.stdout
