"""WebDataset shards in img2dataset's output contract, with one index per shard for reading by position.

A shard `00003` is three files (img2dataset 1.47, writer.py, is the contract that open_clip and DataComp's tools read):

    00003.tar          <key>.jpg (or .png, .webp), <key>.txt, <key>.json per sample
    00003.parquet      a row per sample: img2dataset's columns, ours, and where the picture lies in the tar
    00003_stats.json   its counts

Bytes depend on content only: members in order, times and owners zero. So equal data gives equal checksums.
"""

import io
import json
import math
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

import fsspec
import pyarrow as pa

from pipeline import storage
from pipeline.errors import DataError
from pipeline.manifest import Manifest, Shard
from pipeline.sample import Sample, pair_uid

PACKED = pa.schema(
    [
        ("uid", pa.string()),
        ("url", pa.string()),
        ("text", pa.string()),
        ("text_origin", pa.string()),
        ("page_url", pa.string()),
        ("queries", pa.list_(pa.int32())),
        ("image", pa.binary()),
        ("format", pa.string()),  # jpg, png or webp
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("sha256", pa.string()),  # of the bytes as they were downloaded
        ("repairs", pa.list_(pa.string())),
    ]
)
"""The columns a row needs to enter a shard."""


def sample_key(shard: int, row: int, samples_per_shard: int) -> str:
    """img2dataset's key: five digits for the shard, then the row padded to the digits of the shard size."""
    return f"{shard:05d}{row:0{max(1, math.ceil(math.log10(samples_per_shard)))}d}"


def shard_files(rows: pa.Table, shard: int, samples_per_shard: int) -> dict[str, bytes]:
    """The three files of one shard, by name, from at most `samples_per_shard` rows of schema PACKED."""
    sink = io.BytesIO()
    index: list[dict[str, Any]] = []
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, row in enumerate(rows.to_pylist()):
            key = sample_key(shard, number, samples_per_shard)
            image = row.pop("image")
            extension = row.pop("format")
            meta = {
                "url": row["url"],
                "caption": row["text"],
                "key": key,
                "status": "success",
                "error_message": None,
                "width": row["width"],
                "height": row["height"],
                "original_width": row["original_width"],
                "original_height": row["original_height"],
                "sha256": row["sha256"],
                "uid": row["uid"],
                "page_url": row["page_url"],
                "text_origin": row["text_origin"],
                "queries": row["queries"],
                "repairs": row["repairs"],
            }
            offset = _add(tar, f"{key}.{extension}", image)
            _add(tar, f"{key}.txt", row["text"].encode("utf-8", "replace"))
            _add(tar, f"{key}.json", json.dumps(meta, indent=4, sort_keys=True).encode())
            index.append(meta | {"format": extension, "image_offset": offset, "image_bytes": len(image)})
    count = len(index)
    stats = {
        "count": count,
        "successes": count,
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "duration": 0.0,
        "start_time": 0.0,
        "end_time": 0.0,
        "status_dict": {"success": count},
    }
    return {
        f"{shard:05d}.tar": sink.getvalue(),
        f"{shard:05d}.parquet": storage.table_bytes(pa.Table.from_pylist(index, schema=INDEX)),
        f"{shard:05d}_stats.json": json.dumps(stats, indent=4, sort_keys=True).encode(),
    }


INDEX = pa.schema(
    [
        ("key", pa.string()),
        ("url", pa.string()),
        ("caption", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("sha256", pa.string()),
        ("uid", pa.string()),
        ("page_url", pa.string()),
        ("text_origin", pa.string()),
        ("queries", pa.list_(pa.int32())),
        ("repairs", pa.list_(pa.string())),
        ("format", pa.string()),
        ("image_offset", pa.int64()),
        ("image_bytes", pa.int32()),
    ]
)
"""The columns of a shard's index."""


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Append a member; returns the offset of its first byte in the tar."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o444
    offset = int(tar.offset) + tarfile.BLOCKSIZE
    tar.addfile(member, io.BytesIO(data))
    return offset


def shard_of(files: dict[str, bytes], shard: int, rows: int) -> Shard:
    """The manifest's entry for the files of one shard."""
    tar, index = files[f"{shard:05d}.tar"], files[f"{shard:05d}.parquet"]
    return Shard(f"{shard:05d}.tar", f"{shard:05d}.parquet", rows, len(tar), storage.sha256(tar), storage.sha256(index))


def read_index(folder: str, shard: Shard, columns: list[str] | None = None) -> pa.Table:
    """The shard's index (schema INDEX). Raises DataError when its rows do not match the manifest."""
    table = storage.read_table(storage.join(folder, shard.index), columns)
    if table.num_rows != shard.rows:
        raise DataError(
            f"{storage.join(folder, shard.index)}: {table.num_rows:,} rows, its manifest says {shard.rows:,};"
            " run the recipe again"
        )
    return table


def read_image(path: str, offset: int, length: int) -> bytes:
    """The encoded picture at `offset` in the tar at `path`."""
    with fsspec.open(path, "rb") as file:
        file.seek(offset)
        return bytes(file.read(length))


def iterate(folder: str, manifest: Manifest) -> Iterator[Sample]:
    """Every sample in the dataset's order, one shard in memory at a time; members are read by name and offset only."""
    for shard in manifest.shards:
        data = storage.read_bytes(storage.join(folder, shard.tar))
        for row in read_index(folder, shard).to_pylist():
            start = row["image_offset"]
            yield Sample(
                row["key"],
                row["uid"],
                row["url"],
                row["page_url"],
                row["caption"],
                data[start : start + row["image_bytes"]],
                row["width"],
                row["height"],
            )


def write_dataset(
    folder: str, samples: Sequence[tuple[str, str, bytes]], samples_per_shard: int = 1000, format: str = "jpg"
) -> Manifest:
    """A finished dataset from (url, text, encoded picture) triples that need no curation, in the order given."""
    from PIL import Image

    rows = []
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
                "image": image,
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
        table = pa.Table.from_pylist(rows[start : start + samples_per_shard], schema=PACKED)
        files = shard_files(table, number, samples_per_shard)
        for name, data in files.items():
            storage.write_bytes(storage.join(folder, name), data)
        shards.append(shard_of(files, number, table.num_rows))
    fate = {"rows_in": len(rows), "kept": len(rows), "reasons": {}}
    manifest = Manifest(tuple(shards), {"given": {"pairs": fate}}, (), {}, "")
    manifest.save(folder)
    return manifest
