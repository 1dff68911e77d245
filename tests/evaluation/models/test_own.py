"""A model of the user's own: a file and a function, measured like any other, and told what is wrong in one line."""

import re
from pathlib import Path

import numpy as np
import pytest

from evaluation.config import EvaluateConfig
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
