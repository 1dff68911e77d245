"""Does curation grow in proportion? Time and peak memory of one run at 10^4 to 10^7 candidate rows, a hundredth of them pictures.

    table of URLs and captions -> text rules, matching, balance -> pictures over HTTP from loopback -> deduplicate -> shards

Each size is one `openwit curate` in a process of its own; memory is the sum over its processes, Ray's among them. Captions are
words drawn by Zipf's law, t is such that the balance keeps about one in a hundred. `SIZES=10000,100000 make bench NAME=growth`.
"""

import io
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from harness import HERE, write_facts
from PIL import Image

SIZES = [int(size) for size in os.environ.get("SIZES", "10000,100000,1000000,10000000").split(",")]
ROWS_PER_FILE = 250_000
WORDS = 20_000
QUERIES = 100
"""The most frequent words, each with a t of a hundredth of the rows over QUERIES."""
HOSTS = 64


def picture(number: int) -> bytes:
    """A JPEG of coloured noise of its own, 128 pixels wide."""
    draw = np.random.default_rng(number)
    small = Image.fromarray(draw.integers(0, 255, (8, 8, 3), dtype=np.uint8))
    sink = io.BytesIO()
    small.resize((128, 96), Image.Resampling.BICUBIC).save(sink, "JPEG", quality=85)
    return sink.getvalue()


def serve(listener: socket.socket) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            number = self.path.strip("/").split(".")[0]
            body, status = (picture(int(number)), 200) if number.isdigit() else (b"", 404)
            self.send_response(status)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever()


def candidates(folder: Path, rows: int) -> None:
    """Parquet files of URLs over HOSTS hosts and captions of 4 to 12 words."""
    folder.mkdir()
    words = np.array([f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"])
    words = np.array([f"{x}{y}" for x in words[:200] for y in words[:100]])[:WORDS]
    (folder / "queries.txt").write_text("\n".join(words[:QUERIES].tolist()), "utf-8")
    chance = 1.0 / np.arange(1, WORDS + 1)
    edges = np.cumsum(chance / chance.sum())
    for number, start in enumerate(range(0, rows, ROWS_PER_FILE)):
        draw = np.random.default_rng(number)
        count = min(ROWS_PER_FILE, rows - start)
        lengths = draw.integers(4, 13, count)
        drawn = words[np.minimum(np.searchsorted(edges, draw.random(int(lengths.sum()))), WORDS - 1)]
        ends = np.cumsum(lengths)
        texts = [
            " ".join(drawn[end - length : end]) for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
        ]
        urls = [f"http://h{n % HOSTS}.growth.example/{n}.jpg" for n in range(start, start + count)]
        pq.write_table(pa.table({"url": urls, "text": texts}), folder / f"{number:05d}.parquet")


def recipe(folder: Path, rows: int, port: int) -> str:
    value = {
        "name": "growth",
        "curate": {
            "network": {
                "hosts": {f"h{n}.growth.example": f"127.0.0.1:{port}" for n in range(HOSTS)},
                "contact": "https://example.org/growth",
            },
            "sources": {"table": {"kind": "table", "files": [f"{folder}/*.parquet"]}},
            "select": {
                "text": {"languages": []},
                "queries": {"path": f"{folder}/queries.txt"},
                "balance": {"t": max(1, rows // 100 // QUERIES)},
            },
            "fetch": {"image_size": 128, "skip_reencode": False},
            "pack": {"samples_per_shard": 1000},
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(value), "utf-8")  # JSON is YAML
    return str(path)


def peak_of(process: "subprocess.Popen[str]", found: list[int]) -> None:
    while process.poll() is None:
        try:
            tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        total = 0
        for each in tree:
            try:
                total += each.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        found.append(total)
        time.sleep(0.5)


def measure(rows: int, port: int, below: Path) -> list[object]:
    folder = below / f"n{rows}"
    candidates(folder, rows)
    words = ["curate", recipe(folder, rows, port), "--root", str(folder / "runs"), "--json"]
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "orchestration.cli", *words], stdout=subprocess.PIPE, text=True)
    memory: list[int] = []
    watch = threading.Thread(target=peak_of, args=(process, memory))
    watch.start()
    said, _ = process.communicate()
    watch.join()
    if process.returncode:
        raise SystemExit(f"{rows:,} rows: openwit curate ended with {process.returncode}")
    seconds = time.monotonic() - started
    steps = {step["name"]: float(step.get("seconds") or 0.0) for step in json.loads(said)["steps"]}
    index = [pq.read_metadata(path).num_rows for path in folder.glob("runs/pack-*/*.parquet")]
    return [rows, sum(index), round(seconds, 1), *(steps.get(name, 0.0) for name in STEPS), max(memory) / 2**30]


STEPS = ("table", "select", "fetch", "deduplicate", "pack")


def plot(rows: list[list[object]]) -> None:
    """results/growth.svg: seconds and GiB over rows, both axes logarithmic, with the straight line of proportion."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    sizes = [float(str(row[0])) for row in rows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5))
    for place, name in enumerate(("all", *STEPS), 2):
        left.plot(sizes, [max(0.01, float(str(row[place]))) for row in rows], marker="o", label=name)
    left.set(xscale="log", yscale="log", xlabel="candidate rows", ylabel="seconds")
    left.legend(frameon=False, fontsize=8)
    right.plot(sizes, [float(str(row[-1])) for row in rows], marker="o")
    right.set(xscale="log", xlabel="candidate rows", ylabel="peak memory, GiB", ylim=(0, None))
    figure.tight_layout()
    figure.savefig(HERE / "results" / "growth.svg", metadata={"Date": None})


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = multiprocessing.get_context("fork").Process(target=serve, args=(listener,), daemon=True)
    server.start()
    try:
        with tempfile.TemporaryDirectory() as name:
            rows = [measure(size, listener.getsockname()[1], Path(name)) for size in SIZES]
    finally:
        server.kill()
    headings = ["candidate rows", "pictures", "seconds", *(f"{step}, s" for step in STEPS), "peak memory, GiB"]
    write_facts("growth", "generated captions and pictures, one `openwit curate` per size", headings, rows)
    plot(rows)


if __name__ == "__main__":
    main()
