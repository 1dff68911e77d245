"""Manifest: a finished dataset. Written last, so a manifest that exists tells of complete data.

    folder/manifest.json      this value
    folder/00000.tar ...      WebDataset shards (img2dataset's contract: <key>.jpg, <key>.txt, <key>.json), or
                              00000.parquet with the pictures' bytes
    folder/00000.parquet ...  one index per shard (index/00000.parquet beside Parquet data): a row per sample, in its order

Its `id` is a hash of its content and of nothing else: the same web, recipe and code give the same id on any machine,
under any executor, after any number of kills.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline import storage
from pipeline.errors import DataError

NAME = "manifest.json"


@dataclass(frozen=True)
class Shard:
    """One data file (`tar`, whatever its form) and its Parquet index; names are relative to the manifest's folder."""

    tar: str
    index: str
    rows: int
    bytes: int
    tar_sha256: str
    index_sha256: str

    def verify(self, folder: str, data_files: bool = True) -> None:
        """Compare the shard's files with their checksums, or its index alone. Raises DataError naming one that differs."""
        data = ((self.tar, self.tar_sha256),) if data_files else ()
        for name, wanted in (*data, (self.index, self.index_sha256)):
            path = storage.join(folder, name)
            if not storage.exists(path) or storage.sha256_file(path) != wanted:
                raise DataError(
                    f"{path}: missing or changed since the manifest was written; remove it and run the recipe again"
                )


@dataclass(frozen=True)
class Manifest:
    """Shards, counts by phase, unit and drop reason, parents (ids of what it was made from), config and code version.

    counts["fetch"]["pairs"] = {"rows_in": .., "kept": .., "reasons": {"not_found": ..}}
    """

    shards: tuple[Shard, ...]
    counts: Mapping[str, Mapping[str, Mapping[str, Any]]]
    parents: tuple[str, ...]
    config: Mapping[str, Any]
    code_version: str
    telemetry: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @property
    def bytes(self) -> int:
        return sum(shard.bytes for shard in self.shards)

    @property
    def id(self) -> str:
        content = asdict(self)
        del content["telemetry"]
        return storage.sha256(storage.canonical_json(content))

    def save(self, folder: str) -> None:
        storage.write_json(storage.join(folder, NAME), asdict(self) | {"id": self.id, "rows": self.rows})

    @staticmethod
    def load(folder: str) -> "Manifest":
        """Read the manifest in `folder`. Raises DataError where there is none or its id does not fit its content."""
        path = storage.join(folder, NAME)
        if not storage.exists(path):
            raise DataError(f"{folder}: no {NAME}, so no finished dataset; run the recipe that makes it")
        try:
            value = storage.read_json(path)
            manifest = Manifest(
                tuple(Shard(**shard) for shard in value["shards"]),
                value["counts"],
                tuple(value["parents"]),
                value["config"],
                value["code_version"],
                value["telemetry"],
            )
            said = value["id"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(f"{path}: damaged; run the recipe that made the dataset again") from None
        if manifest.id != said:
            raise DataError(f"{path}: its id does not fit its content, so it was changed by hand; run the recipe again")
        return manifest

    def require_files(self, folder: str, may_be_short: bool = False) -> dict[int, int]:
        """A quick look before work: every file is there, and data files have their size. Raises DataError for the first
        that is not; `verify` compares contents. With `may_be_short`, data files that end too soon are no error: their bytes by
        the shard's place."""
        short: dict[int, int] = {}
        for number, shard in enumerate(self.shards):
            for name, wanted in ((shard.tar, shard.bytes), (shard.index, None)):
                path = storage.join(folder, name)
                if not storage.exists(path):
                    raise DataError(f"{path}: missing, so the dataset is not whole; run the recipe that made it again")
                if wanted is not None and (found := storage.size(path)) != wanted:
                    if may_be_short and found < wanted:
                        short[number] = found
                        continue
                    raise DataError(
                        f"{path}: {found:,} bytes, its manifest says {wanted:,}; run the recipe that made the dataset again"
                    )
        return short

    def verify(self, folder: str, data_files: bool = True) -> None:
        """Compare every shard with its checksum, or the indexes alone. Raises DataError naming the first file that differs."""
        for shard in self.shards:
            shard.verify(folder, data_files)
