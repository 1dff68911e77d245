"""Fetch, resize and write shards: ours end to end beside img2dataset, on the same pictures from the same loopback server.

    make bench NAME=fetch          OPENWIT_BENCH_IMAGES (20000), OPENWIT_BENCH_REPEATS (3)

Both with 2 workers of 64 downloads at once, 256 px, mode border, quality 95, WebDataset shards of 1,000, 10 s limit, no
retries. Cases: HTTP; HTTPS; HTTP with 2 % of the hosts silent; peak memory; how far the pixels are apart.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from harness import Peer, Row, peer, write
from picture_server import address, make_pictures
from PIL import Image

VERSION = "1.47.0"
IMAGES = int(os.environ.get("OPENWIT_BENCH_IMAGES", "20000"))
REPEATS = int(os.environ.get("OPENWIT_BENCH_REPEATS", "3"))
CASES = os.environ.get("OPENWIT_BENCH_CASES", "http https hanging").split()
HOSTS, HANGING, PICTURES, THREADS = 200, 4, 400, 64
OURS = {
    "image_size": 256,
    "resize_mode": "border",
    "resize_only_if_bigger": False,
    "skip_reencode": False,
    "encode_quality": 95,
    "maximum_aspect_ratio": 100.0,
}
THEIRS = {
    "processes_count": 2,
    "thread_count": THREADS,
    "image_size": 256,
    "resize_mode": "border",
    "encode_quality": 95,
    "number_sample_per_shard": 1000,
    "timeout": 10,
    "retries": 0,
}


@contextmanager
def website(folder: Path) -> Iterator[dict[str, int]]:
    """The server's ports. The certificate is made here, and made known to both sides through SSL_CERT_FILE."""
    names = ",".join(f"IP:{address(number)}" for number in range(HOSTS))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
         folder / "key.pem", "-out", folder / "cert.pem", "-days", "2", "-subj", "/CN=benchmark", "-addext",
         f"subjectAltName={names}"],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    known = Path("/etc/ssl/certs/ca-certificates.crt")
    bundle = folder / "bundle.pem"
    bundle.write_text((known.read_text("utf-8") if known.exists() else "") + (folder / "cert.pem").read_text("utf-8"))
    os.environ["SSL_CERT_FILE"] = str(bundle)
    pictures = {f"{number:05d}": np.frombuffer(data, np.uint8) for number, data in enumerate(make_pictures(PICTURES))}
    print(f"{PICTURES} pictures of {statistics.mean(map(len, pictures.values())) / 1000:.1f} KB", file=sys.stderr)
    np.savez(folder / "pictures.npz", **pictures)
    job = {"pictures": str(folder / "pictures.npz"), "hosts": HOSTS, "hanging": HANGING}
    job |= {"key": str(folder / "key.pem"), "certificate": str(folder / "cert.pem")}
    (folder / "server.json").write_text(json.dumps(job))
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("picture_server.py"), folder / "server.json"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())
    finally:
        server.kill()
        server.wait()


def url_list(folder: Path, scheme: str, port: int, hosts: int) -> Path:
    """IMAGES URLs over all hosts; the last of HOSTS hang, so fewer `hosts` leave them out."""
    urls = [f"{scheme}://{address(number % hosts)}:{port}/{number}.jpg" for number in range(IMAGES)]
    path = folder / f"{scheme}-{hosts}.parquet"
    pq.write_table(pa.table({"url": urls, "caption": [f"picture {number}" for number in range(IMAGES)]}), path)
    return path


@contextmanager
def ours(ports: dict[str, int], folder: Path) -> Iterator[Peer]:
    """Our side as a peer."""
    hosts = [address(number) for number in range(HOSTS)]
    network = {"allowed_ports": list(ports.values()), "total_seconds": 10, "retries": 0, "concurrency": THREADS}
    # Both ports of an address: the name decides the address, the URL's port is kept in the list of permitted ones.
    jobs = {name: network | {"hosts": {host: f"{host}:{port}" for host in hosts}} for name, port in ports.items()}
    processes = {}
    for name, wish in jobs.items():
        path = folder / f"ours-{name}.json"
        path.write_text(json.dumps({"network": wish, "fetch": OURS, "samples_per_shard": 1000}))
        processes[name] = path
    yield _Ours(processes)  # type: ignore[misc]


class _Ours:
    """A fresh process for each run: Ray and all that it starts must count anew."""

    def __init__(self, jobs: dict[str, Path]) -> None:
        self._jobs = jobs

    def ask(self, wish: dict[str, str], scheme: str) -> tuple[dict[str, Any], int]:
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("fetch_ours.py"), self._jobs[scheme]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            with Memory(process.pid) as memory:
                answer = Peer(process).ask(json.dumps(wish))
            return answer, memory.peak_bytes
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


class Memory:
    """The most that a process and all below it held at once (sum of resident set sizes), looked at 5 times a second."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._stop = threading.Event()
        self.peak_bytes = 0

    def __enter__(self) -> "Memory":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            total = 0
            for process in [self._root, *self._root.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.peak_bytes = max(self.peak_bytes, total)


def pictures_in(folder: Path) -> dict[str, bytes]:
    """The pictures of the shards below `folder`, by their number."""
    found = {}
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            members: dict[str, dict[str, bytes]] = {}
            for member in tar:
                key, _, kind = member.name.partition(".")
                members.setdefault(key, {})[kind] = tar.extractfile(member).read()  # type: ignore[union-attr]
        for kinds in members.values():
            url = json.loads(kinds["json"])["url"]
            found[url.rpartition("/")[2].partition(".")[0]] = kinds["jpg"]
    return found


def difference(left: dict[str, bytes], right: dict[str, bytes]) -> tuple[float, float]:
    """(mean absolute, largest) difference of decoded values 0..255, over pictures of both sides."""
    means, most = [], 0.0
    for name in sorted(set(left) & set(right), key=int)[:300]:
        one, two = (
            np.asarray(Image.open(__import__("io").BytesIO(side[name])).convert("RGB"), np.float32)
            for side in (left, right)
        )
        if one.shape != two.shape:
            raise SystemExit(f"picture {name}: {one.shape} and {two.shape}; no speed is reported")
        means.append(float(np.abs(one - two).mean()))
        most = max(most, float(np.abs(one - two).max()))
    return statistics.mean(means), most


def main() -> None:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            website(folder) as ports,
            ours(ports, folder) as mine,
            peer("img2dataset", [f"img2dataset=={VERSION}"], {"options": THEIRS}, folder) as theirs,
        ):
            numbers: dict[str, tuple[list[float], list[float]]] = {case: ([], []) for case in CASES}
            memory: tuple[list[float], list[float]] = ([], [])
            for turn in range(REPEATS):
                for case in CASES:
                    scheme = "https" if case == "https" else "http"
                    urls = url_list(folder, scheme, ports[scheme], HOSTS if case == "hanging" else HOSTS - HANGING)
                    good = IMAGES - (
                        sum(n % HOSTS >= HOSTS - HANGING for n in range(IMAGES)) if case == "hanging" else 0
                    )
                    outs = [folder / "out" / side for side in ("ours", "theirs")]
                    shutil.rmtree(folder / "out", ignore_errors=True)
                    for side in (0, 1) if turn % 2 == 0 else (1, 0):
                        seconds, peak = _run(
                            side, mine, theirs, {"urls": str(urls), "folder": str(outs[side])}, scheme, good
                        )
                        numbers[case][side].append(good / seconds)
                        if case == "http":
                            memory[side].append(peak / 1e6)
                        print(
                            f"{case} {('ours', 'img2dataset')[side]}: {good / seconds:.1f}/s, {peak / 1e6:.0f} MB",
                            file=sys.stderr,
                        )
                    if turn == 0 and case == "http":
                        mean, most = difference(pictures_in(outs[0]), pictures_in(outs[1]))
        for case, words in (("http", "HTTP"), ("https", "HTTPS"), ("hanging", "HTTP, 2 % of hosts silent")):
            if case in numbers:
                mine_, theirs_ = (statistics.median(side) for side in numbers[case])
                rows.append(
                    Row(words, "pictures fetched, resized, in shards", "per second", mine_, theirs_, "img2dataset")
                )
        if "hanging" in numbers and "http" in numbers:
            kept = [statistics.median(numbers["hanging"][s]) / statistics.median(numbers["http"][s]) for s in (0, 1)]
            rows.append(
                Row("2 % of hosts silent", "speed beside all answering", "fraction", kept[0], kept[1], "img2dataset")
            )
        if "http" in numbers:
            peaks = [statistics.median(side) for side in memory]
            rows.append(
                Row(
                    "HTTP",
                    "peak memory of all processes",
                    "MB",
                    peaks[0],
                    peaks[1],
                    "img2dataset",
                    higher_is_better=False,
                )
            )
            print(f"decoded pixels: mean absolute difference {mean:.3f}, largest {most:.0f} of 255", file=sys.stderr)
    data = f"{IMAGES:,} URLs of {PICTURES} JPEGs (650 px, 35 KB) on {HOSTS} loopback hosts; decoded pixels differ by {mean:.2f} of 255 on average, {most:.0f} at most"
    write("fetch", data, rows, {"img2dataset": VERSION})


def _run(side: int, mine: Any, theirs: Peer, wish: dict[str, str], scheme: str, good: int) -> tuple[float, int]:
    if side == 0:
        answer, peak = mine.ask(wish, scheme)
        print(answer["steps"], answer["dropped"], file=sys.stderr)
        if answer["rows"] != good:
            raise SystemExit(
                f"ours kept {answer['rows']} of {good} pictures: {answer['dropped']}; no speed is reported"
            )
        return float(answer["seconds"]), peak
    with Memory(theirs._process.pid) as memory:
        answer = theirs.ask(json.dumps(wish))
    return float(answer["seconds"]), memory.peak_bytes


if __name__ == "__main__":
    main()
