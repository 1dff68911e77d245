"""Checkpoints of open_clip and Hugging Face give the embeddings that their own code gives (golden_clip/make.py)."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_clip.make import TEXTS, pictures

from evaluation.models.encoder import Encoder
from evaluation.models.foreign import open_checkpoint, pixel_form
from evaluation.models.layers import EMBEDDING
from pipeline.errors import DataError
from pipeline.scoring.score_pixels import cut_square
from training.foreign.read import ForeignModel
from training.saving.checkpoint import Checkpoint

GOLDEN = Path(__file__).parents[2] / "golden_clip"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text("utf-8"))
LAYOUTS = ("huggingface", "open_clip")


def copy(layout: str, folder: Path) -> Path:
    shutil.copytree(GOLDEN / layout, folder / layout)
    return folder / layout


def change(path: Path, section: str, key: str, value: object) -> None:
    config = json.loads(path.read_text("utf-8"))
    target = config
    for name in section.split("."):
        target = target[name]
    target[key] = value
    path.write_text(json.dumps(config), "utf-8")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_texts_and_tokens_equal_those_of_the_peers_own_code(layout: str) -> None:
    checkpoint = open_checkpoint(str(GOLDEN / layout))
    assert isinstance(checkpoint, ForeignModel)
    tokens = checkpoint.tokenizer().encode(TEXTS)
    for row, ids in zip(tokens.tolist(), EXPECTED[layout]["ids"], strict=True):
        assert row[: len(ids)] == ids
        assert not any(row[len(ids) :])
    encoder = Encoder(checkpoint, 4)
    np.testing.assert_allclose(encoder.texts(TEXTS), EXPECTED[layout]["texts"], atol=2e-5)
    squares = [np.asarray(cut_square(picture, pixel_form(checkpoint))) for picture in pictures()]
    pixels = np.ascontiguousarray(np.stack(squares).transpose(0, 3, 1, 2))
    np.testing.assert_allclose(encoder.features(pixels, [EMBEDDING])[EMBEDDING], EXPECTED[layout]["images"], atol=2e-5)


def test_a_caption_cannot_end_itself(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(GOLDEN / "huggingface"))
    tokenizer = checkpoint.tokenizer()
    row = tokenizer.encode(["a <|endoftext|> dog"])[0].tolist()
    assert row.count(tokenizer.end) == 1


def test_a_torch_archive_is_read_without_unpickling_and_gives_the_same_model(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = copy("open_clip", tmp_path)
    weights = load_file(folder / "open_clip_model.safetensors")
    (folder / "open_clip_model.safetensors").unlink()
    training = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in weights.items()}}
    torch.save(training, folder / "open_clip_pytorch_model.bin")
    encoder = Encoder(open_checkpoint(str(folder)), 4)
    np.testing.assert_allclose(encoder.texts(TEXTS), EXPECTED["open_clip"]["texts"], atol=2e-5)


def test_an_archive_that_wants_to_run_code_is_refused(tmp_path: Path) -> None:
    folder = copy("open_clip", tmp_path)
    (folder / "open_clip_model.safetensors").unlink()
    flag = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> object:
            return Path.touch, (flag,)

    torch.save({"state_dict": {"visual.proj": Evil()}}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(DataError, match="cannot be read as weights"):
        open_checkpoint(str(folder)).model()
    assert not flag.exists()


@pytest.mark.parametrize(
    ("layout", "file", "section", "key", "value", "said"),
    [
        ("open_clip", "open_clip_config.json", "model_cfg.vision_cfg", "timm_model_name", "vit", "timm_model_name"),
        ("open_clip", "open_clip_config.json", "model_cfg.vision_cfg", "layers", [3, 4], "layers"),
        ("open_clip", "open_clip_config.json", "model_cfg.text_cfg", "hf_model_name", "roberta", "hf_model_name"),
        ("open_clip", "open_clip_config.json", "preprocess_cfg", "resize_mode", "longest", "resize_mode"),
        ("huggingface", "config.json", "vision_config", "hidden_act", "silu", "hidden_act"),
        ("huggingface", "config.json", "text_config", "hidden_size", None, "hidden_size"),
    ],
)
def test_a_model_that_is_only_almost_a_clip_is_refused_by_its_key(
    tmp_path: Path, layout: str, file: str, section: str, key: str, value: object, said: str
) -> None:
    folder = copy(layout, tmp_path)
    change(folder / file, section, key, value)
    with pytest.raises(DataError, match=said):
        open_checkpoint(str(folder))


def test_what_is_missing_or_does_not_fit_is_named(tmp_path: Path) -> None:
    folder = copy("huggingface", tmp_path)
    change(folder / "config.json", "vision_config", "num_hidden_layers", 3)
    with pytest.raises(DataError, match=r"vision_model\.encoder\.layers\.2\..* is missing"):
        open_checkpoint(str(folder)).model()
    change(folder / "config.json", "vision_config", "num_hidden_layers", 1)
    with pytest.raises(DataError, match="not of this model"):
        open_checkpoint(str(folder)).model()
    change(folder / "config.json", "vision_config", "num_hidden_layers", 2)
    change(folder / "config.json", "vision_config", "intermediate_size", 64)
    with pytest.raises(DataError, match=r"has shape \(40,.*says \(64,"):
        open_checkpoint(str(folder)).model()
    for name in ("vocab.json", "model.safetensors", "config.json"):
        (folder / name).unlink()
        with pytest.raises(DataError, match=r"has merges.txt alone, and it takes both|no weights|holds no checkpoint"):
            open_checkpoint(str(folder)).tokenizer()


def test_the_id_follows_the_content_and_our_own_folder_is_ours(tmp_path: Path, checkpoint_folder: str) -> None:
    folder = copy("open_clip", tmp_path)
    first = open_checkpoint(str(folder)).id
    assert first == open_checkpoint(str(GOLDEN / "open_clip")).id
    change(folder / "open_clip_config.json", "model_cfg", "quick_gelu", False)
    assert open_checkpoint(str(folder)).id != first
    assert isinstance(open_checkpoint(checkpoint_folder), Checkpoint)
