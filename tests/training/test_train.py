"""One rank in this process: the generator, what it leaves, and what it says when it cannot go on."""

import io
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.data.transforms import evaluation_pixels
from training.fitting import fitted
from training.models.clip import CLIP
from training.run import read_steps, run
from training.saving.checkpoint import Checkpoint
from training.saving.checkpoints_config import CheckpointsConfig
from training.saving.start import start_from, starting_spec
from training.spec import build
from training.train import StepResult, train
from training.watching.watch_config import WatchConfig

CONFIG = TrainConfig(
    model="clip-tiny",
    vocabulary_size=300,
    context_length=12,
    global_batch_size=8,
    steps=7,
    warmup_steps=2,
    threads_per_worker=1,
    checkpoints=CheckpointsConfig(every_steps=3, keep=1),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("dataset"))
    random = np.random.default_rng(0)
    rows = []
    for number in range(20):
        sink = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(sink, "PNG")
        rows.append((f"http://x/{number}", f"picture number {number}", sink.getvalue()))
    write_dataset(folder, rows, format="png")
    return folder


def without_clock(results: list[StepResult]) -> list[tuple[object, ...]]:
    return [(r.step, r.loss, r.learning_rate, r.logit_scale, r.samples_seen, r.gradient_norm) for r in results]


@pytest.fixture(scope="module")
def finished(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[StepResult]]:
    folder = str(tmp_path_factory.mktemp("finished"))
    return folder, list(train(CONFIG, dataset, folder))


def test_a_run_yields_every_step_and_leaves_a_checkpoint(finished: tuple[str, list[StepResult]], dataset: str) -> None:
    folder, results = finished
    assert [result.step for result in results] == list(range(1, 8))
    assert results[0].loss == pytest.approx(np.log(8), abs=0.7)
    assert results[-1].samples_seen == 56
    assert results[-1].seconds_left == 0
    assert all(result.samples_per_second > 0 for result in results)

    checkpoint = Checkpoint.load(f"{folder}/checkpoint")
    assert checkpoint.step == 7
    assert checkpoint.manifest_id == json.loads(Path(dataset, "manifest.json").read_text())["id"]
    model, tokenizer = checkpoint.model(), checkpoint.tokenizer()
    picture = Image.fromarray(np.zeros((50, 40, 3), np.uint8))
    pixels = evaluation_pixels(picture, checkpoint.spec)[None]
    image, text, scale = model(pixels, tokenizer.encode(["picture number 3"]))
    assert image.shape == text.shape == (1, checkpoint.spec.embedding)
    assert torch.isfinite(image).all()
    assert scale.item() == pytest.approx(results[-1].logit_scale, rel=1e-2)


def test_a_finished_run_yields_nothing_more(finished: tuple[str, list[StepResult]], dataset: str) -> None:
    assert list(train(CONFIG, dataset, finished[0])) == []


def test_a_run_that_was_left_in_the_middle_goes_on_where_it_was(
    finished: tuple[str, list[StepResult]], dataset: str, tmp_path: Path
) -> None:
    early = train(CONFIG, dataset, str(tmp_path))
    first = list(itertools.islice(early, 5))
    early.close()
    rest = list(train(CONFIG, dataset, str(tmp_path)))
    assert [result.step for result in rest] == [4, 5, 6, 7]
    assert without_clock(first[:3] + rest) == without_clock(finished[1])
    assert Checkpoint.load(f"{tmp_path}/checkpoint").id == Checkpoint.load(f"{finished[0]}/checkpoint").id

    with pytest.raises(ConfigError, match=r"was trained with learning_rate 0\.0005 and this run has 0\.001"):
        list(train(CONFIG.model_copy(update={"learning_rate": 1e-3}), dataset, str(tmp_path)))


def test_snapshots_are_written_only_where_somebody_measures_them_and_never_end_a_run(
    dataset: str, tmp_path: Path
) -> None:
    watched = CONFIG.model_copy(update={"watch": WatchConfig(evaluate_every_steps=3), "steps": 4})
    said: list[str] = []
    run(watched, dataset, str(tmp_path / "alone"), True, say=said.append)
    assert [line.split(":")[0] for line in said] == ["train.watch.evaluate_every_steps is 3"]
    assert not (tmp_path / "alone" / "snapshots").exists()
    run(watched, dataset, str(tmp_path / "measured"), True, say=said.append, is_measured=True)
    assert len(said) == 1
    assert Checkpoint.load(str(tmp_path / "measured" / "snapshots" / "000000003")).step == 3
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "snapshots").write_text("a file, so that no folder can be made here")
    results = list(train(watched, dataset, str(tmp_path / "full"), is_measured=True))
    assert [each.measured.get("failed_snapshots") for each in results] == [None, None, None, 1.0]
    best = CheckpointsConfig(keep_best=1, best_metric="digits/zero_shot/top1/ensemble")
    with pytest.raises(ConfigError, match=r"best_metric is digits/.* measure scores under `openwit train`"):
        next(iter(train(watched.model_copy(update={"checkpoints": best}), dataset, str(tmp_path / "best"))))
    assert not (tmp_path / "best").exists()


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_every_zero_stage_resumes_exactly(dataset: str, tmp_path: Path, stage: int) -> None:
    config = CONFIG.model_copy(
        update={"zero_stage": stage, "steps": 5, "checkpoints": CheckpointsConfig(every_steps=2, keep=1)}
    )
    whole = list(train(config, dataset, str(tmp_path / "whole")))
    early = train(config, dataset, str(tmp_path / "resumed"))
    first = list(itertools.islice(early, 4))
    early.close()
    rest = list(train(config, dataset, str(tmp_path / "resumed")))
    assert without_clock(first[:2] + rest) == without_clock(whole)
    final = [Checkpoint.load(str(tmp_path / name / "checkpoint")).id for name in ("whole", "resumed")]
    assert final[0] == final[1]


def test_a_changed_file_is_no_checkpoint(finished: tuple[str, list[StepResult]], tmp_path: Path) -> None:
    for file in Path(finished[0], "checkpoint").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert Checkpoint.load(str(tmp_path)).step == 7
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer\.json: missing or changed"):
        Checkpoint.load(str(tmp_path))
    (tmp_path / "checkpoint.json").unlink()
    with pytest.raises(DataError, match=r"no checkpoint\.json"):
        Checkpoint.load(str(tmp_path))


def test_texts_of_a_trained_model_may_be_shorter_and_what_else_differs_is_named(
    dataset: str, finished: tuple[str, list[StepResult]], tmp_path: Path
) -> None:
    folder, _ = finished
    shorter = CONFIG.model_copy(update={"start_from": folder, "context_length": 6})
    model = build(starting_spec(fitted(shorter, None), shorter)).eval()
    start_from(model, shorter)
    texts = torch.tensor([[280, 5, 6, 281, 0, 0], [280, 5, 7, 8, 9, 281]])
    assert isinstance(model, CLIP)
    twin = Checkpoint.load(f"{folder}/checkpoint").model()
    assert isinstance(twin, CLIP)
    torch.testing.assert_close(model.encode_text(texts), twin.encode_text(torch.nn.functional.pad(texts, (0, 6))))
    for values, message in (
        (
            {"context_length": 20},
            "train.context_length 20: .* knows texts of 12 tokens at most; set it to that, or less",
        ),
        ({"vocabulary_size": 400}, "train.vocabulary_size 400: the token table of .* has 300 rows; set it to that"),
        ({"vocabulary_size": 260}, "train.vocabulary_size 260: the token table of .* has 300 rows; set it to that"),
    ):
        with pytest.raises(ConfigError, match=message):
            next(train(CONFIG.model_copy(update={"start_from": folder, **values}), dataset, str(tmp_path)))


def test_the_record_has_a_line_per_step(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "steps.jsonl").write_text('{"step": 1, "old": true}\n{"step": 2, "cut off')
    seen: list[StepResult] = []
    run(CONFIG.model_copy(update={"steps": 3}), dataset, str(tmp_path), is_first=True, on_step=seen.append)
    assert read_steps(str(tmp_path)) == seen
    assert [result.step for result in seen] == [1, 2, 3]


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_training_that_diverges_stops_and_names_the_step(dataset: str, tmp_path: Path, stage: int) -> None:
    wild = CONFIG.model_copy(update={"learning_rate": 1e30, "warmup_steps": 0, "zero_stage": stage, "steps": 30})
    with pytest.raises(DataError, match=r"step \d+: loss .*diverged: lower train\.learning_rate"):
        list(train(wild, dataset, str(tmp_path)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"model": "clip-tinny"}', "train.model: there is no model 'clip-tinny'; did you mean clip-tiny?"),
        ('{"lerning_rate": 1}', "train.lerning_rate: unknown key; did you mean train.learning_rate?"),
        ("{", "not JSON"),
        (CONFIG.model_copy(update={"global_batch_size": 64}).model_dump_json(), "train.global_batch_size is 64 and"),
    ],
)
def test_a_user_s_mistake_is_one_line_and_exit_code_2(dataset: str, tmp_path: Path, config: str, message: str) -> None:
    path = tmp_path / "train.json"
    path.write_text(config)
    command = [sys.executable, "-m", "training", "--config", str(path), "--data", dataset, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "checkpoints").exists()
