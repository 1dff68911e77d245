"""A real site end to end: of the picture-text pairs that its authors wrote, how many are found, and how many are kept?

Three OpenStax textbooks (CC BY 4.0), rendered to 460 pages and served on loopback, are curated by the recipe `openstax`; the
books' own list of pictures and alt texts is the ground truth. Needs ../shared.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from harness import write_facts

from pipeline.datasets.shards import read_index
from pipeline.execution.ledger import PhaseResult
from pipeline.manifest import Manifest

SHARED = Path(__file__).resolve().parents[3] / "shared"
HOST = "openstax.openwit.example"


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The port of the rendered site."""
    subprocess.run([sys.executable, SHARED / "tools" / "openstax_site.py", folder], check=True, capture_output=True)
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder), "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        yield int(server.stdout.readline().split(" port ")[1].split()[0])
    finally:
        server.kill()
        server.wait()


def truth() -> dict[str, str]:
    """Picture's URL -> the alt text that its author wrote."""
    found = {}
    for path in sorted((SHARED / "data" / "openstax").glob("*/pairs.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            found[f"http://{HOST}/{row['book']}/{quote(row['image'])}"] = " ".join(row["alt"].split())
    return found


def curate(port: int, root: Path) -> str:
    hosts = f'curate.network.hosts={{{HOST}: "127.0.0.1:{port}"}}'
    words = ["curate", "openstax", "--set", hosts, "--root", str(root), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *words], stdout=subprocess.PIPE, text=True, check=True
    )
    return str(json.loads(done.stdout)["dataset"])


def main() -> None:
    if not SHARED.is_dir():
        raise SystemExit("no ../shared beside this checkout, so no books to read")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "runs"
        with served(Path(name) / "site") as port:
            dataset = curate(port, root)
        wanted = truth()
        crawled = PhaseResult.load(str(next(root.glob("crawl-*")))).read_kept(["url", "text", "texts"]).to_pylist()
        urls = {row["url"] for row in crawled}
        said = {(row["url"], each["text"]) for row in crawled for each in row["texts"]}
        with_text = {url: text for url, text in wanted.items() if text}
        exact = sum((url, text) in said for url, text in with_text.items())
        manifest = Manifest.load(dataset)
        kept = {url for s in manifest.shards for url in read_index(dataset, s, ["url"]).column("url").to_pylist()}
        dropped: Counter[str] = Counter()
        for phase in ("select", "fetch", "deduplicate", "decontaminate"):
            dropped.update(dict(PhaseResult.load(str(next(root.glob(f"{phase}-*")))).fates["pairs"].reasons))
        rows: list[list[object]] = [
            ["pictures in the books", len(wanted), ""],
            ["found by the crawl", len(urls & set(wanted)), f"{len(urls & set(wanted)) / len(wanted):.1%}"],
            ["of those with an alt text, found with exactly it", exact, f"{exact / len(with_text):.1%}"],
            ["found that is in no book", len(urls - set(wanted)), ""],
            ["kept in the dataset", len(kept), f"{len(kept) / len(wanted):.1%}"],
            *([f"dropped: {reason}", count, f"{count / len(wanted):.1%}"] for reason, count in dropped.most_common()),
        ]
    write_facts("openstax", "three OpenStax textbooks as a site of 460 pages", ["what", "pictures", "share"], rows)


if __name__ == "__main__":
    main()
