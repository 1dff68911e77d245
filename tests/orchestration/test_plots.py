"""Plots: the same bytes for the same data, readable by machines and people, whatever the labels hold."""

import io
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from evaluation.report import Score
from orchestration import plots, plots_evaluation
from orchestration.plot import VARIABLES, Plot
from orchestration.plots import _moving_mean
from orchestration.report_data import Balance
from orchestration.report_scores import Confusion, Robustness, label
from pipeline.execution.ledger import Fate

STEPS = [{"step": i, "loss": 3 / (i + 1), "learning_rate": 1e-3, "logit_scale": 14.0 + i} for i in range(60)]
SCORE = Score("digits", "zero_shot", "top1", "ensemble", 0.94, 0.91, 0.96, 360)
STRANGE = ('<b>"$5"</b>', "a & b", "\x1b[31mred", "\u202eevil", "數字", "x" * 300, "$\\frac{1}{2}$")


def every_plot() -> list[Plot]:
    return [
        plots.funnel({"fetch": {"pairs": Fate(10, 7, {"not_found": 3})}, "select": {"pairs": Fate(7, 7)}}),
        plots.training_curve(STEPS, "loss", "Loss"),
        plots.while_training([{"step": 10 * n, "digits/zero_shot/top1/ensemble": 0.1 * n} for n in range(1, 9)]),
        plots.balance_curve(Balance([900, 30, 2, 0], [20, 20, 2, 0], 20)),
        plots.size_histogram({"under 64": 10, "64 to 127": 2000}),
        plots_evaluation.intervals([SCORE]),
        plots_evaluation.confusion(Confusion("digits", ["0", "1"], [[9, 1], [0, 10]])),
        plots_evaluation.robustness_map(Robustness("digits", {"gaussian_noise": (0.9, 0.8)}, 0.95)),
        plots_evaluation.robustness_curves(Robustness("digits", {"gaussian_noise": (0.9, 0.8)}, 0.95)),
        plots_evaluation.template_spread({"digits": {"a photo of {}": 0.9, "{}": 0.7}}),
    ]


@pytest.mark.parametrize("plot", every_plot(), ids=lambda plot: plot.name)
def test_a_plot_is_a_valid_svg_and_a_png_drawn_the_same_each_time(plot: Plot) -> None:
    svg, png = plot.svg(), plot.png()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert b"<dc:date>" not in svg
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.width == int(144 * plot.width_inches)
        assert len(set(picture.convert("L").tobytes())) > 10, "an empty picture"
        assert not picture.info.get("Software")
    assert (plot.svg(), plot.png()) == (svg, png)
    assert len(plot.alt) > 20


@pytest.mark.parametrize("plot", every_plot(), ids=lambda plot: plot.name)
def test_inside_a_page_a_plot_takes_the_pages_colours_and_ids_of_its_own(plot: Plot) -> None:
    text = plot.inline()
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == plot.alt
    assert "<style" not in text
    assert "DejaVu" not in text
    assert not [colour for colour in VARIABLES if colour in text]
    ids = {element.get("id") for element in root.iter() if element.get("id")}
    assert all(name and name.startswith(plot.name) for name in ids)


def test_the_same_data_give_the_same_svg_in_another_process() -> None:
    code = (
        "import sys; from orchestration.plots import size_histogram; "
        "sys.stdout.buffer.write(size_histogram({'a': 1, 'b': 2}).svg())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert there == plots.size_histogram({"a": 1, "b": 2}).svg()


def test_labels_are_text_and_never_markup_or_formulas() -> None:
    labels = list(STRANGE)
    plot = plots_evaluation.confusion(Confusion(STRANGE[0], labels, np.eye(len(labels), dtype=int).tolist()))
    text = plot.inline()
    assert ElementTree.fromstring(text) is not None
    assert "<b>" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "$5" in text


def test_variants_of_one_protocol_are_told_apart() -> None:
    from matplotlib.figure import Figure

    variants = ("1 shots", "4 shots", "4 shots, from zero_shot")
    scores = [SCORE, *(replace(SCORE, protocol="few_shot", variant=each) for each in variants)]
    labels = [label(score) for score in scores]
    assert labels == ["digits · zero shot · top1", "digits · few shot · 1 shots · top1", "digits · few shot · 4 shots · top1",
                      "digits · few shot · 4 shots, from zero shot · top1"]  # fmt: skip
    figure = Figure()
    plots_evaluation.intervals(scores).draw(figure)
    drawn = [each.get_text() for each in figure.axes[0].get_yticklabels()]
    assert [each.replace("\n", " ") for each in drawn] == labels
    assert max(len(line) for each in drawn for line in each.splitlines()) <= 40
    assert (
        label(Score("coco", "retrieval", "recall@5", "image_to_text", 0, 0, 1, 9)) == "coco · image to text · recall@5"
    )


def test_empty_data_are_drawn_as_an_empty_picture() -> None:
    for plot in (
        plots.funnel({}),
        plots.training_curve([], "loss", "Loss"),
        plots.training_curve([{"step": 1, "loss": 2.0}], "loss", "Loss"),
        plots.training_curve([{"step": 1, "loss": float("nan")}, {"step": 2, "loss": float("inf")}], "loss", "Loss"),
        plots.balance_curve(Balance([], [])),
        plots.size_histogram({}),
        plots_evaluation.intervals([]),
        plots_evaluation.robustness_map(Robustness("none", {})),
        plots_evaluation.robustness_curves(Robustness("none", {})),
    ):
        assert plot.png()


def test_of_many_classes_those_with_the_most_errors_are_drawn() -> None:
    counts = np.diag(np.full(100, 50))
    counts[7, 8] = 30
    plot = plots_evaluation.confusion(Confusion("many", [f"class {i}" for i in range(100)], counts.tolist()))
    assert "100 classes" in plot.alt
    text = plot.inline()
    assert "40 of 100 classes" in text
    assert "class 7" in text
    assert len(text) < 200_000


def test_the_moving_mean_equals_its_slow_definition() -> None:
    values = np.random.default_rng(0).normal(size=57)
    for half in (0, 1, 4, 100):
        slow = [values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))]
        np.testing.assert_allclose(_moving_mean(values, half), slow, rtol=1e-12)


def test_matplotlib_is_not_loaded_before_a_picture_is_drawn() -> None:
    code = "import sys, orchestration.report; sys.exit('matplotlib' in sys.modules or 'jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
