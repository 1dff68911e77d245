"""Captions counted by registered domain: beside a Counter over all rows."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from phases import phase_of, split

from pipeline.execution.exchange import Files
from pipeline.execution.executor import InProcess
from pipeline.selection.domain_frequency import domains, frequent_keys, occurrences, registered_domain


@pytest.mark.parametrize(
    ("host", "domain"),
    [("news.bbc.co.uk", "bbc.co.uk"), ("a.b.example.com", "example.com"), ("example.com", "example.com"),
     ("WWW.Example.ORG.", "example.org"), ("10.0.0.1", "10.0.0.1"), ("[::1]", "[::1]"), ("localhost", "localhost"),
     ("x.co", "x.co"), ("a.x.co", "x.co"), ("", "")],
)  # fmt: skip
def test_the_registered_domain_of_a_host(host: str, domain: str) -> None:
    assert registered_domain(host) == domain


def test_the_domain_is_the_pages_and_where_there_is_none_the_pictures() -> None:
    rows = pa.table(
        {
            "page_url": ["http://user@www.a.example:80/x", None, None, "no url", "https://b.example?q"],
            "url": ["http://c.example/1", "http://img.d.example/2", "file:x.jpg", "http://c.example", ""],
        }
    )
    assert domains(rows).to_pylist() == ["a.example", "d.example", "", "", "b.example"]


@pytest.mark.parametrize(("parts", "buckets"), [(1, 1), (4, 3)])
def test_texts_are_counted_within_a_domain_however_the_rows_are_cut(tmp_path: Path, parts: int, buckets: int) -> None:
    rows = pa.table(
        {
            "text": [f"caption {i % 7}" if i % 3 else f"own {i}" for i in range(600)],
            "url": [f"http://img.example/{i}" for i in range(600)],
            "page_url": [f"http://www{i % 5}.site{i % 4}.example/{i}" for i in range(600)],
        }
    )
    phase = phase_of(str(tmp_path / "in"), split(rows, parts))
    frequent = frequent_keys(Files(phase.folder, phase.kept), 12, buckets, str(tmp_path / "out"), InProcess())
    counts = Counter((i % 4, text) for i, text in enumerate(rows.column("text").to_pylist()))
    expected = [counts[i % 4, text] for i, text in enumerate(rows.column("text").to_pylist())]
    assert occurrences(rows, frequent).tolist() == [count if count > 12 else 0 for count in expected]
    assert len(set(expected)) > 2
