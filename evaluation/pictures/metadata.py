"""Pictures with a list beside them: image folders of the `datasets` library (huggingface.co/docs/datasets, "ImageFolder").

    test/metadata.csv (or .jsonl)    file_name and any columns: label, or text for captions
    test/0001.jpg, ...

Where the list has neither labels nor captions, folders are classes.
"""

import json
from collections.abc import Mapping
from typing import Any

from evaluation.pictures.decoding import of_files
from evaluation.pictures.folder import Folder
from evaluation.pictures.image_folder import SPELLED, by_class, split_folders
from evaluation.pictures.layout import Reader
from evaluation.pictures.parquet import CAPTION_NAMES, LABEL_NAMES
from evaluation.pictures.pictures import Broken, Pictures

LISTS = ("metadata.csv", "metadata.jsonl")
FILE = "file_name"


def _open(home: Folder, split: str) -> Pictures:
    folder = split_folders(home)[split]
    name = next((f"{folder}/{each}" for each in LISTS if home.has(f"{folder}/{each}")), None)
    rows = _rows(home, name) if name else []
    if name and not rows:
        raise Broken(f"{home.at(name)}: lists no picture")
    shared = [column for column in (rows[0] if rows else {}) if all(column in row for row in rows)]
    label = next((each for each in LABEL_NAMES if each in shared), None)
    caption = next((each for each in CAPTION_NAMES if each in shared), None)
    if label is None and caption is None:
        return by_class(f"metadata/{split}", home, below=folder)
    columns = {column: tuple(_word(row[column]) for row in rows) for column in shared if column != FILE}
    if label is not None:
        columns["label"] = columns[label]
    elif caption is not None:
        columns["caption"] = tuple((each,) if isinstance(each, str) else each for each in columns[caption])
    return of_files(f"metadata/{split}", home, [f"{folder}/{row[FILE]}" for row in rows], columns)


def _rows(home: Folder, name: str) -> list[Mapping[str, Any]]:
    if name.endswith(".csv"):
        return list(home.rows(name, [FILE]))
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(home.lines(name), 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Broken(f"{home.at(name)}: line {number} is not JSON ({str(error)[:60]})") from error
        if not isinstance(row, dict) or not isinstance(row.get(FILE), str):
            raise Broken(f"{home.at(name)}: line {number} has no {FILE}")
        rows.append(row)
    return rows


def _word(value: Any) -> Any:
    return tuple(map(str, value)) if isinstance(value, list) else str(value)


METADATA = Reader(
    "metadata",
    tuple((f"{folder}/{name}",) for folder in SPELLED for name in LISTS),
    _open,
    lambda home: tuple(split_folders(home)),
    said="test/metadata.csv with file_name and label, beside the pictures",
)
