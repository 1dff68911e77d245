"""`openwit compare` as a user meets it."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.report import Report, Score
from evaluation.statistics.intervals import wilson
from orchestration.cli import main
from orchestration.journal_writer import Journal
from pipeline.demo.digits import digit_labels
from tests.evaluation.test_compare import of_shots, outcomes, report, shot

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    """Two evaluations of digits, of which the second is behind a run's journal, as recipes leave it."""
    random = np.random.default_rng(0)
    labels = [str(label) for label in digit_labels("test")]
    folders = []
    for name, share in (("evaluate-a", 0.5), ("evaluate-b", 0.8)):
        right = random.random(len(labels)) < share
        rows = outcomes("digits", labels, right) + outcomes(
            "gone", [HOSTILE] * 40, right[:40], "linear_probe", variant=["test"] * 40
        )
        made: Report = report(rows, name)
        made.save(str(tmp_path / name))
        folders.append(str(tmp_path / name))
    with Journal(str(tmp_path), "demo-1") as journal:
        journal.run_started("evaluate", "evaluate")
        journal.artifact("evaluate", str(tmp_path / "evaluate-b" / "report.json"), "scores")
    return folders[0], str(tmp_path / "runs" / "demo-1")


def test_tables_json_and_page(runs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "pages" / "difference.html"
    assert main(["compare", *runs, "--html", str(page)]) == 0
    told = capsys.readouterr().out
    assert "second better" in told
    assert re.search(r"^ *task .* metric +n +first", told, re.MULTILINE)
    assert re.search(r"^ *digits .* top1 +360 +0\.", told, re.MULTILINE)
    assert "not distinguishable" in told or "second better" in told.split("gone")[1]
    assert main(["compare", *runs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    digits = next(row for row in found["rows"] if row["task"] == "digits")
    flips = [flip for flip in found["flips"] if flip["task"] == "digits"]
    assert len(flips) == digits["only_first"] + digits["only_second"]
    html = page.read_text("utf-8")
    assert '<td>top1</td><td class="number">360</td>' in html
    assert html.count("data:image/jpeg;base64,") == 48  # of digits; "gone" is no task any more
    assert "no picture" in html
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html


def test_no_line_is_told_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right, labels = np.ones(5, bool), list("aabbc")
    rows = [
        row
        for task in ("x", "y")
        for variant in ("image_to_text", "text_to_image")
        for row in outcomes(task, labels, right, "retrieval", variant=[variant] * 5)
    ]
    more = outcomes("x", labels, right, "knn", variant=["k=20"] * 5) + outcomes("y", labels, right, "zero_shot")
    for name, kept in (("a", rows + more), ("b", rows)):
        made = report(kept, name)
        depths = [
            replace(each, metric=f"recall@{k}") for each in made.scores if each.protocol == "retrieval" for k in (1, 5)
        ]
        others = [each for each in made.scores if each.protocol != "retrieval"]
        metrics = {"metrics": {"x": "recall@1", "y": "recall@1"}}
        replace(made, scores=(*depths, *others), config=metrics).save(str(tmp_path / name))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(lines) == len(set(lines))
    assert sum("not in the second run" in line for line in lines) == 1
    assert sum(line.startswith("2 tasks") for line in lines) == 4


def test_what_a_verdict_covers_is_said_on_the_terminal_and_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for name in "ab":
        right = random.random((1, 60)) < 0.5
        rows = [row for task in "xy" for row in shot(right, task)]
        of_shots(rows, name, "xy").save(str(tmp_path / name))
    page = tmp_path / "page.html"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--html", str(page)]) == 0
    told, html = capsys.readouterr().out, page.read_text("utf-8")
    assert told.count("one draw, no verdict") == 2
    assert "4 shots (one draw)" in told
    for words in ("hold for other test pictures of the same kind", "few_shot: one draw of the pictures learned from"):
        assert words in told
        assert words in html
    assert '<td class="muted">one draw, no verdict</td>' in html


def test_mistakes_are_one_line(runs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for words, said in (
        ([runs[0], str(tmp_path / "empty")], "is no run; give the folder of a run or evaluation"),
        ([runs[0]], "give two runs, or one run and --published MODEL"),
        ([runs[0], "--published", "ViT-B-32 openia"], "did you mean 'ViT-B-32 openai'?"),
        ([runs[0], "--published", "ViT-B-32 openai"], "has no score that was published"),
        ([*runs, "--html", str(tmp_path / "file" / "x.html")], "cannot be written"),
    ):
        assert main(["compare", *words]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert said in lines[0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("outcomes.parquet", None, "ArrowInvalid"),
        ("outcomes.parquet", "", "ArrowInvalid"),
        ("report.json", None, "JSONDecodeError"),
        ("report.json", "{}", "KeyError: 'checkpoint_id'"),
        ("report.json", "[]", "TypeError"),
    ],
)
def test_a_damaged_run_is_one_line(
    runs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, said: str
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(runs[0], damaged)
    whole = (damaged / name).read_bytes()
    (damaged / name).write_bytes(whole[: len(whole) // 2] if text is None else text.encode())
    for words in ([runs[1], str(damaged)], [str(damaged), "--published", "ViT-B-32 openai"]):
        assert main(["compare", *words]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith(f"openwit: {damaged / name}: is damaged ({said}")
        assert line.endswith(f"; remove {damaged} and evaluate again")


def test_a_run_beside_published_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = tuple(
        Score(task, "zero_shot", "top1", "ensemble", *wilson(round(value * count), count), count)
        for task, value, count in (("imagenet", 0.6331, 50_000), ("kitti-distance", 0.3, 711), ("dtd", 0.2, 1880))
    )
    place = str(tmp_path / "evaluate")
    replace(report(outcomes("digits", ["1"], np.ones(1, bool)), "c"), scores=scores).save(place)
    words = ["compare", place, "--published", "ViT-B-32 openai"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "explained: kitti-unreproducible" in told
    assert "nobody reproduces the paper's KITTI figures" in told
    assert main([*words, "--json"]) == 0
    marks = {(row["score"].split("/")[0], row["table"]): row["verdict"] for row in json.loads(capsys.readouterr().out)}
    assert marks["imagenet", "open-clip"] == "match"
    assert marks["dtd", "open-clip"] == marks["dtd", "clip-paper"] == "unexplained"
