"""An evaluation that was interrupted goes on: what is on disk is not made again, and the report is the same to the last bit."""

import io
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from evaluation.config import EvaluateConfig
from evaluation.features.config import FeaturesConfig
from evaluation.notes import notes_of
from evaluation.protocols.table import PROTOCOLS
from evaluation.report import Report
from evaluation.run import evaluate
from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.on_processes import Processes

CONFIG = EvaluateConfig(
    tasks=("digits", "scenes-place"),
    protocols=("zero_shot", "robustness"),
    corruptions=("contrast",),
    robustness_pictures=40,
    bootstrap_resamples=200,
    batch_size=16,
    threads=1,
)


def told(report: Report) -> bytes:
    """The report without its telemetry."""
    return storage.canonical_json({**report._content(), "telemetry": None})


@pytest.fixture(scope="module")
def undisturbed(checkpoint_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return evaluate(CONFIG, checkpoint_folder, str(tmp_path_factory.mktemp("whole")))


def test_another_protocol_on_the_same_model_decodes_nothing(checkpoint_folder: str, tmp_path: Path) -> None:
    def measured(task: str, protocol: str, **more: int) -> Report:
        update = {"tasks": (task,), "protocols": (protocol,), **more}
        return evaluate(CONFIG.model_copy(update=update), checkpoint_folder, str(tmp_path))

    assert measured("scenes", "zero_shot").telemetry["pictures_decoded"] == 400
    for second in (measured("scenes-retrieval", "retrieval"), measured("scenes", "zero_shot", bootstrap_resamples=300)):
        assert second.scores
        assert second.telemetry["pictures_decoded"] == second.telemetry["pictures_encoded"] == 0


def test_workers_of_their_own_make_the_same_report(
    checkpoint_folder: str, tmp_path: Path, undisturbed: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluation.features.names.PART_PICTURES", 128)  # of several parts, and as many batches
    workers = Processes(2)
    try:
        report = evaluate(CONFIG, checkpoint_folder, str(tmp_path), executor=workers)
    finally:
        workers.close()
    assert told(report) == told(undisturbed)
    assert report.telemetry["pictures_decoded"] == undisturbed.telemetry["pictures_decoded"]


def test_half_the_disk_moves_no_score_by_a_printed_digit(
    checkpoint_folder: str, tmp_path: Path, undisturbed: Report
) -> None:
    small = CONFIG.model_copy(update={"features": FeaturesConfig(precision="float16"), "protocols": ("zero_shot",)})
    report = evaluate(small, checkpoint_folder, str(tmp_path))
    for score in report.scores:
        assert score.value == pytest.approx(undisturbed.score(score.name).value, abs=0.006)


def test_killed_at_any_moment_and_run_again_the_report_is_the_same(
    checkpoint_folder: str, tmp_path: Path, undisturbed: Report
) -> None:
    """kill -9 in the middle of features, of findings, of writing; the last run is let through."""
    fork = multiprocessing.get_context("fork")
    for wanted in (1, 2, 5, 9, 15, 16):
        process = fork.Process(target=evaluate, args=(CONFIG, checkpoint_folder, str(tmp_path)))
        process.start()
        while sum(file.is_file() for file in tmp_path.rglob("*")) < wanted and process.is_alive():
            time.sleep(0.001)
        process.kill()
        process.join()
    report = evaluate(CONFIG, checkpoint_folder, str(tmp_path))
    assert told(report) == told(undisturbed)
    assert report.telemetry["pictures_decoded"] < undisturbed.telemetry["pictures_decoded"]


def test_damaged_findings_are_found_again(checkpoint_folder: str, tmp_path: Path, undisturbed: Report) -> None:
    evaluate(CONFIG, checkpoint_folder, str(tmp_path))
    for place, file in enumerate(sorted((tmp_path / "findings").iterdir())):
        file.write_bytes(b"{" if place % 2 else file.read_bytes()[:50])
    assert told(evaluate(CONFIG, checkpoint_folder, str(tmp_path))) == told(undisturbed)


def test_damaged_features_and_texts_are_made_again_and_that_is_said(
    checkpoint_folder: str, tmp_path: Path, undisturbed: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut in the middle, emptied, and of fewer rows; of texts, of pictures in one part, and in several that were joined."""
    monkeypatch.setattr("evaluation.features.names.PART_PICTURES", 128)
    assert not notes_of(evaluate(CONFIG, checkpoint_folder, str(tmp_path)))
    files = sorted(tmp_path.glob("*.npy"))
    for place, file in enumerate(files):
        whole = file.read_bytes()
        fewer = io.BytesIO()
        np.save(fewer, np.load(file, allow_pickle=False)[:-1])
        file.write_bytes((whole[: len(whole) // 2], b"", fewer.getvalue())[place % 3])
    more = CONFIG.model_copy(update={"bootstrap_resamples": 201})
    report = evaluate(more, checkpoint_folder, str(tmp_path))
    assert not report.absent
    assert [score.value for score in report.scores] == [score.value for score in undisturbed.scores]
    read = int(report.telemetry["features_damaged"])
    assert len(files) > 3
    assert 0 < read <= len(files)  # what nobody asked for stays as it is
    (note,) = notes_of(report)
    assert (note.kind, note.says.split(" of kept")[0]) == ("features_damaged", f"{read} files")
    again = evaluate(CONFIG.model_copy(update={"bootstrap_resamples": 202}), checkpoint_folder, str(tmp_path))
    assert (again.telemetry["pictures_decoded"], again.telemetry["features_damaged"]) == (0, 0)


def test_a_dataset_that_fails_is_a_row_and_the_others_go_on(
    checkpoint_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Report
) -> None:
    def broken(*_: object) -> None:
        raise DataError("digits: a label outside the table")

    monkeypatch.setattr(type(PROTOCOLS["zero_shot"]), "measure", broken)
    report = evaluate(CONFIG, checkpoint_folder, str(tmp_path))
    assert [(row["task"], row["protocol"], row["status"]) for row in report.absent] == [
        ("digits", "zero_shot", "broken"),
        ("scenes-place", "zero_shot", "broken"),
    ]
    kept = [score for score in undisturbed.scores if score.protocol == "robustness"]
    assert list(report.scores) == kept
