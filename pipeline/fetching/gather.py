"""Gather: a pure join of a part's rows with the journal: rows with their picture, rows with the reason why they have none.

Neither times nor attempts are in it, so that it is the same whatever happened on the way.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.batch import Batch
from pipeline.execution.ledger import Fate, Output
from pipeline.fetching.decoding import decode
from pipeline.fetching.fetch_config import FetchConfig
from pipeline.fetching.journal import OUTCOME, Journal
from pipeline.fetching.located import locations, read_located
from pipeline.fetching.standing import Standing
from pipeline.pictures.picture_config import IMAGE_COLUMNS
from pipeline.web.web_config import NetworkConfig


def gather(
    config: FetchConfig,
    network: NetworkConfig,
    store: str,
    roots: Mapping[str, str],
    taken_down: frozenset[str],
    part: tuple[int, str],
    journal: Journal | None = None,
) -> Output:
    """The kept and dropped rows of `part`, (its lane, its file). Raises DataError where the journal lacks one of its URLs.

    `journal` is the lane's, where several of its parts are gathered: it reads each file once.
    """
    lane, path = part
    rows = storage.read_table(path)
    urls = rows.column("url").to_pylist()
    places = locations(rows)
    located = [place["location"] is not None for place in places]
    web = sorted({url for url, here in zip(urls, located, strict=True) if not here})
    journal = journal or Journal(store, config.lanes, lane, Standing(config, network))
    outcomes = journal.outcomes(web)
    on_storage = _from_storage(config, network, roots, [place for place in places if place["location"] is not None])
    facts = pa.concat_tables([outcomes, pa.Table.from_pylist(on_storage, schema=OUTCOME)])
    numbers = {url: number for number, url in enumerate(outcomes.column("url").to_pylist())}
    missing = next((url for url in web if url not in numbers), None)
    if missing is not None:
        raise DataError(f"{store}: its journal lacks {missing}; was it changed meanwhile? run again")
    next_here = itertools.count(outcomes.num_rows)
    order = [next(next_here) if here else numbers[url] for url, here in zip(urls, located, strict=True)]
    facts = facts.combine_chunks().take(pa.array(order, pa.int64()))  # of one chunk: in a thirtieth of the time
    batch = Batch.of(rows)
    for name, _ in IMAGE_COLUMNS:
        batch = batch.with_column(name, facts.column(name))
    batch = batch.drop(facts.column("reason").to_pylist(), facts.column("evidence").to_pylist())
    if taken_down:
        hashes = batch.column("sha256")
        fallen = [each in taken_down for each in hashes]
        batch = batch.drop(
            ["taken_down" if out else None for out in fallen],
            [f"sha256 {each}" if out else None for each, out in zip(hashes, fallen, strict=True)],
        )
    tables = {"kept": batch.rows} | (
        {"dropped": batch.dropped} if batch.dropped.num_rows else {}
    )  # often there is none
    return Output(tables, {"pairs": Fate.of(rows.num_rows, batch)}, telemetry=_telemetry(facts, outcomes))


def _from_storage(
    config: FetchConfig, network: NetworkConfig, roots: Mapping[str, str], places: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The facts of pictures that a source has; a picture's bytes are held until it is decoded."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(places), 16):
        read = [read_located(roots, place, network.max_bytes) for place in places[start : start + 16]]
        decoded = iter(decode(config.picture_header(), [data for data in read if isinstance(data, bytes)]))
        found += [
            next(decoded) if isinstance(data, bytes) else {"reason": data[0], "evidence": data[1]} for data in read
        ]
    return found


def _telemetry(facts: pa.Table, outcomes: pa.Table) -> dict[str, int]:
    """Of rows whose picture came from the web, and of what was asked for at all."""
    names = ("status", "bytes", "attempt", "redirects")
    columns = (facts.column(name).to_pylist() for name in names)
    arrived = [row for row in zip(*columns, strict=True) if row[0] == 200 and row[1]]
    met = Counter(f"met_{word}" for word in outcomes.column("met").to_pylist())
    return {
        "retried": sum(1 for _, _, attempt, _ in arrived if attempt > 1),
        "redirected": sum(1 for *_, redirects in arrived if redirects),
        "bytes_downloaded": sum(outcomes.column("bytes").to_pylist()),
        **met,
    }
