"""Ours in the fetch benchmark, in a process of its own so that its memory can be measured: `fetch` and `pack` on 2 workers.

The job says whether on an embedded Ray or on processes (OPENWIT_EXECUTOR=processes).

Speaks like a peer: a line {} is answered when all is imported, {"urls": parquet, "folder": ...} with the seconds, those that
Ray's start took among them.
"""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.execution.ledger import PhaseResult


PART_ROWS = 2000
"""Rows of one file, of those that the phase before is said to have left."""


def _selected(rows: "pa.Table", folder: str) -> "PhaseResult":
    """`rows` as the phase before leaves them."""
    from pipeline import storage
    from pipeline.execution.ledger import Fate, File, PhaseResult

    files = []
    for start in range(0, rows.num_rows, PART_ROWS):
        part = rows.slice(start, PART_ROWS)
        data = storage.table_bytes(part)
        files.append(File(f"kept-{start:06d}.parquet", part.num_rows, len(data), storage.sha256(data)))
        storage.write_bytes(f"{folder}/{files[-1].path}", data)
    return PhaseResult("select", folder, tuple(files), (), {"pairs": Fate(rows.num_rows, rows.num_rows)})


def main() -> None:
    from pipeline import storage  # isort: skip  first, since it tells Arrow which allocator to use

    import pyarrow as pa

    from pipeline.datasets.pack import PackConfig, pack
    from pipeline.execution.on_processes import Processes
    from pipeline.fetching.fetch import FetchConfig, fetch
    from pipeline.sample import candidates
    from pipeline.web.web_config import NetworkConfig

    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    on_ray = job["executor"] == "ray"
    if on_ray:
        from orchestration.cluster import connected
        from pipeline.execution.on_ray import Crew
    for line in sys.stdin:
        wish = json.loads(line)
        if not wish:
            print("{}", flush=True)
            continue
        table = storage.read_table(wish["urls"])
        rows = candidates(
            {"url": row["url"], "text": row["caption"], "text_origin": "alt", "page_url": ""}
            for row in table.to_pylist()
        )
        queries = pa.array([[]] * rows.num_rows, pa.list_(pa.int32()))
        selected = _selected(rows.append_column("queries", queries), f"{wish['folder']}/selected")
        start = time.perf_counter()
        with connected(2) if on_ray else contextlib.nullcontext():
            executor = Crew() if on_ray else Processes(2)  # as a run takes them
            network = NetworkConfig(**job["network"])
            ready = time.perf_counter()
            fetched = fetch(FetchConfig(**job["fetch"]), network, selected, f"{wish['folder']}/fetch", executor)
            done = time.perf_counter()
            shards = PackConfig(samples_per_shard=job["samples_per_shard"])
            manifest = pack(shards, [fetched], {}, "", f"{wish['folder']}/pack", executor)
            seconds = time.perf_counter() - start
        steps = {"start": ready - start, "fetch": done - ready, "pack": start + seconds - done}
        answer = {
            "seconds": seconds,
            "rows": manifest.rows,
            "steps": steps,
            "dropped": dict(fetched.fates["pairs"].reasons),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
