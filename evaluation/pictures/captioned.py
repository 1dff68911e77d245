"""Pictures with captions, in Karpathy's splits: Flickr30k and COCO (Karpathy and Fei-Fei 2015, dataset_*.json).

    {"images": [{"filename": ..., "filepath": "val2014", "split": "test", "sentences": [{"raw": ...}, ...]}, ...]}

COCO's "restval" belongs to the training part. Flickr30k is also read from the hub's csv (raw, split, filename).
"""

import json
from typing import Any

from evaluation.pictures.decoding import of_files
from evaluation.pictures.folder import Folder
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Absent, Broken, Pictures

PARTS = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}
TOPS = (
    "",
    "flickr30k-images",
    "flickr30k_images",
    "flickr30k_images/flickr30k_images",  # as a well-known archive unpacks
    "Images",
    "images",
    "val2014",
    "coco2014",
)
COCO_LISTS = ("dataset_coco.json", "annotations/dataset_coco.json")


def _karpathy(home: Folder, split: str, name: str) -> Pictures:
    value = home.json(name)
    try:
        found = [
            (_place(image), tuple(str(sentence["raw"]) for sentence in image["sentences"]))
            for image in value["images"]
            if image["split"] in PARTS[split]
        ]
    except (KeyError, TypeError) as error:
        raise Broken(f"{home.at(name)}: is not laid out as Karpathy's lists are (missing {error})") from error
    return _pictures(home, split, name, found)


def _place(image: Any) -> str:
    folder = image.get("filepath", "")
    return f"{folder}/{image['filename']}" if folder else str(image["filename"])


def _flickr_csv(home: Folder, split: str) -> Pictures:
    """flickr_annotations_30k.csv of the hub's copy: `raw` is a JSON list of captions."""
    name = "flickr_annotations_30k.csv"
    rows = [row for row in home.rows(name, ["raw", "split", "filename"]) if row["split"] in PARTS[split]]
    try:
        lists = [json.loads(row["raw"]) for row in rows]
    except (ValueError, RecursionError) as error:
        raise Broken(f"{home.at(name)}: a `raw` is no JSON list of captions ({str(error)[:60]})") from error
    wrong = next((row["filename"] for row, own in zip(rows, lists, strict=True) if not isinstance(own, list)), None)
    if wrong is not None:  # of a single sentence each letter would be a caption
        raise Broken(f"{home.at(name)}: the `raw` of {wrong} is no JSON list of captions")
    found = [(row["filename"], tuple(str(text) for text in own)) for row, own in zip(rows, lists, strict=True)]
    return _pictures(home, split, name, found)


def _pictures(home: Folder, split: str, source: str, found: list[tuple[str, tuple[str, ...]]]) -> Pictures:
    if not found:
        raise Broken(f"{home.at(source)}: has no picture of split '{split}'")
    without = next((name for name, captions in found if not captions), None)
    if without:
        raise Broken(f"{home.at(source)}: {without} has no caption")
    first = found[0][0]
    top = next((top for top in TOPS if home.has(f"{top}/{first}".lstrip("/"))), None)
    if top is None:
        raise Absent(f"{home.path}: has {source}, but not the picture {first}; unpack the pictures beside it")
    names = [f"{top}/{name}".lstrip("/") for name, _ in found]
    columns = {"caption": tuple(captions for _, captions in found)}
    return of_files(f"{source.removesuffix('.json').removesuffix('.csv')}/{split}", home, names, columns)


_THREE = ("train", "val", "test")
FLICKR30K = (
    Reader(
        "flickr30k",
        (("dataset_flickr30k.json",),),
        lambda home, split: _karpathy(home, split, "dataset_flickr30k.json"),
        _THREE,
        homes=("", "flickr30k"),
    ),
    Reader("flickr30k-csv", (("flickr_annotations_30k.csv",),), _flickr_csv, _THREE, homes=("", "flickr30k")),
)
COCO = Reader(
    "coco",
    tuple((name,) for name in COCO_LISTS),
    lambda home, split: _karpathy(home, split, next(name for name in COCO_LISTS if home.has(name))),
    _THREE,
    homes=("", "coco"),
)
