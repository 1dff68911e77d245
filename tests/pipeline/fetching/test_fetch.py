"""Fetch against a real server: lanes, the journal that outlives a kill, resting hosts, pictures already on storage."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from rude_web import Web, plain

from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Fate, File, PhaseResult
from pipeline.fetching import fetch as fetch_steps
from pipeline.fetching.fetch import FetchConfig, fetch, store_name
from pipeline.fetching.journal import lane_of
from pipeline.sample import candidates
from pipeline.web.web_config import NetworkConfig


def picture(seed: int, side: int = 40) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(sink, "JPEG")
    return sink.getvalue()


def jpeg(seed: int) -> bytes:
    return plain(picture(seed), Content_Type="image/jpeg")


def selection(folder: Path, urls: Sequence[str], **more: Any) -> PhaseResult:
    """A selected phase of these URLs, one file; `more` are columns."""
    rows = candidates(
        {"url": url, "text": f"text {number}", "text_origin": "alt", "page_url": "http://a.example/"}
        for number, url in enumerate(urls)
    )
    for name, values in more.items():
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values, rows.schema.field(name).type))
    data = storage.table_bytes(rows)
    storage.write_bytes(str(folder / "kept.parquet"), data)
    file = File("kept.parquet", rows.num_rows, len(data), storage.sha256(data))
    result = PhaseResult("select", str(folder), (file,), (), {"pairs": Fate(rows.num_rows, rows.num_rows)})
    result.save()
    return result


class Runs:
    """Fetches of one test: each in a folder of its own, all with one store."""

    def __init__(self, web: Web, root: Path, **network: Any) -> None:
        hosts = {f"{name}.example": f"127.0.0.1:{web.port}" for name in "abcdefgh"}
        quick = {"host_rest_seconds": 0.05, "hosts": hosts, "read_tdmrep": False}
        self.network = web.config(**{**quick, **network})
        self.root = root

    def __call__(
        self, urls: Sequence[str], name: str = "out", exclude: str | None = None, **config: Any
    ) -> PhaseResult:
        wish = FetchConfig(**{"lanes": 4, "rows_per_item": 8, **config})
        selected = selection(self.root / f"{name}-selected", urls)
        folder = str(self.root / name)
        store = str(self.root / "store")
        return fetch(wish, self.network, selected, folder, InProcess(), store=store, exclude=exclude)


def reasons(result: PhaseResult) -> dict[str, str]:
    return {row["url"]: row["reason"] for row in result.read_dropped().to_pylist()}


def test_pictures_arrive_and_everything_else_is_a_reason(web: Web, tmp_path: Path) -> None:
    web.answers |= {f"/{n}.jpg": jpeg(n) for n in range(30)}
    web.answers["/text.jpg"] = plain(b"no picture")
    web.answers["/once.jpg"] = [plain(b"", "500 Oops"), jpeg(99)]
    web.answers["/old.jpg"] = plain(b"", "302 Moved", Location="/1.jpg")
    urls = [f"http://{host}.example/{n}.jpg" for n in range(30) for host in "abc"]
    odd = ["/text.jpg", "/none.jpg", "/once.jpg", "/old.jpg"]
    result = Runs(web, tmp_path)([*urls, *(f"http://a.example{path}" for path in odd), "ftp://x/", urls[0]])
    kept = result.read_kept()
    assert result.fates["pairs"].rows_in == 96
    assert sorted(kept.column("url").to_pylist()) == sorted(
        [*urls, urls[0], "http://a.example/once.jpg", "http://a.example/old.jpg"]
    )
    assert reasons(result) == {
        "http://a.example/text.jpg": "not_an_image",
        "http://a.example/none.jpg": "not_found",
        "ftp://x/": "address_refused",
    }
    for row in kept.to_pylist():
        assert row["image"] == (
            picture(int(Path(row["url"]).stem)) if Path(row["url"]).stem.isdigit() else row["image"]
        )
    assert result.telemetry["retried"] == result.telemetry["redirected"] == 1
    assert (result.telemetry["met_404"], result.telemetry["met_not_an_image"]) == (1, 1)
    assert max(web.asked.values()) == 2  # /once.jpg; a URL of two rows is asked for once


def test_an_answer_without_a_byte_is_a_reason_wherever_it_stands_in_a_batch(web: Web, tmp_path: Path) -> None:
    web.answers |= {"/empty.jpg": plain(b""), "/0.jpg": jpeg(0)}
    run = Runs(web, tmp_path)
    assert reasons(run(["http://a.example/empty.jpg"])) == {"http://a.example/empty.jpg": "not_an_image"}
    both = run(["http://b.example/0.jpg", "http://b.example/empty.jpg"], "both")
    assert (both.read_kept().num_rows, reasons(both)) == (1, {"http://b.example/empty.jpg": "not_an_image"})


def test_a_picture_whose_hash_was_taken_down_falls_wherever_it_is_found(web: Web, tmp_path: Path) -> None:
    web.answers |= {"/1.jpg": jpeg(1), "/2.jpg": jpeg(2), "/copy.jpg": jpeg(1)}
    urls = [f"http://{host}.example/{name}.jpg" for host, name in (("a", "1"), ("a", "2"), ("b", "copy"))]
    runs = Runs(web, tmp_path)
    digest = next(row["sha256"] for row in runs(urls).read_kept().to_pylist() if row["url"] == urls[0])
    (tmp_path / "tombstones.txt").write_text(f"sha256 {digest}\n")
    again = runs(urls, exclude=str(tmp_path / "tombstones.txt"))
    assert again.read_kept().column("url").to_pylist() == [urls[1]]
    assert reasons(again) == {urls[0]: "taken_down", urls[2]: "taken_down"}
    assert max(web.asked.values()) == 1


def test_the_result_depends_on_neither_lanes_nor_order(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.answers |= {f"/{n}.jpg": jpeg(n) for n in range(40)}
    urls = [f"http://{'abcdefgh'[n % 8]}.example/{n}.jpg" for n in range(44)]
    runs = Runs(web, tmp_path)
    rows = []
    for name, lanes, order in (("one", 1, 1), ("two", 2, -1), ("eight", 8, 1)):
        result = runs(urls[::order], name, lanes=lanes)
        columns = ["url", "sha256", "phash", "image", "width"]
        rows.append(sorted(map(str, result.read_kept(columns).to_pylist())))
        assert len(reasons(result)) == 4
    assert rows[0] == rows[1] == rows[2]
    assert max(web.asked.values()) == 1  # the store of another number of lanes is read as it is
    again = Runs(web, tmp_path / "other")(urls, lanes=8)
    assert again.id == result.id
    monkeypatch.setattr(fetch_steps, "GATHERED_BY_LANE", 1)  # the rest of a lane's parts goes to whoever is idle
    divided = runs(urls, "divided", lanes=1, rows_per_item=5).id
    monkeypatch.undo()
    assert divided == runs(urls, "whole", lanes=1, rows_per_item=5).id


def test_another_selection_downloads_only_what_is_new(web: Web, tmp_path: Path) -> None:
    web.answers |= {f"/{n}.jpg": jpeg(n) for n in range(20)}
    runs = Runs(web, tmp_path)
    runs([f"http://a.example/{n}.jpg" for n in range(12)], "first")
    web.asked.clear()
    result = runs([f"http://a.example/{n}.jpg" for n in range(6, 20)], "second")
    assert result.fates["pairs"].kept == 14
    assert set(web.asked) == {("a.example", f"/{n}.jpg") for n in range(12, 20)}  # nor robots.txt: the store has it


def test_a_later_round_tries_again_what_can_succeed_and_nothing_else(web: Web, tmp_path: Path) -> None:
    web.answers |= {"/good.jpg": jpeg(1), "/bad.jpg": plain(b"", "503 Busy"), "/text.jpg": plain(b"no picture")}
    urls = [f"http://a.example/{name}.jpg" for name in ("good", "bad", "gone", "text")]
    runs = Runs(web, tmp_path, retries=1)
    first = runs(urls, "first")
    assert reasons(first)["http://a.example/bad.jpg"] == "http_error"
    assert web.asked["a.example", "/bad.jpg"] == 2
    web.asked.clear()
    assert reasons(runs(urls, "same")) == reasons(first)
    assert not web.asked
    web.answers["/bad.jpg"] = jpeg(2)
    later = runs(urls, "later", retry_round=1)
    assert set(web.asked) == {("a.example", "/bad.jpg")}
    assert sorted(reasons(later)) == ["http://a.example/gone.jpg", "http://a.example/text.jpg"]


def test_a_site_that_is_down_leaves_nothing_behind(web: Web, tmp_path: Path) -> None:
    web.answers["/1.jpg"] = plain(b"", "503 Busy")
    runs = Runs(web, tmp_path, retries=0)
    with pytest.raises(DataError, match="is the site up"):
        runs(["http://a.example/1.jpg"])
    assert not (tmp_path / "out").exists()
    web.answers["/1.jpg"] = jpeg(1)
    assert runs(["http://a.example/1.jpg"]).fates["pairs"].kept == 1


def test_a_host_that_never_answers_is_given_up_and_others_are_not_held_up(web: Web, tmp_path: Path) -> None:
    def silence(out: Any, headers: dict[str, str]) -> None:
        time.sleep(30)

    web.answers |= {f"/{n}.jpg": jpeg(n) for n in range(60)}
    web.answers["/hangs/robots.txt"] = silence
    runs = Runs(web, tmp_path, retries=1, total_seconds=0.6, concurrency=4)
    down = runs.network.model_copy(update={"hosts": runs.network.hosts | {"down.example": "127.0.0.1:9"}})
    runs.network = down
    urls = [f"http://b.example/{n}.jpg" for n in range(60)]
    started = time.monotonic()
    result = runs([*(f"http://down.example/{n}.jpg" for n in range(30)), *urls])
    assert time.monotonic() - started < 5
    fallen = result.read_dropped().to_pylist()
    assert {row["reason"] for row in fallen} == {"host_unreachable"}
    assert {row["evidence"] for row in fallen} == {"given up after connection_failed: refused, reset or cut off"}
    assert (len(fallen), result.fates["pairs"].kept) == (30, 60)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from pipeline.fetching.fetch import FetchConfig, fetch
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import PhaseResult
from pipeline.web.web_config import NetworkConfig
import json, pipeline.fetching.lane
pipeline.fetching.lane.SEGMENT_ROWS = 4
network = NetworkConfig(**json.loads({network!r}))
wish = FetchConfig(lanes=2, rows_per_item=8)
fetch(wish, network, PhaseResult.load({selected!r}), {folder!r}, InProcess(), store={store!r})
"""


def test_after_kill_9_only_what_is_missing_is_asked_for(web: Web, tmp_path: Path) -> None:
    def slow(seed: int) -> Any:
        def answer(out: Any, headers: dict[str, str]) -> None:
            time.sleep(0.05)
            out.write(jpeg(seed))

        return answer

    web.answers |= {f"/{n}.jpg": slow(n) for n in range(60)}
    urls = [f"http://{host}.example/{n}.jpg" for n in range(60) for host in "ab"]
    runs = Runs(web, tmp_path, per_host_concurrency=2)
    selected = selection(tmp_path / "out-selected", urls)
    script = KILLED.format(
        tests=str(Path(__file__).parents[2]),
        network=runs.network.model_dump_json(),
        selected=selected.folder,
        folder=str(tmp_path / "out"),
        store=str(tmp_path / "store"),
    )
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "store").rglob("journal/**/*.parquet"))) < 6:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    known = sum(
        storage.read_table(str(path), ["url"]).num_rows for path in (tmp_path / "store").rglob("journal/**/*.parquet")
    )
    web.asked.clear()
    result = runs(urls, lanes=2)
    assert result.fates["pairs"].kept == 120
    assert sum(count for (_, path), count in web.asked.items() if path.endswith("jpg")) == 120 - known
    undisturbed = Runs(web, tmp_path / "other")(urls, lanes=2)
    assert undisturbed.id == result.id


def test_pictures_on_storage_are_read_where_they_lie(web: Web, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(picture(1))
    (tmp_path / "photos" / "two.bin").write_bytes(picture(2) + picture(3))
    (tmp_path / "secret.jpg").write_bytes(picture(4))
    size = len(picture(2))
    given = [
        ("photos/a.jpg", None, None, None),
        ("photos/two.bin", 0, size, None),
        ("photos/two.bin", size, len(picture(3)), None),
        ("photos/two.bin", size, 99_999, "file_missing"),
        ("photos/none.jpg", None, None, "file_missing"),
        ("photos/../secret.jpg", None, None, "address_refused"),
        ("photos//etc/passwd", None, None, "address_refused"),
    ]
    selected = selection(
        tmp_path / "selected",
        [f"file:{number}" for number in range(len(given))],
        location=[place for place, *_ in given],
        location_offset=[offset for _, offset, _, _ in given],
        location_bytes=[length for _, _, length, _ in given],
    )
    roots = {"photos": str(tmp_path / "photos")}
    result = fetch(FetchConfig(lanes=2), web.config(), selected, str(tmp_path / "out"), InProcess(), roots=roots)
    assert {row["url"]: row["image"] for row in result.read_kept().to_pylist()} == {
        f"file:{number}": picture(number + 1) for number in range(3)
    }
    assert reasons(result) == {f"file:{n}": reason for n, (*_, reason) in enumerate(given) if reason}
    assert not web.asked
    with pytest.raises(DataError, match="no source is called 'photos'"):
        fetch(FetchConfig(lanes=2), web.config(), selected, str(tmp_path / "other"), InProcess())


def test_a_store_has_a_name_of_its_own_for_each_form_of_pictures(web: Web) -> None:
    network = web.config()
    one = store_name(FetchConfig(), network, "code")
    assert one == store_name(FetchConfig(lanes=2, retry_round=3), web.config(concurrency=1), "code")
    assert one == store_name(FetchConfig(minimum_side_pixels=9), web.config(contact="me@a.example", retries=9), "code")
    package = FetchConfig(engine="img2dataset")  # it filters by itself
    others = [
        store_name(FetchConfig(image_size=64), network, "code"),
        store_name(FetchConfig(), web.config(user_agent="other/1"), "code"),
        store_name(FetchConfig(), web.config(opt_out_directives=("noai",)), "code"),
        store_name(FetchConfig(), network, "other code"),
        store_name(package, network, "code"),
        store_name(package.model_copy(update={"minimum_side_pixels": 9}), network, "code"),
    ]
    assert len({one, *others}) == 7


def wide(seed: int, *size: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(sink, "PNG")
    return plain(sink.getvalue(), Content_Type="image/png")


def asked_for(web: Web) -> set[str]:
    """Names of the pictures that were asked for since."""
    found = {path.strip("/").removesuffix(".jpg") for _, path in web.asked if path.endswith(".jpg")}
    web.asked.clear()
    return found


NETWORK = {"retries": 1, "total_seconds": 0.4, "retry_wait_seconds": 0.01, "allowed_ports": (80, 81)}


@pytest.mark.parametrize(
    ("network", "fetching", "asked"),
    [
        ({"contact": "me@a.example", "concurrency": 3}, {"lanes": 2}, set()),
        ({"retries": 0}, {}, {"busy", "slow"}),
        ({"total_seconds": 3.0}, {}, {"busy", "slow"}),
        ({"allowed_ports": (80, 81, 82)}, {}, {"port82"}),
        ({"allowed_ports": (80,)}, {}, {"once", "twice", "good"}),  # which ports their redirects went over is not known
        ({"max_redirects": 1}, {}, {"twice", "once"}),
        ({"max_bytes": 60_000}, {}, {"large"}),
        ({"max_bytes": 2_000}, {}, {"large"}),
        ({}, {"minimum_side_pixels": 30}, set()),
        ({}, {"minimum_side_pixels": 0, "maximum_aspect_ratio": 9.0}, {"wide", "tiny"}),
        ({}, {"maximum_pixels": 5_000, "minimum_entropy": 2.0, "minimum_sharpness": 9.0}, set()),
        ({}, {"minimum_entropy": 0.0}, {"blank"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_a_changed_setting_asks_again_for_what_it_may_turn_and_changes_the_result_like_an_empty_store(
    web: Web, tmp_path: Path, network: dict[str, Any], fetching: dict[str, Any], asked: set[str]
) -> None:
    def slow(out: Any, headers: dict[str, str]) -> None:
        time.sleep(0.8)
        out.write(jpeg(5))

    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(noise).save(sink, "PNG")
    web.answers |= {
        "/good.jpg": jpeg(1),
        "/flat.jpg": wide(2, 100, 40),
        "/wide.jpg": wide(3, 100, 20),
        "/tiny.jpg": wide(4, 15, 9),
        "/blank.jpg": plain(blank(), Content_Type="image/png"),
        "/large.jpg": plain(sink.getvalue(), Content_Type="image/png"),
        "/cut.jpg": plain(blank()[:50], Content_Type="image/png"),
        "/text.jpg": plain(b"no picture"),
        "/busy.jpg": plain(b"", "503 Busy"),
        "/no.jpg": plain(b"", "403 Forbidden"),
        "/slow.jpg": slow,
        "/once.jpg": plain(b"", "302 Moved", Location="/good.jpg"),
        "/twice.jpg": plain(b"", "302 Moved", Location="/once.jpg"),
        "/port82.jpg": jpeg(8),
        "/port81.jpg": jpeg(9),
    }
    names = [path.strip("/").removesuffix(".jpg") for path in web.answers if path.endswith(".jpg")]
    urls = [f"http://a.example/{name}.jpg" for name in [*names, "gone"] if not name.startswith("port")]
    urls += [f"http://b.example:{port}/port{port}.jpg" for port in (81, 82)]
    common = {"minimum_side_pixels": 12, "minimum_entropy": 0.5, "lanes": 4}
    first = Runs(web, tmp_path, max_bytes=50_000, **NETWORK)(urls, "first", **common)
    assert set(reasons(first).values()) == {
        *("image_too_small", "aspect_too_extreme", "image_blank", "too_large", "decode_failed", "not_an_image"),
        *("http_error", "timeout", "not_found", "address_refused"),
    }
    asked_for(web)
    changed = {"max_bytes": 50_000, **NETWORK, **network}
    again = Runs(web, tmp_path, **changed)(urls, "again", **common | fetching)
    assert asked_for(web) == asked
    empty = Runs(web, tmp_path / "empty", **changed)(urls, "again", **common | fetching)
    assert reasons(again) == reasons(empty)
    assert again.id == empty.id


def blank() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (40, 40), (90, 90, 90)).save(sink, "PNG")
    return sink.getvalue()


def test_lanes_are_by_host() -> None:
    assert len({lane_of(f"http://a.example/{n}", 64) for n in range(50)}) == 1
    assert len({lane_of(f"http://{n}.example/", 64) for n in range(500)}) > 60
    assert lane_of("HTTP://A.example:80/x", 64) == lane_of("http://a.example/", 64)
    assert lane_of("no url", 64) in range(64)
    assert all(lane_of(f"http://{n}.example/", 64) % 16 == lane_of(f"http://{n}.example/", 16) for n in range(50))


def test_a_number_of_lanes_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="48 is no power of two; write 64"):
        FetchConfig(lanes=48)
    assert json.loads(NetworkConfig().model_dump_json())["robots_hours"] == 24
