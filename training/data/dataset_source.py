"""A finished dataset (Manifest) as a source: a part per shard, read from its Parquet index.

A shard that is cut off, or that `verify_checksums` finds changed, costs its samples and not the run: they keep their places in the
order, are counted in `lost`, and the loader takes others in their stead.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.datasets import shards
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from training.data.config import SourceConfig
from training.data.labels import classes_of
from training.data.losses import Lost
from training.data.part import DataFile, Part, has_text, text_column

CHANGED = "changed since its manifest was written"


class DatasetSource:
    """Raises DataError where files are missing or larger than the manifest says, and ConfigError for an unknown column."""

    def __init__(self, folder: str, config: SourceConfig, verify_checksums: bool = False) -> None:
        self.name, self._folder, self._config = folder, folder, config
        self._manifest = manifest = Manifest.load(folder)
        self.id = manifest.id
        self.part_rows = tuple(shard.rows for shard in manifest.shards)
        short = manifest.require_files(folder, may_be_short=True)
        if verify_checksums:
            manifest.verify(folder, data_files=False)
        self._damage: dict[int, str] = {}
        self.lost = tuple(self._losses(short, verify_checksums))
        self.has_captions, self.multi_label = False, False
        self.classes: tuple[str, ...] = ()
        if not manifest.rows:
            return
        schema = shards.read_schema(folder, manifest.shards[0])
        names = set(schema.names)
        if config.caption_column not in names and config.caption_column != SourceConfig().caption_column:
            raise ConfigError(
                f"train.data.sources: {folder} has no column {config.caption_column!r}; {_columns(schema)}"
            )
        self._columns = ["image_offset", "image_bytes"]
        self._columns += [config.caption_column] if config.caption_column in names else []
        if config.caption_column in names:
            captions = (self.part(number).captions for number, rows in enumerate(self.part_rows) if rows)
            self.has_captions = any(each is not None and has_text(each) for each in captions)
        if config.label_column is not None:
            if config.label_column not in names:
                raise ConfigError(
                    f"train.data.sources: {folder} has no column {config.label_column!r}; {_columns(schema)}"
                )
            self._columns.append(config.label_column)
            self.classes, self.multi_label = classes_of(self._labels(), f"{folder}, column {config.label_column}")

    def _losses(self, short: Mapping[int, int], verify_checksums: bool) -> Iterator[Lost]:
        for number, shard in enumerate(self._manifest.shards):
            path = storage.join(self._folder, shard.tar)
            if number in short:
                reason = f"cut off, {short[number]:,} of {shard.bytes:,} bytes"
                rows = shard.rows
                if storage.is_local(
                    path
                ):  # what lies before the end is whole; over the network, only whole shards are taken
                    places = shards.read_index(self._folder, shard, ["image_offset", "image_bytes"])
                    ends = pc.add(places.column(0), places.column(1)).to_numpy()
                    rows = int((ends > short[number]).sum())
                else:
                    self._damage[number] = reason
            elif verify_checksums and storage.is_local(path) and storage.sha256_file(path) != shard.tar_sha256:
                reason = self._damage[number] = CHANGED
                rows = shard.rows
            else:
                continue
            if rows:
                yield Lost(path, rows, reason, listed=True)

    def _labels(self):  # type: ignore[no-untyped-def]
        assert self._config.label_column is not None
        for shard in self._manifest.shards:
            table = shards.read_index(self._folder, shard, [self._config.label_column])
            yield from (
                table.column(0).unique().to_pylist() if _is_flat(table.column(0).type) else table.column(0).to_pylist()
            )

    def part(self, number: int) -> Part:
        shard = self._manifest.shards[number]
        index = shards.read_index(self._folder, shard, self._columns)
        names = index.column_names
        captions = (
            text_column(index.column(self._config.caption_column)) if self._config.caption_column in names else None
        )
        label, path = self._config.label_column, storage.join(self._folder, shard.tar)
        return Part(
            (DataFile(path, shard.bytes, shard.tar_sha256, self._damage.get(number, "")),),
            index.column("image_offset").to_numpy(),
            index.column("image_bytes").to_numpy().astype(np.int64),
            captions,
            index.column(label).combine_chunks() if label is not None and label in names else None,
        )


def _is_flat(kind: pa.DataType) -> bool:
    return not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_struct(kind))


def _columns(schema: pa.Schema) -> str:
    return "its columns: " + ", ".join(schema.names)
