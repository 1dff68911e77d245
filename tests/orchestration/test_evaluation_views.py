"""The evaluation's part of the page: every protocol's evidence as a picture or a table, and nothing where there is none."""

import base64
import io
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.inside.mistakes import small_picture
from evaluation.overlap import corrected, effect
from evaluation.report import OUTCOMES, Report, Score
from evaluation.statistics.calibration import reliability
from evaluation.statistics.intervals import wilson
from orchestration.evaluation_tables import average_rows, efficiency_rows, group_rows, published_rows, shift_rows
from orchestration.evaluation_views import evaluation_plots, tiles
from orchestration.plot import Plot
from orchestration.report import build_html, build_pictures
from orchestration.report_data import ReportData
from tests.browser import open_page

RANDOM = np.random.default_rng(0)
HOSTILE = "<script>alert(1)</script>"


def picture(side: int) -> str:
    return small_picture(RANDOM.integers(0, 255, (side, side, 3), np.uint8))


def details() -> dict[str, dict[str, Any]]:
    confidence = RANDOM.uniform(0.3, 1, 200)
    calibration = {
        "error": 0.1,
        "scale": 20.0,
        "bins": [asdict(each) for each in reliability(confidence, RANDOM.random(200) < confidence)],
        "temperature": 1.7,
        "error_with_temperature": 0.03,
    }
    groups = {
        name: {"non_human": [0.1, 0.05, 0.2], "crime": [0.2, 0.1, 0.3], "pictures": [50.0]}
        for name in ("all", "race=Black")
    }
    curve = {"share": [0.25, 0.5], "top1": [0.6, 0.3], "kept": [0.8, 0.4]}
    shift = {"reference": 0.762, "shifted": 0.602, "expected_published": 0.245, "expected_weighted": 0.25}
    return {
        "digits": {
            "zero_shot": {"calibration": calibration},
            "linear_probe": {
                "search": [{"penalty": 10.0**power, "validation": 0.9 - abs(power) / 20} for power in (-4, 0, 4)],
                "penalty": 1.0,
                "layer": "layer-7",
                "layers": {f"layer-{n}": {"test": 0.9 - abs(n - 5) / 20, "validation": 0.9} for n in range(11)},
            },
            "few_shot": {"values": {"zero": {"1": 0.3, "2": 0.4, "16": 0.8}}},
            "occlusion": {"whole": 0.9, "curves": dict.fromkeys(("random", "salient", "background"), curve)},
            "inside": {
                "filters": {"explained": [0.5, 0.2], "components": [picture(8), picture(8)]},
                "positions": {"asked": [0, 2], "similarity": RANDOM.random((2, 2, 3, 3)).tolist()},
                "distances": [[3.0, 9.0], [8.0, 12.0]],
                "square_pixels": 32,
                "attention": [{"picture": picture(32), "reaches": [[1.0, 0.2], [0.1, 0.0]]}],
                "mistakes": [{"index": 3, "label": HOSTILE, "answer": "4", "confidence": 0.9, "picture": picture(60)}],
                "confused": [{"label": "3", "answer": "4", "count": 5, "of": 9, "picture": picture(60)}],
                "map": {"points": RANDOM.random((20, 2)).tolist(), "labels": ["a", "b"] * 10, "trust": 0.93},
            },
        },
        "imagenet-sketch": {"natural_shift": {"points": {"imagenet-sketch": shift}}},
        "cue-conflict": {"shape_bias": {"bias": 0.4, "classes": {"cat": {"shape": 2, "texture": 3, "pictures": 9}}}},
        "fairface-race": {"bias": {"as_published": groups, "with_child": groups}},
        "cifar10-c": {
            "stored_corruptions": {"curves": {"clean": 0.9, "fog": [0.8, 0.7, 0.6, 0.5, 0.4]}, "missing": []}
        },
    }


@pytest.fixture(scope="module")
def report() -> Report:
    tasks = {"digits": 0.9, "scenes": 0.8, "scenes-place": 0.5, "cifar10": 0.9, "cifar100": 0.651, "food101": 0.5}
    scores = [
        Score(task, "zero_shot", "top1", "ensemble", *wilson(round(value * 10_000), 10_000), 10_000)
        for task, value in tasks.items()
    ]
    scores += [
        Score("imagenet-sketch", "natural_shift", "top1", "shifted", *wilson(30_636, 50_889), 50_889),
        Score("imagenet-sketch", "natural_shift", "top1", "reference", *wilson(38_100, 50_000), 50_000),
        Score("imagenet-sketch", "natural_shift", "effective_robustness", "weighted", 0.352, 0.34, 0.36, 50_889),
    ]
    scores += [  # none is kept of 1 and 16 shots, and of 2 one in another metric
        Score("digits", "few_shot", metric, "2 shots", 0.4, low, 0.48, 360)
        for metric, low in (("top1", 0.32), ("mean_per_class", 0.1))
    ]
    near = np.arange(360) < 20
    overlap = [
        asdict(one) for one in corrected([effect("digits", "zero_shot", "ensemble", np.arange(360) % 7 > 0, near)])
    ]
    return Report(
        checkpoint_id="0" * 64,
        config={"metrics": dict.fromkeys(tasks, "top1"), "published": "ViT-B-32 openai"},
        versions={"prompts": {}},
        scores=tuple(scores),
        outcomes=OUTCOMES.empty_table(),
        details=details(),
        absent=({"task": "birdsnap", "protocol": "", "status": "absent", "reason": f"no such folder {HOSTILE}"},),
        overlaps=tuple(overlap),
    )


def bars(plot: Plot) -> list[list[tuple[float, ...]]]:
    """The ends of the vertical lines of a plot."""
    from matplotlib.figure import Figure

    figure = Figure()
    plot.draw(figure)
    return [
        [tuple(end) for end in segment.tolist()]
        for lines in figure.axes[0].collections
        for segment in lines.get_segments()
    ]


def test_every_evidence_has_its_picture_with_words_for_those_who_do_not_see_it(report: Report) -> None:
    found = evaluation_plots(report, gflops=8.8)
    assert {name: len(plots) for name, plots in found.items()} == {
        "suites": 3, "compute": 1, "shifts": 1, "occlusion": 1, "cues": 1, "groups": 2, "overlap": 1, "penalty": 1,
        "layers": 1, "reliability": 1, "shots": 1, "inside": 3, "maps": 1,
    }  # fmt: skip
    assert "effective robustness is +35.7 points" in found["shifts"][0].alt
    assert "3 tasks: error 31.6 % at 8.8 GFLOPs per picture" in found["compute"][0].alt
    assert "layer-7 chosen by validation (validation 90.0 %, test 80.0 %)" in found["layers"][0].alt
    assert "zero 1 shots 30.0 %, 2 shots 40.0 % (32.0 to 48.0), 16 shots 80.0 %" in found["shots"][0].alt
    assert bars(found["shots"][0]) == [[(2.0, 32.0), (2.0, 48.0)]]
    (one, *_) = found["inside"]
    assert one.png() == one.png()
    empty = Report("0" * 64, {"metrics": {}}, {"prompts": {}}, (), OUTCOMES.empty_table())
    assert not any(evaluation_plots(empty, gflops=1.0).values())
    assert not any(tiles(empty).values())


def test_numbers_stand_beside_the_published_ones_with_their_mark_and_means_say_what_they_cover(report: Report) -> None:
    marks = {
        entry.score.split("/")[0]: entry.verdict
        for entry, table in published_rows(report)
        if table.startswith("CLIP paper")
    }
    assert marks["cifar100"] == "match"
    assert marks["food101"] == "unexplained"
    (*_, (protocol, average)) = average_rows(report)
    assert (protocol, average.suite, len(average.tasks)) == ("zero shot, ensemble", "all tasks", 6)


def test_shifts_and_labels_per_class_are_tables_with_their_intervals(report: Report) -> None:
    (row,) = shift_rows(report)
    assert (row["shift"], row["line"], row["effective"].value) == ("imagenet-sketch", "weighted", 0.352)
    assert row["expected"] == pytest.approx(0.25, abs=1e-3)
    (labels,) = efficiency_rows(report)
    assert labels == {
        "task": "digits",
        "labels": "more than there are",
        "ends": "more than there are – more than there are",
    }
    weaker = [
        replace(score, value=0.35, low=0.3, high=0.5) if score.task == "digits" else score for score in report.scores
    ]
    (labels,) = efficiency_rows(replace(report, scores=tuple(weaker)))
    assert labels == {"task": "digits", "labels": "1.4", "ends": "at most 1.0 – 3.4"}


def test_attention_is_shown_as_the_picture_and_what_of_it_reaches_the_answer(report: Report) -> None:
    (tile,) = tiles(report)["attention"]
    both = np.asarray(Image.open(io.BytesIO(tile.image))).astype(float)
    assert both.shape == (96, 192, 3)
    lit, dark = both[:40, 96:136].mean(), both[60:, 160:].mean()
    assert lit > 3 * dark
    assert base64.b64decode(tile.uri.partition(",")[2]) == tile.image


def test_small_pictures_are_files_of_their_own_beside_the_plots(report: Report) -> None:
    seen = {"digits": {"inside": {key: report.details["digits"]["inside"][key] for key in ("attention", "mistakes")}}}
    few = Report("0" * 64, {"metrics": {}}, {"prompts": {}}, (), OUTCOMES.empty_table(), seen)
    assert set(build_pictures(ReportData("few", "few-1", "", evaluation=few))) == {
        "contact-sheet-attention.png", "contact-sheet-mistakes.png"
    }  # fmt: skip


def test_the_bias_probe_has_a_heading_plots_and_a_table_by_group(report: Report) -> None:
    html = build_html(ReportData("faces", "faces-1", "", evaluation=report))
    section = html.split("Bias probe: groups of people</h3>")[1].split("</table>")[0]
    assert section.count("<figure") == 2
    everybody, black = re.findall("<tr>(<th scope=.row.*?)</tr>", section)
    assert re.findall(r"[\d.]+", re.sub("<[^>]+>", " ", black)) == [
        "50",
        *(["10.0", "5.0", "20.0", "20.0", "10.0", "30.0"] * 2),
    ]
    assert "race: Black" in black
    assert "all" in everybody
    groups = report.details["fairface-race"]["bias"]["as_published"]
    stored = dict.fromkeys(("age=10-19", "age=3-9", "all", "gender=Male", "race=Black"), groups["all"])
    faces = {"fairface-race": {"bias": {"as_published": stored, "with_child": stored}}}
    assert [row["group"] for row in group_rows(replace(report, details=faces))] == [
        "all", "race: Black", "gender: Male", "age: 3-9", "age: 10-19"
    ]  # fmt: skip


@pytest.mark.browser
def test_the_page_with_all_of_it_opens_in_a_browser_without_errors(report: Report, tmp_path: Path) -> None:
    data = ReportData("all", "all-1", "openwit evaluate all", evaluation=report, image_gflops=8.8)
    html = build_html(data)
    assert HOSTILE not in html
    for words in ("Not measured", "birdsnap", "Beside what is published", "Averages", "Effective robustness",
                  "Labels per class", "Natural shifts", "stored pictures",
                  "Bias probe: groups of people", "Reliability", "Inside the model", "Most confident mistakes"):  # fmt: skip
        assert words in html, words
    assert len(re.findall(r'id="[^"]+"', html)) == len(set(re.findall(r'id="[^"]+"', html)))
    (tmp_path / "report.html").write_text(html, "utf-8")
    with open_page((tmp_path / "report.html").as_uri()) as page:
        page.wait_for("#evaluation")
        assert page.errors() == []
        assert page.undrawn_pictures() == []
