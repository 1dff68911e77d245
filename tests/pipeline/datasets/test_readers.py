"""Others read our shards, and we read theirs: open_clip's way through the real webdataset, img2dataset's real writers."""

import io
import json
import os
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
from pipeline.datasets.adopt import adopt
from pipeline.datasets.pack import PackConfig
from pipeline.datasets.reshard import reshard
from pipeline.datasets.shards import iterate, read_index
from pipeline.datasets.subset import hex_of, select_uids
from pipeline.datasets.takedown import takedown
from pipeline.datasets.tar_members import readable_members
from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import InProcess
from pipeline.sample import pair_uid
from tests.pipeline.datasets.test_derived import rules
from tests.pipeline.datasets.test_pack import packed, picture, rows
from training.data.config import DataConfig
from training.data.pictures import pictures
from training.data.sources import open_data

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # img2dataset's resizer asks the network for news when imported

IN = InProcess()
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("url", "caption", "key", "status", "error_message")),
        *((name, pa.int32()) for name in ("width", "height", "original_width", "original_height")),
        ("sha256", pa.string()),
    ]
)
"""What img2dataset 1.47 hands its writers for a table with url and caption."""


def theirs(folder: Path, count: int, per_shard: int, writer: str = "WebDatasetSampleWriter") -> list[dict[str, Any]]:
    """Shards written by img2dataset's own class; every fourth row is a failed download."""
    import img2dataset.writer

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for shard in range(-(-count // per_shard)):
        sink = getattr(img2dataset.writer, writer)(shard, str(folder), True, 5, SCHEMA, "jpg")
        for row in range(min(per_shard, count - shard * per_shard)):
            number = shard * per_shard + row
            failed = number % 4 == 3
            meta = {
                "url": f"http://b.example/{number}.jpg",
                "caption": f"a thing {number} ü",
                "key": f"{shard:05d}{row:01d}",
                "status": "failed_to_download" if failed else "success",
                "error_message": "HTTP Error 404" if failed else None,
                **dict.fromkeys(("width", "height", "original_width", "original_height"), None if failed else 16),
                "sha256": None if failed else f"{number:064x}",
            }
            image = None if failed else picture(number)
            sink.write(image, meta["key"], meta["caption"], dict(meta))
            if image is not None:
                written.append(meta | {"image": image})
        sink.close()
        storage.write_json(str(folder / f"{shard:05d}_stats.json"), {"count": per_shard})
    return written


# --- others read ours ---------------------------------------------------------------------------------------------------


def test_open_clips_way_of_reading(tmp_path: Path) -> None:
    import webdataset as wds

    table = rows(25)
    out, _ = packed(tmp_path, [table])
    pipe = wds.DataPipeline(
        wds.SimpleShardList([f"{out}/{n:05d}.tar" for n in range(3)]),
        wds.tarfile_to_samples(),
        wds.select(lambda sample: "txt" in sample and ("jpg" in sample or "png" in sample)),
        wds.decode("pilrgb"),
        wds.rename(image="jpg;png;jpeg;webp", text="txt"),
        wds.to_tuple("__key__", "image", "text", "json"),
    )
    read = list(pipe)
    by_uid = {row["uid"]: row for row in table.to_pylist()}
    assert [key for key, *_ in read] == [f"{n // 10:05d}{n % 10}" for n in range(25)]
    for key, image, text, meta in read:
        wanted = by_uid[meta["uid"]]
        with Image.open(io.BytesIO(wanted["image"])) as plain:
            assert np.array_equal(np.asarray(image), np.asarray(plain.convert("RGB")))
        assert (text, meta["key"], meta["caption"]) == (wanted["text"], key, wanted["text"])


def test_img2datasets_readers_find_its_files_columns_and_stats(tmp_path: Path) -> None:
    out, manifest = packed(tmp_path, [rows(25)])
    theirs(tmp_path / "their", 10, 10)
    mine, other = pq.read_schema(f"{out}/00001.parquet"), pq.read_schema(tmp_path / "their" / "00000.parquet")
    assert all(mine.field(field.name).type == field.type for field in other)
    table = pq.read_table(f"{out}/00001.parquet")
    assert set(table.column("status").to_pylist()) == {"success"}
    stats = [json.loads((Path(out) / f"{n:05d}_stats.json").read_text()) for n in range(3)]
    assert [each["successes"] for each in stats] == [shard.rows for shard in manifest.shards]  # DataComp's resharder


def test_parquet_output_has_the_columns_of_img2datasets(tmp_path: Path) -> None:
    out, _ = packed(tmp_path, [rows(12)], output="parquet")
    theirs(tmp_path / "their", 10, 10, "ParquetSampleWriter")
    mine, other = pq.read_schema(f"{out}/00000.parquet"), pq.read_schema(tmp_path / "their" / "00000.parquet")
    assert all(mine.field(field.name).type == field.type for field in other)


def test_the_loader_reads_both_forms(tmp_path: Path) -> None:
    table = rows(25)
    seen = []
    for form in ("webdataset", "parquet"):
        out, manifest = packed(tmp_path, [table], form, output=form)
        data = open_data(DataConfig(), out)
        loaded = pictures(data, seed=0, stride=1, size=32)
        seen.append([loaded.picture(i) for i in range(25)])
        assert list(data.all_captions()) == [sample.text for sample in iterate(out, manifest)]
    assert all(np.array_equal(a, b) for a, b in zip(*seen, strict=True))


# --- we read theirs -----------------------------------------------------------------------------------------------------


def test_our_loader_reads_img2datasets_shards(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    written = theirs(folder, 27, 10)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    manifest = adopt(str(folder), IN)
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert [shard.rows for shard in manifest.shards] == [8, 7, 6]
    manifest.verify(str(folder))
    data = open_data(DataConfig(), str(folder))
    loaded = pictures(data, seed=0, stride=1, size=32)
    assert list(data.all_captions()) == [row["caption"] for row in written]
    for number, row in enumerate(written):
        with Image.open(io.BytesIO(row["image"])) as plain:
            assert np.array_equal(loaded.picture(number), np.asarray(plain.convert("RGB")))
    samples = list(iterate(str(folder), manifest))
    assert [s.uid for s in samples] == [pair_uid(row["url"], row["caption"]) for row in written]
    with pytest.raises(ConfigError, match=r"has a manifest\.json already"):
        adopt(str(folder), IN)


def test_adopted_shards_can_be_chosen_from_resharded_and_taken_down(tmp_path: Path) -> None:
    folder = str(tmp_path / "theirs")
    written = theirs(tmp_path / "theirs", 27, 10)
    manifest = adopt(folder, IN)
    made = reshard(PackConfig(samples_per_shard=8), folder, select_uids(folder, manifest), str(tmp_path / "new"), IN)
    assert Counter(s.image for s in iterate(str(tmp_path / "new"), made)) == Counter(r["image"] for r in written)
    done = takedown(folder, rules(url=[written[0]["url"]], sha256=[written[9]["sha256"]]), str(tmp_path / "less"), IN)
    assert done.manifest is not None
    kept = [row["image"] for place, row in enumerate(written) if place not in (0, 9)]
    assert [sample.image for sample in iterate(str(tmp_path / "less"), done.manifest)] == kept
    with tarfile.open(tmp_path / "less" / "00000.tar") as tar:
        assert "000000.json" not in tar.getnames()
        assert len(tar.getnames()) == 3 * 7


def test_samples_that_no_hash_can_name_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for number in range(5):
            for ending, data in (("jpg", picture(number)), ("txt", b"a thing")):
                member = tarfile.TarInfo(f"{number:05d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    adopt(str(folder), IN)
    wanted = rules(sha256=["0" * 64], url=["file:00003"])
    done = takedown(str(folder), wanted, str(tmp_path / "less"), IN)
    assert (done.removed.num_rows, done.unhashed) == (1, 4)
    assert storage.read_json(str(tmp_path / "less" / "takedown.json"))["samples_without_hash"] == 4
    assert takedown(str(folder), rules(domain=["b.example"]), None, IN).unhashed == 0


def test_scores_and_uids_in_adopted_shards_choose(tmp_path: Path) -> None:
    """LAION's columns as img2dataset writes them into the JSON; one tar of two has none."""
    uids = [f"{n:032x}" for n in range(6)]
    for tar_number in range(2):
        with tarfile.open(tmp_path / f"{tar_number:05d}.tar", "w") as tar:
            for n in range(3 * tar_number, 3 * tar_number + 3):
                facts: dict[str, Any] = {"url": f"http://b.example/{n}", "caption": f"text {n}"}
                if tar_number == 0:
                    facts |= {"uid": uids[n], "source_uid": f"laion-{n}", "similarity": n / 10, "punsafe": "odd"}
                for name, data in ((f"{n}.jpg", picture(n)), (f"{n}.json", json.dumps(facts).encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    folder = str(tmp_path)
    manifest = adopt(folder, IN)
    manifest.verify(folder)
    assert hex_of(select_uids(folder, manifest, "similarity >= 0.1")) == uids[1:3]
    assert hex_of(select_uids(folder, manifest, top="similarity:0.2")) == uids[1:3]  # 6 rows: the value at place 1 of 3
    made = reshard(PackConfig(), folder, select_uids(folder, manifest), str(tmp_path / "new"), IN)
    rows = {row["uid"]: row for row in read_index(str(tmp_path / "new"), made.shards[0]).to_pylist()}
    assert [(rows[uid]["similarity"], rows[uid]["source_uid"]) for uid in uids[:3]] == [
        (n / 10, f"laion-{n}") for n in range(3)
    ]
    assert sum(row["similarity"] is None for row in rows.values()) == 3
    assert "punsafe" not in rows[uids[0]]


def test_what_is_missing_in_a_sample_is_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in {
            "1.jpg": picture(1), "1.txt": b"one",
            "2.txt": b"no picture",
            "3.JPEG": picture(3), "3.json": b'{"caption": "from json", "width": 16, "height": true, "uid": "x"}',
            "4.png": picture(4, "PNG"), "4.json": b"{broken",
            "5.webp": b"RIFF", "5.txt": b"caf\xe9 bytes",
            "d/6.x.jpg": picture(6), "d/6.txt": b"its picture has another extension",
        }.items():  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    manifest = adopt(str(tmp_path), IN)
    assert manifest.counts["adopt"]["pairs"] == {
        "rows_in": 6,
        "kept": 3,
        "reasons": {"no_picture": 2, "text_empty": 1},
    }
    found = list(iterate(str(tmp_path), manifest))
    assert [sample.text for sample in found] == ["one", "from json", "café bytes"]
    assert (found[1].width, found[1].height) == (16, None)


# --- tars ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_found_where_tarfile_finds_them(tmp_path: Path, form: int) -> None:
    path = tmp_path / "x.tar"
    names = ["a.jpg", "deep/" * 15 + "b.jpg", "p" * 90 + "/" + "n" * 60 + ".txt", "empty.txt"]
    names += [] if form == tarfile.USTAR_FORMAT else ["long" * 60 + ".jpg", "ü" * 80 + ".jpg"]
    with tarfile.open(path, "w", format=form) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = 0 if name == "empty.txt" else 100 * number + 7
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    with path.open("rb") as file, tarfile.open(path) as tar:
        problems: Counter[str] = Counter()
        found = readable_members(file, problems)
        assert [(m.name, m.offset, m.size) for m in found] == [(m.name, m.offset_data, m.size) for m in tar]
    assert not problems
    assert [m.end for m in found[:-1]] == [m.start for m in found[1:]]


def test_links_devices_and_names_that_lead_out_are_counted_and_never_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, kind in (
            ("../out.jpg", tarfile.REGTYPE), ("/etc/passwd.jpg", tarfile.REGTYPE), ("folder", tarfile.DIRTYPE),
            ("sym.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE), ("fifo.jpg", tarfile.FIFOTYPE),
            ("good.jpg", tarfile.REGTYPE), ("good.txt", tarfile.REGTYPE),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = 5 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"12345"))
    manifest = adopt(str(tmp_path), IN)
    assert manifest.counts["adopt"]["members"]["reasons"] == {"bad_name": 2, "device": 1, "directory": 1, "link": 2}
    assert [sample.text for sample in iterate(str(tmp_path), manifest)] == ["12345"]


def test_a_damaged_tar_gives_what_comes_before_the_damage(tmp_path: Path) -> None:
    theirs(tmp_path, 8, 8)
    data = (tmp_path / "00000.tar").read_bytes()
    endless = tarfile.TarInfo("a.jpg")
    endless.size = 0o77777777777
    for name, bad in {
        "cut": data[: len(data) // 2],
        "garbage": data[:4096] + os.urandom(4096) + data[8192:],
        "endless": endless.tobuf() + data[512:],
        "nothing": b"",
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a.tar").write_bytes(bad)
        with (folder / "a.tar").open("rb") as file:
            problems: Counter[str] = Counter()
            found = readable_members(file, problems)
        assert problems == {"broken_tar": 1}, name
        assert len(found) < 18
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(DataError, match="no sample with a picture and a text"):
        adopt(str(tmp_path / "none"), IN)
    with pytest.raises(ConfigError, match=r"holds no \.tar"):
        adopt(str(tmp_path / "gone"), IN)
