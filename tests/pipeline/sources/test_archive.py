"""Records of archives: what a plain reader finds in whole files, and what is left of damaged ones."""

import gzip
import io
import random
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from pipeline.sources.archive import Record, read_records

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"


def record(number: int, length: int | None = None, size: int = 500) -> bytes:
    body = random.Random(number).randbytes(size // 2).hex().encode()
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/{number}\r\n"
        f"Content-Length: {size if length is None else length}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def read(data: bytes, **options: int) -> list[Record]:
    return list(read_records(io.BytesIO(data), **options))


def urls(records: list[Record]) -> list[str]:
    return [each.url.rsplit("/", 1)[-1] for each in records if each.damage is None]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["example.warc.gz", "example.warc", "post-test.warc.gz", "example-digest.warc"])
def test_whole_files_read_as_warcio_reads_them(name: str) -> None:
    path = SHARED / "warc-warcio" / "test" / "data" / name
    if not path.exists():
        pytest.skip("needs ../shared/data/warc-warcio")
    with path.open("rb") as file:
        twin = [
            (each.rec_headers.get_header("WARC-Type"), each.rec_headers.get_header("WARC-Target-URI"), each.raw_stream.read())
            for each in ArchiveIterator(file, no_record_parse=True)
        ]  # fmt: skip
    found = read(path.read_bytes())
    assert [(each.kind, each.url or None, each.payload) for each in found] == twin
    assert [each.damage for each in found] == [None] * len(twin)


@pytest.mark.shared
def test_every_file_of_warcios_tests_gives_counts_and_no_exception() -> None:
    folder = SHARED / "warc-warcio" / "test" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/warc-warcio")
    found = {path.name: read(path.read_bytes()) for path in sorted(folder.iterdir())}
    counts = {name: (len(each), sum(one.damage is not None for one in each)) for name, each in found.items()}
    assert len(counts) == 16
    assert counts["example-bad-non-chunked.warc.gz"] == (6, 0)  # one gzip member for the whole file
    assert counts["example.arc"] == counts["example.arc.gz"] == (2, 0)
    assert counts["bad.arc"] == (4, 2)
    assert counts["example-wrong-chunks.warc.gz"] == (3, 2)
    assert all(total > damaged for total, damaged in counts.values())


def test_one_bad_gzip_member_costs_its_record() -> None:
    members = [gzip.compress(record(n, size=5000), mtime=0) for n in range(20)]
    bad = bytearray(members[7])
    bad[700:720] = b"x" * 20
    found = read(b"".join([*members[:7], bytes(bad), *members[8:]]))
    assert urls(found) == [str(n) for n in range(20) if n != 7]
    (damaged,) = [each for each in found if each.damage]
    assert (damaged.damage, damaged.offset) == ("broken gzip", sum(map(len, members[:7])))
    assert [each.offset for each in found if each.damage is None][:3] == [
        0,
        len(members[0]),
        len(members[0] + members[1]),
    ]


@pytest.mark.parametrize("seed", range(8))
def test_damage_anywhere_never_raises_and_costs_little(seed: int) -> None:
    draw = random.Random(seed)
    members = [gzip.compress(record(n, size=3000), mtime=0) for n in range(30)]
    data = bytearray(b"".join(members))
    for _ in range(3):
        place = draw.randrange(len(data))
        data[place : place + draw.randrange(40)] = draw.randbytes(draw.randrange(40))
    found = read(bytes(data))
    assert len(urls(found)) >= 30 - 6
    plain = bytearray(b"".join(record(n, size=3000) for n in range(30)))
    place = draw.randrange(len(plain))
    plain[place : place + 200] = draw.randbytes(100)
    assert len(urls(read(bytes(plain)))) >= 28


@pytest.mark.parametrize("length", [10, 499, 501, 700, 5000, 10**9, 10**14])
def test_a_wrong_content_length_costs_one_record_at_most(length: int) -> None:
    data = b"".join([record(0), record(1, length), *(record(n) for n in range(2, 30))])
    found = read(data, max_record_bytes=100_000)
    assert [each for each in urls(found) if each != "1"] == [str(n) for n in range(30) if n != 1]


def test_heads_may_end_in_bare_line_ends_before_an_answer_that_does_not() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>text"
    head = "WARC/1.0\nWARC-Type: response\nWARC-Target-URI: http://a.example/{}\nContent-Length: {}\n\n"
    found = read(b"".join(head.format(n, len(answer)).encode() + answer + b"\n\n" for n in range(3)))
    assert urls(found) == ["0", "1", "2"]
    assert {each.payload for each in found} == {answer}


def test_what_is_no_archive_is_one_damaged_place() -> None:
    for data in (
        b"\xff\xd8\xff" + random.Random(0).randbytes(50_000),
        b"<html>" * 1000,
        b"x",
        b"\x1f\x8b\x08junk",
        b"WARC/1.0",
    ):
        found = read(data)
        assert len(found) == 1
        assert found[0].damage
    assert read(b"") == []
    assert read(b"\r\n\r\n") == []


def test_large_records_come_whole_and_larger_ones_are_passed_over() -> None:
    big = record(1, size=9_000_000)
    for data in (record(0) + big + record(2), b"".join(gzip.compress(each) for each in (record(0), big, record(2)))):
        assert [len(each.payload) for each in read(data)] == [500, 9_000_000, 500]
        small = read(data, max_record_bytes=1_000_000)
        assert urls(small) == ["0", "2"]
        assert [each.damage for each in small][1] == "larger than max_record_bytes"


def test_a_file_cut_off_gives_what_was_there() -> None:
    plain = b"".join(record(n) for n in range(5))
    packed = b"".join(gzip.compress(record(n)) for n in range(5))
    for data in (plain[:-200], packed[:-100], gzip.compress(plain)[:-300]):
        found = read(data)
        assert urls(found)[:3] == ["0", "1", "2"]
        assert found[-1].damage
