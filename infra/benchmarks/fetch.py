"""Fetch, resize and write shards: ours end to end beside img2dataset, on the same pictures from the same loopback server.

    make bench NAME=fetch          OPENWIT_BENCH_IMAGES (12000), OPENWIT_BENCH_REPEATS (3), OPENWIT_BENCH_CASES (all)

Twenty quiet minutes. Both with 2 workers of 64 downloads at once, 256 px, mode border, quality 95, WebDataset shards of 1,000,
10 s limit, no retries. Cases: HTTP; once more, of OPENWIT_BENCH_LONG (40000) URLs and once only, so that what a start costs
shows in the first and no longer in this one; HTTPS, with a third of the URLs for the peer's sake; HTTP with 2 % of the hosts
silent; HTTP on an embedded Ray, beside the peer on its multiprocessing and on its own Ray distributor (the other cases run on two
processes of this machine on both sides, ours with OPENWIT_EXECUTOR=processes). Besides speed: CPU time, peak memory of all
processes, Ray's among them, how far the pixels are apart. On both sides a process that has imported what it needs is given the
job; the start of its workers, and of Ray, is part of it.

A silent host takes the 10 s of the limit, whatever else is done meanwhile. So that case has runs of its own: of
OPENWIT_BENCH_SILENT (40000) URLs for ours, that the run lasts several limits, and of a tenth of them for the peer, whose every
shard waits for its own silent hosts. Beside them the same URLs without those of the silent hosts: both runs make the same
pictures. Twice, the second time in the opposite order, since a disk is slower after much was written.
"""

import compileall
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import Peer, Row, peer, write
from made_pictures import difference, pictures_in
from picture_server import address, make_pictures
from watch import Cost, Watch

PEER = "img2dataset"
VERSION = "1.47.0"
SIDES = ("ours", PEER, f"{PEER}, distributor ray")
RAY = metadata.version("ray")
REQUIREMENTS = ([f"{PEER}=={VERSION}"], [f"{PEER}=={VERSION}", f"ray=={RAY}"])
WORDS = {
    "http": "HTTP, ours on processes",
    "long": "HTTP, long run, ours on processes",
    "https": "HTTPS, ours on processes",
    "hanging": "HTTP, 2 % of hosts silent, ours on processes",
    "ray": "HTTP, ours on Ray",
}
LIMIT_SECONDS = 10
CONTROL = "none silent"
IMAGES = int(os.environ.get("OPENWIT_BENCH_IMAGES", "12000"))
REPEATS = int(os.environ.get("OPENWIT_BENCH_REPEATS", "3"))
LONG_IMAGES = int(os.environ.get("OPENWIT_BENCH_LONG", "40000"))
IMAGES_OF = {"http": IMAGES, "long": LONG_IMAGES, "https": IMAGES // 3, "ray": IMAGES}
REPEATS_OF = {"http": REPEATS, "long": 1, "https": min(2, REPEATS), "hanging": min(2, REPEATS), "ray": min(2, REPEATS)}
SILENT_IMAGES = int(os.environ.get("OPENWIT_BENCH_SILENT", "40000"))
CASES = os.environ.get("OPENWIT_BENCH_CASES", "http long https hanging ray").split()
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
    "timeout": LIMIT_SECONDS,
    "retries": 0,
}
JOBS = ({"options": THEIRS}, {"options": THEIRS | {"distributor": "ray"}, "cpus": THEIRS["processes_count"]})


@contextlib.contextmanager
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


def url_list(folder: Path, scheme: str, port: int, hosts: int, count: int) -> tuple[Path, int]:
    """`count` URLs over all hosts, and how many can be had; the last of HOSTS hang, so fewer `hosts` leave them out."""
    urls = [f"{scheme}://{address(number % hosts)}:{port}/{number}.jpg" for number in range(count)]
    path = folder / f"{scheme}-{hosts}-{count}.parquet"
    pq.write_table(pa.table({"url": urls, "caption": [f"picture {number}" for number in range(count)]}), path)
    return path, sum(number % hosts < HOSTS - HANGING for number in range(count))


class Ours:
    """Our side: a fresh process for each run, since all that it starts must count anew."""

    def __init__(self, ports: dict[str, int], folder: Path) -> None:
        hosts = [address(number) for number in range(HOSTS)]
        network = {
            "allowed_ports": list(ports.values()),
            "total_seconds": LIMIT_SECONDS,
            "retries": 0,
            "concurrency": THREADS,
        }
        self._jobs = {}
        for case in WORDS:
            port = ports[scheme_of(case)]
            job = {"fetch": OURS, "samples_per_shard": 1000, "executor": "ray" if case == "ray" else "processes"}
            job["network"] = network | {"hosts": {host: f"{host}:{port}" for host in hosts}}
            self._jobs[case] = folder / f"ours-{case}.json"
            self._jobs[case].write_text(json.dumps(job), "utf-8")

    def run(self, wish: dict[str, str], case: str) -> tuple[float, Cost]:
        """(seconds, cost)."""
        script = Path(__file__).with_name("fetch_ours.py")
        process = subprocess.Popen(
            [sys.executable, script, self._jobs[case]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        ours = Peer(process)
        try:
            ours.ask("{}")
            with Watch(process.pid) as watch:
                answer = ours.ask(json.dumps(wish))
            print(answer, file=sys.stderr)
            return answer["seconds"], watch.cost
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


class Theirs:
    """img2dataset, in its own environment."""

    def __init__(self, process: Peer) -> None:
        self._process = process
        process.ask("{}")

    def run(self, wish: dict[str, str], case: str) -> tuple[float, Cost]:
        with Watch(self._process.pid) as watch:
            answer = self._process.ask(json.dumps(wish))
        return answer["seconds"], watch.cost


def scheme_of(case: str) -> str:
    return "https" if case == "https" else "http"


class Figures:
    """What was measured: per case and side, pictures a second, peak MB and CPU ms; how far the pixels are apart."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
        self.pixels = (0.0, 0.0)

    def add(self, case: str, side: int, pictures: int, seconds: float, cost: Cost) -> None:
        figures = (pictures / seconds, cost.peak_bytes / 1e6, cost.cpu_seconds / pictures * 1e3)
        print(f"{case} {SIDES[side]}: %.1f/s, %.0f MB, %.2f ms CPU" % figures, file=sys.stderr)
        self._found.setdefault((case, side), []).append(figures)

    def median(self, case: str, number: int, other: int = 1) -> tuple[float, float]:
        """(ours, theirs)."""
        ours, theirs = (statistics.median(one[number] for one in self._found[case, side]) for side in (0, other))
        return ours, theirs

    def rows(self) -> list[Row]:
        found = []
        for case, other in ((each, side) for each in CASES for side in sides_of(each) if side):
            words, name = WORDS[case], SIDES[other]
            speed, memory, cpu = (self.median(case, number, other) for number in range(3))
            found.append(Row(words, "pictures in shards", "per second", *speed, name))
            found.append(Row(words, "CPU time", "ms a picture", *cpu, name, higher_is_better=False))
            found.append(Row(words, "peak memory of all processes", "MB", *memory, name, higher_is_better=False))
            if case == "hanging":
                kept = [hung / good for hung, good in zip(self.median(case, 0), self.median(CONTROL, 0), strict=True)]
                found.append(Row(words, "speed beside none silent", "fraction", kept[0], kept[1], PEER))
        return found


def sides_of(case: str) -> tuple[int, ...]:
    return (0, 1, 2) if case == "ray" else (0, 1)


def measure(folder: Path, ports: dict[str, int], sides: Sequence[Ours | Theirs]) -> Figures:
    figures = Figures()
    for turn, case in ((turn, case) for turn in range(REPEATS) for case in CASES if turn < REPEATS_OF[case]):
        order = sides_of(case)[:: 1 if turn % 2 == 0 else -1]
        if case == "hanging":
            for side in order:
                for name, hosts in ((CONTROL, HOSTS - HANGING), (case, HOSTS))[:: 1 if turn % 2 == 0 else -1]:
                    count = (SILENT_IMAGES, SILENT_IMAGES // 10)[side] * hosts // HOSTS
                    once(folder, ports, sides[side], figures, (case, name), side, hosts, count)
            continue
        shutil.rmtree(folder / "out", ignore_errors=True)
        made: dict[int, dict[str, bytes]] = {}
        for side in order:
            made[side] = once(folder, ports, sides[side], figures, (case, case), side, HOSTS - HANGING, IMAGES_OF[case])
        figures.pixels = difference(made[0], made[1])
    return figures


def once(
    folder: Path,
    ports: dict[str, int],
    who: Ours | Theirs,
    figures: Figures,
    names: tuple[str, str],
    side: int,
    hosts: int,
    count: int,
) -> dict[str, bytes]:
    """One run of one side, of the job of the first of `names`, written down under the second; what it made of the first URLs."""
    case, name = names
    urls, good = url_list(folder, scheme_of(case), ports[scheme_of(case)], hosts, count)
    out = folder / "out" / str(side)
    shutil.rmtree(out, ignore_errors=True)
    figures.add(name, side, good, *who.run({"urls": str(urls), "folder": str(out)}, case))
    made = pictures_in(out)
    if len(made) > good or (side == 0 and len(made) < good):
        raise SystemExit(f"{name}: {good} pictures can be had, {SIDES[side]} has {len(made)}")
    if len(made) < good:
        print(f"{SIDES[side]} lost {good - len(made)} of {good}", file=sys.stderr)
    return {name: data for name, data in made.items() if int(name) < 1000}


def main() -> None:
    for room in ("pipeline", "orchestration"):  # as an installation would, like the peer's
        compileall.compile_dir(Path(__file__).parents[2] / room, quiet=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with contextlib.ExitStack() as stack:
            ports = stack.enter_context(website(folder))
            sides: list[Ours | Theirs] = [Ours(ports, folder)]
            for number in range(1, 3 if "ray" in CASES else 2):
                (folder / str(number)).mkdir()
                job = JOBS[number - 1]
                sides.append(
                    Theirs(stack.enter_context(peer(PEER, REQUIREMENTS[number - 1], job, folder / str(number))))
                )
            figures = measure(folder, ports, sides)
    mean, most = figures.pixels
    data = (
        f"{IMAGES:,} URLs ({IMAGES_OF['https']:,} over HTTPS) of {PICTURES} JPEGs (650 px, 47 KB) on {HOSTS} loopback hosts;"
        f" decoded pixels differ by {mean:.2f} of 255 on average, {most:.0f} at most; limit {LIMIT_SECONDS} s"
    )
    if "long" in CASES:
        data += f"; {LONG_IMAGES:,} URLs in the long run"
    if "hanging" in CASES:
        data += f"; silent hosts among {SILENT_IMAGES:,} URLs of ours, {SILENT_IMAGES // 10:,} of {PEER}'s"
    write("fetch", data, figures.rows(), {PEER: VERSION} | ({"ray": RAY} if "ray" in CASES else {}))


if __name__ == "__main__":
    main()
