"""Selection of 10 million captions out of core: time and peak memory at 10^4, 10^5, 10^6 and 10^7 candidate rows.

Every row goes through all passes: text rules with language identification, equal pairs, matching against all WordNet noun
forms, balance by the 6 % rule. One process, one work item at a time, so that its peak memory is that of a worker and its
rate that of a core. Captions are those of CC3M's validation set and three OpenStax books with one word exchanged; a
hundredth of the pairs stands twice. Without ../shared/data captions and queries are generated.

At the smallest size the kept pairs are compared with a loop over all rows before anything is reported. There is no peer:
MetaCLIP's released balancing does not run. The limit that was set is 4 GiB; we aimed at 100,000 rows a second.

    BENCH_ROWS=10000,100000 BENCH_FOLDER=/large/disk make bench NAME=balance
"""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from harness import RESULTS, write_facts
from query_matching import SHARED, generated_data, real_data

from pipeline import storage
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items
from pipeline.matching.queries import QueriesConfig, fold, spaced
from pipeline.sample import CANDIDATE, TEXTS, pair_uid
from pipeline.selection.balance import hash01, keep_probability
from pipeline.selection.repair import normalise
from pipeline.selection.select import select
from pipeline.selection.select_config import SelectConfig

SIZES = [int(size) for size in os.environ.get("BENCH_ROWS", "10000,100000,1000000,10000000").split(",")]
FOLDER = os.environ.get("BENCH_FOLDER")
ROWS_PER_FILE = 100_000
LIMIT_GIB = 4.0


def data() -> tuple[list[str], list[str]]:
    return real_data() if (SHARED / "reference" / "wordnet-words").is_dir() else generated_data()


def pool(rows: int, captions: list[str], folder: str) -> PhaseResult:
    """`rows` candidates in files of ROWS_PER_FILE; the same for the same number."""
    words = sorted({word for caption in captions for word in caption.split()})

    def make(begin: int) -> Output:
        draw = random.Random(begin)
        count = min(ROWS_PER_FILE, rows - begin)
        texts, urls = [], []
        for number in range(begin, begin + count):
            caption = draw.choice(captions).split(" ")
            caption[draw.randrange(len(caption))] = draw.choice(words)
            texts.append(" ".join(caption)[:300])
            urls.append(f"http://img{number % 9973}.example.org/pictures/{number * 2654435761 % (1 << 32):08x}.jpg")
            if number % 100 == 99 and len(texts) > 1:  # the same pair on another page
                texts[-1], urls[-1] = texts[-2], urls[-2]
        column = pa.array(texts, pa.string())
        lists = pa.ListArray.from_arrays(
            pa.array(np.arange(count + 1, dtype=np.int32)),
            pa.StructArray.from_arrays([column, pa.array(["alt"] * count)], fields=list(TEXTS.value_type)),
        )
        known = {
            "uid": pa.array([pair_uid(url, text) for url, text in zip(urls, texts, strict=True)]),
            "url": pa.array(urls),
            "text": column,
            "text_origin": pa.array(["alt"] * count),
            "texts": lists,
            "page_url": pa.array(
                [f"http://www{i % 9973}.example.org/page/{i // 7}.html" for i in range(begin, begin + count)]
            ),
        }
        columns = {field.name: known.get(field.name, pa.nulls(count, field.type)) for field in CANDIDATE}
        return Output({"kept": pa.table(columns, schema=CANDIDATE)}, {"pairs": Fate(count, count)})

    items = [WorkItem(f"part-{i:06d}", begin, begin) for i, begin in enumerate(range(0, rows, ROWS_PER_FILE))]
    result = PhaseResult.of_records("pool", folder, run_items(folder, make, items, InProcess()))
    result.save()
    return result


def measure(folder: str) -> None:
    """In a process of its own: select what `folder`/in holds, and tell time and peak memory."""
    config = SelectConfig(queries=QueriesConfig(path=f"{folder}/queries.txt"))
    warm = PhaseResult.load(f"{folder}/warm")
    select(config, [warm], f"{folder}/warm-out", InProcess())  # compiles, or loads what was compiled
    start, cpu = time.perf_counter(), time.process_time()
    result = select(config, [PhaseResult.load(f"{folder}/in")], f"{folder}/out", InProcess())
    told = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "kept": result.fates["pairs"].kept,
        "reasons": dict(result.fates["pairs"].reasons),
        "t": result.extra["t"],
    }
    print(json.dumps(told))


def check(folder: str, queries: list[str], t: int) -> None:
    """The kept pairs of a small pool against a loop over all its rows; the text rules' verdicts are taken over."""
    result = PhaseResult.load(f"{folder}/out")
    fallen = {row["uid"] for row in result.read_dropped().to_pylist() if row["reason"].startswith("text_")}
    numbers: dict[str, int] = {}
    for number, query in enumerate(queries):
        numbers.setdefault(fold(query), number)
    longest = max(len(query.split(" ")) for query in numbers)
    matched: dict[str, list[int]] = {}
    for row in PhaseResult.load(f"{folder}/in").read_kept(["url", "text"]).to_pylist():
        text = normalise(row["text"])
        uid, tokens = pair_uid(row["url"], text), spaced(fold(text))[1:-1].split(" ")
        spans = (" ".join(tokens[i : i + k]) for i in range(len(tokens)) for k in range(1, longest + 1))
        if uid not in fallen:
            matched[uid] = sorted({numbers[span] for span in spans if span in numbers})
    counts = Counter(number for found in matched.values() for number in found)
    before = np.array([counts[number] for number in range(len(queries))])
    kept = {uid for uid, found in matched.items() if hash01(0, uid) < keep_probability(found, before, t)}
    if kept != set(result.read_kept(["uid"]).column("uid").to_pylist()):
        raise SystemExit("the kept pairs differ from those of a loop over all rows; nothing is reported")


def run(rows: int, queries: list[str], captions: list[str]) -> dict[str, float]:
    folder = tempfile.mkdtemp(prefix="balance-", dir=FOLDER)
    try:
        storage.write_bytes(f"{folder}/queries.txt", "\n".join(queries).encode())
        pool(1000, captions, f"{folder}/warm")
        pool(rows, captions, f"{folder}/in")
        done = subprocess.run(
            [sys.executable, __file__, "--measure", folder], check=True, stdout=subprocess.PIPE, text=True
        )
        told: dict[str, float] = json.loads(done.stdout)
        print(f"{rows:,} rows: {told}", file=sys.stderr, flush=True)
        if rows <= 10_000:
            check(folder, queries, int(told["t"]))
        return told
    finally:
        shutil.rmtree(folder)


def plot(sizes: list[int], told: list[dict[str, float]], path: Path) -> None:
    """Seconds and GiB over rows, both axes logarithmic: work that grows with the rows is a straight line."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "openwit"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for place, (title, values) in enumerate(
        (
            ("CPU seconds", [each["cpu_seconds"] for each in told]),
            ("peak memory, GiB", [each["peak_bytes"] / 2**30 for each in told]),
        )
    ):
        axes[place].loglog(sizes, values, marker="o")
        axes[place].set_title(title)
        axes[place].set_xlabel("candidate rows")
    axes[0].loglog(
        sizes, [told[-1]["cpu_seconds"] * size / sizes[-1] for size in sizes], "--", color="grey", linewidth=1
    )
    axes[1].axhline(LIMIT_GIB, linestyle="--", color="grey", linewidth=1)
    axes[1].set_ylim(0.1, 8)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    queries, captions = data()
    queries = list(dict.fromkeys(" ".join(query.split()) for query in queries))
    told = [run(size, queries, captions) for size in SIZES]
    rows = [
        [f"{size:,}", int(each["kept"]), each["cpu_seconds"], size / each["cpu_seconds"], each["peak_bytes"] / 2**30]
        for size, each in zip(SIZES, told, strict=True)
    ]
    headings = ["candidate rows", "kept", "CPU seconds", "rows per CPU second", "peak memory, GiB"]
    write_facts(
        "balance", f"{len(captions):,} captions with one word exchanged, {len(queries):,} queries", headings, rows
    )
    plot(SIZES, told, RESULTS / "balance.svg")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2])
    else:
        main()
