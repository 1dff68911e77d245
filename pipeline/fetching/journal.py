"""The journal of fetched pictures: what each attempt at a URL came to, and the picture itself where it succeeded.

    <store>/journal/<lanes>/<lane>/<low>-<high>-<name>.parquet     rows of schema OUTCOME; written whole, never changed
    <store>/sites/<lanes>/<lane>/<name>.parquet                    site files (robots.txt, ...) with the time they were read

A file's name tells between which places (the hash of the URL) its rows lie, so who looks for a few URLs opens the few files
that can hold them. A store made with another number of lanes is read as it is: both are powers of two, so a lane's hosts are
all in one wider lane, or spread over some narrower ones, and nothing is downloaded again.
"""

import functools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pipeline import storage
from pipeline.errors import DataError
from pipeline.fetching.standing import JUDGED, Standing, Verdict
from pipeline.pictures.picture_config import IMAGE_COLUMNS
from pipeline.web.site_files import SiteFiles
from pipeline.web.urls import UnusableURLError, canonical, host_of

ATTEMPT = pa.schema(
    [
        ("url", pa.string()),
        ("round", pa.int32()),  # fetch.retry_round of the run
        ("attempt", pa.int32()),  # 1 for the first in its round
        ("settled", pa.bool_()),  # nothing more is tried in this round
        ("passing", pa.bool_()),  # a later round may do better
        ("reason", pa.string()),  # null: the picture is here
        ("evidence", pa.string()),
        ("met", pa.string()),  # what happened, in a word of pipeline.web.taxonomy
        ("status", pa.int32()),  # HTTP's, 0 where nobody answered
        ("milliseconds", pa.int32()),
        ("bytes", pa.int64()),  # downloaded
        ("redirects", pa.int32()),
        ("at", pa.float64()),  # seconds since 1970
        ("next_retry", pa.float64()),  # when the next attempt may begin, null: none will
        ("under", pa.string()),  # the settings that it may be due to (standing.py)
        ("header_width", pa.int32()),  # of the picture, whatever became of it
        ("header_height", pa.int32()),
    ]
)
PICTURE = pa.schema([*IMAGE_COLUMNS])
OUTCOME = pa.schema([*ATTEMPT, *PICTURE])
_TRIED = ("round", "attempt", "settled", "passing", "next_retry")
_RANKED = ("url", "round", "attempt", "settled", "reason", "evidence", "at", "under")
KEPT_READINGS = 32
"""Readings for `outcomes` that are kept, without the pictures: each file of a lane has rows of all its parts."""
SITE = pa.schema(
    [
        ("origin", pa.string()),
        ("read_at", pa.float64()),
        ("robots", pa.binary()),
        ("tdm", pa.binary()),
        ("ai", pa.binary()),
    ]
)


def place_of(url: str) -> int:
    """63 bits of a URL's hash: its place in a lane."""
    return xxhash.xxh64_intdigest(url.encode("utf-8", "surrogatepass")) >> 1


def host_in(url: str) -> str:
    """The host that a URL as it was found will be asked of; "" where there is none."""
    try:
        return host_of(canonical(url))
    except UnusableURLError:
        return ""


def lane_of(url: str, lanes: int) -> int:
    """By host, so that one worker at a time knows all that is asked of it; a URL without a host goes by itself."""
    return xxhash.xxh64_intdigest((host_in(url) or url).encode("utf-8", "surrogatepass")) % lanes


@dataclass(frozen=True)
class State:
    """What is known of a URL in this round."""

    settled: bool
    attempts: int = 0
    next_retry: float | None = None


_Read = Callable[[str, tuple[str, ...] | None], pa.Table | None]


class Journal:
    """One lane's view of the journal below `store`; of its rows those count that `standing` lets stand."""

    def __init__(self, store: str, lanes: int, lane: int, standing: Standing) -> None:
        self._store, self._lanes, self._lane, self._standing = store, lanes, lane, standing
        self._read_once = functools.lru_cache(maxsize=KEPT_READINGS)(_read)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """One new file; whole or not at all."""
        under = self._standing.under
        table = pa.Table.from_pylist([{**row, "under": under} for row in rows], schema=OUTCOME)
        places = [place_of(row["url"]) >> 47 for row in rows]
        name = f"{min(places):04x}-{max(places):04x}-{uuid.uuid4().hex[:16]}.parquet"
        storage.write_table(storage.join(self._home("journal"), name), table)

    def states(self, urls: Iterable[str], round: int) -> dict[str, State]:
        """What is known of each of `urls` that was tried before."""
        found: dict[str, State] = {}
        for row in self._attempts(list(urls)):
            if self._standing.verdict(row) is None:
                continue
            final = row["reason"] is None or (row["settled"] and not row["passing"])
            if final or (row["settled"] and row["round"] == round):
                found[row["url"]] = State(True)
            elif row["round"] == round:
                known = found.get(row["url"], State(False))
                if not known.settled and row["attempt"] > known.attempts:
                    found[row["url"]] = State(False, row["attempt"], row["next_retry"])
        return found

    def outcomes(self, urls: Sequence[str]) -> pa.Table:
        """The row of schema OUTCOME that counts for each URL, its picture, else its last settled attempt; in any order."""
        best: dict[str, tuple[tuple[Any, ...], str, int, Verdict]] = {}
        wanted, today = set(urls), self._standing.under
        for path, table in self._files(urls, (*_RANKED, *JUDGED), self._read_once):
            columns = (table.column(name).to_pylist() for name in _RANKED)
            for number, row in enumerate(zip(*columns, strict=True)):
                url, round, attempt, settled, reason, evidence, at, under = row
                if not settled or url not in wanted:
                    continue
                verdict: Verdict | None = (reason, evidence)
                if under != today:
                    verdict = self._standing.verdict(table.slice(number, 1).to_pylist()[0])
                # Two runs at once may both have fetched a URL; which of the pictures counts must not be chance.
                rank = (reason is not None, -round, -attempt, at, evidence or "")
                if verdict is not None and (url not in best or rank < best[url][0]):
                    best[url] = (rank, path, number, verdict)
        by_path: dict[str, dict[int, Verdict]] = {}
        for _, path, number, verdict in best.values():
            by_path.setdefault(path, {})[number] = verdict
        found = (_outcomes(path, _read(path, None), rows) for path, rows in by_path.items())
        return pa.concat_tables([OUTCOME.empty_table(), *found])

    def forget_failures(self) -> None:
        """Remove the files that hold no picture, so that their URLs are asked for as if for the first time."""
        for path in self._paths("journal"):
            table = _read(path, ("reason",))
            if table is None or table.column("reason").null_count == 0:
                storage.remove_tree(path)

    def write_sites(self, sites: Sequence[SiteFiles]) -> None:
        rows = [{"origin": s.origin, "read_at": s.read_at, "robots": s.robots, "tdm": s.tdm, "ai": s.ai} for s in sites]
        name = f"{uuid.uuid4().hex[:16]}.parquet"
        storage.write_table(storage.join(self._home("sites"), name), pa.Table.from_pylist(rows, schema=SITE))

    def sites(self) -> list[SiteFiles]:
        """All that is kept, later readings last."""
        rows = [row for path in self._paths("sites") for row in _rows(_read(path, None))]
        return [SiteFiles(**row) for row in sorted(rows, key=lambda row: row["read_at"])]

    def take_sites(self, sites: Sequence[SiteFiles]) -> None:
        """Keep what somebody else read of these origins, where that is newer than what is kept."""
        known = {files.origin: files.read_at for files in self.sites()}
        newer = [files for files in sites if files.read_at > known.get(files.origin, 0.0)]
        if newer:
            self.write_sites(newer)

    def _attempts(self, urls: Sequence[str]) -> Iterator[dict[str, Any]]:
        wanted = pa.array(urls, pa.string())
        for _, table in self._files(urls, (*_TRIED, *JUDGED), _read):
            yield from table.filter(pc.is_in(table.column("url"), value_set=wanted)).to_pylist()

    def _files(self, urls: Sequence[str], columns: Sequence[str], read: _Read) -> Iterator[tuple[str, pa.Table]]:
        """(path, some columns) of each file that may hold one of these URLs."""
        if not urls:
            return
        places = [place_of(url) >> 47 for url in urls]
        low, high = min(places), max(places)
        for path in self._paths("journal"):
            first, last = (int(part, 16) for part in path.rsplit("/", 1)[1].split("-")[:2])
            if first <= high and low <= last:
                table = read(path, tuple(dict.fromkeys(columns)))
                if table is not None:
                    yield path, table

    def _home(self, kind: str) -> str:
        return storage.join(self._store, kind, f"{self._lanes:05d}", f"{self._lane:05d}")

    def _paths(self, kind: str) -> list[str]:
        """The lane's files, whatever number of lanes wrote them."""
        paths = []
        for count in storage.list_names(storage.join(self._store, kind)):
            lanes = int(count)
            same = [self._lane % lanes] if lanes <= self._lanes else range(self._lane, lanes, self._lanes)
            for lane in same:
                folder = storage.join(self._store, kind, count, f"{lane:05d}")
                paths += [
                    storage.join(folder, name) for name in storage.list_names(folder) if name.endswith(".parquet")
                ]
        return paths


def _outcomes(path: str, table: pa.Table | None, rows: Mapping[int, Verdict]) -> pa.Table:
    """These rows of a file, with what they come to; a picture that a filter takes leaves no more than it would have left."""
    if table is None:  # its pictures are damaged, which those who looked at other columns did not see
        storage.remove_tree(path)
        raise DataError(f"{path}: was damaged and is removed; run again, its pictures are then asked for again")
    numbers = list(rows)
    if numbers != list(range(table.num_rows)):
        table = table.take(pa.array(numbers))
    told = zip(table.column("reason").to_pylist(), table.column("evidence").to_pylist(), strict=True)
    turned = [number for number, (was, now) in enumerate(zip(told, rows.values(), strict=True)) if was != now]
    if not turned:
        return table
    found = table.to_pylist()
    for number in turned:
        reason, evidence = list(rows.values())[number]
        thumbnail = found[number]["thumbnail"] if reason in ("image_blank", "image_blurred") else None
        found[number] |= dict.fromkeys(PICTURE.names) | {"thumbnail": thumbnail}
        found[number] |= {"reason": reason, "evidence": evidence, "met": reason}
    return pa.Table.from_pylist(found, schema=OUTCOME)


def _read(path: str, columns: tuple[str, ...] | None) -> pa.Table | None:
    """Some columns without the bytes of the others; None for a file that is damaged: what it held is fetched again."""
    filesystem, name = storage.filesystem_of(path)
    local = storage.is_local(path)
    try:
        with pa.OSFile(name) if local else filesystem.open(name, "rb") as file:  # Arrow's own spares a copy
            # The process has threads enough; what reads ahead for a distant store costs as much again as reading.
            source = pq.ParquetFile(file, pre_buffer=not local, page_checksum_verification=True)
            return source.read(columns and list(columns), use_threads=False)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    except OSError as error:
        if error.errno:  # what the system says; Arrow's own, of a page that is not what was written, has no number
            raise
        return None


def _rows(table: pa.Table | None) -> list[dict[str, Any]]:
    return [] if table is None else table.to_pylist()
