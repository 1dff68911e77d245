"""openwit's own shards: a folder with a manifest, alone (the test part) or as train/, val/ and test/.

Pictures are read by the offset that the index keeps. The column `caption` is every sample's text; further columns of text
in the index (a label that a phase gave) are columns here.
"""

import pyarrow as pa

from evaluation.pictures.decoding import decoded
from evaluation.pictures.folder import Folder
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Broken, Pictures, identity_of
from pipeline import manifest as manifests
from pipeline import storage
from pipeline.errors import DataError
from pipeline.manifest import Manifest

PLACE = ("image_offset", "image_bytes")


def _folder(home: Folder, split: str) -> Folder:
    return home.below(split) if home.has(f"{split}/{manifests.NAME}") else home


def _splits(home: Folder) -> tuple[str, ...]:
    inner = tuple(split for split in ("train", "val", "test") if home.has(f"{split}/{manifests.NAME}"))
    return inner or ("test",)


def open_shards(home: Folder, split: str) -> Pictures:
    folder = _folder(home, split)
    try:
        manifest = Manifest.load(folder.path)
        manifest.require_files(folder.path)
    except DataError as error:
        raise Broken(str(error)) from error
    tables = [storage.read_table(folder.at(shard.index)) for shard in manifest.shards]
    texts = [field.name for field in tables[0].schema if pa.types.is_string(field.type)]
    columns = {
        name: tuple(value or "" for table in tables for value in table.column(name).to_pylist()) for name in texts
    }
    places = [
        (number, offset, size)
        for number, table in enumerate(tables)
        for offset, size in zip(*(table.column(name).to_pylist() for name in PLACE), strict=True)
    ]

    def stored(index: int) -> bytes:
        shard, offset, size = places[index]
        return folder.read(manifest.shards[shard].tar, offset, size)

    return Pictures(
        f"shards/{split}",
        identity_of("shards", manifest.id),
        columns,
        lambda index: decoded(stored(index), f"{folder.path} (sample {index})"),
        len(places),
        stored,
    )


SHARDS = Reader(
    "shards", tuple((f"{below}{manifests.NAME}",) for below in ("", "test/", "train/")), open_shards, _splits
)
