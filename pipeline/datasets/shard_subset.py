"""A shard without some of its rows: what stays keeps its key, its order and its bytes; only offsets are new."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.datasets.picture_places import START_BYTES, FileView, find_values
from pipeline.datasets.shards import read_index
from pipeline.datasets.tar_members import readable_members, sample_of
from pipeline.manifest import Shard
from pipeline.streams import Stream, stream

PIECE_BYTES = 1 << 20


def keep_rows(folder: str, shard: Shard, gone: Sequence[int], out: str) -> tuple[storage.Written, bytes]:
    """Write the shard's data file into `out` without the rows `gone`; returns it and the bytes of its index.

    A sample in the data file that the index does not know is left out too.
    """
    index = read_index(folder, shard)
    stays = np.ones(index.num_rows, bool)
    stays[list(gone)] = False
    index = index.filter(pa.array(stays))
    with stream(storage.join(out, shard.tar)) as sink:
        if shard.tar.endswith(".tar"):
            offsets = _tar(storage.join(folder, shard.tar), index.column("image_offset").to_pylist(), sink)
        else:
            offsets = _parquet(storage.join(folder, shard.tar), stays, sink)
    place = index.schema.get_field_index("image_offset")
    index = index.set_column(place, index.schema.field(place), pa.array(offsets, pa.int64()))
    return sink.written, storage.table_bytes(index)


def _tar(path: str, wanted: Sequence[int], sink: Stream) -> list[int]:
    """Copy the samples whose picture begins at one of the offsets `wanted`, headers and all; their new offsets."""
    place = {offset: row for row, offset in enumerate(wanted)}
    found: dict[int, int] = {}
    filesystem, name = storage.filesystem_of(path)
    with filesystem.open(name, "rb") as file:
        for _, group in groupby(readable_members(file, Counter()), key=lambda member: sample_of(member.name)[0]):
            sample = list(group)
            if not any(member.offset in place for member in sample):
                continue
            for member in sample:
                if member.offset in place:
                    found[place[member.offset]] = sink.tell() + member.offset - member.start
                for piece in _pieces(file, member.start, member.end):
                    sink.write(piece)
    end = sink.tell() + 1024
    sink.write(bytes(1024 + -end % 10240))
    return [found[row] for row in range(len(wanted))]


def _pieces(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end:
        piece = file.read(min(PIECE_BYTES, end - start))
        if not piece:  # the last member's padding may be missing at the end of the file
            yield bytes(end - start)
            return
        start += len(piece)
        yield piece


def _parquet(path: str, stays: np.ndarray, sink: Stream) -> list[int]:
    filesystem, name = storage.filesystem_of(path)
    starts: list[bytes] = []
    lengths: list[int] = []
    with filesystem.open(name, "rb") as file:
        source = pq.ParquetFile(file)
        schema = source.schema_arrow
        column = schema.names[-1]
        first = 0
        with storage.table_writer(sink, schema, column) as writer:
            for number in range(source.num_row_groups):
                part = source.read_row_group(number)
                kept = part.filter(pa.array(stays[first : first + part.num_rows])).combine_chunks()
                first += part.num_rows
                if kept.num_rows:
                    writer.write_table(kept)
                images = kept.column(column).to_pylist()
                lengths += [len(image) for image in images]
                starts += [image[:START_BYTES] for image in images]
    sink.flush()
    with open(sink.temporary, "rb") as data:
        return find_values(FileView(data), starts, lengths)
