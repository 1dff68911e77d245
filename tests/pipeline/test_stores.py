"""Sources and datasets on a real S3 server (moto's) spoken to by s3fs: the same as on a disk, also while the server fails."""

import gzip
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline import storage, stores
from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import InProcess
from pipeline.manifest import Manifest
from pipeline.sources.config import FolderSource, ShardsSource, TableSource, WatSource
from pipeline.sources.harvest import harvest
from pipeline.web.web_config import NetworkConfig

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("flask_cors")


class Server:
    """moto's S3, which answers 500 where `fails` says so."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, type: str, message: str, *args: Any) -> None:
                pass

        self.fails: Callable[[str, str], bool] = lambda method, path: False
        self._application = DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _answer(self, environ: Any, start: Any) -> Any:
        if self.fails(environ["REQUEST_METHOD"], environ["PATH_INFO"]):
            said = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
            said = b"" if environ["REQUEST_METHOD"] == "HEAD" else said
            start(
                "500 Internal Server Error", [("Content-Type", "application/xml"), ("Content-Length", str(len(said)))]
            )
            return [said]
        return self._application(environ, start)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    patch, server = pytest.MonkeyPatch(), Server()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "openwit",
        "AWS_SECRET_ACCESS_KEY": "openwit",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server.server_port}",
        "AWS_MAX_ATTEMPTS": "3",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        patch.setenv(name, value)
    patch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    storage.filesystem_of("s3://pool")[0].mkdir("s3://pool")
    yield server
    s3fs.S3FileSystem.clear_instance_cache()
    server.server.shutdown()
    patch.undo()


@pytest.fixture(autouse=True)
def _well(server: Server) -> None:
    server.fails = lambda method, path: False
    s3fs.S3FileSystem.clear_instance_cache()  # listings of the test before


def jpeg(shade: int) -> bytes:
    sink = io.BytesIO()
    Image.new("L", (16, 16), shade).save(sink, "JPEG")
    return sink.getvalue()


def wat(name: str, pages: int) -> bytes:
    members = []
    for number in range(pages):
        links = [{"path": "IMG@/src", "url": f"/{number}.jpg", "alt": f"{name} {number}"}]
        answer = {"Headers": {}, "HTML-Metadata": {"Head": {}, "Links": links}}
        value = {
            "Envelope": {
                "Payload-Metadata": {"HTTP-Response-Metadata": answer},
                "WARC-Header-Metadata": {"WARC-Target-URI": f"http://{name}.example/{number}"},
            }
        }
        payload = json.dumps(value, separators=(",", ":")).encode()
        head = f"WARC/1.0\r\nWARC-Type: metadata\r\nContent-Length: {len(payload)}\r\n\r\n".encode()
        members.append(gzip.compress(head + payload + b"\r\n\r\n", mtime=0))
    return b"".join(members)


def put(root: str) -> None:
    """A WAT pair, a table and a folder below `root`."""
    for name in ("a", "b"):
        storage.write_bytes(f"{root}/crawl/{name}.wat.gz", wat(name, 20))
    sink = io.BytesIO()
    pq.write_table(
        pa.table(
            {"url": [f"http://t.example/{n}.jpg" for n in range(50)], "caption": [f"text {n}" for n in range(50)]}
        ),
        sink,
    )
    storage.write_bytes(f"{root}/table/part.parquet", sink.getvalue())
    for number in range(4):
        storage.write_bytes(f"{root}/pictures/{number}.jpg", jpeg(number))
        storage.write_bytes(f"{root}/pictures/{number}.txt", f"shade {number}".encode())
    write_dataset(
        f"{root}/shards", [(f"http://s.example/{n}", f"t {n}", jpeg(n)) for n in range(5)], samples_per_shard=2
    )


def sources(root: str) -> dict[str, Any]:
    return {
        "crawl": WatSource(kind="wat", files=(f"{root}/crawl/*.wat.gz",)),
        "table": TableSource(kind="table", files=(f"{root}/table/part.parquet",)),
        "pictures": FolderSource(kind="folder", path=f"{root}/pictures"),
        "shards": ShardsSource(kind="shards", path=f"{root}/shards"),
    }


def rows_of(name: str, source: Any, out: str) -> list[dict[str, Any]]:
    rows = harvest(name, source, NetworkConfig(), out, InProcess()).read_kept()
    rows = rows.drop_columns(["location_version"])  # a SHA-256 here, size and checksum of the store there
    found: list[dict[str, Any]] = rows.sort_by([("uid", "ascending")]).to_pylist()
    return found


def test_sources_and_datasets_on_s3_are_those_of_a_disk(server: Server, tmp_path: Path) -> None:
    put("s3://pool/one")
    put(str(tmp_path / "one"))
    assert Manifest.load("s3://pool/one/shards").id == Manifest.load(str(tmp_path / "one" / "shards")).id
    far, near = sources("s3://pool/one"), sources(str(tmp_path / "one"))
    for name in near:
        expected = rows_of(name, near[name], str(tmp_path / "out" / name))
        assert len(expected) == {"crawl": 40, "table": 50, "pictures": 4, "shards": 5}[name]
        assert rows_of(name, far[name], f"s3://pool/out/{name}") == expected


def test_answers_of_500_in_between_are_tried_again(server: Server, tmp_path: Path) -> None:
    storage.write_bytes("s3://pool/two/crawl/a.wat.gz", wat("a", 20))
    source = WatSource(kind="wat", files=("s3://pool/two/crawl/a.wat.gz",))
    asked: list[str] = []

    def second(method: str, path: str) -> bool:
        asked.append(method)
        return len(asked) % 4 == 3

    server.fails = second
    assert len(rows_of("crawl", source, "s3://pool/two/out")) == 20
    assert len(asked) > 8


def test_a_store_that_goes_away_is_one_line_and_the_next_run_goes_on(server: Server) -> None:
    for name in ("a", "b"):
        storage.write_bytes(f"s3://pool/three/{name}.wat.gz", wat(name, 20))
    source = WatSource(kind="wat", files=("s3://pool/three/*.wat.gz",))
    undisturbed = harvest("crawl", source, NetworkConfig(), "s3://pool/three/whole", InProcess())

    def after_one(done: int, total: int, label: str) -> None:
        if done >= 1 and "WAT" in label:
            server.fails = lambda method, path: True

    with pytest.raises(DataError, match=r"^s3://pool/three/\S+: the store does not answer .*run again") as error:
        harvest("crawl", source, NetworkConfig(), "s3://pool/three/out", InProcess(), after_one)
    assert "\n" not in str(error.value)
    server.fails = lambda method, path: False
    s3fs.S3FileSystem.clear_instance_cache()
    read: list[str] = []

    def watched(method: str, path: str) -> bool:
        if path.endswith(".wat.gz") and method == "GET":
            read.append(path)
        return False

    server.fails = watched
    again = harvest("crawl", source, NetworkConfig(), "s3://pool/three/out", InProcess())
    assert again.id == undisturbed.id
    assert len(set(read)) == 1  # the finished file is not read again


def test_a_damaged_file_is_counted_and_a_failing_store_is_not_taken_for_one(server: Server, tmp_path: Path) -> None:
    storage.write_bytes("s3://pool/four/t.parquet", b"PAR1 no table")
    source = TableSource(kind="table", files=("s3://pool/four/t.parquet",))
    result = harvest("t", source, NetworkConfig(), str(tmp_path / "a"), InProcess())
    assert result.read_kept().num_rows == 0
    server.fails = lambda method, path: method == "GET" and path.endswith(".parquet")
    with pytest.raises(DataError, match="the store does not answer"):
        harvest("t", source, NetworkConfig(), str(tmp_path / "b"), InProcess())


def test_what_is_not_there_or_not_installed_is_one_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: str, words: str) -> None:
        with pytest.raises(ConfigError, match=words) as error:
            harvest("w", WatSource(kind="wat", files=(path,)), NetworkConfig(), str(tmp_path), InProcess())
        assert str(error.value).startswith("curate.sources.w: ")
        assert "\n" not in str(error.value)

    failing("s3://pool/none.wat.gz", "does not exist")
    failing("s3://no-such-bucket/*.wat.gz", "fits no file")
    with pytest.raises(FileNotFoundError):
        storage.read_bytes("s3://pool/none")

    def missing(path: str, **options: Any) -> None:
        raise ImportError("install it")

    monkeypatch.setattr(stores.fsspec.core, "url_to_fs", missing)
    for scheme, package in (("s3", "s3fs"), ("gs", "gcsfs"), ("hf", "huggingface_hub")):
        failing(f"{scheme}://pool/a.wat.gz", f"pip install {package}")


def test_a_server_that_is_gone_or_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class GoneError(Exception):
        __module__ = "botocore.exceptions"

    class LostError(Exception):
        __module__ = "httpx2"

    for raised, words in (
        (GoneError("Could not connect\nto the endpoint"), "does not answer .Could not connect to the endpoint"),
        (PermissionError("Forbidden"), "refuses .Forbidden.*credentials"),
        (LostError("[Errno 111] Connection refused"), "does not answer .*refused"),
        (TimeoutError(), "does not answer .TimeoutError"),
    ):
        with pytest.raises(DataError, match=words):
            stores.Store(Failing(raised), "gs").info("x")
    with pytest.raises(ZeroDivisionError):
        stores.Store(Failing(ZeroDivisionError()), "gs").info("x")


class Failing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def info(self, name: str) -> None:
        raise self._error
