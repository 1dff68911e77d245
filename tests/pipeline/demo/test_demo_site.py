"""The demo web is whole, the same for the same seed, and holds what planted.json says."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.demo import texts
from pipeline.demo.config import DemoWebConfig
from pipeline.demo.site import build_site
from pipeline.errors import ConfigError
from pipeline.matching.matcher import Matcher
from pipeline.sample import pair_uid
from pipeline.selection.balance import hash01, keep_probability
from pipeline.selection.repair import normalise
from pipeline.selection.text import judge
from pipeline.selection.text_config import TextConfig

SMOKE = DemoWebConfig.smoke()
Row = dict[str, Any]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "site"
    build_site(SMOKE, str(folder))
    return folder


@pytest.fixture(scope="module")
def rows(site: Path) -> list[Row]:
    return [json.loads(line) for line in (site / "pairs.jsonl").read_text("utf-8").splitlines()]


def planted(site: Path) -> dict[str, Any]:
    return dict(json.loads((site / "planted.json").read_text("utf-8")))


def checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_config_gives_the_same_bytes_and_another_seed_other_ones(site: Path, tmp_path: Path) -> None:
    build_site(SMOKE, str(tmp_path / "again"))
    build_site(SMOKE.model_copy(update={"seed": 2}), str(tmp_path / "other"))
    assert checksums(site) == checksums(tmp_path / "again")
    other = checksums(tmp_path / "other")
    same = {name for name, digest in checksums(site).items() if other.get(name) == digest}
    assert {name.rsplit("/")[-1] for name in same} <= {
        "robots.txt",
        "queries.txt",
        "planted.json",
        "sitemap.xml",
        "terms-1",
    }


def test_a_build_that_was_killed_is_not_taken_for_a_site(tmp_path: Path) -> None:
    command = "import sys; from pipeline.demo.config import DemoWebConfig; from pipeline.demo.site import build_site;"
    command += "build_site(DemoWebConfig.smoke(), sys.argv[1])"
    build = subprocess.Popen(
        [sys.executable, "-c", command, str(tmp_path)], env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    while build.poll() is None and not (tmp_path / "www").exists():
        time.sleep(0.002)
    build.send_signal(signal.SIGKILL)
    build.wait()
    assert (tmp_path / "www").exists()
    assert not (tmp_path / "site.json").exists()


def test_smoke_has_about_forty_pages_and_four_hundred_pictures(site: Path) -> None:
    value = json.loads((site / "site.json").read_text("utf-8"))
    assert 35 <= value["pages"] <= 45
    assert 380 <= value["pictures"] <= 420
    assert all((site / entry["file"]).is_file() for entry in value["files"].values())


def test_every_defect_is_planted_as_often_as_the_config_says(site: Path) -> None:
    found = planted(site)
    asked = {
        reason: getattr(SMOKE, reason)
        for phase in ("select", "fetch", "deduplicate")
        for reason in found[phase]["pairs"]
    }
    assert {r: n for phase in ("select", "fetch", "deduplicate") for r, n in found[phase]["pairs"].items()} == asked
    assert found["decontaminate"]["pairs"] == {"near_evaluation": SMOKE.leaked_digits + SMOKE.leaked_scenes}
    assert found["recovered"] == {name: getattr(SMOKE, name) for name in found["recovered"]}
    assert len(found["recovered"]) == 5
    assert len(found["select"]["pairs"]) == 5
    assert len(found["fetch"]["pairs"]) == 9
    assert set(found["crawl"]["pages"]) == {"robots_txt", "header_opt_out", "meta_opt_out", "not_found", "not_html"}


class Reader(HTMLParser):
    """The slow, obvious reader of a page: pictures with their text by the rule alt, figcaption, title; links."""

    def __init__(self, url: str, document: str) -> None:
        super().__init__()
        self.url, self.pictures, self.links = url, [], []  # type: ignore[var-annotated]
        self.figure: list[int] | None = None
        self.caption: str | None = None
        self.feed(document)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "img":
            alt, title = (values.get("alt") or "").strip(), values.get("title") or ""
            self.pictures.append([urljoin(self.url, values["src"] or ""), alt, "", title])
            if self.figure is not None:
                self.figure.append(len(self.pictures) - 1)
        elif tag == "a":
            self.links.append(urljoin(self.url, values["href"] or "").partition("#")[0])
        elif tag == "figure":
            self.figure = []
        elif tag == "figcaption":
            self.caption = ""

    def handle_data(self, data: str) -> None:
        if self.caption is not None:
            self.caption += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "figcaption" and self.figure is not None:
            for number in self.figure:
                self.pictures[number][2] = self.caption
            self.caption = None
        elif tag == "figure":
            self.figure = None

    def pairs(self) -> list[tuple[str, str]]:
        return [(url, alt or below or title) for url, alt, below, title in self.pictures]


def test_a_reader_that_starts_at_the_seeds_finds_every_page_and_exactly_the_pairs_of_the_list(
    site: Path, rows: list[Row]
) -> None:
    value = json.loads((site / "site.json").read_text("utf-8"))
    pages: dict[str, list[tuple[str, str]]] = {}
    missing, strange = set(), set()
    waiting = list(value["seeds"])
    seen = set(waiting)
    while waiting:
        url = waiting.pop()
        entry = value["files"].get(url.removeprefix("http://"))
        if entry is None:
            missing.add(url)
            continue
        if not entry["type"].startswith("text/html"):
            strange.add(url)
            continue
        reader = Reader(url, (site / entry["file"]).read_text("utf-8"))
        pages[url] = reader.pairs()
        waiting += [link for link in dict.fromkeys(reader.links) if link not in seen]
        seen.update(reader.links)
    assert len(pages) == value["pages"]
    assert (len(missing), len(strange)) == (SMOKE.dead_pages, SMOKE.not_html_pages)
    found = Counter((page, url, text) for page, pairs in pages.items() for url, text in pairs)
    listed = Counter((row["page_url"], row["url"], row["text"].strip()) for row in rows)
    assert found == listed


def test_every_pair_is_refused_for_its_planted_reason_and_for_no_other_before_fetching(
    site: Path, rows: list[Row]
) -> None:
    harvested = [row for row in rows if not row["fate"].startswith("page:")]
    seen: set[tuple[str, str]] = set()
    fates: Counter[str] = Counter()
    left = []
    verdicts = judge(pa.array([normalise(row["text"]) for row in harvested]), TextConfig())
    for row, reason, evidence in zip(harvested, verdicts.reasons, verdicts.evidence, strict=True):
        if (row["url"], row["text"]) in seen:
            fates["duplicate_pair"] += 1
            continue
        seen.add((row["url"], row["text"]))
        expected = row["fate"].removeprefix("select:") if row["fate"].startswith("select:text") else None
        # Of a pair that stands twice either row may be met first.
        assert reason == expected, (row, evidence)
        if reason is None:
            left.append(row)
        else:
            fates[reason] += 1
    for rule in ("metaclip", "normalised"):
        check_balance(left, rule)
    fates["no_query"] = sum(row["fate"] == "select:no_query" for row in left)
    assert fates == planted(site)["select"]["pairs"]


def check_balance(left: list[Row], rule: str) -> None:
    """All but the glut are kept whatever their coin; of the glut some fall and some stay."""
    matched = Matcher.of(texts.QUERIES, rule).match(pa.array([row["text"] for row in left])).to_pylist()
    counts = np.bincount([number for found in matched for number in found], minlength=len(texts.QUERIES))
    chances = [keep_probability(found, counts, SMOKE.pairs_per_query) for found in matched]
    glut = []
    for row, found, chance in zip(left, matched, chances, strict=True):
        if row["fate"] == "select:no_query":
            assert not found
        elif row["fate"] == "glut":
            assert [texts.QUERIES[number] for number in found] == [texts.HEAD_QUERY]
            glut.append(hash01(0, pair_uid(row["url"], row["text"])) < chance)
        else:
            assert chance == 1.0, row
    assert 0 < sum(glut) < len(glut) == SMOKE.glut


def test_pictures_of_opted_out_pages_stand_on_no_other_page(rows: list[Row]) -> None:
    withheld = {row["url"] for row in rows if row["fate"].startswith("page:")}
    assert withheld.isdisjoint(row["url"] for row in rows if not row["fate"].startswith("page:"))


def test_every_file_is_the_kind_of_file_that_its_fate_says(site: Path, rows: list[Row]) -> None:
    value = json.loads((site / "site.json").read_text("utf-8"))
    for row in rows:
        key, fate = row["url"].removeprefix("http://"), row["fate"]
        behaviour = value["behaviours"].get(key, {"kind": "file"})
        while behaviour["kind"] == "redirect" and fate != "fetch:redirect_loop":
            key = behaviour["to"].removeprefix("http://")
            behaviour = value["behaviours"].get(key, {"kind": "file"})
        special = {
            "fetch:not_found": "status",
            "fetch:redirect_loop": "redirect",
            "fetch:too_slow": "drip",
        }
        assert behaviour["kind"] == special.get(fate, "flaky" if row["recovered"] == "retried" else "file")
        if fate in special:
            continue
        entry = value["files"][key]
        assert ("X-Robots-Tag" in entry["headers"]) == (fate == "fetch:header_opt_out")
        assert ("/private/" in key) == (fate in ("fetch:robots_txt", "page:robots_txt"))
        check_picture((site / entry["file"]).read_bytes(), entry["type"], fate, row["recovered"])


def check_picture(data: bytes, type: str, fate: str, recovered: str) -> None:
    if fate == "fetch:not_an_image":
        assert data.startswith(b"<!doctype html>")
        return
    image = Image.open(BytesIO(data))
    assert Image.MIME[str(image.format)] == type
    if fate == "fetch:decode_failed":
        with pytest.raises(OSError, match="truncated"):
            image.load()
        return
    image.load()
    width, height = image.size
    assert (max(width, height) <= 16) == (fate == "fetch:image_too_small")
    assert (max(width, height) / min(width, height) > 5) == (fate == "fetch:aspect_too_extreme")
    assert min(width, height) >= 32 or fate == "fetch:image_too_small"
    modes = {"cmyk": "CMYK", "sixteen_bit": "I;16"}
    assert image.mode == modes.get(recovered, "RGB")
    assert (image.getexif().get(0x0112, 1) != 1) == (recovered == "exif_rotated")


def test_config_errors_are_one_line_that_names_the_key(tmp_path: Path) -> None:
    for change, word in (
        ({"pairs_per_query": 10}, "web.pairs_per_query=10"),
        ({"pairs_per_query": 500}, "web.pairs_per_query=500"),
        ({"glut": 5000}, "web"),
        ({"near_duplicate": 300}, "web"),
    ):
        with pytest.raises(ConfigError, match=word) as error:
            build_site(SMOKE.model_copy(update=change), str(tmp_path))
        assert "\n" not in str(error.value)
        assert not (tmp_path / "site.json").exists()
    with pytest.raises(ConfigError, match="local"):
        build_site(SMOKE, "s3://bucket/web")
