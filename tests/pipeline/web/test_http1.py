"""HTTP/1.1 as we read it, beside the standard library's reader, whole and in every cut."""

import http.client
import io
import random

import pytest

from pipeline.web import http1
from pipeline.web.http1 import Answer, CutOffError, Head, NotHttpError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nX-A: 1\r\nx-a: 2\r\n"
ANSWERS = {
    "length": HEAD + b"Content-Length: 11\r\n\r\nhello world",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "bare line feeds": HEAD.replace(b"\r", b"") + b"Content-Length: 11\n\nhello world",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 11\r\n\r\nhello world",
    "folded": HEAD + b"X-Long: a\r\n  b\r\nContent-Length: 11\r\n\r\nhello world",
    "to the end": HEAD + b"\r\nhello world",
}


def read(data: bytes, cuts: list[int], most: int = 100) -> tuple[Answer, bool]:
    answer = Answer(1000, lambda head: most)
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if start < stop and answer.feed(memoryview(data[start:stop])):
            return answer, True
    answer.end()
    return answer, False


class _Wire:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_mean_what_the_standard_library_reads_however_they_are_cut(name: str) -> None:
    data = ANSWERS[name]
    twin = http.client.HTTPResponse(_Wire(data))  # type: ignore[arg-type]
    twin.begin()
    body = twin.read()
    draw = random.Random(7)
    cuttings = [[], list(range(1, len(data))), *(sorted(draw.sample(range(1, len(data)), 3)) for _ in range(60))]
    for cuts in cuttings:
        answer, done = read(data, cuts)
        assert answer.head is not None
        assert (answer.head.status, answer.body, done) == (200, body, name != "to the end")
        assert answer.head.all("x-a") == ["1", "2"]
        assert answer.head.joined()["x-a"] == "1, 2"
        assert answer.reusable == (name != "to the end")
    assert answer.head.joined().get("x-long", "a   b").split() == ["a", "b"]


@pytest.mark.parametrize("name", ["length", "chunks"])
def test_what_comes_after_an_answer_or_is_missing_makes_its_connection_useless(name: str) -> None:
    data = ANSWERS[name]
    assert not read(data + b"HTTP/1.1 200 OK\r\n", [])[0].reusable
    assert not read(data.replace(HEAD, HEAD + b"Connection: close\r\n"), [])[0].reusable
    assert not read(data.replace(b"HTTP/1.1", b"HTTP/1.0"), [])[0].reusable
    for end in range(len(data) - 1):
        with pytest.raises(CutOffError):
            read(data[:end], [])


@pytest.mark.parametrize("blank", [b"", b"\r\n" * 1000, b"\r\n" * 4000])
def test_a_head_may_come_with_all_of_its_body_after_empty_lines_and_be_long(blank: bytes) -> None:
    """However much of what came at once is looked through for its end."""
    body = bytes(range(256)) * 200
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 900) for number in range(7))
    data = blank + HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for cuts in ([], [1], [http1.USUAL_HEAD_BYTES], [len(data) - len(body)], [len(data) - 1]):
        answer, done = read(data, cuts, most=len(body))
        assert (answer.body, done, answer.reusable) == (body, True, True)
        assert answer.head is not None
        assert answer.head.all("x-6") == ["x" * 900]


def test_no_more_is_read_than_is_wanted() -> None:
    for name in ("length", "chunks", "to the end"):
        answer, done = read(ANSWERS[name], list(range(1, len(ANSWERS[name]))), most=4)
        assert (answer.body, done, answer.reusable) == (b"hello", True, False)
    answer, done = read(ANSWERS["length"], [], most=0)  # unwanted, and here already: passed over
    assert (answer.body, done, answer.reusable) == (b"", True, True)
    assert not read(ANSWERS["length"], [len(ANSWERS["length"]) - 3], most=0)[0].reusable


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 0x5\r\n\r\nhello",
        HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 16 + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * 2000,
        HEAD + b"A: " + b"x" * 2000 + b"\r\n\r\n",
        HEAD + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        HEAD + b"x" * 20_000,
    ],
)
def test_what_could_be_read_in_two_ways_or_has_no_end_is_refused(data: bytes) -> None:
    for cuts in ([], list(range(1, len(data)))):
        with pytest.raises(NotHttpError):
            read(data, cuts)


@pytest.mark.parametrize(
    "framed", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
def test_a_coding_that_is_none_changes_nothing(framed: bytes) -> None:
    answer, done = read(HEAD + b"Transfer-Encoding: Identity\r\n" + framed, [])
    assert (answer.body, done, answer.reusable) == (b"hello", True, True)


def test_chunks_have_a_number_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "MAX_CHUNKS", 10)
    with pytest.raises(NotHttpError):
        read(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20 + b"0\r\n\r\n", [])


def test_random_bytes_never_do_anything_else_than_be_refused_or_read() -> None:
    draw = random.Random(3)
    words = [
        b"HTTP/1.1 200 OK\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"3\r\n",
        b"0",
    ]
    words += [b"abc", b"\n", b":", b"\x00", b" ", b"\xff", b"HTTP/1.1 100 x\r\n\r\n", b"Connection: close\r\n"]
    ends = set()
    for _ in range(5000):
        data = b"".join(draw.choice(words) for _ in range(draw.randrange(1, 12)))
        data = words[0] + data if draw.random() < 0.7 else data
        try:
            answer, _ = read(data, sorted(draw.choices(range(len(data)), k=2)))
            assert isinstance(answer.head, Head)
            ends.add("read")
        except (NotHttpError, CutOffError) as error:
            ends.add(type(error).__name__)
    assert ends == {"read", "NotHttpError", "CutOffError"}


def test_a_request_line_cannot_be_broken_in_two() -> None:
    with pytest.raises(ValueError):
        http1.request_bytes("a.example", "/x HTTP/1.1\r\nHost: b", "")
    assert http1.request_bytes("a.example", "/x", "A: b\r\n") == b"GET /x HTTP/1.1\r\nHost: a.example\r\nA: b\r\n\r\n"
