"""A model of the user's own: a file and a function, measured like any other, and told what is wrong in one line."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from evaluation.config import EvaluateConfig
from evaluation.models.open import identity_of
from evaluation.protocols.table import PROTOCOLS
from evaluation.run import evaluate
from pipeline.errors import DataError

MINE = """
import numpy as np

class Mine:
    name = "mean-colour"
    side = 16

    def images(self, pixels):
        return pixels.reshape(len(pixels), 3, -1).mean(axis=2)

    def texts(self, sentences):
        named = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
        return [next((c for n, c in named.items() if n in s), (1, 1, 1)) for s in sentences]

def load():
    return Mine()
"""


def test_ten_lines_are_a_model_for_zero_shot_and_probe(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    config = EvaluateConfig(
        tasks=("scenes", "scenes-colour"), protocols=("zero_shot", "linear_probe"), bootstrap_resamples=100, threads=1
    )
    report = evaluate(config, f"{tmp_path}/mine.py:load", str(tmp_path / "features"))
    assert [(row["task"], row["protocol"], row["reason"]) for row in report.absent] == [
        ("scenes-colour", "linear_probe", "no training split")
    ]
    # It sees nothing but the mean colour, and that well enough to tell red, green and blue from chance among ten.
    assert report.score("scenes-colour/zero_shot/top1/ensemble").value > 0.15
    assert report.score("scenes/linear_probe/top1/test").n == 400
    assert report.telemetry["pictures_decoded"] == 1200


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def load(): raise RuntimeError('no weights')", r"gives no model \(RuntimeError: no weights\)"),
        ("def other(): pass", "gives no model"),
        ("class Mine: name = 'x'; side = 8\ndef load(): return Mine()", "has no images"),
        (MINE.replace("axis=2)", "axis=2)[:1]"), r"images gave shape \(1, 3\) for"),
        (
            MINE.replace("axis=2)", "axis=2) * np.random.random(3)"),
            r"gives other numbers when it is asked the same again; put the model into evaluation mode",
        ),
    ],
)
def test_what_is_wrong_with_it_is_one_line(tmp_path: Path, code: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    config = EvaluateConfig(tasks=("scenes-colour",), protocols=("zero_shot",), threads=1)
    try:
        report = evaluate(config, f"{tmp_path}/mine.py:load", str(tmp_path / "features"))
    except DataError as error:
        told = str(error)
    else:
        told = report.absent[0]["reason"]  # a model that fails half way costs the task, not the suite
    assert re.search(said, told)
    assert "\n" not in told


def test_numbers_that_are_none_cost_the_task_and_not_the_suite(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace("mean(axis=2)", "mean(axis=2) / (pixels.sum() % 2 * 0)"))
    config = EvaluateConfig(tasks=("scenes-colour", "scenes-place"), protocols=("zero_shot",), threads=1)
    with np.errstate(all="ignore"):
        report = evaluate(config, f"{tmp_path}/mine.py:load", str(tmp_path / "features"))
    assert [(row["task"], row["status"]) for row in report.absent] == [
        ("scenes-colour", "broken"),
        ("scenes-place", "broken"),
    ]
    assert all("the model gives NaN for picture 0" in row["reason"] for row in report.absent)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("for s in sentences]", "for s in sentences[:-1]] + [(float('nan'), 0, 0)]"),
        ("for s in sentences]", "for s in sentences[:-1]] + [(0, 0, 0)]"),
    ],
)
def test_texts_without_direction_give_no_score(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace(old, new))
    config = EvaluateConfig.model_validate(
        {
            "tasks": ["scenes"],
            "protocols": ["zero_shot", "few_shot"],
            "threads": 1,
            "probe": {"shots": [1], "seeds": [1]},
        }
    )
    report = evaluate(config, f"{tmp_path}/mine.py:load", str(tmp_path / "features"))
    assert [(row["protocol"], row["status"]) for row in report.absent] == [
        ("zero_shot", "broken"),
        ("few_shot", "broken"),
    ]
    assert all("is NaN, infinite or zero" in row["reason"] for row in report.absent)
    assert report.scores == ()


def test_pictures_without_direction_give_no_score(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace("mean(axis=2)", "mean(axis=2) * 0"))
    config = EvaluateConfig.model_validate(
        {"tasks": ["scenes"], "protocols": ["few_shot"], "threads": 1, "probe": {"shots": [1], "seeds": [1]}}
    )
    report = evaluate(config, f"{tmp_path}/mine.py:load", str(tmp_path / "features"))
    assert [(row["protocol"], row["status"]) for row in report.absent] == [("few_shot", "broken")]
    assert report.scores == ()


def test_an_error_that_nobody_foresaw_costs_its_protocol_and_names_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def falls(*_: object) -> None:
        raise IndexError("of two\nlines")

    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.setattr(PROTOCOLS["knn"], "measure", falls)
    config = EvaluateConfig(tasks=("scenes-colour", "scenes"), protocols=("zero_shot", "knn"), threads=1)
    report = evaluate(config, f"{tmp_path}/mine.py:load", str(tmp_path / "features"))
    failed = [row for row in report.absent if row["status"] == "failed"]
    assert [(row["task"], row["protocol"]) for row in failed] == [("scenes", "knn")]
    assert re.fullmatch(r"IndexError: of two lines \(.*test_own.py, line \d+\); please report it", failed[0]["reason"])
    assert report.score("scenes/zero_shot/top1/ensemble").n == 400


READS_FILE = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from beside import WIDTH

@dataclass
class Mine:
    seed: int
    name: str = "mine"
    side: int = 8

    def images(self, pixels):
        drawn = np.random.default_rng(self.seed).normal(size=(3 * 64, WIDTH))
        return pixels.reshape(len(pixels), -1) / 255 @ drawn

def load():
    return Mine(int(np.load("FOLDER/weights.npy")[0]))

def other():
    return Mine(7)
"""


def test_a_model_is_told_by_what_it_computes(tmp_path: Path) -> None:
    """Weights that change in their file, and a second function of the same file, are other models: nothing kept of one serves
    the other. Modules beside the file, and dataclasses, work as they do when the file is run."""
    (tmp_path / "beside.py").write_text("WIDTH = 5\n")
    (tmp_path / "mine.py").write_text(READS_FILE.replace("FOLDER", str(tmp_path)))
    place = f"{tmp_path}/mine.py:load"
    config = EvaluateConfig(tasks=("digits",), protocols=("knn",), bootstrap_resamples=100, threads=1)

    def measured(place: str) -> tuple[str, float, float]:
        report = evaluate(config, place, str(tmp_path / "features"))
        return report.checkpoint_id, report.score("digits/knn/top1/k=20").value, report.telemetry["pictures_decoded"]

    np.save(tmp_path / "weights.npy", [1])
    first = measured(place)
    assert first[2] == 1797
    assert measured(place) == (*first[:2], 0)
    np.save(tmp_path / "weights.npy", [2])
    second = measured(place)
    assert second[0] != first[0]
    assert second[1] != first[1]
    assert measured(f"{tmp_path}/mine.py:other")[:2] not in (first[:2], second[:2])
    assert identity_of(place) == second[0]


@pytest.mark.parametrize("scale", [1e6, 1e-9])
def test_numbers_beyond_float16_are_told_and_not_rounded_away(scale: float, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace("mean(axis=2)", f"mean(axis=2) * {scale}"))
    config = EvaluateConfig.model_validate(
        {"tasks": ["scenes-colour"], "protocols": ["zero_shot"], "threads": 1, "features": {"precision": "float16"}}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = evaluate(config, f"{tmp_path}/mine.py:load", str(tmp_path / "features"))
    assert report.scores == ()
    assert "do not fit into float16" in report.absent[0]["reason"]
    assert "set evaluate.features.precision=float32" in report.absent[0]["reason"]
