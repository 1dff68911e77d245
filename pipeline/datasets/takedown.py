"""Takedown: a new dataset without the samples that somebody's list names. The one it is made from stays as it is.

Only shards that lose a sample are written anew: what stays keeps its key, its order and its bytes. The others are linked
(or copied, where a link cannot be). A sample that stands for a pair which the list names, since deduplication folded that one
into it (folded.py), goes as well: it is the same picture, and may have that pair's words. A shard that loses every sample is
left out: webdataset raises on a tar without any. Beside the new manifest lie

    takedown.parquet   a row per removed sample with the rule it met
    takedown.json      the same as counts: by rule, by shard, and the rules that met nothing
    tombstones.txt     rules for `curate.select.exclude`, so that the next dataset is made without them
"""

import functools
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.datasets.exclusion import COLUMNS, Exclusions
from pipeline.datasets.folded import carry_on, folded_rules, stands_for_others
from pipeline.datasets.shard_form import stats
from pipeline.datasets.shard_subset import keep_rows
from pipeline.datasets.shards import read_index
from pipeline.errors import DataError
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, Record, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.manifest import Manifest, Shard
from pipeline.streams import remove_unfinished, stream

REMOVED = pa.schema(
    [
        ("uid", pa.string()),
        ("key", pa.string()),
        ("url", pa.string()),
        ("page_url", pa.string()),
        ("sha256", pa.string()),
        ("shard", pa.string()),
        ("rule", pa.string()),
        ("folded_url", pa.string()),  # of the pair that met the rule, where it is not this one: this one stands for it
    ]
)

_CHANGED = "{}: changed since the manifest was written; remove it and run the recipe that made it again"


@dataclass(frozen=True)
class Takedown:
    """`removed` has schema REMOVED. `folder` and `manifest` are None where no rule met a sample: nothing is written then."""

    removed: pa.Table
    unmet: tuple[str, ...]
    manifest: Manifest | None = None
    folder: str | None = None
    unhashed: int = 0
    """Samples that stay without a SHA-256 (others made their shards): no hash on a list could name them; 0 where it has none."""

    def rules(self) -> dict[str, int]:
        """Samples removed by each rule, most first."""
        return dict(Counter(self.removed.column("rule").to_pylist()).most_common())


def takedown(
    folder: str, rules: Exclusions, out: str | None, executor: Executor, progress: Progress = silent
) -> Takedown:
    """Make the dataset at `folder` anew in `out` without what `rules` name; by default beside it, named by both.

    Raises DataError where the dataset is damaged, and where nothing of it would stay.
    """
    manifest = Manifest.load(folder)
    manifest.require_files(folder)
    through = folded_rules(folder, rules)
    removed, by_shard, unhashed = _removed(folder, manifest, rules, through)
    met = set(removed.column("rule").to_pylist())
    met |= {rule for uid in removed.column("uid").to_pylist() for rule in through.get(uid, ())}
    unmet = rules.unmet(met)
    if not removed.num_rows:
        return Takedown(removed, unmet, unhashed=unhashed)
    if removed.num_rows == manifest.rows:
        raise DataError(
            f"{folder}: the lists name all of its {manifest.rows:,} samples, and a dataset without any is none; correct the"
            " lists, or remove the folder"
        )
    digest = storage.sha256("\n".join([manifest.id, *rules.lines()]).encode())
    out = out or storage.join(folder.rstrip("/").rpartition("/")[0] or ".", f"takedown-{digest[:12]}")
    shards = _write_shards(folder, manifest, by_shard, out, executor, progress)
    new = derived(manifest, "takedown", shards, removed.num_rows, "taken_down", {"rules_sha256": digest})
    _write_diff(folder, out, manifest, new, Takedown(removed, unmet, unhashed=unhashed), rules)
    carry_on(folder, out, removed.column("uid").to_pylist())
    storage.write_json(storage.join(out, "origin.json"), {"folder": folder, "manifest_id": manifest.id})
    new.save(out)
    return Takedown(removed, unmet, new, out, unhashed)


def derived(
    parent: Manifest, how: str, shards: Sequence[Shard], fell: int, reason: str, config: dict[str, Any]
) -> Manifest:
    """The manifest of a dataset made from `parent`: its counts and config, and what was done now."""
    fate = Fate(parent.rows, parent.rows - fell, {reason: fell} if fell else {})
    name = how
    while name in parent.counts:  # the second takedown of one dataset
        name += "_again"
    return Manifest(
        tuple(shards),
        {**parent.counts, name: {"pairs": asdict(fate)}},
        (parent.id,),
        {**parent.config, name: config},
        parent.code_version,
    )


def _removed(
    folder: str, manifest: Manifest, rules: Exclusions, through: Mapping[str, Mapping[str, str]]
) -> tuple[pa.Table, dict[int, list[int]], int]:
    """The samples that go, by shard their rows, and how many no hash can name; `through` are rules that pairs folded into them
    meet."""
    rows: list[dict[str, Any]] = []
    unhashed = 0
    by_shard: dict[int, list[int]] = {}
    for number, shard in enumerate(manifest.shards):
        table = read_index(folder, shard, ["key", *COLUMNS])
        found = rules.rules_for(table)
        told: list[str | None] = [None] * len(found)
        for place, uid in enumerate(table.column("uid").to_pylist()):
            if found[place] is None and uid in through:
                found[place], told[place] = min(through[uid].items())
        by_shard[number] = [place for place, rule in enumerate(found) if rule]
        if rules.rules["sha256"]:
            hashes = table.column("sha256").to_pylist()
            unhashed += sum(not digest and not rule for digest, rule in zip(hashes, found, strict=True))
        for place in by_shard[number]:
            rows.append(
                table.slice(place, 1).to_pylist()[0]
                | {"shard": shard.tar, "rule": found[place], "folded_url": told[place]}
            )
    return pa.Table.from_pylist(rows, schema=REMOVED), by_shard, unhashed


def _write_shards(
    folder: str, manifest: Manifest, by_shard: dict[int, list[int]], out: str, executor: Executor, progress: Progress
) -> list[Shard]:
    items = [
        WorkItem(f"shard-{number:05d}", [asdict(shard), by_shard[number]], (shard, by_shard[number]))
        for number, shard in enumerate(manifest.shards)
    ]
    records = run_items(out, functools.partial(_shard, folder, out), items, executor, progress, "shards")
    remove_unfinished(out)
    return [_entry(shard, record) for shard, record in zip(manifest.shards, records, strict=True) if record.files]


def _entry(shard: Shard, record: Record) -> Shard:
    data, index = record.files[shard.tar], record.files[shard.index]
    return Shard(shard.tar, shard.index, record.fates["pairs"].kept, data.bytes, data.sha256, index.sha256)


def stats_name(shard: Shard) -> str:
    return f"{shard.tar.rpartition('.')[0]}_stats.json"


def _shard(folder: str, out: str, part: tuple[Shard, list[int]]) -> Output:
    shard, gone = part
    rows = shard.rows - len(gone)
    fate = {"pairs": Fate(shard.rows, rows, {"taken_down": len(gone)} if gone else {})}
    if not rows:
        return Output({}, fate)
    if gone:
        # A new file gets a checksum of its own, under which damage of the old one would pass for what was meant.
        shard.verify(folder)
        data, index = keep_rows(folder, shard, gone, out)
        about = json.dumps(stats(rows), indent=4, sort_keys=True).encode()
        return Output({}, fate, final={shard.tar: data, shard.index: index, stats_name(shard): about})
    files = {shard.tar: shard.tar_sha256, shard.index: shard.index_sha256}
    final = {name: _same(folder, out, name, digest) for name, digest in files.items()}
    return Output({}, fate, final=final)


def _same(folder: str, out: str, name: str, sha256: str) -> storage.Written:
    """The file under the same name in `out`: a second name of it where the disk allows, else a copy that is checked."""
    old, new = storage.join(folder, name), storage.join(out, name)
    if storage.is_local(old) and storage.is_local(new):
        os.makedirs(new.rpartition("/")[0], exist_ok=True)
        try:
            if not os.path.exists(new):
                os.link(old, new)
            return storage.Written(storage.size(new), sha256)
        except OSError:  # another disk, or one without links
            pass
    filesystem, path = storage.filesystem_of(old)
    with filesystem.open(path, "rb") as source, stream(new) as sink:
        while chunk := source.read(1 << 20):
            sink.write(chunk)
    if sink.written.sha256 != sha256:
        raise DataError(_CHANGED.format(old))
    return sink.written


def _write_diff(folder: str, out: str, manifest: Manifest, new: Manifest, found: Takedown, rules: Exclusions) -> None:
    storage.write_table(storage.join(out, "takedown.parquet"), found.removed)
    summary = {
        "parent": manifest.id,
        "manifest_id": new.id,
        "rows_before": manifest.rows,
        "rows_after": new.rows,
        "removed_by_rule": found.rules(),
        "removed_by_shard": dict(Counter(found.removed.column("shard").to_pylist())),
        "rules_that_met_nothing": list(found.unmet),
        "samples_without_hash": found.unhashed,
    }
    storage.write_json(storage.join(out, "takedown.json"), summary)
    tombs = Exclusions()
    for kind, values in rules.rules.items():
        tombs.rules[kind] |= values
    uids = found.removed.column("uid").to_pylist()
    tombs.rules["uid"] |= set(uids)
    # A picture that was known under several addresses would come back under the next of them.
    several = stands_for_others(folder, uids)
    hashes = found.removed.column("sha256").to_pylist()
    tombs.rules["sha256"] |= {digest for uid, digest in zip(uids, hashes, strict=True) if digest and uid in several}
    text = f"# Taken out of dataset {manifest.id}; keep out with curate.select.exclude.\n" + "\n".join(tombs.lines())
    storage.write_bytes(storage.join(out, "tombstones.txt"), text.encode() + b"\n")
