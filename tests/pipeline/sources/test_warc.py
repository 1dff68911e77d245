"""WARC: pages as they were sent, whole files and single records, and no bytes that stop it."""

import codecs
import gzip
import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import PhaseResult
from pipeline.sources.config import WarcSource
from pipeline.sources.harvest import harvest
from pipeline.sources.http_message import plain_body, read_message
from pipeline.web.web_config import NetworkConfig

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"
Page = tuple[str, list[tuple[str, str]], bytes]


def warc(*pages: Page, status: str = "200 OK") -> list[bytes]:
    """One gzip member per page, written by warcio."""
    members = []
    for url, headers, body in pages:
        file = io.BytesIO()
        writer = WARCWriter(file, gzip=True)
        head = StatusAndHeaders(status, headers or [("Content-Type", "text/html")], protocol="HTTP/1.1")
        writer.write_record(writer.create_warc_record(url, "response", payload=io.BytesIO(body), http_headers=head))
        members.append(file.getvalue())
    return members


def run(folder: Path, data: bytes | None, out: str = "out", **config: object) -> PhaseResult:
    if data is not None:
        (folder / "a.warc.gz").write_bytes(data)
        config = {"files": (str(folder / "a.warc.gz"),), **config}
    return harvest("w", WarcSource(kind="warc", **config), NetworkConfig(), str(folder / out), InProcess())


def html(n: int) -> bytes:
    return f"<h1>Heading {n}</h1><img src=p{n}.jpg alt='picture {n}'><img src=none.jpg>".encode()


def test_pages_become_pairs_with_their_place(tmp_path: Path) -> None:
    members = warc(*((f"http://a.example/{n}/", [], html(n)) for n in range(3)))
    result = run(tmp_path, b"".join(members))
    rows = result.read_kept().to_pylist()
    assert [(row["url"], row["text"], row["heading"]) for row in rows] == [
        (f"http://a.example/{n}/p{n}.jpg", f"picture {n}", f"Heading {n}") for n in range(3)
    ]
    assert [row["warc_offset"] for row in rows] == [0, len(members[0]), len(members[0] + members[1])]
    assert {row["warc_file"] for row in rows} == {"a.warc.gz"}
    assert dict(result.fates["pairs"].reasons) == {"text_empty": 3}


def test_each_page_has_one_fate(tmp_path: Path) -> None:
    kind = ("Content-Type", "text/html")
    members = [
        *warc(("http://a.example/ok", [], html(1))),
        *warc(("http://a.example/gone", [], html(1)), status="404 Not Found"),
        *warc(("http://a.example/moved", [], html(1)), status="301 Moved"),
        *warc(("http://a.example/noai", [kind, ("X-Robots-Tag", "googlebot: all"), ("X-Robots-Tag", "noai")], html(1))),
        *warc(("http://a.example/tdm", [kind, ("tdm-reservation", "1")], html(1))),
        *warc(("http://a.example/tdm-twice", [kind, ("tdm-reservation", "1"), ("tdm-reservation", "1")], html(1))),
        *warc(("http://a.example/kind-twice", [kind, kind, ("Content-Encoding", "gzip")], gzip.compress(html(2)))),
        *warc(("http://a.example/meta", [], b"<meta name=robots content=noimageai>" + html(1))),
        *warc(("http://a.example/pdf", [("Content-Type", "application/pdf")], b"%PDF")),
        *warc(("http://a.example/large", [], html(1) + b" " * 20_000)),
        *warc(("http://a.example/packed", [kind, ("Content-Encoding", "gzip")], b"\x1f\x8b\x08broken")),
        *warc(("ftp://a.example/x", [], html(1))),
    ]
    result = run(tmp_path, b"".join(members), max_page_bytes=10_000)
    assert dict(result.fates["pages"].reasons) == {
        "damaged_body": 1,
        "header_opt_out": 3, "http_error": 1, "meta_opt_out": 1, "not_found": 1, "not_html": 1, "too_large": 1, "url_unusable": 1,
    }  # fmt: skip
    assert result.read_kept().column("page_url").to_pylist() == ["http://a.example/ok", "http://a.example/kind-twice"]
    assert {row["reason"] for row in result.read_dropped().to_pylist()} == {
        *result.fates["pages"].reasons,
        "text_empty",
    }


def test_bodies_come_out_of_chunks_and_compression_as_they_are() -> None:
    body = b"<p>" + b"words " * 300
    chunks = (
        b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (body[:500], body[500:])) + b"0\r\n\r\n"
    )
    packed = gzip.compress(body)
    for headers, sent in (
        ("Transfer-Encoding: chunked", chunks),
        ("Transfer-Encoding: chunked", body),  # joined already, as in some archives
        ("Content-Encoding: gzip", packed),
        ("Content-Encoding: gzip", body),
        ("Content-Encoding: br", body),
        ("Content-Encoding: br", codecs.BOM_UTF8 + body),
        ("Content-Encoding: br", pa.compress(body, "brotli", asbytes=True)),
        ("Content-Encoding: zstd", pa.compress(body, "zstd", asbytes=True)),
        ("Server: x", body),
    ):
        for line in ("\r\n", "\n"):
            payload = f"HTTP/1.1 200 OK{line}{headers}{line}{line}".encode() + sent
            assert plain_body(read_message(payload), 10_000).removeprefix(codecs.BOM_UTF8) == body


def test_pages_that_a_crawler_cut_off_give_what_is_there(tmp_path: Path) -> None:
    packed = gzip.compress(html(1) + random.Random(1).randbytes(5000).hex().encode())[:-500]
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n" + packed
    marked = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n" + codecs.BOM_UTF8 + html(2)
    members = []
    for number, (cut, payload) in enumerate((("WARC-Truncated: length\r\n", answer), ("", answer), ("", marked))):
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/{number}\r\n{cut}"
        members.append(gzip.compress(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload + b"\r\n\r\n"))
    result = run(tmp_path, b"".join(members))
    assert result.read_kept().column("page_url").to_pylist() == ["http://a.example/0", "http://a.example/2"]
    assert dict(result.fates["pages"].reasons) == {"damaged_body": 1}


def test_an_index_reads_its_records_alone(tmp_path: Path) -> None:
    members = warc(*((f"http://a.example/{n}/", [], html(n)) for n in range(6)))
    (tmp_path / "crawl").mkdir()
    (tmp_path / "crawl" / "x.warc.gz").write_bytes(b"".join(members))
    offsets = [sum(map(len, members[:n])) for n in range(6)]

    def line(n: int, **more: object) -> str:
        facts = {
            "filename": "crawl/x.warc.gz",
            "offset": str(offsets[n]),
            "length": str(len(members[n])),
            "status": "200",
        }
        return f"example,a)/{n} 20260201000000 {json.dumps(facts | more)}\n"

    bad = [
        line(0, status="404"),
        line(0, mime="image/png"),
        line(0, filename="../etc/passwd"),
        line(0, offset="x"),
        "junk\n",
        "{\n",
    ]
    gone = line(3, filename="crawl/gone.warc.gz")
    text = line(4) + line(1) + line(1) + line(5, offset=str(offsets[5] + 7)) + gone + "".join(bad)
    (tmp_path / "i.cdxj.gz").write_bytes(gzip.compress(text[:300].encode()) + gzip.compress(text[300:].encode()))
    result = run(tmp_path, None, index=(str(tmp_path / "i.cdxj.gz"),), prefix=str(tmp_path), records_per_item=2)
    rows = result.read_kept().to_pylist()
    assert [(row["text"], row["warc_offset"]) for row in rows] == [("picture 1", offsets[1]), ("picture 4", offsets[4])]
    assert dict(result.fates["records"].reasons) == {"damaged_record": 2}
    assert dict(result.fates["lines"].reasons) == {
        "damaged_line": 4,
        "duplicate_record": 1,
        "http_error": 1,
        "not_html": 1,
    }
    table = pa.table(
        {
            "warc_filename": ["crawl/x.warc.gz"] * 2 + [None],
            "warc_record_offset": pa.array([offsets[4], offsets[1], 0], pa.int32()),
            "warc_record_length": pa.array([len(members[4]), len(members[1]), 1], pa.int32()),
            "fetch_status": pa.array([200, 200, 200], pa.int16()),
        }
    )
    pq.write_table(table, tmp_path / "i.parquet")
    again = run(tmp_path, None, "again", index=(str(tmp_path / "i.parquet"),), prefix=str(tmp_path))
    assert again.read_kept().equals(result.read_kept())


def test_a_page_that_kills_the_parser_costs_itself_among_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openwit_fragile_pages.py").write_text(
        "import os\nfrom pipeline.sources import html\n"
        "def parse_page(header, payload):\n"
        "    if b'poison' in payload: os.abort()\n"
        "    return html.parse_page(header, payload)\n"
        "def parse_pages(header, payload):\n"
        "    if b'poison' in payload: os.abort()\n"
        "    return html.parse_pages(header, payload)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("pipeline.sources.pages.html.__name__", "openwit_fragile_pages")
    pages: list[Page] = [(f"http://a.example/{n}/", [], html(n) if n != 4 else b"poison") for n in range(9)]
    result = run(tmp_path, b"".join(warc(*pages)))
    assert dict(result.fates["pages"].reasons) == {"decoder_crashed": 1}
    assert result.fates["pairs"].kept == 8


@pytest.mark.shared
def test_all_of_warcios_files_and_common_crawls_page_go_through(tmp_path: Path) -> None:
    folder = SHARED / "warc-warcio" / "test" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data")
    result = run(tmp_path, None, files=(f"{folder}/*", str(SHARED / "warc-whirlwind" / "whirlwind.warc.gz")))
    records, pages = result.fates["records"], result.fates["pages"]
    assert len(result.kept) == 17
    assert records.rows_in == records.kept + sum(records.reasons.values()) > 60
    assert pages.kept >= 8
    urls = [url for url in result.read_kept().column("page_url").to_pylist() if "an.wikipedia.org" in url]
    assert len(urls) >= 2


@pytest.mark.shared
def test_naughty_strings_as_captions_survive(tmp_path: Path) -> None:
    path = SHARED / "naughty-strings" / "blns.json"
    if not path.exists():
        pytest.skip("needs ../shared/data/naughty-strings")
    words = json.loads(path.read_text("utf-8"))
    body = "".join(f'<img src=p{n}.jpg alt="{w.replace(chr(34), "&quot;")}">' for n, w in enumerate(words))
    result = run(
        tmp_path, b"".join(warc(("http://a.example/", [("Content-Type", "text/html; charset=utf-8")], body.encode())))
    )
    texts = set(result.read_kept().column("text").to_pylist())
    assert {
        " ".join(word.split()) for word in words if "&" not in word and "\0" not in word and word.strip()
    } - texts <= {
        text for text in (" ".join(word.split()) for word in words) if not text.isprintable() or "\ufeff" in text
    }
    assert result.fates["pairs"].rows_in == len(words)
