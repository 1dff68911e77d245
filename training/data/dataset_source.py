"""A finished dataset (Manifest) as a source: a part per shard, read from its Parquet index."""

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.datasets import shards
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from training.data.config import SourceConfig
from training.data.labels import classes_of
from training.data.part import DataFile, Part, has_text, text_column


class DatasetSource:
    """Raises DataError where files are missing or of another size than the manifest says, and ConfigError for an unknown column."""

    def __init__(self, folder: str, config: SourceConfig, verify_checksums: bool = False) -> None:
        self.name, self._folder, self._config = folder, folder, config
        self._manifest = manifest = Manifest.load(folder)
        self.id = manifest.id
        self.part_rows = tuple(shard.rows for shard in manifest.shards)
        manifest.require_files(folder)
        if verify_checksums:
            manifest.verify(folder)
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
        first = next(number for number, rows in enumerate(self.part_rows) if rows)
        captions = self.part(first).captions
        self.has_captions = captions is not None and has_text(captions)
        if config.label_column is not None:
            if config.label_column not in names:
                raise ConfigError(
                    f"train.data.sources: {folder} has no column {config.label_column!r}; {_columns(schema)}"
                )
            self._columns.append(config.label_column)
            self.classes, self.multi_label = classes_of(self._labels(), f"{folder}, column {config.label_column}")

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
        label = self._config.label_column
        return Part(
            (DataFile(storage.join(self._folder, shard.tar), shard.bytes, shard.tar_sha256),),
            index.column("image_offset").to_numpy(),
            index.column("image_bytes").to_numpy().astype(np.int64),
            captions,
            index.column(label).combine_chunks() if label is not None and label in names else None,
        )


def _is_flat(kind: pa.DataType) -> bool:
    return not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_struct(kind))


def _columns(schema: pa.Schema) -> str:
    return "its columns: " + ", ".join(schema.names)
