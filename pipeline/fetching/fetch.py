"""Fetch: download the selected pictures and make them training pictures.

    arrange    rows go to lanes by their picture's host, and are cut into parts (pipeline.execution.exchange)
    download   every URL of every lane is settled in a journal outside the step (lane.py, journal.py): what a store holds
               is never downloaded twice, whichever recipe asks for it
    gather     a pure join of the parts with the journal (gather.py): rows with their picture, rows with the reason why they
               have none. Whoever settled a lane does it at once, while other lanes still download or wait for silent hosts

The network is guarded (network.py), the bytes are opened in a limited child process (picture.py). Whatever the world does to
a row is a counted reason with its evidence; attempts, times and redirects are telemetry.
"""

import functools
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.datasets.exclusion import Exclusions
from pipeline.errors import DataError
from pipeline.execution.exchange import Files, prepared, regrouped
from pipeline.execution.executor import Executor, InProcess
from pipeline.execution.ledger import Fate, File, Output, PhaseResult, Record, WorkItem, run_items
from pipeline.execution.progress import Progress, met, silent, tell
from pipeline.fetching import fetch_worker
from pipeline.fetching.fetch_config import FetchConfig
from pipeline.fetching.gather import gather
from pipeline.fetching.journal import Journal, lane_of, place_of
from pipeline.fetching.lane import LaneWork
from pipeline.fetching.standing import Standing
from pipeline.web.answer import UNREACHED
from pipeline.web.site_files import SiteFiles
from pipeline.web.web_config import NetworkConfig

PASSING = (*UNREACHED, "http_error")
"""Reasons that trying again later can mend."""
_ARRANGED = ("lane", "place")
FEW_LANES = 16
"""So many there are even of one item each, that every worker has some."""
GATHER = "gather pictures"
GATHERED_BY_LANE = 16
"""Parts that whoever settled a lane gathers itself. Of more, all workers gather some: a lane may hold one huge host."""


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
    sites: Sequence[SiteFiles] = (),
) -> PhaseResult:
    """Download, check and resize the pictures of the selected pairs. Raises DataError when the whole site is down.

    `roots` are the folders of sources whose pictures are on storage already; `store` is where the journal is kept (None: in
    `folder`), and must be another one when the pictures' form or whose rules are obeyed changes (see `store_name`).
    `sites` are what crawls have read of their hosts (robots.txt, ...): it is not asked for again while it counts.
    Of the list `exclude` (pipeline/datasets/exclusion.py) the hashes of pictures count here: before, none is known.
    """
    store = store or storage.join(folder, "pictures")
    config = config.model_copy(update={"lanes": _lanes(config, sum(file.rows for file in selected.kept))})
    parts = _arrange(config, selected, folder, executor, progress)
    _hand_over(sites, parts, config.lanes, store, Standing(config, network))
    taken_down = frozenset(Exclusions.load(exclude).rules["sha256"]) if exclude else frozenset()
    told = [storage.sha256(storage.canonical_json(sorted(taken_down)))] if taken_down else []
    items = {
        lane: [
            WorkItem(
                f"fetch-{lane:05d}-{number:05d}",
                [part.sha256, config.picture_header(), network.identity(), config.retry_round, *told],
                (lane, part.path),
            )
            for number, part in enumerate(files)
        ]
        for lane, files in parts.items()
    }
    work = functools.partial(gather, config, network, store, dict(roots or {}), taken_down)
    done = _download(config, network, parts, items, work, folder, store, executor, progress)
    every = [item for each in items.values() for item in each]
    left = [item for item in every if item.name not in done]
    if left:
        done |= {record.name: record for record in run_items(folder, work, left, executor, progress, GATHER)}
    records = [done[item.name] for item in every]
    result = PhaseResult.of_records("fetch", folder, records)
    fate = result.fates["pairs"]
    if fate.rows_in and not fate.kept and set(fate.reasons) <= set(PASSING):
        for lane in parts:
            Journal(store, config.lanes, lane, Standing(config, network)).forget_failures()
        storage.remove_tree(folder)  # a site that is down is no fate of its pictures: forget the attempt
        raise DataError(f"no picture could be downloaded: {dict(fate.reasons)}; is the site up? run again when it is")
    result.save()
    storage.remove_tree(storage.join(folder, "lanes"))  # copies of the selected rows
    return result


def store_name(config: FetchConfig, network: NetworkConfig, code: str) -> str:
    """`pictures-<hash>` of all that a stored picture depends on; `code` is the version of pipeline.fetching.decoding.

    Filters and limits are not in it: what they leave of a store is found row by row (standing.py)."""
    identity = [config.stored_form(), network.bounds(), code]
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
        labels = sorted(record.files)
        found[int(labels[0].split("-")[1])] = [record.files[label].below(place) for label in labels]
    return dict(sorted(found.items()))


def _hand_over(sites: Sequence[SiteFiles], parts: Parts, lanes: int, store: str, standing: Standing) -> None:
    """Each origin's files to the lane that asks it."""
    by_lane: dict[int, list[SiteFiles]] = {}
    for files in sites:
        by_lane.setdefault(lane_of(f"{files.origin}/", lanes), []).append(files)
    for lane in sorted(by_lane.keys() & parts.keys()):
        Journal(store, lanes, lane, standing).take_sites(by_lane[lane])


def _lanes(config: FetchConfig, rows: int) -> int:
    """No more lanes than have two items each, or FEW of one: a lane costs some files, and so does an item, however small."""
    items = -(-rows // config.rows_per_item)
    most = max(items // 2, min(items, FEW_LANES), 1)
    return min(config.lanes, 1 << most.bit_length() - 1)


def _with_lane(lanes: int, rows: pa.Table) -> pa.Table:
    urls = rows.column("url").to_pylist()
    return rows.append_column("lane", pa.array([lane_of(url, lanes) for url in urls], pa.int64())).append_column(
        "place", pa.array([place_of(url) for url in urls], pa.int64())
    )


def _cut(size: int, rows: pa.Table) -> Output:
    """Parts of about `size` rows of a lane in the order of their places, rows of a URL together; the lane is in their names."""
    places = rows.column("place").to_numpy()
    edges = [0]
    while edges[-1] < rows.num_rows:
        wanted = min(edges[-1] + size, rows.num_rows)
        edges.append(int(np.searchsorted(places, places[wanted - 1], side="right")))
    lane = rows.column("lane")[0].as_py()
    tables = {
        f"lane-{lane:05d}-{number:05d}": rows.slice(start, stop - start).drop_columns(list(_ARRANGED))
        for number, (start, stop) in enumerate(itertools.pairwise(edges))
    }
    return Output(tables, {"pairs": Fate(rows.num_rows, rows.num_rows)})


# --- download -----------------------------------------------------------------------------------------------------------


def _download(
    config: FetchConfig,
    network: NetworkConfig,
    parts: Parts,
    items: Mapping[int, Sequence[WorkItem]],
    gather: Callable[[Any], Output],
    folder: str,
    store: str,
    executor: Executor,
    progress: Progress,
) -> dict[str, Record]:
    """Settle every URL in the journal; returns the records of the parts that were gathered on the way.

    Not in the ledger: what a lane has done is in its journal already.
    """
    told = storage.join(folder, "progress")
    lanes = [
        (
            LaneWork(
                lane,
                config.lanes,
                tuple(part.path for part in files),
                config.retry_round,
                store,
                storage.join(told, f"{lane:05d}.json"),
            ),
            items[lane][:GATHERED_BY_LANE],
        )
        for lane, files in sorted(parts.items(), key=lambda each: (-_rows(each[1]), each[0]))  # what lasts goes first
    ]
    total = sum(_rows(files) for files in parts.values())

    def tell_all() -> None:
        done, counts = _told(told)
        progress(min(done, total), total, f"pictures: {_in_words(counts)}")
        met(progress, "pictures", counts)

    # Some lanes wait, for the worker that is done first; not for long, since they may hold silent hosts.
    at_once = min(config.lanes_at_once, max(2, len(lanes) // 3))
    found: dict[str, Record] = {}
    try:
        work = functools.partial(_lane, config, network, folder, gather)
        for _, records in executor.map(work, lanes, at_once=at_once, idle=tell_all):
            tell_all()
            for record in records:
                found[record.name] = record
                tell(progress, GATHER, record.fates, record.telemetry)
    except BaseException:
        fetch_worker.abandon()
        raise
    finally:
        storage.remove_tree(told)
    return found


_gathering = threading.Lock()
"""One part at a time is gathered in a process: it holds a part's pictures some times over."""


def _lane(
    config: FetchConfig,
    network: NetworkConfig,
    folder: str,
    gather: Callable[..., Output],
    lane: tuple[LaneWork, Sequence[WorkItem]],
) -> list[Record]:
    """Settle a lane, in this process's worker, and gather the first of its parts."""
    fetch_worker.run_lane(config, network, lane[0])
    with _gathering:
        journal = Journal(lane[0].store, lane[0].lanes, lane[0].lane, Standing(config, network))
        return run_items(folder, functools.partial(gather, journal=journal), lane[1], InProcess())


def _rows(files: Sequence[File]) -> int:
    return sum(part.rows for part in files)


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


__all__ = ["FetchConfig", "fetch", "store_name"]
