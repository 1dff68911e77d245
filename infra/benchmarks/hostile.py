"""Hostile URLs, odd pictures and Pillow's own collection of broken files: ours and img2dataset's functions side by side.

A URL passes where it was refused with a reason (or, where it only needs repair, was fetched), a picture where it came out in
its colours or fell with a reason, all within 10 seconds. Writes results/hostile.json and the table hostile.md.

    FILES=50 python infra/benchmarks/hostile.py     a quick look; 0 for all files
"""

import base64
import concurrent.futures
import contextlib
import io
import json
import os
import re
import ssl
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import hostile_texts
from harness import HERE, Peer, Row, peer, write
from hostile_cases import (
    BODY_MEGABYTES,
    LIMIT_SECONDS,
    NAME,
    Address,
    Odd,
    Server,
    addresses,
    encoded,
    halves,
    odd_pictures,
)
from PIL import Image
from resize import requirements

from pipeline.pictures.picture_config import PictureConfig
from pipeline.pictures.picture_row import picture_row
from pipeline.web.network import NetworkConfig
from pipeline.web.together import fetch_all

PEER = "img2dataset"
FILES = int(os.environ.get("FILES", "0"))
COLLECTION = Path(__file__).resolve().parents[3] / "shared" / "data" / "fuzz-pillow"
SETTINGS = PictureConfig(maximum_aspect_ratio=1000.0)
MEMORY_MEGABYTES = 200
Outcome = dict[str, Any]


class PatientPeer:
    """The peer with a limit of time for each question: one that hangs or dies is ended and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._threads = concurrent.futures.ThreadPoolExecutor(8)
        self._peer: Peer | None = None

    def ask(self, **question: Any) -> Outcome:
        if self._peer is None:
            job = {"resizer": {"image_size": 256, "resize_mode": "keep_ratio_largest", "resize_only_if_bigger": True}}
            self._peer = self._stack.enter_context(peer("img2dataset_pictures", requirements(), job, self._folder))
            self._threads.submit(self._peer.ask, json.dumps({"do": "start"})).result(300)
        started = time.monotonic()
        try:
            return self._threads.submit(self._peer.ask, json.dumps(question)).result(LIMIT_SECONDS)
        except concurrent.futures.TimeoutError:
            outcome = {"error": f"no answer in {LIMIT_SECONDS:g} s", "ended": True}
        except RuntimeError:
            outcome = {"error": "its process died", "ended": True}
        self.close()
        return outcome | {"wall": time.monotonic() - started, "peak": 0.0}

    def close(self) -> None:
        self._peer = None
        self._stack.close()
        self._stack = ExitStack()


@contextlib.contextmanager
def tls_server(folder: Path) -> Iterator[int]:
    """A port that shows a certificate signed by itself."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=nobody -keyout"
    )
    subprocess.run([*command.split(), key, "-out", certificate], check=True, stderr=subprocess.DEVNULL)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that turns away is what is expected
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()


def resident_megabytes() -> float:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def fetched_by_us(case: Address, ports: dict[str, int]) -> Outcome:
    network = NetworkConfig(
        hosts={NAME: f"127.0.0.1:{ports['port']}", "tls.test": f"127.0.0.1:{ports['tls_port']}"},
        allowed_ports=(80, 443, ports["port"]),  # so that the address, and not its port, is judged
        total_seconds=5.0,
        grace_seconds=2.0,
        retries=0,
    )
    name = "tls.test" if case.url.startswith("https") else NAME
    url = case.url.replace(":{tls_port}", "").format(host=NAME, name=name, **ports)
    before, started = resident_megabytes(), time.monotonic()
    peak = before
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        answer = thread.submit(fetch_all, network, [url])
        while not answer.done():
            peak = max(peak, resident_megabytes())
            time.sleep(0.02)
    got = answer.result()[0]
    said = None if got.reason is None else f"{got.reason}: {got.evidence}"
    return {"error": said, "wall": time.monotonic() - started, "memory": peak - before}


def fetched_by_them(other: PatientPeer, case: Address, ports: dict[str, int]) -> Outcome:
    before = other.ask(do="start")["peak"]
    url = case.url.format(host=f"127.0.0.1:{ports['port']}", name="127.0.0.1", **ports)
    got = other.ask(do="fetch", url=url, timeout=3)
    return got | {"memory": max(0.0, got["peak"] - before)}


def judged_address(case: Address, outcome: Outcome, touched: bool) -> bool:
    answered = outcome["wall"] < LIMIT_SECONDS and not outcome.get("ended") and outcome["memory"] < MEMORY_MEGABYTES
    return answered and not touched and (outcome["error"] is None) == (case.wanted == "picture")


def judged_picture(case: Odd, image: bytes | None, outcome: Outcome) -> bool:
    if outcome["wall"] >= LIMIT_SECONDS or outcome.get("ended"):
        return False
    if case.colours is None or image is None:
        return image is None and case.colours is None and bool(outcome["error"])
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    seen = (picture.getpixel((4, 4)), picture.getpixel((picture.width - 5, picture.height - 5)))
    far = [abs(a - b) for got, wanted in zip(seen, case.colours, strict=True) for a, b in zip(got, wanted, strict=True)]
    outcome["colours"] = seen
    return max(far) <= 40


def opened_by_us(body: bytes) -> tuple[bytes | None, Outcome]:
    started = time.monotonic()
    row = picture_row(SETTINGS.picture_header(), body)
    error = f"{row['reason']}: {row['evidence']}" if "reason" in row else None
    return row.get("image"), {"error": error, "wall": time.monotonic() - started, "ended": "decoder_" in str(error)}


def opened_by_them(other: PatientPeer, path: Path) -> tuple[bytes | None, Outcome]:
    got = other.ask(do="open", path=str(path))
    return base64.b64decode(got.pop("image", None) or b"") or None, got


def run_addresses(other: PatientPeer, folder: Path) -> list[Outcome]:
    picture = encoded(halves())
    secret = folder / "secret.txt"
    secret.write_text("not for the web", "utf-8")
    server, found = Server(picture), []
    with tls_server(folder) as tls_port:
        ports = {"port": server.port, "other_port": server.other_port, "tls_port": tls_port}
        for case in addresses(picture, str(secret)):
            lines: Outcome = {"case": case.name, "kind": "url", "wanted": case.wanted}
            for who in ("ours", "peer"):
                server.touched = False
                outcome = fetched_by_us(case, ports) if who == "ours" else fetched_by_them(other, case, ports)
                lines[who] = told(outcome, judged_address(case, outcome, server.touched), str(folder))
            found.append(lines)
    return found


def run_pictures(other: PatientPeer, folder: Path) -> list[Outcome]:
    found = []
    for number, case in enumerate(odd_pictures()):
        path = folder / f"odd-{number}"
        path.write_bytes(case.body)
        lines: Outcome = {
            "case": case.name,
            "kind": "picture",
            "wanted": "a reason" if case.colours is None else "picture",
        }
        for who in ("ours", "peer"):
            image, outcome = opened_by_us(case.body) if who == "ours" else opened_by_them(other, path)
            lines[who] = told(outcome, judged_picture(case, image, outcome), str(folder))
        found.append(lines)
    return found


def told(outcome: Outcome, passed: bool, folder: str) -> Outcome:
    """What is worth writing down of an outcome, without ports and paths."""
    said = " ".join(str(outcome["error"] or "taken").replace(folder, "").split(", begins")[0].split())
    said = re.sub(r"\b\d{5}\b", "PORT", said)
    if colours := outcome.get("colours"):
        said = f"taken, left {colours[0]}, right {colours[1]}"
    memory = f", {outcome['memory']:.0f} MB" if outcome.get("memory", 0.0) > MEMORY_MEGABYTES / 2 else ""
    return {"passed": passed, "did": f"{said[:110]}{memory}", "seconds": round(outcome["wall"], 1)}


def run_files(other: PatientPeer) -> dict[str, Any]:
    files = sorted(path for path in COLLECTION.rglob("*") if path.is_file())
    files = files[:: max(1, len(files) // FILES)] if FILES else files
    result: dict[str, Any] = {"files": len(files)}
    for who in ("ours", "peer"):
        counts: Counter[str] = Counter()
        slowest = 0.0
        for path in files:
            image, outcome = opened_by_us(path.read_bytes()) if who == "ours" else opened_by_them(other, path)
            slowest = max(slowest, outcome["wall"])
            ended = outcome.get("ended") or outcome["wall"] >= LIMIT_SECONDS
            word = str(outcome["error"]).split(":")[0][:60] if who == "ours" else "no picture"
            counts["ended" if ended else "picture" if image is not None else word] += 1
        result[who] = {"fates": dict(counts.most_common()), "slowest_seconds": round(slowest, 2)}
    return result


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        other = PatientPeer(folder)
        cases = [*run_addresses(other, folder), *run_pictures(other, folder)]
        files = run_files(other) if COLLECTION.is_dir() else None
        texts = hostile_texts.lines(other.ask, folder)
        other.close()
    rows = []
    for kind, words in (("url", "hostile URLs"), ("picture", "odd pictures")):
        these = [case for case in cases if case["kind"] == kind]
        passed = [float(sum(case[who]["passed"] for case in these)) for who in ("ours", "peer")]
        rows.append(Row(f"{len(these)} {words}", "handled as they should be", f"of {len(these)}", *passed, PEER))
    if files is not None:
        answered = [float(files["files"] - files[who]["fates"].get("ended", 0)) for who in ("ours", "peer")]
        rows.append(Row(f"{files['files']} files of Pillow's tests", "picture or reason", "files", *answered, PEER))
        slowest = [max(0.01, files[who]["slowest_seconds"]) for who in ("ours", "peer")]
        rows.append(Row(f"{files['files']} files of Pillow's tests", "slowest file", "s", *slowest, PEER, False))
    versions = {PEER: metadata.version(PEER)}
    data = f"a loopback server with bodies up to {BODY_MEGABYTES} MB, made pictures, Pillow's test files"
    write("hostile", data, rows, versions)
    (HERE / "hostile.md").write_text("\n".join([table(cases, files).rstrip("\n"), *texts, ""]), "utf-8")


def table(cases: list[Outcome], files: dict[str, Any] | None) -> str:
    """hostile.md: what both did with every case."""
    lines = [
        "# Hostile URLs and odd pictures",
        "",
        f"Written by `make bench NAME=hostile`; yes means: handled as it should be, within {LIMIT_SECONDS:g} s and"
        f" {MEMORY_MEGABYTES} MB. img2dataset {metadata.version(PEER)}, its functions called directly.",
        "",
        "| case | wanted | | ours | | img2dataset |",
        "|---|---|---|---|---|---|",
    ]
    for case in cases:
        cells = []
        for who in ("ours", "peer"):
            seconds = f" ({case[who]['seconds']} s)" if case[who]["seconds"] >= 1 else ""
            cells += ["yes" if case[who]["passed"] else "**no**", case[who]["did"].replace("|", "/") + seconds]
        lines.append(f"| {case['case']} | {case['wanted']} | {' | '.join(cells)} |")
    if files is not None:
        lines += ["", f"{files['files']} files of Pillow's test collection (`fuzz-pillow`):", ""]
        for who, word in (("ours", "ours"), ("peer", PEER)):
            fates = ", ".join(f"{count} {name}" for name, count in files[who]["fates"].items())
            lines.append(f"- {word}: {fates}; slowest {files[who]['slowest_seconds']} s")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
