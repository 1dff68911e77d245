"""A real site: three textbooks, crawled over HTTP, every picture accounted for against the books' own list."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pytest
from runs import answer

from pipeline.datasets.shards import read_index
from pipeline.execution.ledger import PhaseResult
from pipeline.manifest import Manifest

HOST = "openstax.openwit.example"


@pytest.fixture(scope="module")
def site(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """(port, the books' list of pictures) of the site, rendered and served on loopback."""
    folder = tmp_path_factory.mktemp("openstax")
    subprocess.run([sys.executable, shared / "tools" / "openstax_site.py", folder], check=True, capture_output=True)
    lists = sorted((shared / "data" / "openstax").glob("*/pairs.jsonl"))
    rows = [json.loads(line) for path in lists for line in path.read_text("utf-8").splitlines()]
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder), "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().split(" port ")[1].split()[0])
        yield port, rows
    finally:
        server.kill()
        server.wait()


def url_of(row: dict[str, str]) -> str:
    """The picture's address as a crawler writes it: one file has a space in its name."""
    return f"http://{HOST}/{row['book']}/{quote(row['image'])}"


@pytest.mark.shared
def test_every_picture_of_a_readable_page_is_kept_or_has_a_reason(
    site: tuple[int, list[dict[str, str]]], tmp_path: Path
) -> None:
    port, rows = site
    root = tmp_path / "runs"
    hosts = f'curate.network.hosts={{{HOST}: "127.0.0.1:{port}"}}'
    result = answer("curate", "openstax", "--set", hosts, "--root", str(root), timeout=500)
    wanted = {url_of(row) for row in rows}
    assert len(rows) == 1598

    crawl = PhaseResult.load(str(next(root.glob("crawl-*"))))
    # Unread: /private/ (robots.txt) and /noai.html (meta); their pictures stand on readable pages of the books as well.
    assert dict(crawl.fates["pages"].reasons) == {"meta_opt_out": 1, "robots_txt": 1}
    found = crawl.read_kept()
    assert set(found.column("url").to_pylist()) == wanted
    texts = dict(zip(found.column("url").to_pylist(), found.column("text").to_pylist(), strict=True))
    for row in rows:
        if row["alt"].strip():
            assert texts[url_of(row)] == " ".join(row["alt"].split())

    folder = result["dataset"]
    manifest = Manifest.load(folder)
    manifest.verify(folder)
    kept = pa.concat_tables([read_index(folder, shard, ["url"]) for shard in manifest.shards]).column("url").to_pylist()
    dropped: list[str] = []
    for name in ("select", "fetch", "deduplicate", "decontaminate"):
        dropped += PhaseResult.load(str(next(root.glob(f"{name}-*")))).read_dropped().column("url").to_pylist()
    assert set(kept) | set(dropped) == wanted
    assert len(kept) + len(dropped) == found.num_rows
    assert len(kept) > 1000
