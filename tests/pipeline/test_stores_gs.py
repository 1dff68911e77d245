"""Sources and datasets on a server that speaks Google's JSON API (gcp-storage-emulator's), by gcsfs: the same as on a disk,
also while the server fails."""

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import storage
from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import InProcess
from pipeline.manifest import Manifest
from pipeline.sources.config import TableSource, WatSource
from pipeline.sources.harvest import harvest
from pipeline.sources.inputs import identify
from pipeline.streams import read_ranges, stream
from pipeline.web.web_config import NetworkConfig
from tests.pipeline.test_stores import jpeg, put, rows_of, sources, wat

gcsfs = pytest.importorskip("gcsfs")
emulator = pytest.importorskip("gcp_storage_emulator.server")


class Server:
    """The emulator, which answers otherwise where `says` gives a status and words."""

    def __init__(self) -> None:
        from gcp_storage_emulator.handlers import buckets
        from gcp_storage_emulator.storage import Storage

        self.says: Callable[[str, str], tuple[int, str] | None] = lambda method, path: None
        one_at_a_time = threading.Lock()
        outer = self

        class Handler(emulator.RequestHandler):  # type: ignore[name-defined,misc]
            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # gcsfs does not wait for what it knows already

            def parse_request(self) -> bool:
                if not super().parse_request():
                    return False
                said = outer.says(self.command, self.path)
                if said is None:
                    one_at_a_time.acquire()
                    try:
                        getattr(self, f"do_{self.command}")()
                    finally:
                        one_at_a_time.release()
                else:
                    body = json.dumps({"error": {"code": said[0], "message": said[1]}}).encode()
                    self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    self.send_response(said[0])
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                self.close_connection = True
                return False  # it is answered

        memory = Storage(use_memory_fs=True)
        buckets.create_bucket("pool", memory)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, memory))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def _server() -> Iterator[Server]:
    patch, server = pytest.MonkeyPatch(), Server()
    patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server.server_port}")
    patch.setattr("gcsfs.retry.random", SimpleNamespace(random=lambda: -0.98))  # waits of 0.02 s and more
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield server
    gcsfs.GCSFileSystem.clear_instance_cache()
    server.server.shutdown()
    server.server.server_close()
    patch.undo()


@pytest.fixture
def server(_server: Server) -> Iterator[Server]:
    yield _server
    _server.says = lambda method, path: None


def test_sources_and_datasets_on_google_storage_are_those_of_a_disk(server: Server, tmp_path: Path) -> None:
    put("gs://pool/one")
    put(str(tmp_path / "one"))
    assert Manifest.load("gs://pool/one/shards").id == Manifest.load(str(tmp_path / "one" / "shards")).id
    far, near = sources("gs://pool/one"), sources(str(tmp_path / "one"))
    for name in near:
        expected = rows_of(name, near[name], str(tmp_path / "out" / name))
        assert len(expected) == {"crawl": 40, "table": 50, "pictures": 4, "shards": 5}[name]
        assert rows_of(name, far[name], f"gs://pool/out/{name}") == expected


def test_large_files_ranges_and_folders(server: Server) -> None:
    data = bytes(range(256)) * 30_000
    with stream("gs://pool/large") as sink:
        sink.write(data)
    assert sink.written.sha256 == storage.sha256_file("gs://pool/large") == storage.sha256(data)
    assert read_ranges(["gs://pool/large"] * 2, [5, 7_000_000], [3, 4]) == [data[5:8], data[7_000_000:7_000_004]]
    assert storage.list_names("gs://pool/none") == []
    for name in ("b", "a", "c/d"):
        storage.write_bytes(f"gs://pool/folder/{name}", name.encode())
    assert storage.list_names("gs://pool/folder") == ["a", "b", "c"]
    storage.remove_tree("gs://pool/folder")
    assert storage.list_names("gs://pool/folder") == []
    # What another process writes is seen at once, and equal bytes are one file whenever they were written.
    assert not storage.exists("gs://pool/seen/x")
    gcsfs.GCSFileSystem(skip_instance_cache=True).pipe_file("pool/seen/x", b"1")
    assert storage.list_names("gs://pool/seen") == ["x"]
    first = identify("gs://pool/seen/x")
    storage.write_bytes("gs://pool/seen/x", b"1")
    assert identify("gs://pool/seen/x") == first


def test_failures_in_between_are_tried_again(server: Server, tmp_path: Path) -> None:
    storage.write_bytes("gs://pool/two/a.wat.gz", wat("a", 20))
    asked: list[str] = []

    def third(method: str, path: str) -> tuple[int, str] | None:
        asked.append(method)
        return (503, "Backend Error") if len(asked) % 3 == 2 else None

    server.says = third
    source = WatSource(kind="wat", files=("gs://pool/two/*.wat.gz",))
    assert len(rows_of("crawl", source, str(tmp_path / "out"))) == 20
    assert len(asked) > 4


def test_a_store_that_goes_away_is_one_line_and_the_next_run_goes_on(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        storage.write_bytes(f"gs://pool/three/{name}.wat.gz", wat(name, 20))
    source = WatSource(kind="wat", files=("gs://pool/three/*.wat.gz",))
    undisturbed = harvest("crawl", source, NetworkConfig(), "gs://pool/three/whole", InProcess())

    def after_one(done: int, total: int, label: str) -> None:
        if done >= 1 and "WAT" in label:
            server.says = lambda method, path: (507, "gone")  # not tried again, which would take half a minute

    with pytest.raises(DataError, match=r"^gs://pool/three/\S+: the store does not answer \(gone.*run again") as error:
        harvest("crawl", source, NetworkConfig(), "gs://pool/three/out", InProcess(), after_one)
    assert "\n" not in str(error.value)
    read: list[str] = []

    def watched(method: str, path: str) -> None:
        if ".wat.gz" in path and "alt=media" in path:
            read.append(path)

    server.says = watched
    assert harvest("crawl", source, NetworkConfig(), "gs://pool/three/out", InProcess()).id == undisturbed.id
    assert len({path.split("?")[0] for path in read}) == 1  # the finished file is not read again
    assert "Traceback" not in capfd.readouterr().err  # gcsfs's own log


def test_refusals_and_mistakes_are_one_line(server: Server, tmp_path: Path) -> None:
    for status, words in (
        (401, "Anonymous caller does not have storage.objects.get access"),
        (403, "denied by policy"),
        (400, "an invalid argument"),
    ):
        server.says = lambda method, path, said=(status, words): said  # type: ignore[misc]
        with pytest.raises(DataError, match=f"^gs://pool/x.*{words}.*check its credentials") as error:
            storage.size("gs://pool/x")
        assert "\n" not in str(error.value)
        with pytest.raises(DataError) as error:
            write_dataset("gs://pool/refused", [("http://s.example/1", "t", jpeg(1))])
        assert "\n" not in str(error.value)
    server.says = lambda method, path: None
    # A bucket that is not there is none to be made.
    with pytest.raises(DataError, match=r"^gs://no-such-bucket/x: cannot be written"):
        storage.write_bytes("gs://no-such-bucket/x", b"1")
    for path in ("gs://pool/none.jsonl", "gs://no-such-bucket/*.jsonl"):
        with pytest.raises(ConfigError, match=r"does not exist|fits no file"):
            harvest("t", TableSource(kind="table", files=(path,)), NetworkConfig(), str(tmp_path), InProcess())
