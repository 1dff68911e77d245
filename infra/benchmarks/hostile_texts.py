"""Hostile archives and words for `hostile.py`: warcio's own broken WARC and ARC files, and the big list of naughty strings.

Every file comes to pages and counted damage, every string to a reason as an address and back unchanged as a caption. Of the
peer there is no counterpart for archives; as an address each string goes to its downloader, as a caption into its shards.
"""

import asyncio
import io
import json
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipeline.datasets.pack import PackConfig, pack
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items
from pipeline.sample import pair_uid
from pipeline.sources.config import WarcSource
from pipeline.sources.warc import harvest_warc
from pipeline.web.network import Network, NetworkConfig

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def archives(folder: Path) -> list[dict[str, Any]]:
    """What became of each of warcio's test files: records, pages, pairs, reasons, seconds."""
    found = []
    for number, path in enumerate(sorted((DATA / "warc-warcio" / "test").rglob("*"))):
        if not path.is_file():
            continue
        started = time.monotonic()
        source = WarcSource(kind="warc", files=(str(path),))
        try:
            result = harvest_warc("hostile", source, NetworkConfig(), str(folder / f"warc-{number}"), InProcess())
        except Exception as error:  # what must not happen is what is looked for
            found.append({"name": path.name, "passed": False, "did": f"{type(error).__name__}: {error}"[:110]})
            continue
        records, pages, pairs = (result.fates[unit] for unit in ("records", "pages", "pairs"))
        reasons = Counter[str]()
        for fate in (records, pages, pairs):
            reasons.update(fate.reasons)
        said = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        did = f"{records.rows_in} records, {pages.kept} pages, {pairs.kept} pairs" + (f"; {said}" if said else "")
        whole = all(fate.rows_in == fate.kept + sum(fate.reasons.values()) for fate in (records, pages, pairs))
        seconds = time.monotonic() - started
        found.append({"name": path.name, "passed": whole and seconds < 10, "did": did})
    return found


def strings() -> list[str]:
    path = DATA / "naughty-strings" / "blns.json"
    return list(json.loads(path.read_text("utf-8"))) if path.is_file() else []


def as_addresses(words: Sequence[str]) -> dict[str, int]:
    """Reasons of the strings as URLs; names are known to nobody here."""

    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise OSError("no names")

    async def work() -> dict[str, int]:
        async with Network(NetworkConfig(retries=0), nowhere) as network:
            got = await asyncio.gather(*(network.get(word) for word in words))
            return dict(Counter(str(each.reason) for each in got).most_common())

    return asyncio.run(work())


def as_addresses_of(ask: Callable[..., dict[str, Any]], words: Sequence[str]) -> dict[str, int]:
    """The same by the peer's downloader, which says no reason but an error."""
    told = Counter[str]()
    for word in words:
        got = ask(do="fetch", url=word, timeout=2)
        told["ended" if got.get("ended") else "error" if got["error"] else "taken"] += 1
    return dict(told.most_common())


def as_captions(words: Sequence[str], folder: Path) -> int:
    """How many strings come back unchanged from the text, the JSON and the index of the shards that hold them."""
    sink = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 30, 20)).save(sink, "JPEG")
    count = len(words)
    urls = [f"http://a.example/{number}.jpg" for number in range(count)]
    columns: dict[str, Any] = {
        "uid": [pair_uid(url, word) for url, word in zip(urls, words, strict=True)],
        "url": urls, "text": list(words), "text_origin": ["alt"] * count, "page_url": list(words),
        "queries": pa.array([[]] * count, pa.list_(pa.int32())), "image": [sink.getvalue()] * count,
        "format": ["jpg"] * count, "sha256": ["0" * 64] * count, "repairs": pa.array([[]] * count, pa.list_(pa.string())),
    }  # fmt: skip
    sizes = ("width", "height", "original_width", "original_height")
    rows = pa.table(columns | {name: pa.array([16] * count, pa.int32()) for name in sizes})

    def work(_: int) -> Output:
        return Output({"kept": rows, "dropped": rows.slice(0, 0)}, {"pairs": Fate(count, count)})

    records = run_items(str(folder / "given"), work, [WorkItem("one", 0, 0)], InProcess())
    phase = PhaseResult.of_records("given", str(folder / "given"), records)
    out = folder / "captions"
    manifest = pack(PackConfig(), [phase], {}, "benchmark", str(out), InProcess())
    wanted = dict(zip(urls, words, strict=True))
    same = 0
    for shard in manifest.shards:
        index = {row["key"]: row for row in pq.read_table(out / shard.index).to_pylist()}
        with tarfile.open(out / shard.tar) as tar:
            members = {name.name: tar.extractfile(name).read() for name in tar}  # type: ignore[union-attr]
        for key, row in index.items():
            meta = json.loads(members[f"{key}.json"])
            text = members[f"{key}.txt"].decode("utf-8")
            same += {text, meta["caption"], row["caption"]} == {wanted[row["url"]]}
    return same


def lines(ask: Callable[..., dict[str, Any]], folder: Path) -> list[str]:
    """The part of hostile.md about archives and strings."""
    told = ["", "warcio's own test files, broken ones among them, as sources (no counterpart in img2dataset):", ""]
    told += ["| file | | ours |", "|---|---|---|"]
    told += [
        f"| {each['name']} | {'yes' if each['passed'] else '**no**'} | {each['did']} |" for each in archives(folder)
    ]
    words = strings()
    if words:
        ours, theirs = as_addresses(words), as_addresses_of(ask, words)
        told += ["", f"{len(words)} strings of the big list of naughty strings:", ""]
        for who, fates in (("ours", ours), ("img2dataset", theirs)):
            told.append(f"- as addresses, {who}: " + ", ".join(f"{count} {name}" for name, count in fates.items()))
        told.append(f"- as captions, ours: {as_captions(words, folder)} come back unchanged from tar, JSON and index")
    return told
