"""Finished shards: reading them by position, and writing a small dataset that needs no curation.

A shard `00003` is three files (img2dataset 1.47, writer.py, is the contract that open_clip and DataComp's tools read):

    00003.tar          <key>.jpg (or .png, .webp), <key>.txt, <key>.json per sample
    00003.parquet      a row per sample: img2dataset's columns, ours, and where the picture lies in the tar
    00003_stats.json   its counts

or, as Parquet with image bytes, 00003.parquet, index/00003.parquet and 00003_stats.json (pipeline/datasets/shard_writer.py). The
manifest names the files, so whoever reads needs not know which form it is: a picture has a file, an offset and a length.
"""

import io
from collections.abc import Iterator, Sequence

import pyarrow as pa

from pipeline import storage
from pipeline.datasets.shard_form import PACKED, sample_key
from pipeline.datasets.shard_writer import shard_entry, write_shard
from pipeline.errors import DataError
from pipeline.manifest import Manifest, Shard
from pipeline.sample import Sample, pair_uid
from pipeline.streams import read_ranges

__all__ = [
    "PACKED",
    "iterate",
    "read_image",
    "read_index",
    "read_schema",
    "require_indexes",
    "sample_key",
    "write_dataset",
]

_DAMAGED = (
    "{}: missing or damaged; remove it and run the recipe that made the dataset again, which makes what is missing"
)


def read_index(folder: str, shard: Shard, columns: list[str] | None = None) -> pa.Table:
    """The shard's index. Raises DataError when it is missing, unreadable, or its rows do not match the manifest."""
    path = storage.join(folder, shard.index)
    try:
        table = storage.read_table(path, columns)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise DataError(_DAMAGED.format(path)) from error
    if table.num_rows != shard.rows:
        raise DataError(
            f"{path}: {table.num_rows:,} rows, its manifest says {shard.rows:,}; run the recipe that made the dataset again"
        )
    return table


def read_schema(folder: str, shard: Shard) -> pa.Schema:
    """The columns of the shard's index. Raises DataError when it is missing or unreadable."""
    path = storage.join(folder, shard.index)
    try:
        return storage.read_schema(path)
    except (OSError, ValueError) as error:
        raise DataError(_DAMAGED.format(path)) from error


def require_indexes(folder: str, manifest: Manifest) -> None:
    """Look at the foot of every index, as `Manifest.require_files` looks at the size of data files: one that was cut short, or has
    other rows, raises DataError."""
    for shard in manifest.shards:
        path = storage.join(folder, shard.index)
        if (rows := storage.row_count(path)) != shard.rows:
            raise DataError(f"{path}: {rows:,} rows, its manifest says {shard.rows:,}; run the recipe again")


def read_image(path: str, offset: int, length: int) -> bytes:
    """The encoded picture at `offset` in the data file at `path`. Raises DataError where the file cannot be read."""
    return read_ranges([path], [offset], [length])[0]


def iterate(folder: str, manifest: Manifest) -> Iterator[Sample]:
    """Every sample in the dataset's order, one index in memory at a time; pictures are read by offset only."""
    for shard in manifest.shards:
        path = storage.join(folder, shard.tar)
        for row in read_index(folder, shard).to_pylist():
            yield Sample(
                row["key"],
                row["uid"],
                row["url"],
                row["page_url"],
                row["caption"],
                read_image(path, row["image_offset"], row["image_bytes"]),
                row["width"],
                row["height"],
            )


def write_dataset(
    folder: str, samples: Sequence[tuple[str, str, bytes]], samples_per_shard: int = 1000, format: str = "jpg"
) -> Manifest:
    """A finished dataset from (url, text, encoded picture) triples that need no curation, in the order given."""
    from PIL import Image

    rows = []
    pictures = [image for _, _, image in samples]
    for url, text, image in samples:
        with Image.open(io.BytesIO(image)) as picture:
            width, height = picture.size
        rows.append(
            {
                "uid": pair_uid(url, text),
                "url": url,
                "text": text,
                "text_origin": "given",
                "page_url": url,
                "queries": [],
                "format": format,
                "width": width,
                "height": height,
                "original_width": width,
                "original_height": height,
                "sha256": storage.sha256(image),
                "repairs": [],
            }
        )
    shards = []
    for number, start in enumerate(range(0, len(rows), samples_per_shard)):
        table = pa.Table.from_pylist(rows[start : start + samples_per_shard])
        part = pictures[start : start + samples_per_shard]
        files = write_shard(folder, number, table, part, samples_per_shard)
        for name, data in files.items():
            storage.settled(storage.join(folder, name), data)
        shards.append(shard_entry(number, "webdataset", table.num_rows, files))
    fate = {"rows_in": len(rows), "kept": len(rows), "reasons": {}}
    manifest = Manifest(tuple(shards), {"given": {"pairs": fate}}, (), {}, "")
    manifest.save(folder)
    return manifest
