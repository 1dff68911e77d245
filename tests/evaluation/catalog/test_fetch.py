"""fetch against a hub on loopback: parts, redirects, resumption, checksums, and what it refuses."""

import hashlib
import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from evaluation.catalog import fetch as fetching
from evaluation.catalog import hub as hubs
from evaluation.catalog.benchmarks import card_of, find, names, task_table
from evaluation.catalog.fetch import RECORD, fetch
from evaluation.catalog.presence import present
from orchestration.cli import main
from pipeline.errors import ConfigError, DataError

COMMIT = "c" * 40
TREE = f"/api/datasets/clip-benchmark/wds_vtab-svhn/tree/{COMMIT}"


class FakeHub:
    """The hub's two interfaces and its CDN under another name; counts what is asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {
            "README.md": b"# DTD\n",
            "classnames.txt": b"banded\nblotchy\n",
            "test/0.tar": bytes(range(256)) * 40,
            "test/nshards.txt": b"1",
            "train/0.tar": b"t" * 5000,
        }
        self.entries: list[dict[str, Any]] = [self.entry(name) for name in self.files]
        self.asked: list[str] = []
        self.cut_after: int | None = None  # bodies are cut off there once
        self.ranges = True
        self.status = 200
        self.slow = 0.0  # seconds before each part
        self.redirect: str | None = None  # where files are said to be
        self.pages: list[bytes] | None = []  # in place of the list; None: a list without end
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.handle_error = lambda *request: None  # type: ignore[method-assign]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def entry(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data)}
        if name.endswith(".tar"):
            return entry | {"oid": "0" * 40, "lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}}
        return entry | {"oid": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}

    def handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words: Any) -> None: ...

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                host = self.headers["Host"]
                hub.asked.append(f"{host}{self.path} {self.headers.get('Range', '')}".strip())
                if path == "/robots.txt":
                    return self.give(404, b"")
                if hub.status != 200:
                    return self.give(hub.status, b"")
                if "/revision/" in path:
                    return self.give(200, json.dumps({"sha": COMMIT}).encode())
                if path == TREE and hub.pages:
                    return self.give(200, hub.pages[0])
                if path == TREE and hub.pages is None:
                    after = f'<http://hub.example{TREE}?cursor={len(hub.asked)}>; rel="next"'
                    return self.give(200, b"[]", {"Link": after})
                if path == TREE:  # in two pages
                    second = "cursor=2" in self.path
                    entries = hub.entries[2:] if second else [{"type": "directory", "path": "test"}, *hub.entries[:2]]
                    link = {} if second else {"Link": f'<http://hub.example{TREE}?cursor=2>; rel="next"'}
                    return self.give(200, json.dumps(entries).encode(), link)
                if host == "hub.example" and "/resolve/" in path:
                    name = path.partition(f"/resolve/{COMMIT}/")[2]
                    if hub.redirect:
                        return self.give(302, b"", {"Location": hub.redirect})
                    return self.give(302, b"", {"Location": f"http://cdn.example/{name}?signature=1"})
                time.sleep(hub.slow)
                return self.part(hub.files[path[1:]])

            def part(self, data: bytes) -> None:
                first, last = 0, len(data) - 1
                if hub.ranges:
                    first, last = (int(word) for word in self.headers["Range"].removeprefix("bytes=").split("-"))
                body = data[first : last + 1]
                headers = {"Content-Range": f"bytes {first}-{last}/{len(data)}"} if hub.ranges else {}
                if hub.cut_after is not None and first <= hub.cut_after <= last:
                    hub.cut_after = None
                    hub.status = 503  # and the hub is gone for a while
                    self.give(206, b"", {**headers, "Content-Length": str(len(body))})
                else:
                    self.give(206 if hub.ranges else 200, body, headers)

            def give(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

        return Handler

    def fetch(self, root: Path, name: str = "svhn", **more: Any) -> dict[str, Any]:
        address = f"127.0.0.1:{self.server.server_address[1]}"
        quick = {"hosts": {"hub.example": address, "cdn.example": address}, "retries": 0}
        config = hubs.network_config().model_copy(update=quick)
        return fetch(name, str(root), network=config, hub="http://hub.example", **more)

    def taken(self) -> list[str]:
        return [line for line in self.asked if line.startswith("cdn.example/") and "robots" not in line]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(hubs, "PART_BYTES", 4096)
    running = FakeHub()
    yield running
    running.server.shutdown()
    running.server.server_close()


def test_a_dataset_is_downloaded_in_parts_checked_and_not_taken_again(hub: FakeHub, tmp_path: Path) -> None:
    said: list[tuple[int, int, str]] = []
    found = hub.fetch(tmp_path, said=lambda *words: said.append(words))
    assert (found["files"], found["taken"], found["revision"], found["pinned"]) == (5, 5, COMMIT, False)
    for name, data in hub.files.items():
        assert (tmp_path / "svhn" / name).read_bytes() == data
    total = sum(map(len, hub.files.values()))
    assert said[-1][:2] == (total, total)
    assert [line.split()[-1] for line in hub.taken() if "test/0.tar" in line] == [
        "bytes=0-4095",
        "bytes=4096-8191",
        "bytes=8192-10239",
    ]
    record = json.loads((tmp_path / "svhn" / RECORD).read_text())
    assert record["files"]["test/0.tar"] == hashlib.sha256(hub.files["test/0.tar"]).hexdigest()
    before = len(hub.taken())
    assert hub.fetch(tmp_path)["taken"] == 0
    assert len(hub.taken()) == before
    (tmp_path / "svhn/test/0.tar").write_bytes(b"short")
    assert hub.fetch(tmp_path)["taken"] == 1
    assert (tmp_path / "svhn/test/0.tar").read_bytes() == hub.files["test/0.tar"]


def test_a_download_that_broke_off_goes_on_where_it_ended(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut_after = 9000
    with pytest.raises(DataError, match="the same command goes on where this one ended"):
        hub.fetch(tmp_path, split="test")
    part = tmp_path / "svhn/test/0.tar.part"
    assert part.read_bytes() == hub.files["test/0.tar"][:8192]
    hub.status = 200
    before = len(hub.taken())
    hub.fetch(tmp_path, split="test")
    assert not part.exists()
    assert (tmp_path / "svhn/test/0.tar").read_bytes() == hub.files["test/0.tar"]
    assert [line for line in hub.taken()[before:] if "test/0.tar" in line] == [
        "cdn.example/test/0.tar?signature=1 bytes=8192-10239"
    ]


def test_only_one_split_is_taken_with_what_belongs_to_none(hub: FakeHub, tmp_path: Path) -> None:
    assert hub.fetch(tmp_path, split="test")["files"] == 4
    assert not (tmp_path / "svhn/train").exists()
    assert (tmp_path / "svhn/classnames.txt").exists()


def test_a_server_without_parts_gives_whole_files(hub: FakeHub, tmp_path: Path) -> None:
    hub.ranges = False
    hub.fetch(tmp_path)
    assert (tmp_path / "svhn/test/0.tar").read_bytes() == hub.files["test/0.tar"]


def test_other_bytes_than_the_hub_lists_are_refused_and_thrown_away(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["test/0.tar"] = b"x" + hub.files["test/0.tar"][1:]
    with pytest.raises(DataError, match=r"test/0\.tar: has not the sha256 that the hub lists"):
        hub.fetch(tmp_path)
    assert not (tmp_path / "svhn/test/0.tar").exists()
    assert not (tmp_path / "svhn/test/0.tar.part").exists()


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "a/../b", "a\\b", "a//b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(hub: FakeHub, tmp_path: Path, name: str) -> None:
    hub.entries.append({"type": "file", "path": name, "size": 3, "oid": "0" * 40})
    with pytest.raises(DataError, match="could lie outside its folder; nothing is taken"):
        hub.fetch(tmp_path)
    assert hub.taken() == []


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"path": "test/0.tar"}], "lists two files for one place"),
        ([{"path": "test"}], "lists two files for one place"),
        ([{"path": "test/0.tar.part"}], "lists two files for one place"),
        ([{"path": "x", "size": True}], "lists x without size or hash"),
        ([{"path": "x", "size": -1}], "lists x without size or hash"),
        ([{"path": "x", "lfs": "y", "oid": 7}], "lists x without size or hash"),
        (["x"], "is no list of files"),
        ({"error": "gone"}, "is no list of files"),
        ([{"path": "big.tar", "size": 10**18}], "GB free; name another folder with --to"),
    ],
)
def test_a_lying_list_is_refused_before_anything_is_taken(
    hub: FakeHub, tmp_path: Path, entries: list[Any] | dict[str, Any], message: str
) -> None:
    full = {"type": "file", "size": 3, "oid": "0" * 40}
    more = [full | each if isinstance(each, dict) else each for each in entries]
    hub.pages = [json.dumps(entries if isinstance(entries, dict) else [*hub.entries, *more]).encode()]
    with pytest.raises(DataError, match=message) as caught:
        hub.fetch(tmp_path)
    assert "\n" not in str(caught.value)
    assert hub.taken() == []


def test_another_commit_than_the_card_pins_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"mteb/mnist: the hub gives commit cccccccccccc for cf6afcbae72c; nothing is taken"
    ):
        hub.fetch(tmp_path, "mnist")


def test_a_list_without_end_and_a_file_called_as_our_record(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "MAX_PAGES", 20)
    hub.pages = None
    with pytest.raises(DataError, match="or 20 pages; nothing is taken"):
        hub.fetch(tmp_path)
    hub.files[RECORD] = b'{"revision": "theirs"}'
    hub.pages = [json.dumps([hub.entry(name) for name in hub.files]).encode()]
    hub.fetch(tmp_path)
    assert json.loads((tmp_path / "svhn" / RECORD).read_text())["revision"] == COMMIT
    assert not any(RECORD in line for line in hub.taken())


def test_a_redirect_to_an_address_within_is_not_followed(hub: FakeHub, tmp_path: Path) -> None:
    """The hub's own names are mapped to loopback here; any other name or address there is a stranger's."""
    port = hub.server.server_address[1]
    for place in (f"http://127.0.0.1:{port}/secret", f"http://localhost:{port}/secret", "file:///etc/passwd"):
        hub.redirect = place
        with pytest.raises(DataError) as caught:
            hub.fetch(tmp_path)
        assert "\n" not in str(caught.value)
        assert not any("secret" in line and "hub.example" not in line for line in hub.asked), place
        left = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
        assert left == []


def test_a_full_disk_is_one_line_and_the_next_call_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(DataError, match=r"svhn: cannot be written \(File too large\)"):
            hub.fetch(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "svhn" / RECORD).exists()
    assert not (tmp_path / "svhn/test/0.tar").exists()
    hub.fetch(tmp_path)
    assert (tmp_path / "svhn/test/0.tar").read_bytes() == hub.files["test/0.tar"]


def test_killed_in_the_middle_and_started_again_it_is_whole(hub: FakeHub, tmp_path: Path) -> None:
    hub.slow = 0.3
    address = f"127.0.0.1:{hub.server.server_address[1]}"
    script = (
        "import sys; from evaluation.catalog import hub; from evaluation.catalog.fetch import fetch; hub.PART_BYTES = 1024\n"
        "hosts = dict.fromkeys(['hub.example', 'cdn.example'], sys.argv[1])\n"
        "config = hub.network_config().model_copy(update={'hosts': hosts, 'retries': 0})\n"
        "fetch('svhn', sys.argv[2], network=config, hub='http://hub.example')"
    )
    child = subprocess.Popen([sys.executable, "-c", script, address, str(tmp_path)])
    part, deadline = tmp_path / "svhn/test/0.tar.part", time.monotonic() + 60
    while not (part.exists() and part.stat().st_size):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.kill()
    child.wait()
    kept = part.stat().st_size
    assert 0 < kept < len(hub.files["test/0.tar"])
    hub.slow = 0.0
    before = len(hub.taken())
    hub.fetch(tmp_path)
    for name, data in hub.files.items():
        assert (tmp_path / "svhn" / name).read_bytes() == data
    first = next(line for line in hub.taken()[before:] if "test/0.tar" in line)
    assert f"bytes={kept}-" in first
    assert not list(tmp_path.rglob("*.part"))


def test_every_benchmark_says_where_it_is_from_under_which_licence_and_what_to_put_where(tmp_path: Path) -> None:
    for name in names():
        card = card_of(name)
        if card.loader:
            continue
        assert "http" in card.source, name
        assert card.licence != "not stated", name
        assert card.by_hand, name
        said = fetching.by_hand(name, str(tmp_path))
        assert card.source in said
        assert card.needs in said
        assert f"put that into {tmp_path / find(name).folder}" in said


def test_what_is_called_to_be_fetched_can_be(tmp_path: Path) -> None:
    """SUN397's public copy has no split: table and advice said "fetch" of the benchmark, and `fetch` refused."""
    told = {
        row["task"]: row["get"] for row in task_table(("sun397", "sun397@datacomp", "eurosat", "eurosat@clip-paper"))
    }
    assert told == {
        "sun397": "by hand",
        "sun397@datacomp": "fetch",
        "eurosat": "fetch",
        "eurosat@clip-paper": "by hand",
    }
    (tmp_path / "other").mkdir()
    for name, how in (
        ("sun397", "says where to get it"),
        ("sun397@datacomp", "gets it"),
        ("eurosat@clip-paper", "says where to get it"),
    ):
        assert present(find(name), str(tmp_path))["reason"].endswith(f"; `openwit tasks fetch {name}` {how}")
    voc = card_of("voc2007")  # its copy has lost which objects are difficult, and serves where that is told
    assert (voc.held, voc.can_be_fetched("official"), voc.can_be_fetched("datacomp")) == (
        "difficult-counted",
        True,
        False,
    )


def test_what_cannot_be_fetched_says_where_to_get_it(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        DataError, match=r"those who accepted its terms; licence: ImageNet's terms.* put that into .*/imagenet"
    ):
        hub.fetch(tmp_path, "imagenet")
    with pytest.raises(DataError, match=r"get it at .*UCF101\.php: .*midframes\.zip.*; put that into .*/ucf101"):
        hub.fetch(tmp_path, "ucf101")
    with pytest.raises(DataError, match=r"the public copy is 'vtab', from which 'clip-paper' cannot be had; get it at"):
        hub.fetch(tmp_path, "eurosat@clip-paper")
    with pytest.raises(DataError, match=r"the public copy is 'official', from which 'fold-3' cannot be had"):
        hub.fetch(tmp_path, "stl10@fold-3")
    with pytest.raises(DataError, match="drawn by openwit; there is nothing to download"):
        hub.fetch(tmp_path, "digits")
    with pytest.raises(ConfigError, match="did you mean dtd"):
        hub.fetch(tmp_path, "dtdd")
    with pytest.raises(ConfigError, match="is no local folder"):
        fetch("svhn", "s3://bucket/benchmarks")
    hub.status = 401
    with pytest.raises(DataError, match="the hub wants its terms accepted first"):
        hub.fetch(tmp_path)
    hub.status = 200
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 100}))
    with pytest.raises(DataError, match="GB free; name another folder with --to"):
        hub.fetch(tmp_path)
    assert main(["tasks", "fetch", "hateful-memes", "--to", str(tmp_path)]) == 2
    shown = capsys.readouterr().err.strip()
    assert "accept the licence at the source" in shown
    assert "\n" not in shown
