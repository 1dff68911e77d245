"""Against a finished dataset: its pictures are not taken again, found as the slow twin finds them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pools import fallen, kept, row, run, table, thumbnails_fit

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from pipeline.manifest import Manifest, Shard
from pipeline.pictures.picture_config import PictureConfig
from pipeline.pictures.picture_row import picture_row

NAMES = ["uid", "sha256", "phash", "phash256"]


def dataset(
    folder: Path, rows: list[dict[str, Any]], shards: int = 2, names: list[str] = NAMES, pictures: bool = True
) -> str:
    """A finished dataset as far as its indexes and pictures go; these look like the rows' thumbnails."""
    entries = []
    for number in range(shards):
        here = rows[number::shards]
        index, stored = table(here).select(names), [picture(each["thumbnail8"]) for each in here]
        if pictures:
            lengths = [len(each) for each in stored]
            index = index.append_column("image_offset", pa.array(np.cumsum([0, *lengths])[:-1]))
            index = index.append_column("image_bytes", pa.array(lengths))
            storage.write_bytes(str(folder / f"{number:05d}.tar"), b"".join(stored))
        storage.write_table(str(folder / f"{number:05d}.parquet"), index)
        digest = storage.sha256_file(str(folder / f"{number:05d}.parquet"))
        entries.append(Shard(f"{number:05d}.tar", f"{number:05d}.parquet", index.num_rows, 0, "", digest))
    Manifest(tuple(entries), {}, (), {}, "").save(str(folder))
    return str(folder)


def picture(thumbnail: bytes) -> bytes:
    sink = io.BytesIO()
    cells = Image.frombytes("RGB", (8, 8), thumbnail)
    cells.resize((64, 64), Image.Resampling.NEAREST).save(sink, "PNG")
    return sink.getvalue()


def coloured(thumbnail: bytes, kind: int) -> bytes:
    """As it is, in other colours, or darker."""
    values = np.frombuffer(thumbnail, np.uint8).reshape(64, 3)
    return [values, np.roll(values, 1, axis=1), (values * 0.8).astype(np.uint8)][kind].tobytes()


def flipped(value: int, bits: int, random: np.random.Generator) -> int:
    return value ^ sum(1 << int(bit) for bit in random.choice(64, bits, replace=False))


def crowd(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    random = np.random.default_rng(seed)
    theirs = [row(1000 + n) for n in range(80)]
    ours = []
    for n in range(160):
        other = theirs[n % 80]
        kind, look = n % 4, {"thumbnail8": coloured(theirs[n % 80]["thumbnail8"], n // 4 % 3)}
        if kind == 0:
            ours.append(row(n, sha256=other["sha256"]))
        elif kind == 1:
            ours.append(row(n, phash=flipped(other["phash"], n % 11, random), phash256=other["phash256"], **look))
        elif kind == 2:  # near in the short hash, far in the long one
            ours.append(row(n, phash=flipped(other["phash"], n % 11, random), **look))
        else:
            ours.append(row(n, phash=flipped(other["phash"], n % 7, random), phash256=None, **look))
    return ours, theirs


def twin(
    ours: list[dict[str, Any]], theirs: list[dict[str, Any]], radius: int, thumbnails: str = "fitted"
) -> list[str]:
    stays = []
    for each in ours:
        same = any(each["sha256"] == other["sha256"] for other in theirs)
        for other in theirs:
            bits = (each["phash"] ^ other["phash"]).bit_count()
            if each["phash256"] and other["phash256"]:
                long = int.from_bytes(each["phash256"], "big") ^ int.from_bytes(other["phash256"], "big")
                alike = bits <= radius and long.bit_count() <= 64
                fits = thumbnails_fit(each["thumbnail8"], other["thumbnail8"])
                same = same or (alike and (thumbnails == "ignored" or fits))
            elif thumbnails == "ignored":
                same = same or bits <= radius
            else:
                two = (np.frombuffer(side["thumbnail8"], np.uint8).astype(float) for side in (each, other))
                same = same or (bits <= radius and float(np.sqrt((np.subtract(*two) ** 2).mean())) <= 12)
        if not same:
            stays.append(each["url"])
    return sorted(stays)


@pytest.mark.parametrize(("radius", "buckets"), [(7, 4), (10, 40)])
def test_what_the_dataset_holds_falls(tmp_path: Path, radius: int, buckets: int) -> None:
    ours, theirs = crowd(0)
    folder = dataset(tmp_path / "other", theirs)
    result = run(tmp_path, table(ours), 3, against=folder, radius=radius, buckets=buckets, rows_per_block=60)
    assert kept(result) == twin(ours, theirs, radius)
    assert dict(result.fates["pairs"].reasons) == {"duplicate_of_dataset": 160 - len(kept(result))}
    uids = {other["uid"] for other in theirs}
    assert {evidence.split()[1] for _, _, evidence in fallen(result)} <= uids
    shuffled = run(
        tmp_path / "x", table(ours[::-1]), 2, against=dataset(tmp_path / "y", theirs[::-1], 3), radius=radius
    )
    assert fallen(shuffled) == fallen(result)


def test_colours_are_seen_as_within_one_dataset(tmp_path: Path) -> None:
    """Ours and theirs in one pool, without `against`, give the same verdicts on ours."""
    theirs = [row(1000 + n) for n in range(12)]
    ours = [
        row(n, phash=other["phash"] ^ 1, phash256=other["phash256"], thumbnail8=coloured(other["thumbnail8"], n % 3))
        for n, other in enumerate(theirs)
    ]
    folder = dataset(tmp_path / "other", theirs)
    for thumbnails, falls in (("fitted", 8), ("plain", 4), ("ignored", 12)):
        result = run(tmp_path / thumbnails, table(ours), against=folder, thumbnails=thumbnails)
        assert dict(result.fates["pairs"].reasons) == {"duplicate_of_dataset": falls}
        large = [each | {"original_width": 900} for each in theirs]
        together = run(tmp_path / f"{thumbnails}-one", table([*large, *ours]), thumbnails=thumbnails)
        assert kept(together) == sorted([*kept(result), *(each["url"] for each in theirs)])
        words = [evidence for _, _, evidence in fallen(result)]
        assert all(("colours" in each) == (thumbnails != "ignored") for each in words)


def test_where_its_index_has_no_hashes_its_pictures_are_looked_at(tmp_path: Path) -> None:
    """As for a dataset that img2dataset made and `openwit adopt` took over."""
    theirs = [row(1000 + n) for n in range(12)]
    looks = [picture_row(PictureConfig().picture_header(), picture(each["thumbnail8"]), "look") for each in theirs]
    ours = [row(n, phash=each["phash"], phash256=each["phash256"]) for n, each in enumerate(looks)]
    ours = [each | {"thumbnail8": coloured(theirs[n]["thumbnail8"], n % 3)} for n, each in enumerate(ours)]
    for names in (["uid", "sha256"], ["uid", "sha256", "phash"]):
        folder = dataset(tmp_path / f"other-{len(names)}", theirs, names=names)
        result = run(tmp_path / f"run-{len(names)}", table(ours), against=folder)
        assert kept(result) == sorted(each["url"] for n, each in enumerate(ours) if n % 3 == 1)


def test_a_stored_picture_that_was_cropped_has_no_colours_to_compare(tmp_path: Path) -> None:
    theirs = [row(1000)]
    ours = [row(0, phash=theirs[0]["phash"], phash256=theirs[0]["phash256"])]
    folder = Path(dataset(tmp_path / "other", theirs, 1))
    index = storage.read_table(str(folder / "00000.parquet"))
    for name, side in (("width", 256), ("height", 256), ("original_width", 400), ("original_height", 300)):
        index = index.append_column(name, pa.array([side]))
    storage.write_table(str(folder / "00000.parquet"), index)
    result = run(tmp_path, table(ours), against=str(folder))
    assert fallen(result)[0][2].endswith("0 of 64 hash bits, 0 of 256, colours not compared")


def test_what_a_dataset_lacks_is_one_line(tmp_path: Path) -> None:
    ours, theirs = crowd(1)
    folder = dataset(tmp_path / "other", theirs, names=["uid", "sha256"], pictures=False)
    with pytest.raises(
        ConfigError, match=r"has no column phash, thumbnail8, and no image_offset and image_bytes, .*pictures=false$"
    ):
        run(tmp_path, table(ours), against=folder)
    result = run(tmp_path / "bytes", table(ours), against=folder, pictures=False)
    assert dict(result.fates["pairs"].reasons) == {"duplicate_of_dataset": 40}
    short = dataset(tmp_path / "short", theirs, names=["uid", "sha256", "phash"], pictures=False)
    with pytest.raises(ConfigError, match=r"has no column thumbnail8, and no image_offset .*thumbnails=ignored$"):
        run(tmp_path / "hash", table(ours), against=short)
    by_hash = run(tmp_path / "hash", table(ours), against=short, thumbnails="ignored")
    bare = [other | {"phash256": None} for other in theirs]
    found = by_hash.fates["pairs"].reasons["duplicate_of_dataset"]
    assert found == 160 - len(twin(ours, bare, 3, "ignored"))
    with pytest.raises(ConfigError, match=r"has no column sha256 in its index; .*bytes=false$"):
        run(tmp_path / "x", table(ours), against=dataset(tmp_path / "no", theirs, names=["uid", "phash"]))
    with pytest.raises(DataError, match="no finished dataset"):
        run(tmp_path / "none", table(ours), against=str(tmp_path / "nothing"))


def test_hashes_in_hexadecimal_words_are_understood(tmp_path: Path) -> None:
    ours, theirs = crowd(3)
    plain = run(tmp_path / "a", table(ours), against=dataset(tmp_path / "plain", theirs))
    folder = tmp_path / "words"
    dataset(folder, theirs, 1)
    rows = storage.read_table(str(folder / "00000.parquet"))
    for name, words in (
        ("phash", [f"{value:016x}" for value in rows.column("phash").to_pylist()]),
        ("phash256", [value.hex() if value else None for value in rows.column("phash256").to_pylist()]),
    ):
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(words, pa.string()))
    storage.write_table(str(folder / "00000.parquet"), rows)
    again = run(tmp_path / "b", table(ours), against=str(folder))
    assert fallen(again) == fallen(plain)


def test_the_folder_of_the_dataset_is_no_part_of_the_result(tmp_path: Path) -> None:
    ours, theirs = crowd(2)
    results = [
        run(tmp_path / name, table(ours), against=dataset(tmp_path / f"{name}-other", theirs)) for name in ("a", "b")
    ]
    assert results[0].id == results[1].id
    assert pa.Table.equals(results[0].read_dropped(), results[1].read_dropped())
