"""One suite that both engines pass: the same server, the same pixels, reasons, captions and order."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline import storage
from pipeline.code_version import imported_modules
from pipeline.errors import DataError
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Fate, File, PhaseResult
from pipeline.fetching import img2dataset_engine
from pipeline.fetching.decoding import decode
from pipeline.fetching.fetch import fetch
from pipeline.fetching.fetch_config import FetchConfig
from pipeline.fetching.img2dataset_engine import download_with_img2dataset, img2dataset_pictures, read_shard
from pipeline.fetching.img2dataset_worker import LostShardError, worker
from pipeline.pictures.picture_config import IMAGE_COLUMNS, PictureConfig
from pipeline.sample import candidates
from pipeline.web.answer import Fetched
from pipeline.web.network import NetworkConfig
from pipeline.web.together import fetch_all

HEADER = PictureConfig().picture_header()
Engine = Literal["openwit", "img2dataset"]
ENGINES: tuple[Engine, ...] = ("openwit", "img2dataset")


def jpeg(width: int, height: int, seed: int = 0) -> bytes:
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 255, (12, 12, 3), dtype=np.uint8))
    sink = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(sink, "JPEG", quality=92)
    return sink.getvalue()


def png(width: int, height: int, mode: str = "RGB") -> bytes:
    sink = io.BytesIO()
    Image.open(io.BytesIO(jpeg(width, height, 3))).convert(mode).save(sink, "PNG")
    return sink.getvalue()


def rare(format: str) -> bytes:
    sink = io.BytesIO()
    Image.open(io.BytesIO(jpeg(300, 220, 4))).save(sink, format)
    return sink.getvalue()


def bomb() -> bytes:
    sink = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(sink, "PNG")
    return sink.getvalue()


WEB: dict[str, tuple[int, bytes]] = {
    "/large.jpg": (200, jpeg(640, 480)),
    "/tall.jpg": (200, jpeg(200, 500, 1)),
    "/small.jpg": (200, jpeg(100, 80, 2)),
    "/picture.png": (200, png(300, 300)),
    "/grey.png": (200, png(300, 200, "L")),
    "/scan.tif": (200, rare("TIFF")),
    "/scan.jp2": (200, rare("JPEG2000")),
    "/scan.ppm": (200, rare("PPM")),
    "/gone.jpg": (404, b"gone"),
    "/broken.jpg": (500, b"oops"),
    "/page.jpg": (200, b"<!doctype html><title>404</title>"),
    "/cut.jpg": (200, jpeg(640, 480)[:6000]),
    "/tiny.jpg": (200, jpeg(20, 20)),
    "/banner.jpg": (200, jpeg(900, 100)),
    "/bomb.png": (200, bomb()),
    "/private/a.jpg": (200, jpeg(300, 300)),
    "/robots.txt": (200, b"User-agent: *\nDisallow: /private/"),
    "/withheld.jpg": (200, jpeg(300, 300)),
}
REASONS = {
    "/gone.jpg": "not_found",
    "/broken.jpg": "http_error",
    "/page.jpg": "not_an_image",
    "/cut.jpg": "decode_failed",
    "/tiny.jpg": "image_too_small",
    "/banner.jpg": "aspect_too_extreme",
    "/bomb.png": "pixel_limit",
    "/private/a.jpg": "robots_txt",
    "/withheld.jpg": "header_opt_out",
    "/to_loopback.jpg": "address_refused",
}
KEPT = ("/large.jpg", "/tall.jpg", "/small.jpg", "/picture.png", "/grey.png", "/scan.tif", "/scan.jp2", "/scan.ppm")


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = WEB.get(self.path, (302 if self.path == "/to_loopback.jpg" else 404, b""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "http://127.0.0.1/secret.jpg")
        if self.path == "/withheld.jpg":
            self.send_header("X-Robots-Tag", "noai")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def network() -> Iterator[NetworkConfig]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield NetworkConfig(
        hosts={"pictures.test": f"127.0.0.1:{server.server_address[1]}"}, retries=0, retry_wait_seconds=0.0
    )
    server.shutdown()
    server.server_close()


RULES: dict[str, Any] = {"minimum_side_pixels": 24, "maximum_aspect_ratio": 4.0}


def table(paths: list[str]) -> pa.Table:
    return candidates(
        {"url": f"http://pictures.test{path}", "text": f"caption {n} of {path}", "text_origin": "alt", "page_url": ""}
        for n, path in enumerate(paths)
    )


def run(engine: Engine, network: NetworkConfig, paths: list[str], **settings: Any) -> list[dict[str, Any]]:
    """The facts of each path, by what the fetch phase calls for every picture."""
    header = PictureConfig(engine=engine, **RULES | settings).picture_header()
    answers = fetch_all(network, [f"http://pictures.test{path}" for path in paths])
    opened = iter(decode(header, [answer.body for answer in answers if answer.reason is None]))
    return [
        next(opened) if answer.reason is None else {"reason": answer.reason, "evidence": answer.evidence}
        for answer in answers
    ]


@pytest.fixture(scope="module", params=ENGINES)
def facts(request: pytest.FixtureRequest, network: NetworkConfig) -> dict[str, dict[str, Any]]:
    paths = [*KEPT, *REASONS]
    return dict(zip(paths, run(request.param, network, paths), strict=True))


def test_each_failure_has_its_reason_and_its_evidence(facts: dict[str, dict[str, Any]]) -> None:
    assert {path: facts[path].get("reason") for path in REASONS} == REASONS
    assert all(facts[path]["evidence"] for path in REASONS)
    assert all("image" not in facts[path] for path in REASONS)


def test_each_picture_has_every_column_in_its_type(facts: dict[str, dict[str, Any]]) -> None:
    for name, kind in IMAGE_COLUMNS:
        values = [facts[path][name] for path in KEPT]
        assert pa.array(values, kind).null_count == 0, name
    more = {"header_width", "header_height"}
    assert all(set(facts[path]) - more == {name for name, _ in IMAGE_COLUMNS} for path in KEPT)


def test_the_sizes_and_the_checksum_are_those_of_the_picture(facts: dict[str, dict[str, Any]]) -> None:
    sizes = ("original_width", "original_height", "width", "height")
    assert [facts["/large.jpg"][name] for name in sizes] == [640, 480, 256, 192]
    assert [facts["/tall.jpg"][name] for name in sizes] == [200, 500, 102, 256]
    assert [facts["/small.jpg"][name] for name in sizes] == [100, 80, 100, 80]
    stored = Image.open(io.BytesIO(facts["/grey.png"]["image"]))
    assert (stored.format, stored.mode, stored.size) == ("JPEG", "L", (256, 171))
    assert facts["/small.jpg"]["image"] == WEB["/small.jpg"][1]  # nothing to do: stored as it came


@pytest.mark.parametrize("mode", ["border", "center_crop", "keep_ratio", "keep_ratio_largest", "no"])
def test_both_store_the_same_pixels(network: NetworkConfig, mode: str) -> None:
    settings = {"image_size": 128, "resize_mode": mode, "format": "png", "encode_quality": 1}
    paths = [path for path in KEPT if path != "/small.jpg"]
    ours, theirs = (run(engine, network, paths, downscale="area", **settings) for engine in ENGINES)
    near = run("openwit", network, paths, **settings)
    for a, b, c in zip(ours, theirs, near, strict=True):
        exact, other, fast = (np.asarray(Image.open(io.BytesIO(each["image"]))).astype(int) for each in (a, b, c))
        assert np.array_equal(exact, other)
        assert np.abs(fast - other).mean() < 3.0  # of colours at their extremes; photographs: test_resize.py
        assert (a["phash"] ^ b["phash"]).bit_count() <= 2
        assert a["sha256"] == b["sha256"] == c["sha256"]


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_stay_in_order_and_a_picture_with_two_captions_comes_twice(engine: Engine, network: NetworkConfig) -> None:
    paths = ["/small.jpg", "/gone.jpg", "/large.jpg", "/small.jpg"]
    found = run(engine, network, paths)
    assert [fact.get("reason") for fact in found] == [None, "not_found", None, None]
    assert found[0] == found[3] != found[2]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_fetch_phase_gives_each_caption_its_picture_or_its_reason(
    engine: Engine, network: NetworkConfig, tmp_path: Path
) -> None:
    paths = [*KEPT, *REASONS, "/small.jpg"]
    rows = table(paths)
    data = storage.table_bytes(rows)
    storage.write_bytes(str(tmp_path / "selected" / "kept.parquet"), data)
    file = File("kept.parquet", rows.num_rows, len(data), storage.sha256(data))
    fates = {"pairs": Fate(rows.num_rows, rows.num_rows)}
    selected = PhaseResult("select", str(tmp_path / "selected"), (file,), (), fates)
    config = FetchConfig(engine=engine, lanes=4, **RULES)
    result = fetch(config, network, selected, str(tmp_path / "out"), InProcess())
    dropped = {row["url"]: (row["text"], row["reason"]) for row in result.read_dropped().to_pylist()}
    wanted = dict(zip(rows.column("url").to_pylist(), rows.column("text").to_pylist(), strict=True))
    assert dropped == {
        f"http://pictures.test{path}": (wanted[f"http://pictures.test{path}"], reason)
        for path, reason in REASONS.items()
    }
    kept = result.read_kept()
    assert sorted(kept.column("text").to_pylist()) == sorted(
        text for text in rows.column("text").to_pylist() if text.split(" of ")[1] in KEPT
    )
    for row in kept.select(["url", "sha256", "image"]).to_pylist():
        body = WEB[row["url"].removeprefix("http://pictures.test")][1]
        assert row["sha256"] == storage.sha256(body)
        assert Image.open(io.BytesIO(row["image"])).format == "JPEG"


def test_a_table_goes_through_img2dataset_in_one_call(network: NetworkConfig) -> None:
    config = PictureConfig(engine="img2dataset", **RULES)
    found = download_with_img2dataset(config, network, table(["/small.jpg", "/gone.jpg"]))
    assert [fact.get("reason") for fact in found] == [None, "not_found"]
    assert found[0] == run("img2dataset", network, ["/small.jpg"])[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_rules_on_statistics_hold(engine: Engine, network: NetworkConfig) -> None:
    found = run(engine, network, ["/large.jpg", "/small.jpg"], minimum_entropy=8.0)
    assert [fact["reason"] for fact in found] == ["image_blank"] * 2


@pytest.mark.parametrize("engine", ENGINES)
def test_no_rows_are_no_work(engine: Engine, network: NetworkConfig) -> None:
    assert run(engine, network, []) == []


SABOTAGE = """
import os, signal, sys
from pathlib import Path
from pipeline.fetching import img2dataset_child

plan = Path(__file__).with_suffix(".plan")

def make(folder):
    if any(body.read_bytes() == b"poison" for body in (folder / "bodies").iterdir()):
        os.kill(os.getpid(), signal.SIGSEGV)
    done = img2dataset_child.make_shard(folder)
    what = plan.read_text() if plan.exists() else ""
    plan.unlink(missing_ok=True)  # the first shard only
    output = folder / "output"
    if what == "partial_tar":
        tar = output / "00000.tar"
        os.truncate(tar, tar.stat().st_size // 3)
    if what == "no_stats":
        (output / "00000_stats.json").unlink()
    if what == "no_table":
        (output / "00000.parquet").write_bytes(b"PAR1")
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "gave_up":
        return False
    if what == "disk_full":
        print("shard 0 failed with error [Errno 28] No space left on device")
    return done

if plan.exists() and plan.read_text() == "not_installed":
    sys.modules["img2dataset"] = None
img2dataset_child.serve(make)
"""


@pytest.fixture(scope="module")
def sabotaged_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sabotage")
    (folder / "openwit_sabotage.py").write_text(SABOTAGE)
    sys.path.insert(0, str(folder))
    yield folder / "openwit_sabotage.plan"
    sys.path.remove(str(folder))
    worker("openwit_sabotage", os.getpid()).close()


@pytest.fixture
def sabotage(sabotaged_module: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """img2dataset's child with a plan for harm, which is to be written to this path."""
    monkeypatch.setattr(img2dataset_engine, "CHILD", "openwit_sabotage")
    sabotaged_module.unlink(missing_ok=True)
    return sabotaged_module


def answers(*bodies: bytes) -> list[Fetched]:
    return [Fetched(f"http://a.test/{n}", f"http://a.test/{n}", 200, body=body) for n, body in enumerate(bodies)]


@pytest.mark.parametrize("harm", ["partial_tar", "no_stats", "no_table", "killed", "gave_up"])
def test_a_shard_that_img2dataset_loses_is_made_again(sabotage: Path, harm: str) -> None:
    given = answers(jpeg(300, 200), jpeg(280, 200, 1), b"no picture")
    expected = img2dataset_pictures(HEADER, given, ["a", "b", "c"])
    sabotage.write_text(harm)
    assert img2dataset_pictures(HEADER, given, ["a", "b", "c"]) == expected
    assert not sabotage.exists()


def test_a_row_that_kills_it_falls_alone(sabotage: Path) -> None:
    given = answers(jpeg(300, 200), b"poison", jpeg(280, 200, 1))
    found = img2dataset_pictures(HEADER, given, ["a", "b", "c"])
    assert [fact.get("reason") for fact in found] == [None, "decoder_crashed", None]
    assert found[1]["evidence"] == "img2dataset: it ended by SIGSEGV"


@pytest.mark.parametrize(
    ("harm", "words"),
    [("not_installed", "cannot start: ModuleNotFoundError: .*img2dataset.*; pip install"), ("disk_full", "set TMPDIR")],
)
def test_what_the_world_lacks_is_said_and_no_fault_of_the_rows(sabotage: Path, harm: str, words: str) -> None:
    worker("openwit_sabotage", os.getpid()).close()
    sabotage.write_text(harm)
    with pytest.raises(DataError, match=words):
        img2dataset_pictures(HEADER, answers(jpeg(30, 30)), ["a"])


def test_a_shard_that_does_not_end_is_given_up(sabotage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    img2dataset_pictures(HEADER, answers(jpeg(30, 30)), ["a"])
    monkeypatch.setattr(img2dataset_engine, "SECONDS_TO_START", -1.0)  # and one for the row
    found = img2dataset_pictures(HEADER, answers(jpeg(30, 30)), ["a"])
    assert found[0]["reason"] == "decoder_hung"


def test_a_shard_counts_only_when_its_files_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own shard is read with captions and keys; every way to spoil it is seen."""
    whole = tmp_path / "whole"
    monkeypatch.setattr(
        img2dataset_engine,
        "read_shard",
        lambda output, *rest: shutil.copytree(output, whole) and read_shard(output, *rest),
    )
    img2dataset_pictures(HEADER, answers(jpeg(300, 200), b"", jpeg(99, 70)), ["first", "second", "third"])
    rows, found = read_shard(whole, 3, "jpg")
    assert [(row["key"], row["caption"], row["status"]) for row in rows] == [
        ("000000", "first", "success"),
        ("000001", "second", "failed_to_resize"),
        ("000002", "third", "success"),
    ]
    with tarfile.open(whole / "00000.tar") as tar:
        captions = {name: tar.extractfile(name).read() for name in tar.getnames() if name.endswith("txt")}  # type: ignore[union-attr]
    assert captions == {"000000.txt": b"first", "000002.txt": b"third"}
    assert set(found) == {"000000", "000002"}

    def spoiled(name: str, spoil: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(whole, folder)
        spoil(folder)
        return folder

    def miscount(folder: Path) -> None:
        stats = json.loads((folder / "00000_stats.json").read_text())
        (folder / "00000_stats.json").write_text(json.dumps(stats | {"count": 4}))

    def lose_a_row(folder: Path) -> None:
        pq.write_table(pq.read_table(folder / "00000.parquet").slice(1), folder / "00000.parquet")

    def cut(folder: Path) -> None:
        (folder / "00000.tar").write_bytes((whole / "00000.tar").read_bytes()[:1024])

    for name, spoil in (("miscount", miscount), ("lost_row", lose_a_row), ("cut", cut)):
        with pytest.raises(LostShardError):
            read_shard(spoiled(name, spoil), 3, "jpg")


def test_all_that_makes_pictures_is_in_the_code_version() -> None:
    """Modules that only child processes import count too: their change makes new pictures."""
    assert "pipeline.pictures.picture_batch" in imported_modules("pipeline.fetching.decoding")
    assert "pipeline.pictures.picture" in imported_modules("pipeline.pictures.picture_row")
    assert "pipeline.fetching.img2dataset_child" in imported_modules("pipeline.fetching.img2dataset_engine")


def test_its_process_cannot_reach_the_network() -> None:
    code = (
        "import sys, urllib.request\n"
        "from pipeline.fetching.img2dataset_child import _no_network\n"
        "sys.addaudithook(_no_network)\n"
        "try: urllib.request.urlopen('http://127.0.0.1:9/', timeout=2)\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "must not reach the network" in done.stdout
