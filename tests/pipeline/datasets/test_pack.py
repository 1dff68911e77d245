"""Pack: every column arrives, every picture is where its index says, bytes do not depend on how the input was cut."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline import storage
from pipeline.datasets.pack import PackConfig, pack
from pipeline.datasets.shard_form import sample_key
from pipeline.datasets.shards import read_image, read_index
from pipeline.errors import DataError
from pipeline.execution.batch import Batch
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Output, PhaseResult, WorkItem, run_items
from pipeline.manifest import Manifest
from pipeline.sample import TEXTS, pair_uid
from tests.phases import phase_of, split


def picture(value: int, form: str = "JPEG") -> bytes:
    sink = io.BytesIO()
    noise = np.random.default_rng(value).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(sink, form)
    return sink.getvalue()


def rows(count: int, **columns: Any) -> pa.Table:
    urls = [f"http://a.example/{i}.jpg" for i in range(count)]
    texts = [f"caption {i} é" for i in range(count)]
    pngs = [i % 5 == 0 for i in range(count)]
    table = {
        "uid": [pair_uid(url, text) for url, text in zip(urls, texts, strict=True)],
        "url": urls,
        "text": texts,
        "text_origin": ["alt"] * count,
        "page_url": [f"http://a.example/page{i % 3}" for i in range(count)],
        "queries": pa.array([[i % 4] for i in range(count)], pa.list_(pa.int32())),
        "image": [picture(i, "PNG" if png else "JPEG") for i, png in enumerate(pngs)],
        "format": ["png" if png else "jpg" for png in pngs],
        **{name: pa.array([16] * count, pa.int32()) for name in ("width", "original_width")},
        **{name: pa.array([12] * count, pa.int32()) for name in ("height", "original_height")},
        "sha256": [f"{i:064x}" for i in range(count)],
        "repairs": pa.array([[] for _ in range(count)], pa.list_(pa.string())),
        "thumbnail": [b"small"] * count,
        "location": ["crawl/x"] * count,
    }
    return pa.table(table | columns)


def packed(folder: Path, tables: list[pa.Table], name: str = "out", **config: Any) -> tuple[str, Manifest]:
    phase = phase_of(str(folder / f"in-{name}"), tables)
    out = str(folder / name)
    return out, pack(PackConfig(samples_per_shard=10, **config), [phase], {}, "code", out, InProcess())


def index_of(out: str, manifest: Manifest) -> list[dict[str, Any]]:
    return [row | {"file": s.tar} for s in manifest.shards for row in read_index(out, s).to_pylist()]


@pytest.mark.parametrize("output", ["webdataset", "parquet"])
def test_the_same_files_however_the_input_was_cut_and_ordered(tmp_path: Path, output: str) -> None:
    table = rows(25, score_clip_similarity=np.linspace(0, 1, 25))
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(25)))
    one, first = packed(tmp_path, [table], "a", output=output)
    two, second = packed(tmp_path, split(shuffled, 7), "b", output=output)
    assert first.shards == second.shards
    for shard in first.shards:
        for name in (shard.tar, shard.index):
            assert (Path(one) / name).read_bytes() == (Path(two) / name).read_bytes()
    first.verify(one)
    assert [shard.rows for shard in first.shards] == [10, 10, 5]
    assert sorted(os.listdir(one)) == sorted(os.listdir(two))
    assert not [name for name in os.listdir(one) if name.endswith((".part", ".tmp")) or name == "rows"]


@pytest.mark.parametrize("output", ["webdataset", "parquet"])
def test_each_picture_lies_where_the_index_says(tmp_path: Path, output: str) -> None:
    table = rows(300)
    wanted = {row["uid"]: row for row in table.to_pylist()}
    out, manifest = packed(tmp_path, split(table, 3), output=output)
    found = index_of(out, manifest)
    assert [row["uid"] for row in found] == sorted(wanted)
    for number, row in enumerate(found):
        image = read_image(f"{out}/{row['file']}", row["image_offset"], row["image_bytes"])
        assert image == wanted[row["uid"]]["image"]
        assert row["key"] == sample_key(number // 10, number % 10, 10)


def test_pictures_that_failed_are_in_the_stats_of_the_shard_they_would_have_come_into(tmp_path: Path) -> None:
    table = rows(40)
    reasons = [[None, None, "timeout", "decode_failed", "not_found"][i % 5] for i in range(40)]

    def work(_: int) -> Output:
        batch = Batch.of(table).drop(reasons)
        return Output.of_batch(40, batch)

    records = run_items(str(tmp_path / "in"), work, [WorkItem("one", 0, 0)], InProcess())
    phase = PhaseResult.of_records("fetch", str(tmp_path / "in"), records)
    out = str(tmp_path / "out")
    manifest = pack(PackConfig(samples_per_shard=6), [phase], {}, "code", out, InProcess())
    order = sorted(zip(table.column("uid").to_pylist(), reasons, strict=True))
    kept, wanted = 0, [Counter[str]() for _ in manifest.shards]
    for _, reason in order:
        wanted[min(max(0, (kept if reason is None else kept - 1) // 6), len(wanted) - 1)][reason or "success"] += 1
        kept += reason is None
    for number, each in enumerate(wanted):
        stats = json.loads(Path(f"{out}/{number:05d}_stats.json").read_text())
        assert stats["status_dict"] == {"success": 0} | dict(each)
        assert stats["failed_to_download"] == each["timeout"] + each["not_found"]
        assert stats["failed_to_resize"] == each["decode_failed"]
        assert stats["count"] == sum(each.values())
        assert stats["successes"] == manifest.shards[number].rows


def test_parquet_holds_the_pictures_in_a_column_named_by_their_format(tmp_path: Path) -> None:
    table = rows(12)
    out, manifest = packed(tmp_path, [table], output="parquet")
    data = pq.read_table(f"{out}/00000.parquet")
    assert data.column_names[-1] == "jpg"
    images = dict(zip(table.column("uid").to_pylist(), table.column("image").to_pylist(), strict=True))
    assert data.column("jpg").to_pylist() == [images[uid] for uid in data.column("uid").to_pylist()]
    assert manifest.shards[0].index == "index/00000.parquet"


def test_every_column_of_the_rows_reaches_index_and_json(tmp_path: Path) -> None:
    texts = pa.array([[{"text": f"t{i}", "origin": "alt"}] for i in range(4)], TEXTS)
    table = rows(
        4,
        texts=texts,
        phash=pa.array([2**63 + i for i in range(4)], pa.uint64()),
        phash256=pa.array([bytes([i] * 32) for i in range(4)], pa.binary()),
        sharpness=pa.array([0.5, float("nan"), 1.5, 2.5]),
        near_evaluation=pa.array(["digits 3", None, None, None]),
        empty=pa.nulls(4),
    )
    out, manifest = packed(tmp_path, [table])
    by_url = {row["url"]: row for row in index_of(out, manifest)}
    row = by_url["http://a.example/1.jpg"]
    assert row["phash"] == 2**63 + 1
    assert row["phash256"] == bytes([1] * 32)
    assert row["texts"] == [{"text": "t1", "origin": "alt"}]
    assert by_url["http://a.example/0.jpg"]["near_evaluation"] == "digits 3"
    assert row["licence"] is row["warc_offset"] is row["crawl_id"] is row["empty"] is None
    assert not {"thumbnail", "thumbnail8", "location", "image", "text", "shard"} & set(row)
    with tarfile.open(f"{out}/00000.tar") as tar:
        meta = json.loads(tar.extractfile(f"{row['key']}.json").read())  # type: ignore[union-attr]
    assert meta["phash256"] == "01" * 32
    assert meta["sharpness"] is None
    assert (meta["caption"], meta["status"], meta["uid"]) == ("caption 1 é", "success", row["uid"])


def test_files_without_a_column_that_others_have_get_nulls(tmp_path: Path) -> None:
    first, second = split(rows(6), 2)
    first = first.append_column("score_a", pa.array([1.0, 2.0, 3.0]))
    out, manifest = packed(tmp_path, [first, second])
    scores = sorted((row["score_a"] or 0.0) for row in index_of(out, manifest))
    assert scores == [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]


def test_late_phases_need_not_carry_the_pictures(tmp_path: Path) -> None:
    table = rows(30)
    kept = table.filter(pa.array([i % 3 != 0 for i in range(30)]))
    plain, direct = packed(tmp_path, [kept], "direct")
    fetched = phase_of(str(tmp_path / "fetch"), split(table, 4), "fetch")
    late = phase_of(str(tmp_path / "late"), [kept.drop_columns(["image", "thumbnail"])], "deduplicate")
    out = str(tmp_path / "out")
    manifest = pack(PackConfig(samples_per_shard=10), [fetched, late], {}, "code", out, InProcess())
    assert manifest.shards == direct.shards
    assert (Path(out) / "00001.tar").read_bytes() == (Path(plain) / "00001.tar").read_bytes()


def test_headers_equal_those_of_tarfile(tmp_path: Path) -> None:
    out, _ = packed(tmp_path, [rows(7)])
    data = (Path(out) / "00000.tar").read_bytes()
    sink = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as tar,
        tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as twin,
    ):
        for member in tar.getmembers():
            made = tarfile.TarInfo(member.name)
            made.size, made.mode = member.size, 0o444
            twin.addfile(made, tar.extractfile(member))
    assert data == sink.getvalue()


def test_nothing_to_pack_is_told_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the dataset is empty after filtering"):
        packed(tmp_path, [rows(0)])
    with pytest.raises(DataError, match="lack sha256"):
        packed(tmp_path, [rows(3).drop_columns(["sha256"])], "b")


def test_a_full_disk_fails_in_one_line_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: writes fail with EFBIG as they do with ENOSPC, in a child process."""
    table = rows(120)
    _, wanted = packed(tmp_path, [table], "clean", output="webdataset")
    phase_of(str(tmp_path / "in"), [table])
    out = str(tmp_path / "out")
    code = f"""
import resource, sys
from pipeline.errors import DataError
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import PhaseResult
from pipeline.datasets.pack import PackConfig, pack
limit = int(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
phase = PhaseResult.load({str(tmp_path / "in")!r})
try:
    print(pack(PackConfig(samples_per_shard=10), [phase], {{}}, "code", {out!r}, InProcess()).id)
except DataError as error:
    sys.exit(str(error))
"""
    sizes = [shard.bytes for shard in wanted.shards]
    tight = subprocess.run(
        [sys.executable, "-c", code, str(max(sizes) - 1)], capture_output=True, text=True, timeout=60
    )
    assert tight.returncode == 1
    assert "cannot be written (File too large); free space" in tight.stderr
    assert len(tight.stderr.splitlines()) == 1
    names = os.listdir(out)
    assert "manifest.json" not in names
    assert all(os.path.getsize(f"{out}/{name}") in sizes for name in names if name.endswith(".tar"))
    again = subprocess.run([sys.executable, "-c", code, "0"], capture_output=True, text=True, timeout=60)
    assert again.stdout.strip() == wanted.id
    assert not [name for name in os.listdir(out) if name.endswith(".part")]


def test_a_picture_that_is_gone_is_told(tmp_path: Path) -> None:
    table = rows(5)
    phase = phase_of(str(tmp_path / "in"), [table])
    storage.write_table(f"{phase.folder}/{phase.kept[0].path}", table.drop_columns(["image"]))
    with pytest.raises(DataError, match="no phase of"):
        pack(PackConfig(), [phase], {}, "code", str(tmp_path / "out"), InProcess())


def test_a_picture_that_a_disk_changed_is_told_and_made_again(tmp_path: Path) -> None:
    table = rows(5)
    _, wanted = packed(tmp_path, [table], "whole")
    phase = phase_of(str(tmp_path / "in"), [table])
    path = Path(phase.folder) / phase.kept[0].path
    data = bytearray(path.read_bytes())
    data[data.index(table.column("image")[2].as_py()) + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"{path.name}: damaged; remove it and run again"):
        pack(PackConfig(samples_per_shard=10), [phase], {}, "code", str(tmp_path / "out"), InProcess())
    path.unlink()
    again = phase_of(str(tmp_path / "in"), [table])
    assert (
        pack(PackConfig(samples_per_shard=10), [again], {}, "code", str(tmp_path / "out"), InProcess()).id == wanted.id
    )


def test_a_file_is_searched_as_bytes_are(tmp_path: Path) -> None:
    from pipeline.datasets.picture_places import FileView

    data = os.urandom(5000) + b"needle" + os.urandom(3000)
    (tmp_path / "x").write_bytes(data)
    with (tmp_path / "x").open("rb") as file:
        view = FileView(file)
        for size in (4096, 1, 7, 5003):  # the needle across the edges of pieces too
            view.PIECE_BYTES = size
            assert view.find(b"needle", 10) == data.find(b"needle", 10)
            assert view.find(b"no such needle", 0) == -1
        assert view[4990:5010] == data[4990:5010]
