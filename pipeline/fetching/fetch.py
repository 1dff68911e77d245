"""Fetch: download the selected pictures and make them training pictures.

    arrange    rows go to lanes by their picture's host, and are cut into parts (pipeline.execution.exchange)
    download   every URL of every lane is settled in a journal outside the step (lane.py, journal.py): what a store holds
               is never downloaded twice, whichever recipe asks for it
    gather     a pure join of the parts with the journal: rows with their picture, rows with the reason why they have none

The network is guarded (network.py), the bytes are opened in a limited child process (picture.py). Whatever the world does to
a row is a counted reason with its evidence; attempts, times and redirects are telemetry.
"""

import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.datasets.exclusion import Exclusions
from pipeline.errors import DataError
from pipeline.execution.batch import Batch
from pipeline.execution.exchange import Files, prepared, regrouped
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, File, Output, PhaseResult, Progress, WorkItem, met, run_items, silent
from pipeline.fetching import fetch_worker
from pipeline.fetching.decoding import decode
from pipeline.fetching.fetch_config import FetchConfig
from pipeline.fetching.journal import OUTCOME, Journal, lane_of, place_of
from pipeline.fetching.lane import LaneWork
from pipeline.fetching.located import locations, read_located
from pipeline.pictures.picture_config import IMAGE_COLUMNS
from pipeline.web.answer import UNREACHED
from pipeline.web.web_config import NetworkConfig

PASSING = (*UNREACHED, "http_error")
"""Reasons that trying again later can mend."""
_ARRANGED = ("lane", "place")


def fetch(
    config: FetchConfig,
    network: NetworkConfig,
    selected: PhaseResult,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
    roots: Mapping[str, str] | None = None,
    store: str | None = None,
    exclude: str | None = None,
) -> PhaseResult:
    """Download, check and resize the pictures of the selected pairs. Raises DataError when the whole site is down.

    `roots` are the folders of sources whose pictures are on storage already; `store` is where the journal is kept (None: in
    `folder`), and must be another one when the pictures' form or the network's limits change (see `store_name`).
    Of the list `exclude` (pipeline/datasets/exclusion.py) the hashes of pictures count here: before, none is known.
    """
    store = store or storage.join(folder, "pictures")
    config = config.model_copy(update={"lanes": _lanes(config, sum(file.rows for file in selected.kept))})
    parts = _arrange(config, selected, folder, executor, progress)
    _download(config, network, parts, folder, store, executor, progress)
    taken_down = frozenset(Exclusions.load(exclude).rules["sha256"]) if exclude else frozenset()
    told = [storage.sha256(storage.canonical_json(sorted(taken_down)))] if taken_down else []
    items = [
        WorkItem(
            f"fetch-{lane:05d}-{number:05d}",
            [part.sha256, config.picture_header(), network.identity(), config.retry_round, *told],
            (lane, part.path),
        )
        for lane, files in parts.items()
        for number, part in enumerate(files)
    ]
    work = functools.partial(_gather, config, network, store, dict(roots or {}), taken_down)
    records = run_items(folder, work, items, executor, progress, "gather pictures")
    result = PhaseResult.of_records("fetch", folder, records)
    fate = result.fates["pairs"]
    if fate.rows_in and not fate.kept and set(fate.reasons) <= set(PASSING):
        for lane in parts:
            Journal(store, config.lanes, lane).forget_failures()
        storage.remove_tree(folder)  # a site that is down is no fate of its pictures: forget the attempt
        raise DataError(f"no picture could be downloaded: {dict(fate.reasons)}; is the site up? run again when it is")
    result.save()
    storage.remove_tree(storage.join(folder, "lanes"))  # copies of the selected rows
    return result


def store_name(config: FetchConfig, network: NetworkConfig, code: str) -> str:
    """`pictures-<hash>` of all that a fetched picture depends on; `code` is the version of pipeline.fetching.decoding."""
    identity = [config.picture_header(), network.identity(), code]
    return f"pictures-{storage.sha256(storage.canonical_json(identity))[:12]}"


# --- arrange ------------------------------------------------------------------------------------------------------------

Parts = dict[int, list[File]]
"""lane -> its parts, with whole paths."""


def _arrange(config: FetchConfig, selected: PhaseResult, folder: str, executor: Executor, progress: Progress) -> Parts:
    place = storage.join(folder, "lanes")
    files = Files(selected.folder, selected.kept)
    records = regrouped(
        files.items("cut", ["lane", config.lanes, ["lanes", config.lanes]]),
        functools.partial(prepared, functools.partial(_with_lane, config.lanes)),
        "lane",
        config.lanes,
        place,
        executor,
        progress,
        ("place", "url", "uid"),
        functools.partial(_cut, config.rows_per_item),
        config.rows_per_item,
    )
    found: Parts = {}
    for record in records:
        labels = sorted(label for label in record.files if label != "lane")
        lane = int(storage.read_bytes(storage.join(place, record.files["lane"].path)))
        found[lane] = [record.files[label].below(place) for label in labels]
    return dict(sorted(found.items()))


def _lanes(config: FetchConfig, rows: int) -> int:
    """No more lanes than have `rows_per_item` rows each: every lane costs some files, however small it is."""
    wanted = -(-rows // config.rows_per_item)
    return min(config.lanes, 1 << max(0, wanted - 1).bit_length())


def _with_lane(lanes: int, rows: pa.Table) -> pa.Table:
    urls = rows.column("url").to_pylist()
    return rows.append_column("lane", pa.array([lane_of(url, lanes) for url in urls], pa.int64())).append_column(
        "place", pa.array([place_of(url) for url in urls], pa.int64())
    )


def _cut(size: int, rows: pa.Table) -> Output:
    """Parts of about `size` rows of a lane in the order of their places, rows of a URL together."""
    places = rows.column("place").to_numpy()
    edges = [0]
    while edges[-1] < rows.num_rows:
        wanted = min(edges[-1] + size, rows.num_rows)
        edges.append(int(np.searchsorted(places, places[wanted - 1], side="right")))
    tables = {
        f"part-{number:05d}": rows.slice(start, stop - start).drop_columns(list(_ARRANGED))
        for number, (start, stop) in enumerate(itertools.pairwise(edges))
    }
    lane = str(rows.column("lane")[0].as_py()).encode()
    return Output(tables, {"pairs": Fate(rows.num_rows, rows.num_rows)}, files={"lane": lane})


# --- download -----------------------------------------------------------------------------------------------------------


def _download(
    config: FetchConfig,
    network: NetworkConfig,
    parts: Parts,
    folder: str,
    store: str,
    executor: Executor,
    progress: Progress,
) -> None:
    """Settle every URL in the journal. Not in the ledger: what a lane has done is in its journal already."""
    told = storage.join(folder, "progress")
    works = [
        LaneWork(
            lane,
            config.lanes,
            tuple(part.path for part in files),
            config.retry_round,
            store,
            storage.join(told, f"{lane:05d}.json"),
        )
        for lane, files in parts.items()
    ]
    total = sum(part.rows for files in parts.values() for part in files)

    def tell() -> None:
        done, counts = _told(told)
        progress(min(done, total), total, f"pictures: {_in_words(counts)}")
        met(progress, "pictures", counts)

    # Some lanes wait, for the worker that is done first.
    at_once = min(config.lanes_at_once, max(2, len(works) // 4))
    try:
        work = functools.partial(fetch_worker.run_lane, config, network)
        for _ in executor.map(work, works, at_once=at_once, idle=tell):
            tell()
    except BaseException:
        fetch_worker.abandon()
        raise
    finally:
        storage.remove_tree(told)


def _told(folder: str) -> tuple[int, Counter[str]]:
    done, counts = 0, Counter[str]()
    for name in storage.list_names(folder):
        try:
            value = storage.read_json(storage.join(folder, name))
        except (ValueError, FileNotFoundError):
            continue
        done += value["done"]
        counts.update(value["counts"])
    return done, counts


def _in_words(counts: Mapping[str, int]) -> str:
    """`1.2 GB, 404 31, timeout 4`: what was met besides success, the most frequent first."""
    met = sorted((-n, word) for word, n in counts.items() if word not in ("ok", "bytes"))
    size = f"{counts.get('bytes', 0) / 1e6:,.0f} MB"
    return ", ".join([size, *(f"{word} {-n:,}" for n, word in met[:6])])


# --- gather -------------------------------------------------------------------------------------------------------------


def _gather(
    config: FetchConfig,
    network: NetworkConfig,
    store: str,
    roots: Mapping[str, str],
    taken_down: frozenset[str],
    part: tuple[int, str],
) -> Output:
    lane, path = part
    rows = storage.read_table(path)
    urls = rows.column("url").to_pylist()
    places = locations(rows)
    located = [place["location"] is not None for place in places]
    web = sorted({url for url, here in zip(urls, located, strict=True) if not here})
    outcomes = Journal(store, config.lanes, lane).outcomes(web)
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


__all__ = ["FetchConfig", "fetch", "store_name"]
