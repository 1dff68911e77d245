"""What a model of the user's may give by mistake: each is one line that says what to give, and never asks for a report."""

from pathlib import Path

import pytest

from evaluation.config import EvaluateConfig
from evaluation.run import evaluate
from pipeline.errors import ConfigError, DataError
from tests.evaluation.test_parts import mine, shop

MINE = """
import numpy as np
import torch
class Mine:
    name, side = "mine", 8
    def images(self, pixels):
        rows = np.asarray(pixels, np.float32).mean(axis=(2, 3)) / 255 + 0.1
        return IMAGES
    def texts(self, sentences):
        rows = np.array([[1, len(text) % 3, 1] for text in sentences], np.float32)
        return TEXTS
    MEMBER
def load():
    return Mine()
"""


def told(above: Path, images: str = "rows", texts: str = "rows", member: str = "") -> tuple[set[str], list[str]]:
    """Protocols that gave scores, and the reasons of the others."""
    (above / "mine.py").write_text(
        MINE.replace("IMAGES", images).replace("TEXTS", texts).replace("MEMBER", member or "pass")
    )
    if not (above / "fruit").exists():
        shop(above, "fruit")
    config = EvaluateConfig(
        tasks=(str(above / "fruit.yaml"),),
        protocols=("zero_shot", "linear_probe", "knn"),
        bootstrap_resamples=100,
        threads=1,
    )
    report = evaluate(config, f"{above / 'mine.py'}:load", str(above / "features"))
    return {score.protocol for score in report.scores}, [f"{row['status']}: {row['reason']}" for row in report.absent]


def test_rows_of_any_kind_are_rows(tmp_path: Path) -> None:
    every = {"zero_shot", "linear_probe", "knn"}
    for images, texts in (
        ("rows.tolist()", "rows.tolist()"),
        ("rows.astype(np.float16)", "rows.astype(np.float64)"),
        ("torch.tensor(rows, requires_grad=True)", "torch.tensor(rows).bfloat16()"),
        ("rows.astype(object)", "rows.astype(int)"),
    ):
        assert told(tmp_path, images, texts) == (every, [])


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ("rows.astype(complex)", "images gave complex numbers"),
        ("['a'] * len(rows)", "images gave no array of numbers"),
        ("{'x': rows}", "images gave no array of numbers"),
        ("[list(row)[: at % 3 + 1] for at, row in enumerate(rows)]", "images gave no array of numbers"),
        ("rows[:, :0]", "images gave rows without a number; give ("),
        ("rows[:, 0]", "images gave shape ("),
        ("None", "images gave shape () for"),
        ("exit(3)", "images failed (SystemExit: 3)"),
        ("np.repeat(rows, len(rows), axis=1)", "give as many"),
        ("rows * 1e30", "infinite or above 1e+18"),
    ],
)
def test_what_is_no_rows_is_one_line(images: str, words: str, tmp_path: Path) -> None:
    _, reasons = told(tmp_path, images)
    assert any(words in reason for reason in reasons), reasons
    assert all(reason.startswith("broken: ") and "\n" not in reason for reason in reasons), reasons


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("side = 0", "side of what .* gives is 0; give pixels from 1"),
        ("side = '8'", "side of what .* gives is '8'"),
        ("name = None", "name of what .* gives is None; give a word"),
        ("logit_scale = float('nan')", "logit_scale of what .* gives is nan; give a finite number"),
        ("class_names = [1, 2]", "class_names of what .* give a list of words"),
        ("class_names = 'ab'", "class_names of what .* give a list of words"),
    ],
)
def test_a_member_that_is_not_what_it_must_be_is_told_before_any_work(member: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        told(tmp_path, member=member)


def test_a_gpu_that_is_not_there_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = EvaluateConfig.model_validate(
        {"tasks": (shop(tmp_path, "fruit"),), "protocols": ("knn",), "probe": {"device": "cuda"}, "threads": 1}
    )
    with pytest.raises(ConfigError, match=r"evaluate.probe.device: cuda, and torch finds no GPU here; use auto or cpu"):
        evaluate(config, mine(tmp_path), str(tmp_path / "features"))
