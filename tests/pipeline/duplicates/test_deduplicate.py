"""Deduplication and packing."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from phases import phase_of, split
from PIL import Image

from pipeline import storage
from pipeline.datasets.pack import PackConfig, pack
from pipeline.datasets.shards import PACKED, iterate
from pipeline.duplicates.deduplicate import DeduplicateConfig, deduplicate
from pipeline.errors import DataError
from pipeline.execution.executor import InProcess
from pipeline.manifest import Manifest
from pipeline.overlap.decontaminate import DecontaminateConfig, decontaminate
from pipeline.overlap.reference_sets import given_set
from pipeline.overlap.references import Indexing, build_index
from pipeline.pictures.picture import process
from pipeline.pictures.picture_config import PictureConfig
from pipeline.sample import pair_uid


def drawing(seed: int) -> Image.Image:
    """A smooth picture unlike that of any other seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((80, 80), Image.Resampling.BICUBIC)


def jpeg(picture: Image.Image, quality: int = 92) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def row(name: str, text: str, payload: bytes) -> dict[str, object]:
    facts, (image, small, thumbnail) = process(PictureConfig(image_size=64).picture_header(), payload)
    url = f"http://a.example/{name}"
    return facts | {
        "uid": pair_uid(url, text), "url": url, "text": text, "text_origin": "alt", "page_url": "p", "queries": [0],
        "image": image, "thumbnail8": small, "thumbnail": thumbnail, "phash": int(facts["phash"], 16),
        "sha256": storage.sha256(payload), "phash256": bytes.fromhex(facts["phash256"]),
    }  # fmt: skip


LOOKS = [("phash", pa.uint64()), ("phash256", pa.binary()), ("thumbnail8", pa.binary()), ("thumbnail", pa.binary())]
SCHEMA = pa.schema([*PACKED, *LOOKS])


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """40 pictures; 8 of them also as the same bytes, 9 as near copies: recompressed, and made smaller."""
    originals = [drawing(seed) for seed in range(40)]
    found = [row(f"o{i}", f"a long text of picture {i}", jpeg(p)) for i, p in enumerate(originals)]
    found += [row(f"same{i}", "short", jpeg(originals[i])) for i in range(8)]
    near = [lambda p: p, lambda p: p.resize((60, 60)), lambda p: p.resize((72, 72))]
    found += [row(f"near{i}", "short", jpeg(near[i % 3](originals[10 + i]), 60)) for i in range(9)]
    return pa.Table.from_pylist(found, schema=SCHEMA)


@pytest.mark.parametrize(("parts", "buckets"), [(1, 1), (5, 3)])
def test_every_copy_falls_and_every_original_stays(tmp_path: Path, rows: pa.Table, parts: int, buckets: int) -> None:
    source = phase_of(str(tmp_path / "in"), split(rows, parts))
    result = deduplicate(DeduplicateConfig(buckets=buckets), source, str(tmp_path / "out"), InProcess())
    kept = result.read_kept().column("url").to_pylist()
    assert sorted(kept) == sorted(f"http://a.example/o{i}" for i in range(40))
    assert dict(result.fates["pairs"].reasons) == {"duplicate_bytes": 8, "near_duplicate": 9}
    dropped = result.read_dropped().to_pylist()
    assert all(d["evidence"].startswith("of ") and d["thumbnail"] for d in dropped)


def test_the_pair_with_most_pixels_then_the_longest_text_stays(tmp_path: Path) -> None:
    big, small = jpeg(drawing(1).resize((160, 160))), jpeg(drawing(1))
    given = [row("small", "a very long text indeed", small), row("big", "x", big), row("big2", "xy", big)]
    source = phase_of(str(tmp_path / "in"), [pa.Table.from_pylist(given, schema=SCHEMA)])
    result = deduplicate(DeduplicateConfig(), source, str(tmp_path / "out"), InProcess())
    assert result.read_kept().column("url").to_pylist() == ["http://a.example/big2"]


def test_pictures_of_equal_shape_and_other_colour_are_no_duplicates(tmp_path: Path) -> None:
    grey = np.asarray(drawing(3).convert("L"), dtype=np.float32)[..., None]
    tints = [Image.fromarray((grey * np.array(c)).astype(np.uint8)) for c in ((1, 0.3, 0.3), (0.3, 0.3, 1))]
    given = [row(f"t{i}", "tinted", jpeg(p)) for i, p in enumerate(tints)]
    source = phase_of(str(tmp_path / "in"), [pa.Table.from_pylist(given, schema=SCHEMA)])
    result = deduplicate(DeduplicateConfig(), source, str(tmp_path / "out"), InProcess())
    assert result.fates["pairs"].kept == 2


@pytest.mark.parametrize("parts", [1, 4])
def test_packing_gives_full_shards_in_uid_order_whatever_the_input_files(
    tmp_path: Path, rows: pa.Table, parts: int
) -> None:
    source = phase_of(str(tmp_path / "in"), split(rows.slice(0, 40), parts))
    manifest = pack(PackConfig(samples_per_shard=15), [source], {}, "v", str(tmp_path / "out"), InProcess())
    assert [shard.rows for shard in manifest.shards] == [15, 15, 10]
    manifest.verify(str(tmp_path / "out"))
    uids = [sample.uid for sample in iterate(str(tmp_path / "out"), Manifest.load(str(tmp_path / "out")))]
    assert uids == sorted(rows.slice(0, 40).column("uid").to_pylist())
    one = pack(PackConfig(samples_per_shard=15), [phase_of(str(tmp_path / "x"), [rows.slice(0, 40)])], {}, "v",
               str(tmp_path / "out1"), InProcess())  # fmt: skip
    assert [shard.tar_sha256 for shard in one.shards] == [shard.tar_sha256 for shard in manifest.shards]


def test_a_second_crawl_adds_only_what_the_finished_dataset_lacks(tmp_path: Path, rows: pa.Table) -> None:
    first = phase_of(str(tmp_path / "first"), [rows.slice(0, 20)])
    pack(PackConfig(samples_per_shard=15), [first], {}, "v", str(tmp_path / "dataset"), InProcess())
    config = DeduplicateConfig(against=str(tmp_path / "dataset"))
    second = deduplicate(config, phase_of(str(tmp_path / "in"), split(rows, 3)), str(tmp_path / "out"), InProcess())
    assert sorted(second.read_kept().column("url").to_pylist()) == sorted(
        f"http://a.example/o{i}" for i in range(20, 40)
    )
    # 20 of the dataset themselves, 8 with the same bytes, 9 near copies of numbers 10 to 18
    assert dict(second.fates["pairs"].reasons) == {"duplicate_of_dataset": 37}


def test_no_rows_at_all_go_through_and_packing_says_that_nothing_is_left(tmp_path: Path, rows: pa.Table) -> None:
    source = phase_of(str(tmp_path / "in"), [rows.slice(0, 0), rows.slice(0, 0)])
    deduplicated = deduplicate(DeduplicateConfig(), source, str(tmp_path / "dedup"), InProcess())
    (tmp_path / "set").mkdir()
    drawing(1).save(tmp_path / "set" / "a.png")
    references = str(tmp_path / "references")
    build_index([given_set(str(tmp_path / "set"))], Indexing(("same",), 10), references, InProcess())
    last = decontaminate(DecontaminateConfig(), deduplicated, references, str(tmp_path / "clean"), InProcess())
    with pytest.raises(DataError, match="the dataset is empty after filtering"):
        pack(PackConfig(), [deduplicated, last], {}, "v", str(tmp_path / "out"), InProcess())
    assert not (tmp_path / "out").exists()
