"""The commands on finished datasets, and the data card, as a user meets them."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from orchestration import data_card, overlap_view
from orchestration.card_facts import classes, gather_facts
from orchestration.cli import main
from pipeline import storage
from pipeline.manifest import Manifest
from pipeline.overlap.calibrate import THRESHOLDS
from tests.orchestration.test_cli import openwit
from tests.pipeline.datasets.test_pack import packed, picture, rows
from tests.pipeline.sources.test_site import Site

HOSTILE = "<script>alert(1)</script> | ` **bold** \x1b[31m \u202e ![x](http://evil/) &amp;"


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    table = rows(25, score_clip_similarity=[n / 25 for n in range(25)], licence=["http://cc/by"] * 5 + [None] * 20)
    captions = [HOSTILE if n == 3 else f"the red fox number {n} runs" for n in range(25)]
    table = table.set_column(table.column_names.index("text"), "text", [captions])
    out, _ = packed(tmp_path, [table], "pack-0")
    return out


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 2
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("openwit: ")]
    assert len(lines) == 1, told.err
    return lines[0]


def test_subset_reshard_takedown_why(dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = str(tmp_path / "best.npy")
    found = answer(capsys, "subset", dataset, "--top", "score_clip_similarity:0.2", "--out", chosen)
    assert (found["samples"], found["of"]) == (6, 25)
    within = str(tmp_path / "both.npy")
    both = ("subset", dataset, "--where", "caption contains 'fox'", "--within", chosen, "--out", within)
    assert answer(capsys, *both)["samples"] == 6
    made = answer(
        capsys, "reshard", dataset, "--subset", within, "--out", str(tmp_path / "best"), "--output", "parquet"
    )
    assert (made["rows"], made["missing"]) == (6, 0)
    (tmp_path / "urls.txt").write_text("http://a.example/24.jpg\nhttp://a.example/page0 # a page\n")
    out = str(tmp_path / "less")
    gone = answer(capsys, "takedown", dataset, "--urls", str(tmp_path / "urls.txt"), "--out", out)
    assert len(gone["removed"]) == 9
    assert Manifest.load(gone["dataset"]).rows == 16
    told = answer(capsys, "why", gone["dataset"], "http://a.example/24.jpg")
    assert told["because"] == "takedown dropped it: taken_down (url http://a.example/24.jpg)"
    for words in (("why", dataset, "000003"), ("subset", dataset, "--where", "width > 1", "--out", chosen)):
        assert main(list(words)) == 0
        assert "\x1b[31m" not in capsys.readouterr().out


def test_mistakes_are_one_line(dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    npy = str(tmp_path / "x.npy")
    rules = tmp_path / "rules.txt"
    rules.write_text("nonsense\n")
    for words, said in (
        (("subset", dataset, "--out", npy), "nothing to choose by"),
        (("subset", dataset, "--where", "widht > 1", "--out", npy), "did you mean width"),
        (("subset", str(tmp_path), "--where", "width > 1", "--out", npy), "no manifest.json"),
        (("reshard", dataset, "--subset", npy, "--out", str(tmp_path / "o")), "no such file"),
        (("reshard", dataset, "--out", dataset), "holds a finished dataset already"),
        (("takedown", dataset), "no list"),
        (("takedown", dataset, "--hashes", str(rules)), "line 1"),
        (("recheck", dataset, "--set", "curate.network.contact=x"), "none is given"),
        (("why", dataset, "two words"), "no key, uid or URL"),
        (("adopt", str(tmp_path / "none")), "holds no .tar"),
    ):
        assert said in mistake(capsys, *words)


@pytest.mark.parametrize("name", ["00001.tar", "00001.parquet", "manifest.json"])
def test_a_damaged_dataset_is_one_line_and_not_zero(
    dataset: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(dataset) / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for words in (("inspect", dataset), ("card", dataset), ("reshard", dataset, "--out", str(tmp_path / "new"))):
        assert name in mistake(capsys, *words)
    path.unlink()
    done = openwit("inspect", dataset, folder=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_recheck_with_a_recipes_network_and_apply(
    tmp_path: Path, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site()
    try:
        for number in range(25):
            site.pages["a.example", f"/{number}.jpg"] = (200, {"Content-Type": "image/jpeg"}, picture(number))
        site.pages["a.example", "/9.jpg"] = (200, {"X-Robots-Tag": "noimageai"}, b"x")
        port = site.server.server_port
        recipe = tmp_path / "my.yaml"
        recipe.write_text(
            "name: my\ncurate:\n  network: {hosts: {a.example: '127.0.0.1:1'}}\n  sources: {crawl: {kind: site, seeds: [http://a.example/]}}\n"
        )
        hosts = f"curate.network.hosts={{a.example: '127.0.0.1:{port}'}}"
        words = ("recheck", dataset, "--recipe", str(recipe), "--set", hosts, "--apply")
        found = answer(capsys, *words)
    finally:
        site.server.shutdown()
        site.server.server_close()
    assert found["states"] == {"allowed": 24, "opted_out": 1}
    assert found["reasons"] == {"header_opt_out": 1}
    assert Manifest.load(found["takedown"]["dataset"]).rows == 24


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_data_card_says_what_is_in_the_dataset(dataset: str) -> None:
    before = Manifest.load(dataset).id
    written = data_card.write(dataset)
    assert Manifest.load(dataset).id == before
    facts = gather_facts(dataset)
    assert (facts.rows, facts.measured, facts.identified) == (25, 25, 25)
    assert facts.languages.most_common(1)[0][0] == "en"
    assert facts.licences == {"http://cc/by": 5}
    assert facts.domains == {"a.example": 25}
    assert facts.scores["score_clip_similarity"][1] == pytest.approx(0.48)
    text = Path(written["markdown"]).read_text()
    for part in ("25 image-text pairs", "| http://cc/by | 5 | 20.0% |", "## Opt-outs", "| en |", "## Duplicates"):
        assert part in text
    with Image.open(written["picture"]) as sheet:
        assert sheet.width > 500


def test_where_few_copies_are_found_the_card_and_the_terminal_say_so(dataset: str, tmp_path: Path) -> None:
    def row(task: str, change: str, found: int) -> dict[str, object]:
        facts = {"task": task, "change": change, "radius": 11, "distance": 4.0, "planted": 100, "found": found}
        return facts | {"recall": found / 100, "precision": 0.99 if change == "all" else None}

    rows = [row("food", "all", 95), row("birds", "all", 18), row("birds", "grey", 3), row("birds", "flip", 33)]
    shutil.copytree(dataset, tmp_path / "d")
    storage.write_table(str(tmp_path / "d" / overlap_view.NAME), pa.Table.from_pylist(rows, THRESHOLDS))
    lines = overlap_view.low(overlap_view.measured(str(tmp_path / "d")))
    assert [line[:66] for line in lines] == ["decontaminate: of birds only 18% of planted copies are found, at d"]
    text = Path(data_card.write(str(tmp_path / "d"))["markdown"]).read_text()
    assert "of birds only 18% of planted copies are found" in text
    assert "| birds | 4 | 18 of 100 (18%) | 99.0% | grey 3%, flip 33% |" in text
    assert "of food only" not in text


def test_nothing_from_the_web_acts_on_the_card(dataset: str) -> None:
    written = data_card.write(dataset)
    page = Tags()
    html = Path(written["html"]).read_text()
    page.feed(html)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "iframe", "object", "a", "form"}
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "default-src 'none'" in html
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    text = Path(written["markdown"]).read_text()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)


def test_the_card_of_the_same_dataset_is_the_same(dataset: str) -> None:
    first = {
        kind: storage.read_bytes(path) for kind, path in data_card.write(dataset).items() if kind in data_card.NAMES
    }
    second = {
        kind: storage.read_bytes(path) for kind, path in data_card.write(dataset).items() if kind in data_card.NAMES
    }
    assert first == second


def test_classes() -> None:
    import numpy as np

    assert classes([np.array([1, 5, 9]), np.array([10, 99])], (5, 10), "px") == {
        "under 5 px": 1,
        "5-9 px": 2,
        "10 + px": 2,
    }
    assert classes([], (5, 10), "px") == {}
