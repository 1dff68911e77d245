"""CLIP_benchmark's WebDataset layout (clip_benchmark 1.6, webdataset_builder.py), which is also DataComp's.

    train/, test/             nshards.txt (how many), 0.tar, 1.tar, ...
    classnames.txt            a name per line; .cls numbers count its lines from 0
    dataset_type.txt          "multilabel" or "retrieval"; no such file: classification

A sample is a picture (.webp, .png, .jpg) and .cls (a number), .npy (a 0/1 vector over the classes) or .txt (a caption per
line). Only headers and labels are read before a picture is asked for; pictures are found by their offset in the tar.
"""

import io
from array import array
from collections import Counter
from typing import Any

import numpy as np

from evaluation.pictures.content import names_and_sizes
from evaluation.pictures.decoding import decoded
from evaluation.pictures.folder import Folder
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Broken, Pictures, identity_of
from pipeline import storage
from pipeline.datasets.tar_members import BrokenTarError, Member, members, sample_of

IMAGES = ("webp", "png", "jpg", "jpeg")
LABELS = {"classification": "cls", "multilabel": "npy", "retrieval": "txt"}
COLUMNS = {"classification": "label", "multilabel": "label", "retrieval": "caption"}
MAX_LABEL_BYTES = 1 << 20


class _Index:
    """Where every picture lies and what its label is, in the order of the tars."""

    def __init__(self) -> None:
        self.shard, self.offset, self.size = array("i"), array("q"), array("q")
        self.keys: list[str] = []
        self.labels: list[Any] = []

    def add(self, shard: int, picture: Member, key: str, label: Any) -> None:
        self.shard.append(shard)
        self.offset.append(picture.offset)
        self.size.append(picture.size)
        self.keys.append(key)
        self.labels.append(label)


def open_webdataset(home: Folder, split: str) -> Pictures:
    kind = home.text("dataset_type.txt").strip().lower() if home.has("dataset_type.txt") else "classification"
    if kind not in LABELS:
        raise Broken(f"{home.at('dataset_type.txt')}: says '{kind[:40]}', not one of {', '.join(LABELS)}")
    classes = tuple(home.lines("classnames.txt")) if home.has("classnames.txt") and kind != "retrieval" else None
    folder = home.below(split)
    count = folder.text("nshards.txt").strip()
    if not count.isdecimal() or len(count) > 6:
        raise Broken(f"{folder.at('nshards.txt')}: says '{count[:40]}', not a number of shards")
    shards = [f"{number}.tar" for number in range(int(count))]
    index = _Index()
    for number, shard in enumerate(shards):
        _read_shard(folder, shard, number, kind, classes, index)
    if not index.keys:
        raise Broken(f"{folder.path}: its {count} shards hold no picture")

    def stored(at: int) -> bytes:
        return folder.read(shards[index.shard[at]], index.offset[at], index.size[at])

    def read(at: int) -> Any:
        return decoded(stored(at), f"{folder.at(shards[index.shard[at]])}:{index.keys[at]}")

    identity = identity_of("webdataset", names_and_sizes(index.keys, index.size), folder.fingerprint(*shards))
    columns = {"id": index.keys, COLUMNS[kind]: tuple(index.labels)}
    return Pictures(
        f"webdataset/{split}", identity, columns, read, len(index.keys), stored, classes, bare_cls=classes is None
    )


def _read_shard(
    folder: Folder, shard: str, number: int, kind: str, classes: tuple[str, ...] | None, index: _Index
) -> None:
    path, wanted = folder.at(shard), LABELS[kind]
    problems: Counter[str] = Counter()
    pictures: dict[str, Member] = {}
    labels: dict[str, Member] = {}
    folder.size(shard)  # says that it is missing
    filesystem, name = storage.filesystem_of(path)
    with filesystem.open(name, "rb") as file:
        try:
            for member in members(file, problems):
                key, extension = sample_of(member.name)
                if extension in IMAGES:
                    pictures[key] = member
                elif extension == wanted:
                    labels[key] = member
        except BrokenTarError as error:
            raise Broken(f"{path}: not a whole tar ({error}); get this shard anew") from error
        for key, picture in pictures.items():
            if key not in labels:
                raise Broken(f"{path}: picture {key} has no .{wanted}, which a {kind} dataset must have")
            member = labels[key]
            if member.size > MAX_LABEL_BYTES:
                raise Broken(f"{path}: {member.name} has {member.size:,} bytes, too many for a label")
            file.seek(member.offset)
            index.add(number, picture, key, _label(file.read(member.size), kind, classes, f"{path}:{member.name}"))


def _label(data: bytes, kind: str, classes: tuple[str, ...] | None, where: str) -> Any:
    """The number in decimal digits, the numbers of the classes that are set, or the captions."""
    try:
        if kind == "retrieval":
            return tuple(data.decode().splitlines())
        if kind == "multilabel":
            vector = np.load(io.BytesIO(data), allow_pickle=False)
            numbers = [int(number) for number in np.flatnonzero(vector.reshape(-1) > 0)]
            size = vector.size
        else:
            numbers = [int(data.decode().strip())]
            size = numbers[0] + 1
    except (ValueError, EOFError, OSError, TypeError) as error:
        raise Broken(f"{where}: is no label of a {kind} dataset ({str(error)[:80]})") from error
    if classes is not None and (min(numbers, default=0) < 0 or size > len(classes)):
        raise Broken(f"{where}: class {max(numbers, default=size)} is outside classnames.txt, which has {len(classes)}")
    words = tuple(str(number) for number in numbers)
    return words if kind == "multilabel" else words[0]


def _splits(home: Folder) -> tuple[str, ...]:
    return tuple(split for split in ("train", "val", "test") if home.has(f"{split}/nshards.txt"))


WEBDATASET = Reader("webdataset", (("test/nshards.txt",), ("train/nshards.txt",)), open_webdataset, _splits)
