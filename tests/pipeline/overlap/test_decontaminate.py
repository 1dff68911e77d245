"""Decontamination: the twin compares every picture with every variant, changes are planted in pictures unlike any other."""

import io
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from phases import phase_of, split
from PIL import Image, ImageDraw

from pipeline import storage
from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import InProcess
from pipeline.overlap.calibrate import LOW_RECALL, transposed
from pipeline.overlap.changes import CHANGES, VARIANTS, chosen_variants, plant
from pipeline.overlap.decontaminate import DecontaminateConfig, decontaminate
from pipeline.overlap.lookup import Described, Limits, Table
from pipeline.overlap.near_references import best, search
from pipeline.overlap.reference_sets import given_set, given_sets
from pipeline.overlap.references import Indexing, References, build_index
from pipeline.pictures.descriptors import Description, describe
from pipeline.sample import pair_uid


def scene(seed: int, side: int = 160) -> Image.Image:
    """Blobs and strokes unlike those of any other seed, with detail at several scales as photographs have."""
    draw = random.Random(seed)
    noise = np.random.default_rng(seed).integers(40, 216, (6, 6, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(14):
        x, y, size = draw.random() * side, draw.random() * side, side * (0.05 + 0.25 * draw.random())
        ink = tuple(draw.randrange(256) for _ in range(3))
        (pen.ellipse if draw.random() < 0.5 else pen.rectangle)(
            (x, y, x + size, y + size * draw.random() + 2), fill=ink
        )
    return picture


def encoded(picture: Image.Image, format: str = "PNG") -> bytes:
    sink = io.BytesIO()
    picture.save(sink, format)
    return sink.getvalue()


def described(picture: Image.Image) -> Description:
    return describe(np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1]))


def rows_of(pictures: Sequence[Image.Image], prefix: str = "p") -> pa.Table:
    rows = []
    for number, picture in enumerate(pictures):
        url = f"http://a.example/{prefix}{number}"
        seen = described(picture)
        rows.append(
            {
                "uid": pair_uid(url, "text"), "url": url, "text": "text", "phash": seen.phash,
                "phash256": seen.phash256, "thumbnail8": seen.thumbnail8,
            }
        )  # fmt: skip
    schema = pa.schema(
        [(name, pa.string()) for name in ("uid", "url", "text")]
        + [("phash", pa.uint64()), ("phash256", pa.binary(32)), ("thumbnail8", pa.binary())]
    )
    return pa.Table.from_pylist(rows, schema=schema)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 evaluation pictures as files, and one that is broken, one that is plain."""
    path = tmp_path_factory.mktemp("sets") / "scenes"
    (path / "deep").mkdir(parents=True)
    for number in range(30):
        scene(number).save(path / "deep" / f"{number:02d}.png")
    (path / "x_broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    Image.new("RGB", (50, 50), (3, 3, 3)).save(path / "y_black.png")
    (path / "notes.txt").write_text("no picture")
    return path


@pytest.fixture(scope="module")
def references(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    where = str(tmp_path_factory.mktemp("references"))
    build_index([given_set(str(folder))], Indexing(tuple(VARIANTS), 20), where, InProcess())
    return where


def test_the_index_has_every_variant_and_counts_what_cannot_be_used(folder: Path, references: str) -> None:
    made = References.load(references)
    fate = made.index.fates["pictures"]
    assert (fate.rows_in, fate.kept, dict(fate.reasons)) == (32, 30, {"featureless": 1, "not_an_image": 1})
    index = made.index.read_kept()
    assert index.num_rows == 30 * len(VARIANTS)
    row = index.slice(0, 1).to_pylist()[0]
    seen = described(scene(0))
    assert (row["task"], row["index"], row["key"], row["variant"]) == ("scenes", 0, "deep/00.png", "same")
    # Described exactly as a training picture with the same pixels.
    assert (row["phash"], row["phash256"], row["thumbnail8"]) == (seen.phash, seen.phash256, seen.thumbnail8)
    planted = made.planted.read_kept()
    assert planted.num_rows % len(CHANGES) == 0
    assert 10 <= planted.num_rows // len(CHANGES) <= 30
    dropped = storage.read_table(storage.join(references, "dropped.parquet")).column("url").to_pylist()
    assert dropped == ["x_broken.jpg", "y_black.png"]


@pytest.mark.parametrize("radius", [0, 3, 7, 11, 15])
def test_the_lookup_gives_each_pair_within_the_radius_once(radius: int) -> None:
    draw = np.random.default_rng(radius)
    rows = draw.integers(0, 2**64, 200, dtype=np.uint64)
    others = np.concatenate([draw.integers(0, 2**64, 1500, dtype=np.uint64), rows[:50], rows[:50]])
    for _ in range(radius + 2):  # pairs at every distance around the radius
        others[1000:] ^= np.uint64(1) << draw.integers(0, 64, len(others) - 1000, dtype=np.uint64)
    found = [(a, b) for i, j in Table(rows).pairs(others, radius, capacity=300) for a, b in zip(i, j, strict=True)]
    twin = {
        (a, b) for a in range(len(rows)) for b in range(len(others)) if int(rows[a] ^ others[b]).bit_count() <= radius
    }
    assert len(found) == len(set(found))
    assert set(found) == twin
    assert twin or radius < 3
    assert list(Table(rows[:0]).pairs(others, radius)) == [] == list(Table(rows).pairs(others[:0], radius))


def test_search_is_a_comparison_of_everything_with_everything(references: str, tmp_path: Path) -> None:
    index = References.load(references).index.read_kept()
    rows = rows_of([scene(n) for n in range(40)] + [plant(scene(n), c, "s") for n in range(6) for c in CHANGES])
    parts = []
    for number, part in enumerate(split(index, 3)):
        parts.append(str(tmp_path / f"{number}.parquet"))
        storage.write_table(parts[-1], part)
    for limits in (Limits(7, 10.0), Limits(11, distance=80.0)):
        by_row, by_reference = search(rows, parts, {"scenes": limits})
        ours, theirs = Described.of(rows), Described.of(index)
        i, j = (axis.ravel() for axis in np.meshgrid(range(rows.num_rows), range(index.num_rows), indexing="ij"))
        everything = ours.pairs(i, theirs, j)
        near = everything.take(limits.near(everything))
        uids = rows.column("uid").to_pylist()
        assert set(by_row.column("uid").to_pylist()) == {uids[place] for place in near.i}
        numbers = index.column("index").to_pylist()
        assert by_reference.column("index").to_pylist() == sorted({numbers[place] for place in near.j})
        for row in by_row.to_pylist():
            mine = near.distance[near.i == uids.index(row["uid"])]
            assert row["distance"] == pytest.approx(float(mine.min()), abs=1e-3)
        again, _ = search(rows.take(pa.array(range(rows.num_rows)[::-1])), parts[::-1], {"scenes": limits})
        assert again.equals(by_row)


@pytest.mark.parametrize("change", CHANGES)
def test_every_planted_change_is_found_by_measured_thresholds_and_nothing_else_falls(
    change: str, references: str, tmp_path: Path
) -> None:
    copies = [plant(scene(n), change, f"other{n}") for n in range(8)]
    rows = pa.concat_tables([rows_of(copies), rows_of([scene(n) for n in range(1000, 1060)], "stranger")])
    source = phase_of(str(tmp_path / "in"), split(rows, 3))
    config = DecontaminateConfig(precision=0.9)
    result = decontaminate(config, source, references, str(tmp_path / "out"), InProcess())
    fallen = result.read_dropped().column("url").to_pylist()
    assert not [url for url in fallen if "stranger" in url]
    assert len(fallen) >= (7 if change not in ("crop_20", "rotate_10", "overlay_logo") else 4), (change, fallen)
    by_change = {
        row["change"]: row for row in storage.read_table(str(tmp_path / "out" / "thresholds.parquet")).to_pylist()
    }
    assert set(by_change) == {"all", *CHANGES}
    assert by_change["all"]["precision"] >= 0.9
    assert by_change["all"]["recall"] >= 0.85
    assert by_change["all"]["distractors"] >= 30


@pytest.mark.parametrize("mode", ["remove", "mark"])
def test_copies_are_removed_or_marked_and_listed(mode: str, references: str, tmp_path: Path) -> None:
    rows = rows_of([scene(3), scene(17).resize((90, 90)), scene(17), scene(500), scene(501)])
    config = DecontaminateConfig(mode=mode, thresholds="fixed")
    outs = []
    for parts in (1, 3):
        source = phase_of(str(tmp_path / f"in{parts}"), split(rows, parts))
        outs.append(decontaminate(config, source, references, str(tmp_path / f"out{parts}"), InProcess()))
    result = outs[0]
    assert result.extra == outs[1].extra
    names = [f"http://a.example/p{n}" for n in range(3)]
    if mode == "remove":
        fallen = result.read_dropped().to_pylist()
        assert sorted(row["url"] for row in fallen) == names
        assert {row["evidence"].split(":")[0] for row in fallen} == {"scenes deep/03.png", "scenes deep/17.png"}
        assert dict(result.fates["pairs"].reasons) == {"near_evaluation": 3}
    else:
        marked = {row["url"] for row in result.read_kept().to_pylist() if row["near_evaluation"]}
        assert marked == set(names)
        assert result.fates["pairs"].kept == 5
    listed = tmp_path / "out1" / "overlap" / "scenes"
    lists = {name: storage.read_table(str(listed / f"{name}.parquet")) for name in ("overlap", "clean", "all")}
    assert lists["overlap"].column("index").to_pylist() == [3, 17]
    uids = dict(zip(rows.column("url").to_pylist(), rows.column("uid").to_pylist(), strict=True))
    assert lists["overlap"].column("uid").to_pylist() == [uids[names[0]], uids[names[2]]]
    assert lists["all"].num_rows == 30 == lists["clean"].num_rows + 2
    summary = json.loads((tmp_path / "out1" / "overlap" / "summary.json").read_text())
    assert summary["mode"] == mode
    assert summary["tasks"]["scenes"]["overlap"] == 2


def test_the_same_rows_in_other_files_give_the_same_verdicts_and_thresholds(references: str, tmp_path: Path) -> None:
    rows = rows_of([scene(n) for n in range(20, 60)] + [plant(scene(n), "crop_10", "d") for n in range(10)])
    found = []
    for name, parts, order in (("a", 1, 1), ("b", 4, 1), ("c", 3, -1)):
        source = phase_of(str(tmp_path / name), split(rows.take(pa.array(range(rows.num_rows)[::order])), parts))
        result = decontaminate(DecontaminateConfig(), source, references, str(tmp_path / f"{name}-out"), InProcess())
        dropped = result.read_dropped().sort_by("uid").select(["uid", "reason", "evidence"]).to_pylist()
        found.append((dropped, result.extra, storage.read_bytes(str(tmp_path / f"{name}-out" / "thresholds.parquet"))))
    assert found[0] == found[1] == found[2]
    again = decontaminate(DecontaminateConfig(), source, references, str(tmp_path / "c-out"), InProcess())
    assert again.id == result.id


def test_rows_without_long_hashes_are_judged_by_what_they_have(references: str, tmp_path: Path) -> None:
    rows = rows_of([scene(n) for n in (1, 2, 700, 701)]).drop_columns(["phash256"])
    result = decontaminate(
        DecontaminateConfig(), phase_of(str(tmp_path / "in"), [rows]), references, str(tmp_path / "out"), InProcess()
    )
    assert result.fates["pairs"].reasons == {"near_evaluation": 2}


def test_decoys_are_the_pictures_mirrored_at_the_diagonal() -> None:
    upright = Described.of(rows_of([scene(n) for n in range(20)]))
    truly = Described.of(rows_of([scene(n).transpose(Image.Transpose.TRANSPOSE) for n in range(20)]))
    places = np.arange(20)
    pairs = transposed(upright).pairs(places, truly, places)
    assert pairs.bits.max() <= 2
    assert pairs.bits256.max() <= 4
    assert pairs.look.max() <= 1
    assert upright.pairs(places, truly, places).bits.min() > 10


def test_no_copy_among_the_training_pictures_takes_the_threshold(references: str, tmp_path: Path) -> None:
    strangers = [scene(n) for n in range(1000, 1060)]
    ways = [None, *Image.Transpose]
    found = []
    for way in ways:
        copies = [scene(n) if way is None else scene(n).transpose(way) for n in range(0, 30, 3)]
        name = "none" if way is None else way.name
        rows = pa.concat_tables([rows_of(strangers, "s"), rows_of(copies, "c")])
        decontaminate(
            DecontaminateConfig(), phase_of(str(tmp_path / name), [rows]), references, str(tmp_path / f"{name}-out"),
            InProcess(),
        )  # fmt: skip
        told = storage.read_table(str(tmp_path / f"{name}-out" / "thresholds.parquet")).to_pylist()[0]
        assert told["recall"] > LOW_RECALL, (name, told)
        found.append(told["distance"])
    assert len(set(found)) == 1, found


def test_without_an_index_every_row_stays(tmp_path: Path) -> None:
    source = phase_of(str(tmp_path / "in"), [rows_of([scene(1)])])
    result = decontaminate(DecontaminateConfig(), source, None, str(tmp_path / "out"), InProcess())
    assert result.fates["pairs"].kept == 1
    assert not (tmp_path / "out" / "overlap").exists()


def test_sets_come_from_folders_tables_and_datasets(folder: Path, tmp_path: Path) -> None:
    images = [encoded(scene(n)) for n in range(5)]
    plain = pa.table({"image": images, "label": list(range(5))})
    hugging = pa.table({"image": pa.array([{"bytes": image, "path": None} for image in images])})
    pq.write_table(plain, tmp_path / "plain.parquet", row_group_size=2)
    (tmp_path / "hugging").mkdir()
    pq.write_table(hugging.slice(0, 3), tmp_path / "hugging" / "0.parquet")
    pq.write_table(hugging.slice(3), tmp_path / "hugging" / "1.parquet")
    write_dataset(str(tmp_path / "dataset"), [(f"http://a.example/{n}", "t", images[n]) for n in range(5)], 2, "png")
    for name, key in (("plain.parquet", "3"), ("hugging", "3"), ("dataset", "000011")):
        one = given_set(str(tmp_path / name))
        assert one.count == 5
        rows = one.read(1, 4).to_pylist()
        assert [row["index"] for row in rows] == [1, 2, 3]
        assert [row["image"] for row in rows] == images[1:4]
        assert rows[2]["key"].endswith(key[-1])
    before = given_set(str(folder)).identity
    moved = tmp_path / "elsewhere" / "scenes"
    moved.parent.mkdir()
    moved.symlink_to(folder)
    assert given_set(str(moved)).identity == before  # where a set lies is no part of what it is


def test_bad_sets_are_one_line_errors(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    pq.write_table(pa.table({"caption": ["no picture"]}), tmp_path / "words.parquet")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"nothing")
    (tmp_path / "b" / "scenes").mkdir(parents=True)
    scene(1).save(tmp_path / "b" / "scenes" / "1.png")
    for path, words in (
        (tmp_path / "missing", "holds no pictures"),
        (tmp_path / "empty", "holds no pictures"),
        (tmp_path / "bad.parquet", "is no Parquet file"),
        (tmp_path / "words.parquet", "no column of pictures"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            given_set(str(path))
        assert "\n" not in str(caught.value)
        assert "curate.decontaminate.against" in str(caught.value)
    with pytest.raises(ConfigError, match="second set called 'scenes'"):
        given_sets([str(folder), str(tmp_path / "b" / "scenes")])
    with pytest.raises(ConfigError, match="second set called 'scenes'"):
        given_sets([str(folder)], ["scenes"])
    with pytest.raises(DataError, match="none of its 1 pictures can be used"):
        build_index([given_set(str(tmp_path / "broken"))], Indexing(("same",)), str(tmp_path / "i"), InProcess())


def test_variants_are_named_singly_by_family_or_all() -> None:
    assert chosen_variants(["all"]) == tuple(VARIANTS)
    assert chosen_variants(["flip", "rotate90"]) == ("same", "flip", "rotate90")
    assert len(chosen_variants(["rotate"])) == 4
    with pytest.raises(ConfigError, match="'mirror' is unknown; take all, or some of same, grey, flip"):
        DecontaminateConfig(variants=("mirror",))


def test_the_nearest_of_a_group_does_not_depend_on_order() -> None:
    found = pa.table(
        {
            "uid": ["a", "b", "c"], "task": ["t"] * 3, "index": [1, 1, 2], "key": ["1", "1", "2"],
            "variant": ["same"] * 3, "bits": [2, 2, 0], "distance": [5.0, 5.0, 9.0], "cosine": [None, None, 0.9],
        }
    )  # fmt: skip
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        assert best(found.take(pa.array(order)), ("task", "index")).column("uid").to_pylist() == ["a", "c"]
