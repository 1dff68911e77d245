"""The scorers that need a model, on tiny ones: each equals its definition, shares one tower, refuses what cannot work."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from phases import phase_of, split
from PIL import Image
from safetensors.numpy import save_file
from scored_rows import jpeg

from evaluation.models import scorers, tower
from evaluation.models.encoder import Encoder
from evaluation.models.foreign import open_checkpoint
from evaluation.models.layers import EMBEDDING
from orchestration.scorer_table import SCORERS
from orchestration.scorers import make_scorers, score_identity
from pipeline.config import CurateConfig
from pipeline.errors import ConfigError
from pipeline.execution.executor import InProcess
from pipeline.sample import pair_uid
from pipeline.scoring.score import score
from pipeline.scoring.scorers import ScorerConfig, make_scorer
from training.data.transforms import evaluation_pixels

GOLDEN = Path(__file__).parents[2] / "golden_clip"


def drawing(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((40, 60), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    texts = [f"a {colour} {shape}" for colour in ("red", "blue", "grey") for shape in ("dog", "square", "table", "cat")]
    found = [
        {"uid": pair_uid(str(i), text), "url": str(i), "text": text, "image": jpeg(drawing(i)), "thumbnail": b""}
        for i, text in enumerate(texts)
    ]
    kinds = [("uid", pa.string()), ("url", pa.string()), ("text", pa.string()), ("image", pa.binary())]
    return pa.Table.from_pylist(found, schema=pa.schema([*kinds, ("thumbnail", pa.binary())]))


def curate(*score: dict[str, object]) -> CurateConfig:
    return CurateConfig.model_validate(
        {"sources": {"crawl": {"kind": "site", "seeds": ["http://a.example/"]}}, "score": list(score)}
    )


@pytest.fixture
def head(tmp_path: Path) -> str:
    """An MLP of 12 -> 5 -> 1."""
    draw = np.random.default_rng(3)
    tensors = {"layers.0.weight": draw.normal(size=(5, 12)), "layers.0.bias": draw.normal(size=5)}
    tensors |= {"layers.2.weight": draw.normal(size=(1, 5)), "layers.2.bias": draw.normal(size=1)}
    path = tmp_path / "head.safetensors"
    save_file({name: value.astype(np.float32) for name, value in tensors.items()}, path)
    return str(path)


@pytest.mark.parametrize("kind", ["openwit", "huggingface", "open_clip"])
def test_clip_similarity_is_the_cosine_of_the_encoders_embeddings(
    tmp_path: Path, rows: pa.Table, checkpoint_folder: str, kind: str
) -> None:
    folder = checkpoint_folder if kind == "openwit" else str(GOLDEN / kind)
    config = curate({"scorer": "clip_similarity", "checkpoint": folder, "batch_size": 5, "store_embedding": True})
    source = phase_of(str(tmp_path / "in"), split(rows, 3))
    result = score(config.score, make_scorers(config), source, str(tmp_path / "out"), InProcess())
    kept = result.read_kept()
    assert kept.num_rows == rows.num_rows

    encoder = Encoder(open_checkpoint(folder), 1)
    for row in kept.to_pylist():
        with Image.open(io.BytesIO(row["image"])) as picture:
            if kind == "openwit":
                pixels = evaluation_pixels(picture, encoder.spec)[None].numpy()
            else:  # the shorter side, 40, to 24; then the middle 24 of 36
                small = np.asarray(picture.convert("RGB").resize((24, 36), Image.Resampling.BICUBIC))[6:30]
                pixels = small.transpose(2, 0, 1)[None].copy()
            image = encoder.features(pixels, [EMBEDDING])[EMBEDDING][0]
        text = encoder.texts([row["text"]])[0]
        cosine = image @ text / np.linalg.norm(image) / np.linalg.norm(text)
        assert row["score_clip_similarity"] == pytest.approx(cosine, abs=2e-5)
        np.testing.assert_allclose(row["embedding"], image / np.linalg.norm(image), atol=1e-3)


def test_heads_on_one_checkpoint_run_its_tower_once_a_batch(
    tmp_path: Path, rows: pa.Table, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(GOLDEN / "open_clip")
    runs = []
    features = Encoder.features
    monkeypatch.setattr(Encoder, "features", lambda self, *rest: (runs.append(1), features(self, *rest))[1])
    tower.tower.cache_clear()
    common = {"checkpoint": folder, "batch_size": 6}
    config = curate(
        {"scorer": "clip_similarity", "keep_fraction": 0.5, **common},
        *({"scorer": word, "head": head, **common} for word in ("aesthetics", "nsfw", "watermark")),
    )
    source = phase_of(str(tmp_path / "in"), [rows])
    result = score(config.score, make_scorers(config), source, str(tmp_path / "out"), InProcess())
    assert len(runs) == 2  # 12 pairs in batches of 6
    assert result.fates["pairs"].kept == 7
    kept = result.read_kept()
    weights = _tensors(head)
    for row in kept.to_pylist():
        e = _embedding(folder, row["image"])
        hidden = weights["layers.0.weight"] @ e + weights["layers.0.bias"]
        plain = weights["layers.2.weight"] @ hidden + weights["layers.2.bias"]
        relu = weights["layers.2.weight"] @ np.maximum(hidden, 0) + weights["layers.2.bias"]
        assert row["score_aesthetics"] == pytest.approx(plain[0], abs=1e-4)
        assert row["score_nsfw"] == row["score_watermark"] == pytest.approx(1 / (1 + np.exp(-relu[0])), abs=1e-4)


def _tensors(path: str) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path)


def _embedding(folder: str, image: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(image)) as picture:
        small = np.asarray(picture.convert("RGB").resize((24, 36), Image.Resampling.BICUBIC))[6:30]
    pixels = small.transpose(2, 0, 1)[None].copy()
    e = Encoder(open_checkpoint(folder), 1).features(pixels, [EMBEDDING])[EMBEDDING][0]
    return e / np.linalg.norm(e)


def test_a_head_of_two_outputs_and_the_words_in_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "two.safetensors"
    save_file({"weight": np.eye(2, 12, dtype=np.float32)}, path, metadata={"output": "softmax", "activation": "gelu"})
    config = ScorerConfig(scorer="nsfw", checkpoint=str(GOLDEN / "open_clip"), head=str(path))
    scorer = scorers.nsfw(config)
    assert (scorer.output, scorer.activation, scorer.higher_is_better) == ("softmax", "gelu", False)
    layers = scorers.ordered_layers(_tensors(str(path)))
    x = np.zeros((1, 12), np.float32)
    x[0, :2] = 0.3, 1.1
    softmax = np.exp(1.1) / (np.exp(0.3) + np.exp(1.1))
    assert scorers.apply_head(layers, x, "none", "softmax")[0] == pytest.approx(softmax, abs=1e-6)


def test_every_word_of_the_table_makes_a_scorer_without_loading_a_weight(head: str) -> None:
    for word, target in SCORERS.items():
        given = {"scorer": word, "checkpoint": str(GOLDEN / "open_clip"), "gpus": 0.5, "cpus": 2, "batch_size": 7}
        config = ScorerConfig.model_validate(given | ({} if word == "clip_similarity" else {"head": head}))
        scorer = make_scorer(0, config, target)
        assert (scorer.resources.gpus, scorer.resources.cpus, scorer.resources.batch_size) == (0.5, 2, 7)
        assert scorer.resources.memory_bytes > 200_000
        assert scorer.embedding_width == 12
        assert scorer.pixels.side == 24


def test_the_identity_has_ids_and_no_paths(head: str) -> None:
    config = curate({"scorer": "nsfw", "checkpoint": str(GOLDEN / "open_clip"), "head": head, "maximum": 0.5})
    told = score_identity(config, make_scorers(config))
    assert "/" not in str(told["scorers"])
    assert told["scorers"][0]["weights"]["checkpoint"] == open_checkpoint(str(GOLDEN / "open_clip")).id


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"scorer": "clip_similarty"},
            r"curate.score.0.scorer: 'clip_similarty' is unknown; did you mean clip_similar",
        ),
        ({"scorer": "clip_similarity"}, r"curate.score.0.checkpoint: clip_similarity needs one"),
        ({"scorer": "clip_similarity", "checkpoint": "/nowhere"}, r"curate.score.0.checkpoint: /nowhere: holds no"),
        ({"scorer": "nsfw", "checkpoint": str(GOLDEN / "open_clip")}, r"curate.score.0.head: nsfw needs one"),
        (
            {"scorer": "nsfw", "checkpoint": str(GOLDEN / "open_clip"), "head": str(GOLDEN / "expected.json")},
            r"curate.score.0.head: .*no safetensors file",
        ),
        (
            {
                "scorer": "nsfw",
                "checkpoint": str(GOLDEN / "open_clip"),
                "head": str(GOLDEN / "open_clip" / "open_clip_model.safetensors"),
            },
            r"curate.score.0.head: .*tensor .* is no <n>.weight",
        ),
        ({"scorer": "clip_similarity", "checkpoint": "/nowhere", "head": "x"}, r"head: 'x' is of no use"),
        ({"scorer": "clip_similarity", "options": {"a": 1}, "checkpoint": "/nowhere"}, r"options: .*knows no 'a'"),
    ],
)
def test_what_a_scorer_lacks_is_one_line_before_any_work(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as told:
        make_scorers(curate(wrong))
    assert "\n" not in str(told.value)


def test_a_head_that_does_not_fit_the_checkpoint_is_refused(head: str, checkpoint_folder: str) -> None:
    with pytest.raises(ConfigError, match=r"goes 12 to 5 then 5 to 1; the checkpoint's embedding has 128 numbers"):
        make_scorers(curate({"scorer": "aesthetics", "checkpoint": checkpoint_folder, "head": head}))
