"""Recheck: what the owners of a finished dataset's pictures say now. robots.txt, X-Robots-Tag, TDM reservation and, on
request, the robots meta tags of the pages, asked again through the guarded and polite network.

Only headers are asked for: the body of an answer is not read. Items are buckets of one kind of host each, so a host's
limits hold, and a recheck that was stopped goes on where it ended. A picture that is gone or cannot be reached now has
not opted out; both are counted.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.datasets.exclusion import Exclusions
from pipeline.datasets.shards import read_index
from pipeline.errors import DataError
from pipeline.execution.exchange import Files, exchange
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, Progress, WorkItem, run_items, silent
from pipeline.execution.sandbox import SandboxDied, shared
from pipeline.manifest import Manifest
from pipeline.web.directives import first_opt_out
from pipeline.web.network import Fetched, fetch_all
from pipeline.web.urls import UnusableURLError, canonical, host_of
from pipeline.web.web_config import NetworkConfig

NO_BODY = ("application/x-nothing-of-this-type",)
"""A body of any other type is not read, so this asks for headers alone."""

OPT_OUTS = ("robots_txt", "header_opt_out", "meta_opt_out")

State = tuple[str, str | None, str | None]
"""State, reason, evidence."""

CHECKED = pa.schema(
    [
        ("uid", pa.string()),
        ("key", pa.string()),
        ("url", pa.string()),
        ("page_url", pa.string()),
        ("state", pa.string()),  # allowed, opted_out, gone, unknown, not_asked
        ("reason", pa.string()),
        ("evidence", pa.string()),
        ("asked", pa.string()),  # the URL whose owner said so
        ("checked_at", pa.string()),
    ]
)

ROWS_PER_ITEM = 2048


@dataclass(frozen=True)
class Recheck:
    """`opted_out` has schema CHECKED; `states` counts samples by state, `reasons` those that opted out by reason."""

    opted_out: pa.Table
    states: Mapping[str, int]
    reasons: Mapping[str, int]
    folder: str

    def rules(self) -> Exclusions:
        """What a takedown needs."""
        found = Exclusions()
        for uid in self.opted_out.column("uid").to_pylist():
            found.add("uid", uid)
        return found


def recheck(
    network: NetworkConfig,
    folder: str,
    out: str,
    executor: Executor,
    progress: Progress = silent,
    pages: bool = False,
) -> Recheck:
    """Ask about every sample of the dataset at `folder`; `pages` reads its pages too, for their robots meta tags.

    Raises DataError where no host can be reached at all.
    """
    manifest = Manifest.load(folder)
    listed = run_items(
        storage.join(out, "listed"),
        functools.partial(_list, folder),
        [WorkItem(f"list-{number:05d}", s.index_sha256, s) for number, s in enumerate(manifest.shards)],
        executor,
        progress,
        "samples",
    )
    files = Files(storage.join(out, "listed"), tuple(record.files["kept"] for record in listed))
    buckets = max(1, -(-manifest.rows // ROWS_PER_ITEM))
    by_host = exchange(
        files, "host", buckets, storage.join(out, "by-host"), executor, progress, order=("host", "url", "uid")
    )
    work = storage.join(out, "asked")
    ask = functools.partial(_ask, network, pages)
    items = by_host.items("ask", [network.identity(), pages])
    records = run_items(work, ask, items, executor, progress, "owners asked")
    tables = [storage.read_table(storage.join(work, record.files["opted_out"].path)) for record in records]
    states: dict[str, int] = {}
    for record in records:
        for name, count in record.telemetry.items():
            states[name] = states.get(name, 0) + count
    if states.get("unknown", 0) == manifest.rows and manifest.rows:
        storage.remove_tree(work)  # an outage is nobody's answer
        raise DataError(f"{folder}: no owner could be reached; is the network up? run again when it is")
    found = pa.concat_tables([CHECKED.empty_table(), *tables]).sort_by("uid")
    reasons = Fate.sum([record.fates["pairs"] for record in records]).reasons
    result = Recheck(found, dict(sorted(states.items())), reasons, out)
    storage.write_table(storage.join(out, "opted_out.parquet"), found)
    summary = {"manifest_id": manifest.id, "pages_read": pages, "states": result.states, "reasons": dict(reasons)}
    storage.write_json(storage.join(out, "recheck.json"), summary)
    return result


def _list(folder: str, shard: Any) -> Output:
    rows = read_index(folder, shard, ["uid", "key", "url", "page_url"])
    rows = rows.append_column("host", pa.array([_host(url) for url in rows.column("url").to_pylist()], pa.string()))
    return Output({"kept": rows}, {"pairs": Fate(rows.num_rows, rows.num_rows)})


def _host(url: str) -> str:
    try:
        return host_of(canonical(url))
    except UnusableURLError:
        return ""


def _ask(network: NetworkConfig, pages: bool, path: str) -> Output:
    rows = storage.read_table(path).to_pylist()
    urls = [row["url"] for row in rows if row["host"]]
    asked = [row["page_url"] for row in rows if row["page_url"] and _host(row["page_url"])] if pages else []
    said = dict(zip(urls, fetch_all(network, urls, types=NO_BODY), strict=True))
    read = {"accept": "text/html,application/xhtml+xml;q=0.9", "types": ("text/html", "application/xhtml+xml")}
    told = dict(zip(asked, fetch_all(network, asked, **read), strict=True))  # type: ignore[arg-type]
    by_page = {url: _of_page(network, answer) for url, answer in told.items()}
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    checked = []
    for row in rows:
        found: State = (
            _of_picture(said[row["url"]]) if row["url"] in said else ("not_asked", None, "no host in the URL")
        )
        where, page = row["url"], by_page.get(row["page_url"])
        if page is not None and page[0] == "opted_out" and found[0] != "opted_out":
            found, where = page, row["page_url"]
        state, reason, evidence = found
        line = {name: row[name] for name in ("uid", "key", "url", "page_url")}
        about = {"state": state, "reason": reason, "evidence": evidence, "asked": where, "checked_at": now}
        checked.append(line | about)
    return _output(checked)


def _output(checked: Sequence[Mapping[str, Any]]) -> Output:
    states: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for row in checked:
        states[row["state"]] = states.get(row["state"], 0) + 1
        if row["state"] == "opted_out":
            reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
    table = pa.Table.from_pylist([row for row in checked if row["state"] == "opted_out"], schema=CHECKED)
    fate = Fate(len(checked), len(checked) - table.num_rows, dict(sorted(reasons.items())))
    everything = pa.Table.from_pylist(list(checked), schema=CHECKED)
    return Output({"opted_out": table, "checked": everything}, {"pairs": fate}, telemetry=states)


def _of_picture(answer: Fetched) -> State:
    if answer.reason in OPT_OUTS and "cannot be read" not in (answer.evidence or ""):
        return "opted_out", answer.reason, answer.evidence
    if answer.reason == "not_found":
        return "gone", answer.reason, answer.evidence
    if answer.reason is None or answer.reason in ("too_large", "too_slow"):
        return "allowed", None, None
    return "unknown", answer.reason, answer.evidence


def _of_page(network: NetworkConfig, answer: Fetched) -> State:
    state = _of_picture(answer)
    if state[0] != "allowed" or not answer.body:
        return state
    header = {
        "url": answer.final_url,
        "text_from": [],
        "product": network.product,
        "content_type": answer.headers.get("content-type", ""),
        "date": answer.headers.get("date", ""),
    }
    try:
        said, _ = shared("pipeline.sources.html:parse_page").call(header, answer.body)
        said = {"robots": []} | said
    except SandboxDied as death:
        return "unknown", "decoder_crashed", death.reason
    word = first_opt_out(said["robots"], network.opt_out_directives)
    return ("opted_out", "meta_opt_out", f"robots meta tag: {word}") if word else ("allowed", None, None)
