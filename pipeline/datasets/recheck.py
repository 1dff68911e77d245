"""Recheck: what the owners of a finished dataset's pictures say now. robots.txt, X-Robots-Tag, TDM reservation and, on
request, the robots meta tags of the pages, asked again through the guarded and polite network.

Questions are sorted by the host that they are asked of, each URL once, so a host's limits and its budget hold
(recheck_ask.py); the answers come together again per sample. A recheck that was stopped goes on where it ended, and a later
one may begin from its answers. A picture that is gone or cannot be reached now has not opted out; both are counted.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.datasets.exclusion import Exclusions
from pipeline.datasets.recheck_ask import CHECKED, PAGE, PICTURE, QUESTION, ask
from pipeline.datasets.shards import read_index
from pipeline.errors import ConfigError, DataError
from pipeline.execution.exchange import Files, regroup, regrouped
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, File, Output, Record, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.manifest import Manifest
from pipeline.web.urls import UnusableURLError, canonical, host_of
from pipeline.web.web_config import NetworkConfig

ROWS_PER_ITEM = 2048
ANSWERS = "answers.json"


@dataclass(frozen=True)
class Recheck:
    """`opted_out` has schema CHECKED; `states` counts samples by state, `reasons` those that opted out by reason."""

    opted_out: pa.Table
    states: Mapping[str, int]
    reasons: Mapping[str, int]
    folder: str

    def rules(self) -> Exclusions:
        """What a takedown needs: the URLs whose owners said no, of pictures or of pages. A pair's uid would not do: it
        changes with the text, and the next dataset may give the picture another one."""
        found = Exclusions()
        for url in self.opted_out.column("asked").to_pylist():
            found.add("url", url)
        return found


def recheck(
    network: NetworkConfig,
    folder: str,
    out: str,
    executor: Executor,
    progress: Progress = silent,
    pages: bool = False,
    since: str | None = None,
    requests_per_host: int | None = None,
) -> Recheck:
    """Ask about every sample of the dataset at `folder`; `pages` reads its pages too, for their robots meta tags.

    `since` is an earlier recheck's `out`: what is unchanged since is not sent again. Of a host that has more URLs than
    `requests_per_host`, those asked longest ago are asked; its robots.txt and tdmrep.json are applied to all.
    Raises DataError where no host can be reached at all, ConfigError where `since` holds no answers or is `out`.
    """
    if since is not None and since.rstrip("/") == out.rstrip("/"):
        raise ConfigError(f"--since {since}: the new answers would be written there; give another folder with --out")
    manifest = Manifest.load(folder)
    earlier = _earlier(since) if since else []
    items = [WorkItem(f"list-{number:05d}", [s.index_sha256, pages], s) for number, s in enumerate(manifest.shards)]
    list_items = functools.partial(_list, folder, pages)
    listed = run_items(storage.join(out, "listed"), list_items, items, executor, progress, "samples")
    questions = [(storage.join(out, "listed"), record.files["kept"]) for record in listed] + earlier
    buckets = max(1, -(-manifest.rows // ROWS_PER_ITEM))
    given = [
        WorkItem(f"cut-{number:05d}", ["host", buckets, file.sha256], storage.join(where, file.path))
        for number, (where, file) in enumerate(questions)
    ]
    by_host = regroup(
        given,
        storage.read_table,
        "host",
        buckets,
        storage.join(out, "by-host"),
        executor,
        progress,
        ("host", "asked", "uid"),
    )
    work = storage.join(out, "asked")
    asked = run_items(
        work,
        functools.partial(ask, network, requests_per_host),
        by_host.items("ask", [network.identity(), requests_per_host]),
        executor,
        progress,
        "owners asked",
    )
    result = _together(asked, work, buckets, out, executor, progress)
    if result.states.get("unknown", 0) == manifest.rows and manifest.rows:
        storage.remove_tree(work)  # an outage is nobody's answer
        raise DataError(f"{folder}: no owner could be reached; {_way_out(network, manifest)}")
    storage.write_table(storage.join(out, "opted_out.parquet"), result.opted_out)
    storage.write_json(storage.join(out, ANSWERS), [asdict(r.files["said"]) for r in asked if "said" in r.files])
    summary = {"manifest_id": manifest.id, "pages_read": pages, "states": result.states, "reasons": result.reasons}
    storage.write_json(storage.join(out, "recheck.json"), summary)
    return result


def _way_out(network: NetworkConfig, manifest: Manifest) -> str:
    if manifest.config.get("network", {}).get("hosts") and not network.hosts:
        return "the recipe's network.hosts says where, and no dataset keeps addresses: add --recipe RECIPE"
    return "is the network up? run again when it is"


def _earlier(since: str) -> list[tuple[str, File]]:
    try:
        told = storage.read_json(storage.join(since, ANSWERS))
        return [(storage.join(since, "asked"), File(**each)) for each in told]
    except (FileNotFoundError, ValueError, TypeError):
        raise ConfigError(f"--since {since}: holds no answers of a recheck; give the folder that one wrote") from None


def _list(folder: str, pages: bool, shard: Any) -> Output:
    rows = read_index(folder, shard, ["uid", "key", "url", "page_url"]).to_pylist()
    questions = [row | {"kind": PICTURE, "asked": row["url"], "host": _host(row["url"])} for row in rows]
    if pages:
        on_pages = [
            row | {"kind": PAGE, "asked": row["page_url"], "host": _host(row["page_url"] or "")} for row in rows
        ]
        questions += [row for row in on_pages if row["host"]]
    table = pa.Table.from_pylist(questions, schema=QUESTION)
    return Output({"kept": table}, {"pairs": Fate(table.num_rows, table.num_rows)})


def _host(url: str) -> str:
    try:
        return host_of(canonical(url))
    except UnusableURLError:
        return ""


def _together(
    asked: Sequence[Record], work: str, buckets: int, out: str, executor: Executor, progress: Progress
) -> Recheck:
    """What was said of each sample's picture and of its page, as one answer."""
    files = Files(work, tuple(record.files["checked"] for record in asked))
    records = regrouped(
        files.items("cut", ["uid", buckets]),
        storage.read_table,
        "uid",
        buckets,
        storage.join(out, "answered"),
        executor,
        progress,
        ("uid", "kind"),
        _judged,
    )
    found = [
        storage.read_table(storage.join(out, "answered", record.files["opted_out"].path))
        for record in records
        if "opted_out" in record.files
    ]
    states: dict[str, int] = {}
    for record in records:
        for name, count in record.telemetry.items():
            states[name] = states.get(name, 0) + count
    reasons = Fate.sum([record.fates["pairs"] for record in records]).reasons if records else {}
    table = pa.concat_tables([CHECKED.empty_table(), *found]).sort_by("uid")
    return Recheck(table, dict(sorted(states.items())), dict(reasons), out)


def _judged(rows: pa.Table) -> Output:
    """Samples with their answer: the picture's, or the page's where that opts out alone."""
    samples: dict[tuple[str, str], dict[str, Any]] = {}  # a uid may stand twice in a dataset, a key may not
    for row in rows.to_pylist():
        known = samples.get((row["uid"], row["key"]), row)
        samples[row["uid"], row["key"]] = max(
            known, row, key=lambda each: (each["state"] == "opted_out", each["kind"] == PICTURE)
        )
    states: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for row in samples.values():
        states[row["state"]] = states.get(row["state"], 0) + 1
        if row["state"] == "opted_out":
            reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
    everything = pa.Table.from_pylist(
        [{name: row[name] for name in CHECKED.names} for row in samples.values()], schema=CHECKED
    )
    table = everything.filter(pa.compute.equal(everything.column("state"), "opted_out"))
    fate = Fate(len(samples), len(samples) - table.num_rows, dict(sorted(reasons.items())))
    return Output({"opted_out": table, "checked": everything}, {"pairs": fate}, telemetry=states)
