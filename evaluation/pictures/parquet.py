"""Hugging Face's Parquet layout: a column of pictures (struct of bytes and path) and a column of labels.

How the files are called: parquet_files.py; those of a configuration of a dataset: parquet_config.py.
Names of classes come from the feature description that the `datasets` library leaves in the file's metadata. Labels are
read at once, pictures a row group at a time.

Traps: Food-101's test split is called "validation" there, and ImageNet's "test" has no labels (all are -1): then
"validation" is the test part. Flickr30k's copy (nlphuji/flickr30k) has all pictures in "test", and a column `split`.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from evaluation.pictures.decoding import decoded
from evaluation.pictures.folder import Folder
from evaluation.pictures.layout import Reader
from evaluation.pictures.lazy import Latest
from evaluation.pictures.parquet_files import ALIASES, KNOWN, check_whole, split_files
from evaluation.pictures.pictures import Absent, Broken, Pictures
from pipeline import storage
from training.data.class_label import class_names

IMAGE_NAMES = ("image", "img", "jpg", "png", "webp", "jpeg", "picture")
LABEL_NAMES = ("label", "labels", "cls", "fine_label", "class", "variant", "common", "wnid")
"""Columns of labels, the finest first: CIFAR-100 and FGVC Aircraft have several."""
CAPTION_NAMES = ("captions", "caption", "raw", "sentences", "text", "txt")
KEPT_GROUPS = 2
"""Row groups of pictures in memory: where one ends, threads ask for both."""


def _chosen(home: Folder) -> dict[str, list[str]]:
    files = split_files(home)
    chosen = {
        split: next((files[alias] for alias in aliases if alias in files), []) for split, aliases in ALIASES.items()
    }
    if chosen["val"] and (not chosen["test"] or _unlabelled(home, chosen["test"])):
        chosen["test"], chosen["val"] = chosen["val"], []
    return {split: names for split, names in chosen.items() if names}


class _File:
    """One Parquet file: its schema, rows and row groups."""

    def __init__(self, home: Folder, name: str) -> None:
        self.path = home.at(name)
        self._filesystem, self._name = storage.filesystem_of(self.path)
        try:
            with self._filesystem.open(self._name, "rb") as file:
                parquet = pq.ParquetFile(file)
                self.schema = parquet.schema_arrow
                groups = [parquet.metadata.row_group(at).num_rows for at in range(parquet.num_row_groups)]
        except (pa.ArrowInvalid, OSError) as error:
            raise Broken(f"{self.path}: is no whole Parquet file ({str(error)[:80]}); get it anew") from error
        self.starts = np.cumsum([0, *groups])
        self.rows = int(self.starts[-1])

    def column(self, name: str) -> list[Any]:
        return self._read([name]).column(name).to_pylist()

    def group(self, at: int, name: str) -> pa.ChunkedArray:
        return self._read([name], at).column(name)

    def _read(self, columns: list[str], group: int | None = None) -> pa.Table:
        try:
            with self._filesystem.open(self._name, "rb") as file:
                parquet = pq.ParquetFile(file)
                table = parquet.read(columns) if group is None else parquet.read_row_group(group, columns)
        except (pa.ArrowException, OSError) as error:
            raise Broken(f"{self.path}: cannot be read ({str(error)[:80]}); get it anew") from error
        return table.select(columns)


def open_parquet(home: Folder, split: str) -> Pictures:
    names = _chosen(home)[split]
    check_whole(home, names)
    files = [_File(home, name) for name in names]
    schema = files[0].schema
    image = _image_column(schema, files[0].path)
    columns, classes = _columns(schema, files)
    _check_names(files, columns)
    starts = np.cumsum([0, *(file.rows for file in files)])

    groups = Latest(lambda file, at: files[file].group(at, image), KEPT_GROUPS)

    def stored(index: int) -> bytes:
        number = int(np.searchsorted(starts, index, "right")) - 1
        file, row = files[number], index - int(starts[number])
        at = int(np.searchsorted(file.starts, row, "right")) - 1
        value = groups.get(number, at)[row - int(file.starts[at])].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise Broken(f"{file.path}: row {row} has a path and no bytes; save the dataset with its pictures inside")
        return data

    def read(index: int) -> Image.Image:
        return decoded(stored(index), f"{home.path} ({split}, row {index})")

    bare = classes is None and next((name for name in LABEL_NAMES if name in schema.names), "") == "cls"
    count = int(starts[-1])
    found = Pictures(f"parquet/{split}", home.fingerprint(*names), columns, read, count, stored, classes, bare_cls=bare)
    return _of_split(found, split)


def _of_split(pictures: Pictures, split: str) -> Pictures:
    """Those that a column `split` says are of it, where that tells several splits apart; all others as they are."""
    known = {alias: name for name, aliases in ALIASES.items() for alias in aliases} | {"restval": "train"}
    said = [known.get(str(word)) for word in pictures.columns.get("split", ())]
    chosen = [at for at, name in enumerate(said) if name == split]
    return pictures.subset(chosen) if chosen and None not in said and len(set(said)) > 1 else pictures


def _check_names(files: list[_File], columns: dict[str, Any]) -> None:
    """Raises Broken where a file numbers its classes otherwise than the first: their numbers would be taken for each other."""
    for column in (name for name in files[0].schema.names if name in columns or name in LABEL_NAMES):
        names = class_names(files[0].schema, column)
        for file in files[1:]:
            if class_names(file.schema, column) != names:
                raise Broken(
                    f"{file.path}: names the classes of '{column}' otherwise than {files[0].path}; get both anew"
                )


def _image_column(schema: pa.Schema, path: str) -> str:
    def holds(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(at).name == "bytes" for at in range(kind.num_fields))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    fitting = [field.name for field in schema if holds(field.type)]
    chosen = next((name for name in IMAGE_NAMES if name in fitting), fitting[0] if len(fitting) == 1 else None)
    if chosen is None:
        raise Broken(f"{path}: has no column of pictures, but {', '.join(schema.names)[:200]}")
    return chosen


def _columns(schema: pa.Schema, files: list[_File]) -> tuple[dict[str, tuple[Any, ...]], tuple[str, ...] | None]:
    """`label` and `caption` under whatever name they have, every other column of words, and the names of `label`'s numbers."""
    label = next((name for name in LABEL_NAMES if name in schema.names), None)
    caption = None if label else next((name for name in CAPTION_NAMES if name in schema.names), None)
    columns: dict[str, tuple[Any, ...]] = {}
    for field in schema:
        names = class_names(schema, field.name)
        if not names and field.name not in (label, caption) and not pa.types.is_string(field.type):
            continue
        values = tuple(_words(value) for file in files for value in file.column(field.name))
        if field.name == label:
            columns["label"] = values
        elif field.name == caption:
            columns["caption"] = tuple((value,) if isinstance(value, str) else value for value in values)
        elif names:
            columns[field.name] = tuple(names[int(value)] if _within(value, names) else value for value in values)
        else:
            columns[field.name] = values
    if not columns:
        raise Broken(f"{files[0].path}: has no column of labels ({', '.join(LABEL_NAMES)}), of classes or of captions")
    return columns, class_names(schema, label) if label else None


def _within(value: Any, names: tuple[str, ...]) -> bool:
    return isinstance(value, str) and value.isdecimal() and int(value) < len(names)


def _words(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(str(each) for each in value)
    return str(value)


def _unlabelled(home: Folder, names: list[str]) -> bool:
    file = _File(home, names[0])
    label = next((name for name in LABEL_NAMES if name in file.schema.names), None)
    if label is None or not pa.types.is_integer(file.schema.field(label).type):
        return False
    return all(value == -1 for value in file.column(label))


def _open(home: Folder, split: str) -> Pictures:
    if not _chosen(home):
        raise Absent(f"{home.path}: its Parquet files are called after no split, e.g. test-00000-of-00001.parquet")
    return open_parquet(home, split)


PARQUET = Reader(
    "parquet",
    tuple(
        (f"{below}{alias}{rest}",) for below in ("data/", "") for alias in KNOWN for rest in ("*.parquet", "/*.parquet")
    ),
    _open,
    lambda home: tuple(_chosen(home)),
    homes=("", "default"),
    said="data/test-00000-of-00001.parquet, test-*.parquet or test/*.parquet",
)
