"""Against a finished dataset: its pictures are not taken again, found as the slow twin finds them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pools import fallen, kept, row, run, table

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from pipeline.manifest import Manifest, Shard

NAMES = ["uid", "sha256", "phash", "phash256"]


def dataset(folder: Path, rows: list[dict[str, Any]], shards: int = 2, names: list[str] = NAMES) -> str:
    """A finished dataset as far as its indexes go."""
    entries = []
    for number in range(shards):
        index = table(rows[number::shards]).select(names)
        storage.write_table(str(folder / f"{number:05d}.parquet"), index)
        digest = storage.sha256_file(str(folder / f"{number:05d}.parquet"))
        entries.append(Shard(f"{number:05d}.tar", f"{number:05d}.parquet", index.num_rows, 0, "", digest))
    Manifest(tuple(entries), {}, (), {}, "").save(str(folder))
    return str(folder)


def flipped(value: int, bits: int, random: np.random.Generator) -> int:
    return value ^ sum(1 << int(bit) for bit in random.choice(64, bits, replace=False))


def crowd(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    random = np.random.default_rng(seed)
    theirs = [row(1000 + n) for n in range(80)]
    ours = []
    for n in range(160):
        other = theirs[n % 80]
        kind = n % 4
        if kind == 0:
            ours.append(row(n, sha256=other["sha256"]))
        elif kind == 1:
            ours.append(row(n, phash=flipped(other["phash"], n % 11, random), phash256=other["phash256"]))
        elif kind == 2:  # near in the short hash, far in the long one
            ours.append(row(n, phash=flipped(other["phash"], n % 11, random)))
        else:
            ours.append(row(n, phash=flipped(other["phash"], n % 7, random), phash256=None))
    return ours, theirs


def twin(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], radius: int) -> list[str]:
    stays = []
    for each in ours:
        same = any(each["sha256"] == other["sha256"] for other in theirs)
        for other in theirs:
            bits = (each["phash"] ^ other["phash"]).bit_count()
            if each["phash256"] and other["phash256"]:
                long = int.from_bytes(each["phash256"], "big") ^ int.from_bytes(other["phash256"], "big")
                same = same or (bits <= radius and long.bit_count() <= 64)
            else:
                same = same or bits <= 3
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


def test_a_dataset_of_an_older_version_is_one_line(tmp_path: Path) -> None:
    ours, theirs = crowd(1)
    folder = dataset(tmp_path / "other", theirs, names=["uid", "sha256"])
    with pytest.raises(ConfigError, match=r"against: .*no column phash.*curate.deduplicate.pictures=false"):
        run(tmp_path, table(ours), against=folder)
    result = run(tmp_path / "bytes", table(ours), against=folder, pictures=False)
    assert dict(result.fates["pairs"].reasons) == {"duplicate_of_dataset": 40}
    short = dataset(tmp_path / "short", theirs, names=["uid", "sha256", "phash"])
    by_hash = run(tmp_path / "hash", table(ours), against=short)
    assert by_hash.fates["pairs"].kept == len(twin(ours, [other | {"phash256": None} for other in theirs], 7))
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
