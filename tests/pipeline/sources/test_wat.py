"""WAT: the same pictures as a slow reading of the JSON, with opt-outs, lineage and counts."""

import gzip
import json
import random
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from pipeline.errors import ConfigError
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import PhaseResult
from pipeline.sample import CANDIDATE
from pipeline.sources.config import WatSource
from pipeline.sources.harvest import harvest
from pipeline.sources.wat_page import parse
from pipeline.web.web_config import NetworkConfig

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"


def member(value: Any, kind: str = "metadata") -> bytes:
    payload = (
        value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    )
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nContent-Length: {len(payload)}\r\n\r\n".encode()
    return gzip.compress(head + payload + b"\r\n\r\n", mtime=0)


def page(
    url: str, links: Any, head: dict[str, Any] | None = None, headers: dict[str, Any] | None = None
) -> dict[str, Any]:
    answer = {"Headers": headers or {}, "HTML-Metadata": {"Head": head or {}, "Links": links}}
    return {
        "Container": {"Filename": "CC-x.warc.gz", "Offset": "1234"},
        "Envelope": {
            "Payload-Metadata": {"HTTP-Response-Metadata": answer},
            "WARC-Header-Metadata": {"WARC-Target-URI": url},
        },
    }


def picture(url: Any, alt: str | None = None, **more: Any) -> dict[str, Any]:
    return {"path": "IMG@/src", "url": url} | ({} if alt is None else {"alt": alt}) | more


def run(folder: Path, *members: bytes, **config: Any) -> PhaseResult:
    path = folder / "a.wat.gz"
    path.write_bytes(b"".join(members))
    wish = WatSource(kind="wat", files=(str(path),), **config)
    return harvest("crawl", wish, NetworkConfig(), str(folder / "out"), InProcess())


def test_pairs_carry_their_page_and_their_place_in_the_crawl(tmp_path: Path) -> None:
    links = [
        picture("/p.jpg", " red \n car "),
        {"path": "A@/href", "url": "/x", "text": "a"},
        picture("q.png", "", title="T"),
    ]
    links += [
        picture("n.gif"),
        picture("data:image/gif;base64,R0", "x"),
        {"path": "A@/href", "url": "/cc", "rel": "license"},
    ]
    head = {
        "Base": "/dir/",
        "Metas": [{"property": "og:image", "content": "/p.jpg"}, {"property": "og:title", "content": "Cars"}],
    }
    warcinfo = member(b"isPartOf: CC-MAIN-2026-05\r\n", "warcinfo")
    result = run(tmp_path, warcinfo, member({"Envelope": {}}), member(page("http://a.example/x", links, head)))
    rows = result.read_kept()
    assert rows.schema == CANDIDATE
    first, second = rows.to_pylist()
    assert (first["url"], first["text"], first["text_origin"]) == ("http://a.example/p.jpg", "red car", "alt")
    assert first["texts"] == [{"text": "red car", "origin": "alt"}, {"text": "Cars", "origin": "og:title"}]
    assert (first["page_url"], first["crawl_id"]) == ("http://a.example/x", "CC-MAIN-2026-05")
    assert (first["warc_file"], first["warc_offset"]) == ("CC-x.warc.gz", 1234)
    assert (second["url"], second["text_origin"], second["licence"]) == (
        "http://a.example/dir/q.png",
        "title",
        "http://a.example/cc",
    )
    assert dict(result.fates["records"].reasons) == {"not_a_page": 2}
    assert dict(result.fates["pairs"].reasons) == {"text_empty": 1, "url_unusable": 1}
    dropped = result.read_dropped().to_pylist()
    assert {row["reason"]: row["url"] for row in dropped}["text_empty"] == "n.gif"


def test_pages_that_opt_out_are_counted_and_give_nothing(tmp_path: Path) -> None:
    links = [picture("/p.jpg", "words")]
    robots = {"Metas": [{"name": "ROBOTS", "content": "NoImageAI"}]}
    result = run(
        tmp_path,
        member(page("http://a.example/1", links, headers={"X-Robots-Tag": ["googlebot: x", "noai"]})),
        member(page("http://a.example/2", links, headers={"TDM-Reservation": "1"})),
        member(page("http://a.example/3", links, robots)),
        member(page("http://a.example/4", links, headers={"x-robots-tag": "otherbot: noai"})),
        member(page("http://a.example/5", links, {"Metas": [{"http-equiv": "X-Robots-Tag", "content": "noai"}]})),
    )
    assert dict(result.fates["pages"].reasons) == {"header_opt_out": 2, "meta_opt_out": 2}
    assert result.read_kept().column("page_url").to_pylist() == ["http://a.example/4"]


def test_pictures_for_sharing_are_found_under_any_name_of_their_tag(tmp_path: Path) -> None:
    title = {"property": "og:title", "content": "Cars"}
    both = [{"name": "image", "property": "og:image", "content": "/p.jpg"}, title]
    tweeted = [{"name": "twitter:image", "content": "/q.jpg"}, title]
    pages = [page("http://a.example/1", [], {"Metas": both}), page("http://a.example/2", [], {"Metas": tweeted})]
    rows = run(tmp_path, *map(member, pages), text_from=("og:title",)).read_kept()
    assert rows.column("url").to_pylist() == ["http://a.example/p.jpg", "http://a.example/q.jpg"]


def test_damaged_records_cost_themselves(tmp_path: Path) -> None:
    good = [member(page(f"http://a.example/{n}", [picture("/p.jpg", f"words {n}")])) for n in range(6)]
    odd: list[bytes] = [
        member(b'{"HTTP-Response-Metadata" "IMG@/src" no json'),
        member(b'{"Envelope": "HTTP-Response-Metadata", "x": "IMG@/src"}'),
        member(page("http://a.example/9", 7) | {"x": ["IMG@/src", {"y": '"IMG@/src"'}]}),
        member(page("javascript:x", [picture("/p.jpg", "words")])),
        member(b"\xff\xfe\x00" * 50),
        gzip.compress(b"no record at all"),
        good[0][: len(good[0]) // 2],
    ]  # fmt: skip
    result = run(tmp_path, *[each for pair in zip(good, odd, strict=False) for each in pair], good[5])
    assert result.fates["pairs"].kept == 7
    assert result.fates["records"].reasons["damaged_record"] >= 3
    assert result.fates["pages"].reasons["url_unusable"] == 1


def slow(payload: bytes) -> list[tuple[str, str, str]]:
    links = json.loads(payload)["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]["HTML-Metadata"]["Links"]
    return [(each["url"], each.get("alt", ""), each.get("title", "")) for each in links if each["path"] == "IMG@/src"]


@pytest.mark.parametrize("seed", range(6))
def test_fast_parsing_equals_plain_json(seed: int) -> None:
    draw = random.Random(seed)
    words = [
        '"',
        "\\",
        "}]",
        "{",
        "}",
        "é",
        "\n",
        "/",
        '"},{"path":"IMG@/src","url":"x"}',
        "license",
        "[",
        "a b",
        '"Links":[{',
        "",
    ]
    for _ in range(400):
        links = []
        for _ in range(draw.randrange(8)):
            text = "".join(draw.choices(words, k=draw.randrange(4)))
            link = (
                picture(f"/{draw.randrange(9)}.jpg{draw.choice(words)}", text)
                if draw.random() < 0.6
                else {"path": "A@/href", "url": text}
            )
            if draw.random() < 0.2:
                link = dict(reversed(link.items()))
            if draw.random() < 0.2:
                link["title"] = draw.choice(words)
            links.append(link)
        value = page("http://a.example/", links, {"Title": draw.choice(words)})
        payload = json.dumps(
            value, separators=draw.choice([(",", ":"), (", ", ": ")]), ensure_ascii=draw.random() < 0.5
        ).encode()
        found = parse(payload)
        assert [each[1:] for each in found[1]] == slow(payload)
        assert found[0]["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]["HTML-Metadata"]["Head"] == {
            "Title": value["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]["HTML-Metadata"]["Head"]["Title"]
        }


def test_every_pair_of_the_plain_rule_is_found(tmp_path: Path) -> None:
    """cc2dataset's rule (img src with an alt, urljoin, http only), written out."""
    draw = random.Random(1)
    pages = {}
    for n in range(40):
        links = [
            picture(draw.choice(["/a", "b/c", "http://x.example/", "../", "//y.example/"]) + f"{k}.jpg", f"t {k}")
            for k in range(9)
        ]
        pages[f"http://a{n}.example/q/w.html"] = links
    result = run(tmp_path, *[member(page(url, links)) for url, links in pages.items()])
    wanted = {(url, urljoin(url, each["url"]), each["alt"]) for url, links in pages.items() for each in links}
    rows = result.read_kept().to_pylist()
    assert {(row["page_url"], row["url"], row["text"]) for row in rows} == wanted
    assert len(rows) == 40 * 9


def test_order_and_names_of_files_change_nothing(tmp_path: Path) -> None:
    one, two = (member(page(f"http://{n}.example/", [picture("/p.jpg", n)])) for n in "ab")
    for folder, names in ((tmp_path / "x", "12"), (tmp_path / "y", "21")):
        folder.mkdir()
        for name, data in zip(names, (one, two), strict=True):
            (folder / f"{name}.wat.gz").write_bytes(data)
    ids = set()
    for folder in (tmp_path / "x", tmp_path / "y"):
        wish = WatSource(kind="wat", files=(f"{folder}/*.wat.gz",))
        ids.add(harvest("crawl", wish, NetworkConfig(), str(folder / "out"), InProcess()).fates["pairs"].kept)
    assert ids == {2}
    paths = tmp_path / "wat.paths.gz"
    paths.write_bytes(gzip.compress(b"2.wat.gz\n\n1.wat.gz\n"))
    wish = WatSource(kind="wat", paths_file=str(paths), prefix=str(tmp_path / "x"))
    listed = harvest("crawl", wish, NetworkConfig(), str(tmp_path / "listed"), InProcess())
    wish = WatSource(kind="wat", files=(f"{tmp_path}/x/1.wat.gz", f"{tmp_path}/x/2.wat.gz"))
    assert harvest("crawl", wish, NetworkConfig(), str(tmp_path / "given"), InProcess()).id == listed.id


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ("https://me@data.commoncrawl.org/x.wat.gz", "user name in the URL"),
        ("/no/such/file.wat.gz", "does not exist"),
        ("/no/such/*.wat.gz", "fits no file"),
        ("nothing://x/y", "use a local path"),
    ],
)
def test_input_that_cannot_be_is_one_line(tmp_path: Path, files: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        harvest("mine", WatSource(kind="wat", files=(files,)), NetworkConfig(), str(tmp_path), InProcess())
    assert str(error.value).startswith("curate.sources.mine: ")
    assert "\n" not in str(error.value)


@pytest.mark.shared
def test_common_crawls_own_file(tmp_path: Path) -> None:
    path = SHARED / "warc-whirlwind" / "whirlwind.warc.wat.gz"
    if not path.exists():
        pytest.skip("needs ../shared/data/warc-whirlwind")
    result = harvest("w", WatSource(kind="wat", files=(str(path),)), NetworkConfig(), str(tmp_path), InProcess())
    assert dict(result.fates["records"].reasons) == {"not_a_page": 2}  # it holds a request's record and no answer's
