from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from evaluation.__main__ import main
from evaluation.compare import compare
from evaluation.config import EvaluateConfig
from evaluation.corruptions.variants import Variant
from evaluation.features.store import FeatureStore
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.models.layers import EMBEDDING, PENULTIMATE
from evaluation.pictures.pictures import load
from evaluation.probe.config import ProbeConfig
from evaluation.report import Report, fingerprint, headline
from evaluation.run import evaluate
from evaluation.score_names import headline_names
from pipeline import storage
from pipeline.errors import DataError
from training.data.transforms import evaluation_pixels
from training.saving.checkpoint import Checkpoint

CONFIG = EvaluateConfig(
    tasks=("digits", "scenes-place", "scenes-retrieval"),
    corruptions=("contrast", "gaussian_noise"),
    robustness_pictures=10,
    bootstrap_resamples=200,
    probe=ProbeConfig(search_gap=0.1),
    threads=1,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def report(checkpoint_folder: str, store: str) -> Report:
    return evaluate(CONFIG, checkpoint_folder, store)


def test_every_protocol_gives_scores_with_count_and_interval(report: Report) -> None:
    names = [score.name for score in report.scores]
    assert len(names) == len(set(names))
    for name, count in (
        ("digits/zero_shot/top1/ensemble", 360),
        ("digits/zero_shot/mean_per_class/ensemble", 360),
        ("digits/linear_probe/top1/test", 360),
        ("digits/robustness/top1/clean", 10),
        ("digits/robustness/top1/contrast/3", 10),
        ("digits/robustness/top1/contrast", 10),
        ("scenes-place/robustness/top1/mean", 10),
        ("scenes-retrieval/retrieval/recall@10/image_to_text", 400),
    ):
        assert report.score(name).n == count
    assert all(0 <= score.low <= score.value <= score.high <= 1 for score in report.scores)
    with pytest.raises(DataError, match="no score 'digits/top1' in this report; it has digits/zero_shot"):
        report.score("digits/top1")


def test_the_headline_is_what_a_result_table_shows(report: Report) -> None:
    assert [score.name for score in headline(report)] == [
        "digits/zero_shot/top1/ensemble",
        "digits/linear_probe/top1/test",
        "digits/robustness/top1/mean",
        "scenes-place/zero_shot/top1/ensemble",
        "scenes-place/robustness/top1/mean",
        "scenes-retrieval/retrieval/recall@1/image_to_text",
        "scenes-retrieval/retrieval/recall@5/image_to_text",
        "scenes-retrieval/retrieval/recall@1/text_to_image",
        "scenes-retrieval/retrieval/recall@5/text_to_image",
    ]
    beside = ("zero_shot", "linear_probe")
    foretold = headline_names(CONFIG.tasks, beside)
    assert foretold == [score.name for score in headline(report) if score.protocol in beside]


def test_outcomes_confusions_and_curves_tell_the_same_as_the_scores(report: Report) -> None:
    rows = report.outcomes.to_pandas()
    for task, protocol, variant in (("digits", "zero_shot", "ensemble"), ("digits", "linear_probe", "test")):
        value = report.score(f"{task}/{protocol}/top1/{variant}").value
        own = rows[(rows.task == task) & (rows.protocol == protocol)]
        assert own.correct.mean() == pytest.approx(value, abs=1e-6)
        assert ((own.label == own.prediction) == own.correct).all()
        counts = np.array(report.details[task][protocol]["confusion"])
        assert counts.trace() / counts.sum() == pytest.approx(value, abs=1e-6)
    assert (
        report.details["digits"]["robustness"]["curves"]["contrast"][2]
        == report.score("digits/robustness/top1/contrast/3").value
    )
    assert set(report.found("zero_shot", "templates")) == {"digits", "scenes-place"}
    assert 7 < len(report.details["digits"]["linear_probe"]["search"]) <= 15


def test_the_same_checkpoint_gives_the_same_report_without_decoding_a_picture_again(
    report: Report, checkpoint_folder: str, store: str
) -> None:
    again = evaluate(CONFIG, checkpoint_folder, store)
    assert again.id == report.id
    assert report.telemetry["pictures_decoded"] == 360 + 1437 + 400 + 10 + 10
    assert again.telemetry["pictures_decoded"] == again.telemetry["pictures_encoded"] == 0


def test_the_batch_size_does_not_change_a_score_and_threads_are_put_back(
    report: Report, checkpoint_folder: str, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"tasks": ("scenes-place",), "protocols": ("zero_shot",), "batch_size": 33})
    before = torch.get_num_threads()
    other = evaluate(config, checkpoint_folder, str(tmp_path))
    assert torch.get_num_threads() == before
    wanted = [score for score in report.scores if (score.task, score.protocol) == ("scenes-place", "zero_shot")]
    assert list(other.scores) == wanted


def test_how_a_solver_came_to_its_answer_is_told_and_no_part_of_what_the_report_is(report: Report) -> None:
    probe = report.details["digits"]["linear_probe"]
    assert set(probe["solve"]) == {"iterations", "objective", "gradient_norm", "gap_bound", "search_iterations"}
    assert not {"iterations", "gap_bound"} & {*probe, *probe["search"][0]}
    other = {"digits": report.details["digits"] | {"linear_probe": probe | {"solve": {"gap_bound": 1.0}}}}
    assert replace(report, details=report.details | other).id == report.id
    other = {"digits": report.details["digits"] | {"linear_probe": probe | {"penalty": 1.5}}}
    assert replace(report, details=report.details | other).id != report.id


def test_a_table_s_fingerprint_is_of_its_content_alone(report: Report) -> None:
    table = report.outcomes
    parts = pa.concat_tables([table.slice(0, 7), table.slice(7)])
    assert fingerprint(parts) == fingerprint(table) == fingerprint(table.take(pa.array(range(table.num_rows))))
    for column in table.schema.names:
        changed = table.column(column).combine_chunks().take(pa.array([*range(1, table.num_rows), 0]))
        if changed != table.column(column).combine_chunks():
            place = table.schema.names.index(column)
            assert fingerprint(table.set_column(place, table.schema.field(column), changed)) != fingerprint(table)


def test_every_score_is_compared_or_told_why_not(report: Report) -> None:
    found = compare(report, report)
    compared = {f"{row.task}/{row.protocol}/{row.metric}/{row.variant}": row for row in found.rows}
    left = {f"{row['task']}/{row['protocol']}/{row['metric']}/{row['variant']}" for row in found.apart}
    assert {*compared, *left} == {score.name for score in report.scores}
    assert not left & set(compared)
    assert not left
    for score in report.scores:
        row = compared[score.name]
        # Kept confidences have four digits; all else is the score itself.
        assert row.first == pytest.approx(score.value, abs=2e-4 if score.metric == "calibration_error" else 2e-6)
        assert (row.difference, row.only_first, row.only_second) == (0, 0, 0)
        assert row.p_value == 1
        assert row.low < 0 < row.high or score.metric == "calibration_error"


def test_a_report_survives_storage_and_a_changed_one_is_noticed(report: Report, tmp_path: Path) -> None:
    folder = str(tmp_path)
    report.save(folder)
    loaded = Report.load(folder)
    assert loaded.id == report.id
    assert loaded.table().equals(report.table())
    assert list(loaded.table().columns) == ["task", "protocol", "metric", "variant", "value", "low", "high", "n"]
    value = storage.read_json(f"{folder}/report.json")
    value["scores"][0]["value"] = 1.0
    storage.write_json(f"{folder}/report.json", value)
    with pytest.raises(DataError, match="its id does not fit its content"):
        Report.load(folder)
    with pytest.raises(DataError, match="no finished evaluation"):
        Report.load(f"{folder}/none")


def test_stored_features_equal_those_of_one_picture_at_a_time(checkpoint_folder: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(checkpoint_folder)
    store = FeatureStore(str(tmp_path), Encoder(checkpoint, 8), seed=0)
    pictures = load("digits", "test").subset(range(20))
    wanted = [Wanted(EMBEDDING), Wanted(PENULTIMATE), Wanted(EMBEDDING, Variant("pixelate", 5))]
    made = store.get(pictures, wanted)
    assert (store.decoded, store.encoded) == (20, 40)
    model = checkpoint.model().eval()
    with torch.inference_mode():
        for index in (0, 13, 19):
            pixels = evaluation_pixels(pictures.read(index), checkpoint.spec)[None]
            np.testing.assert_allclose(made[wanted[0]][index], model.encode_image(pixels)[0], atol=1e-5)
            np.testing.assert_allclose(made[wanted[1]][index], model.image_features(pixels)[0], atol=1e-5)
    assert np.abs(made[wanted[2]] - made[wanted[0]]).max() > 1e-3
    assert all(isinstance(rows, np.memmap) for rows in made.values())


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_parts_interrupted_half_way_are_the_only_ones_made_again(
    checkpoint_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluation.features.names.PART_PICTURES", 8)
    encoder = Encoder(Checkpoint.load(checkpoint_folder), 8)
    pictures = load("digits", "test").subset(range(20))
    whole = FeatureStore(str(tmp_path / "other"), encoder, 0).get(pictures, [Wanted()])[Wanted()]
    assert isinstance(whole, np.memmap)
    files = list((tmp_path / "other").iterdir())
    assert sorted(len(np.load(file)) for file in files) == [4, 8, 8, 20]  # the wanted parts have become one file
    with monkeypatch.context() as killed:
        killed.setattr("evaluation.features.store._join", _killed)
        with pytest.raises(KeyboardInterrupt):
            FeatureStore(str(tmp_path), encoder, 0).get(pictures, [Wanted()])
    files = sorted(tmp_path.glob("*.npy"))
    assert len(files) == 6
    for lost in [file for file in files if len(np.load(file)) == 4]:
        lost.unlink()
    second = FeatureStore(str(tmp_path), encoder, 0)
    assert (second.get(pictures, [Wanted()])[Wanted()] == whole).all()
    assert second.decoded == 4


def test_features_of_another_checkpoint_or_picture_list_are_never_taken(checkpoint_folder: str, tmp_path: Path) -> None:
    encoder = Encoder(Checkpoint.load(checkpoint_folder), 8)
    digits = load("digits", "test")
    FeatureStore(str(tmp_path), encoder, 0).get(digits.subset(range(5)), [Wanted()])
    encoder.checkpoint_id = "another"
    other = FeatureStore(str(tmp_path), encoder, 0)
    other.get(digits.subset(range(5)), [Wanted()])
    other.get(digits.subset(range(1, 6)), [Wanted()])
    assert other.decoded == 10


def test_the_command_prints_scores_and_says_what_is_wrong_in_one_line(
    checkpoint_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["--checkpoint", checkpoint_folder, "--out", out, "--tasks", "scenes-retrieval"]) == 0
    assert "scenes-retrieval/retrieval/recall@1/image_to_text" in capsys.readouterr().out
    assert len(Report.load(out).scores) == 6
    config = tmp_path / "config.json"
    config.write_text('{"batch_size": 0}')
    for arguments, word in (
        (["--tasks", "scene"], "did you mean scenes?"),
        (["--config", str(config)], "config.json: evaluate.batch_size: 0 is out of range; it must be at least 1"),
        (["--config", str(tmp_path / "none.json")], "there is no such file"),
    ):
        assert main(["--checkpoint", checkpoint_folder, "--out", out, *arguments]) == 2
        said = capsys.readouterr().err
        assert word in said
        assert said.count("\n") == 1
    assert main(["--checkpoint", str(tmp_path / "none"), "--out", out]) == 2
    assert "give the folder of an openwit, open_clip or Hugging Face checkpoint" in capsys.readouterr().err
