"""The journal of a lane: what a damaged file of it costs."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from pipeline.fetching.fetch_config import FetchConfig
from pipeline.fetching.journal import OUTCOME, Journal
from pipeline.fetching.standing import Standing
from pipeline.web.site_files import SiteFiles
from pipeline.web.web_config import NetworkConfig

URLS = [f"http://a.example/{number}.jpg" for number in range(40)]
PICTURES = [os.urandom(2000) for _ in URLS]


def journal(folder: Path) -> Journal:
    """As a later run sees it."""
    return Journal(str(folder), 4, 1, Standing(FetchConfig(), NetworkConfig()))


def kept(folder: Path) -> Journal:
    """With a picture of each URL, and the files of a site."""
    made = journal(folder)
    row: dict[str, Any] = dict.fromkeys(OUTCOME.names)
    row |= {"round": 0, "attempt": 1, "settled": True, "passing": False, "at": 1.0}
    for start in (0, 20):
        some = zip(URLS[start : start + 20], PICTURES[start : start + 20], strict=True)
        made.write([{**row, "url": url, "image": picture} for url, picture in some])
    made.write_sites([SiteFiles("http://a.example", 1.0, b"User-agent: *\nDisallow: /p\n" * 50)])
    return made


def changed(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place : place + 40] = bytes(40)
    path.write_bytes(data)


def test_a_damaged_file_of_a_site_is_read_again(tmp_path: Path) -> None:
    assert [files.origin for files in kept(tmp_path).sites()] == ["http://a.example"]
    [path] = (tmp_path / "sites").rglob("*.parquet")
    columns = pq.ParquetFile(path).metadata.row_group(0)
    pages = [columns.column(at).data_page_offset for at in range(columns.num_columns)]
    whole = path.read_bytes()
    for place in (4, *(page + 20 for page in pages[:3])):  # the last two columns hold nothing
        changed(path, place)
        assert journal(tmp_path).sites() == []
        path.write_bytes(whole)


def test_what_a_damaged_file_held_is_asked_for_again(tmp_path: Path) -> None:
    made = kept(tmp_path)
    assert set(made.states(URLS, 0)) == set(URLS)
    path = min((tmp_path / "journal").rglob("*.parquet"))
    changed(path, 8)  # its first column, the URLs
    left = set(journal(tmp_path).states(URLS, 0))
    assert left in (set(URLS[:20]), set(URLS[20:]))
    outcomes: pa.Table = journal(tmp_path).outcomes(URLS)
    assert dict(zip(outcomes["url"].to_pylist(), outcomes["image"].to_pylist(), strict=True)) == {
        url: picture for url, picture in zip(URLS, PICTURES, strict=True) if url in left
    }


def test_a_damaged_picture_is_never_handed_on(tmp_path: Path) -> None:
    made = kept(tmp_path)
    files = sorted((tmp_path / "journal").rglob("*.parquet"))
    held = next(path for path in files if PICTURES[3] in path.read_bytes())
    changed(held, held.read_bytes().index(PICTURES[3]) + 1000)
    with pytest.raises(DataError, match=f"{held.name}: was damaged and is removed; run again"):
        made.outcomes(URLS)
    assert set(journal(tmp_path).states(URLS, 0)) == set(URLS[20:])
    assert journal(tmp_path).outcomes(URLS).num_rows == 20
