"""Source files that lie on the web: read in ranges through the guarded door, with the same rows as from a disk."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rude_web import Web, plain

from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import InProcess
from pipeline.sources.config import TableSource, WarcSource
from pipeline.sources.harvest import harvest
from pipeline.sources.inputs import matching, open_blocks
from pipeline.web import ranged

ROWS = b"".join(b'{"url": "https://p.example/%d.jpg", "caption": "a dog number %d"}\n' % (i, i) for i in range(400))


def serve(web: Web, path: str, data: bytes, ranges: bool = True) -> None:
    def answer(out: io.BufferedIOBase, headers: dict[str, str]) -> None:
        asked = headers.get("range", "")
        if not ranges or not asked:
            out.write(plain(data))
            return
        first, last = (int(part) for part in asked.removeprefix("bytes=").split("-"))
        piece = data[first : last + 1]
        told = f"bytes {first}-{first + len(piece) - 1}/{len(data)}"
        out.write(plain(piece, "206 Partial Content", Content_Range=told, ETag='"one"'))

    web.answers[path] = answer


def rows_of(source: Any, web: Web, folder: Path) -> list[dict[str, Any]]:
    result = harvest("some", source, web.config(), str(folder), InProcess())
    return [row | {"warc_file": None} for row in result.read_kept().to_pylist()]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_table_on_the_web_gives_the_rows_of_the_same_file_on_disk(
    web: Web, tmp_path: Path, ranges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranged, "BLOCK_BYTES", 4096)
    (tmp_path / "rows.jsonl").write_bytes(ROWS)
    serve(web, "/rows.jsonl", ROWS, ranges)
    there = TableSource(kind="table", files=("http://a.example/rows.jsonl",), rows_per_item=150)
    here = TableSource(kind="table", files=(str(tmp_path / "rows.jsonl"),), rows_per_item=150)
    found = rows_of(there, web, tmp_path / "there")
    assert len(found) == 400
    assert found == rows_of(here, web, tmp_path / "here")
    assert not any(path == "/robots.txt" for _, path in web.asked)
    assert "openwit.example" in web.headers["/rows.jsonl"]["user-agent"]


def test_an_index_points_into_archives_on_the_web(web: Web, tmp_path: Path) -> None:
    page = b"<img src=/cat.jpg alt='a cat on a mat'>"
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page) + page
    head = (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://p.example/\r\n"
        f"Content-Type: application/http\r\nContent-Length: {len(answer)}\r\n\r\n"
    )
    member = gzip.compress(head.encode() + answer + b"\r\n\r\n")
    serve(web, "/crawl/one.warc.gz", b"x" * 5000 + member + b"y" * 70)
    line = {"url": "https://p.example/", "filename": "one.warc.gz", "offset": "5000", "length": str(len(member))}
    (tmp_path / "index.cdx").write_text(f"example,p)/ 20260201000000 {json.dumps(line)}\n")
    source = WarcSource(kind="warc", index=(str(tmp_path / "index.cdx"),), prefix="http://a.example/crawl/")
    found = rows_of(source, web, tmp_path / "out")
    assert [(row["url"], row["text"]) for row in found] == [("https://p.example/cat.jpg", "a cat on a mat")]


def test_what_is_not_there_not_allowed_or_cut_short_is_one_line(web: Web) -> None:
    with pytest.raises(ConfigError, match=r"'http://a.example/none.csv' does not exist"):
        matching("http://a.example/none.csv", "files", web.config())
    with pytest.raises(DataError, match="address_refused"):
        matching(f"http://127.0.0.1:{web.port}/rows.jsonl", "files", web.config(allowed_ports=(80, web.port)))
    with pytest.raises(ConfigError, match="user name in the URL"):
        matching("http://me@a.example/rows.jsonl", "files", web.config())
    web.answers["/odd.csv"] = plain(b"abc", "206 Partial Content", Content_Range="bytes 7-9/100")
    with pytest.raises(DataError, match="gives no ranges"):
        matching("http://a.example/odd.csv", "files", web.config())


def test_a_part_of_a_file_is_read_as_asked(web: Web) -> None:
    serve(web, "/some.bin", bytes(range(256)) * 40)
    (path,) = matching("http://a.example/some.bin", "files", web.config())
    assert open_blocks(path, 300, 10).read() == bytes(range(44, 54))
    with open_blocks(path, 10_000) as file:
        assert file.read() == (bytes(range(256)) * 40)[10_000:]
    assert ranged.url_of(path) == "http://a.example/some.bin"
