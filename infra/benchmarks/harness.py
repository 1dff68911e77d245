"""What every benchmark shares: the peer in an environment of its own, paired timing, and the result file.

    make bench NAME=query_matching

A benchmark `infra/benchmarks/NAME.py` runs ours and the named peer in one go, in turns (ours, peer, ours, peer, ...), so that
a machine that gets slower meanwhile slows both; figures are medians. It checks that both gave the same answers before it
reports a speed. `results/NAME.json` is committed and `table.py` makes the table in README.md from it.
"""

import hashlib
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"


@dataclass(frozen=True)
class Row:
    """One figure, ours beside the peer's. `ratio` says how many times better ours is, whichever way is better."""

    case: str
    metric: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    higher_is_better: bool = True

    @property
    def ratio(self) -> float:
        return self.ours / self.peer if self.higher_is_better else self.peer / self.ours


class Peer:
    """A peer's process: `peers/NAME.py JOB.json`, which answers each line of its stdin with a line of JSON."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid

    def ask(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended at {word!r}; its words are above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def peer(name: str, requirements: Sequence[str], job: Mapping[str, Any], folder: Path) -> Iterator[Peer]:
    """Start `peers/NAME.py` in an environment of its own, which peers with equal `requirements` share."""
    python = peer_python(requirements)
    path = folder / "job.json"
    path.write_text(json.dumps(job), "utf-8")
    process = subprocess.Popen(
        [str(python), str(HERE / "peers" / f"{name}.py"), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Peer(process)
    finally:
        process.kill()
        process.wait()


def peer_python(requirements: Sequence[str]) -> Path:
    """The Python of the environment .peers/HASH, made where it is not there yet."""
    wanted = "\n".join(requirements)
    folder = HERE / ".peers" / hashlib.sha256(wanted.encode()).hexdigest()[:12]
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *requirements], check=True, stderr=subprocess.DEVNULL
        )
        stamp.write_text(wanted, "utf-8")
    return python


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU time of this process: for work on one core, what others do on the machine counts less than in wall time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def paired(ours: Callable[[], float], theirs: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Medians of `repeats` seconds of each, taken in turns; who goes first changes each time."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats):
        for who in (0, 1) if turn % 2 == 0 else (1, 0):
            times[who].append((ours, theirs)[who]())
    return statistics.median(times[0]), statistics.median(times[1])


def machine() -> dict[str, Any]:
    """CPU, cores and system; no name of a host, user or folder."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.system(),
        "arch": platform.machine(),
    }


def write(name: str, data: str, rows: Sequence[Row], versions: Mapping[str, str]) -> Path:
    """results/NAME.json; `data` says what was run on, `versions` those of the peers."""
    for row in rows:
        print(
            f"{row.case}: {row.metric}: ours {row.ours:,.4g} {row.unit}, {row.peer_name} {row.peer:,.4g}, {row.ratio:.2f}x"
        )
    return _save(name, data, versions, {"rows": [asdict(row) | {"ratio": round(row.ratio, 3)} for row in rows]})


def write_facts(
    name: str,
    data: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[Any]],
    versions: Mapping[str, str] | None = None,
) -> Path:
    """results/NAME.json of a measurement that has no peer's figure in every row: a table under its own headings."""
    for row in rows:
        print("  ".join(str(value) for value in row))
    return _save(name, data, versions or {}, {"headings": list(headings), "rows": [list(row) for row in rows]})


def given(script: str, environment: Mapping[str, str]) -> list[str]:
    """NAME=VALUE of each variable that the script's text reads from the environment and was given; folders are left out."""
    read = {re.sub(r"{\w+}", r"\\w+", word) for word in re.findall(r'environ\.get\(\s*f?"([\w{}]+)"', script)}
    return [
        f"{name}={shlex.quote(value)}"
        for name, value in sorted(environment.items())
        if "/" not in value and any(re.fullmatch(word, name) for word in read)
    ]


def _save(name: str, data: str, versions: Mapping[str, str], found: Mapping[str, Any]) -> Path:
    script = HERE / f"{name}.py"
    if not script.exists():  # a part of another benchmark
        script = Path(sys.argv[0])
    own = {"openwit": metadata.version("openwit"), "python": platform.python_version()}
    result = {
        "name": name,
        "command": " ".join([*given(script.read_text("utf-8"), os.environ), f"make bench NAME={name}"]),
        "data": data,
        "machine": machine(),
        "versions": own | dict(versions),
        **found,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    subprocess.run([sys.executable, HERE / "table.py"], check=True)
    print(
        f"written: {path.relative_to(HERE.parent.parent)} and the table in infra/benchmarks/README.md", file=sys.stderr
    )
    return path
