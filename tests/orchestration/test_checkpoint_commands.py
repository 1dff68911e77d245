"""openwit replay, export, import, and training from what they made: files in, files out, one line for a mistake."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from orchestration.cli import main
from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError
from training.checkpoint import Checkpoint
from training.config import TrainConfig
from training.conversion import largest_difference
from training.foreign.read import read_foreign
from training.spec import REGISTRY
from training.start import start_from, starting_spec, starting_tokenizer
from training.train import train

GOLDEN = Path(__file__).parents[1] / "golden_clip"


def openwit(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """The JSON that a command prints; it must succeed."""
    assert main([*words, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a command ends with."""
    assert main(list(words)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset and two trainings: one on it, one with a moving average."""
    folder = tmp_path_factory.mktemp("root")
    random = np.random.default_rng(0)
    rows = []
    for number in range(16):
        sink = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (36, 36, 3), dtype=np.uint8)).save(sink, "PNG")
        rows.append((f"http://x/{number}", f"picture number {number}", sink.getvalue()))
    write_dataset(str(folder / "pack-0"), rows, format="png")
    for _ in train(config(), str(folder / "pack-0"), str(folder / "train-0")):
        pass
    return folder


def config(**values: Any) -> TrainConfig:
    sizes = {"model": "clip-tiny", "vocabulary_size": 300, "context_length": 12, "global_batch_size": 8, "steps": 4}
    rest = {"warmup_steps": 1, "threads_per_worker": 1, "checkpoints": {"every_steps": 2}}
    return TrainConfig.model_validate(sizes | rest | {"optimizer": {"ema_decay": 0.5}} | values)


def test_replay_finds_the_dataset_beside_the_training(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = openwit(capsys, "replay", str(root), "--step", "4", "--worst", "3")
    assert (found["step"], found["replayed_from_step"], len(found["samples"])) == (4, 2, 3)
    worst = found["samples"][0]
    assert worst["caption"] == f"picture number {worst['url'].removeprefix('http://x/')}"
    assert worst["loss"] >= found["loss"]
    assert any(name.startswith("visual") for name in found["gradient_norm_by_layer"])
    assert main(["replay", str(root / "train-0"), "--step", "4", "--data", str(root / "pack-0")]) == 0
    assert worst["key"] in capsys.readouterr().out
    assert "has 4 steps; give one of them" in mistake(capsys, "replay", str(root), "--step", "9")


def test_a_checkpoint_goes_out_whole_or_averaged(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = openwit(
        capsys, "export", str(root / "train-0/checkpoints/000000002"), str(tmp_path / "half"), "--to", "openwit"
    )
    assert found["largest_output_difference"] == 0
    assert (found["step"], sorted(found["files"])) == (2, ["checkpoint.json", "model.safetensors", "tokenizer.json"])
    openwit(capsys, "export", str(root / "train-0"), str(tmp_path / "mean"), "--to", "openwit", "--average")
    mean, plain = Checkpoint.load(str(tmp_path / "mean")).weights(), Checkpoint.load(str(root / "train-0/checkpoint"))
    assert not torch.equal(mean["logit_scale"], plain.weights()["logit_scale"])
    assert torch.equal(mean["logit_scale"], plain.weights(averaged=True)["logit_scale"])
    said = mistake(capsys, "export", str(root / "train-0"), str(tmp_path / "other"), "--to", "huggingface")
    assert "stem of convolutions" in said
    assert not (tmp_path / "other").exists()
    assert "not empty; name a new folder" in mistake(
        capsys, "export", str(root / "train-0"), str(tmp_path / "half"), "--to", "openwit"
    )


@pytest.mark.parametrize("layout", ["huggingface", "open_clip"])
def test_models_of_others_come_in_and_go_out(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, back = tmp_path / "ours", tmp_path / "back"
    found = openwit(capsys, "import", str(GOLDEN / layout), str(ours))
    assert (found["layout"], found["largest_output_difference"]) == (layout, 0)
    openwit(capsys, "export", str(ours), str(back), "--to", layout)
    assert largest_difference(read_foreign(str(GOLDEN / layout)).model(), read_foreign(str(back)).model()) == 0
    assert "make it a checkpoint first" in mistake(capsys, "export", str(back), str(tmp_path / "x"), "--to", "openai")
    assert "give the folder of a training" in mistake(capsys, "replay", str(ours), "--step", "1")


def test_a_run_starts_from_a_model_of_others(tmp_path: Path) -> None:
    """Its tokenizer, its activation and its pixel statistics come along; what does not fit is one line."""
    place = str(GOLDEN / "open_clip")
    other = read_foreign(place)
    changed = REGISTRY["clip-tiny"].to_json() | {
        "image": other.spec.to_json()["image"],
        "text": other.spec.to_json()["text"],
    }
    changed |= {"embedding": other.spec.to_json()["embedding"], "activation": "gelu", "name": "mine"}
    changed["image"] = changed["image"] | {"pixel_mean": [0.0, 0.0, 0.0]}
    spec = type(REGISTRY["clip-tiny"]).read({key: value for key, value in changed.items() if key != "family"})
    wanted = config(start_from=place, vocabulary_size=100_000)
    started = starting_spec(spec, wanted)
    assert started.to_json() == other.spec.to_json() | {"name": "mine"}
    model = started.build()
    start_from(model, wanted)
    assert largest_difference(other.model(), model.eval()) == 0
    tokenizer = starting_tokenizer(wanted)
    assert tokenizer is not None
    assert tokenizer.size == other.tokenizer().size
    with pytest.raises(ConfigError, match=r"its image\.\w+ is .* that of clip-tiny is .*; it is of another model"):
        starting_spec(REGISTRY["clip-tiny"], wanted)
    with pytest.raises(ConfigError, match="entries; set it to that"):
        starting_tokenizer(config(start_from=place, vocabulary_size=260))


def test_a_run_starts_from_a_run(root: Path, tmp_path: Path) -> None:
    start = str(root / "train-0")
    frozen = config(start_from=start, steps=2, learning_rate=1e-30, warmup_steps=0, weight_decay=0.0)
    for _ in train(frozen, str(root / "pack-0"), str(tmp_path)):
        pass
    before, after = Checkpoint.load(f"{start}/checkpoint"), Checkpoint.load(str(tmp_path / "checkpoint"))
    assert all(torch.equal(value, before.weights()[name]) for name, value in after.weights().items())
    assert after.files["tokenizer.json"] == before.files["tokenizer.json"]
