"""WebDataset tars without a manifest (img2dataset, open_clip, DataComp) as a source.

Each tar is looked through once (training/data/indexed_source.py): its headers (pipeline/datasets/tar_members.py) and its small
members, .txt, .json, .cls. One that is cut off, or has something else than members in its middle, gives the samples before that.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, BinaryIO

import pyarrow as pa

from pipeline.datasets.tar_members import BrokenTarError, Member, members, sample_of
from training.data.config import SourceConfig
from training.data.indexed_source import FOUND, IndexedSource, plain
from training.data.losses import Broken, marked, told_beside
from training.data.part import DataFile

PICTURES = ("jpg", "jpeg", "png", "webp")
MAX_SMALL_BYTES = 1 << 20
"""Longest text, label or JSON that is read."""
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


class TarSource(IndexedSource):
    """Tars: a folder of them, one, or a pattern."""

    ending = ".tar"
    what = "WebDataset shards"

    def files_of(self, path: str) -> list[str]:
        return tars_of(path) if _BRACES.search(path) else super().files_of(path)

    def look_through(self, file: DataFile, kept: str) -> pa.Table:
        with self._cache.opened(file) as tar:
            found, broken = _readable(tar, file.path)
            return marked(pa.Table.from_pylist(list(_samples(tar, found, self._config)), schema=FOUND), broken)


def tars_of(path: str) -> list[str]:
    """Of a pattern such as s3://bucket/{00000..00127}.tar, which may have several braces."""
    braces = _BRACES.search(path)
    if braces is None:
        return [path]
    first, last = braces.groups()
    numbers = range(int(first), int(last) + 1)
    paths = [f"{path[: braces.start()]}{n:0{len(first)}d}{path[braces.end() :]}" for n in numbers]
    return [each for expanded in paths for each in tars_of(expanded)]


def _readable(tar: BinaryIO, path: str) -> tuple[list[Member], Broken | None]:
    """The members as far as they can be read, and what stands after them that is none."""
    found: list[Member] = []
    reason = None
    try:
        found.extend(members(tar, Counter()))  # a list keeps what came before the exception
        end = tar.tell()
        if _has_more(tar):
            reason = f"something follows its end at byte {end:,}"
    except BrokenTarError as error:
        reason, end = str(error), found[-1].end if found else 0
    if reason is None:
        return found, None
    return found, Broken(f"a broken tar: {reason}", end, tar.seek(0, os.SEEK_END) - end, told_beside(path))


def _has_more(tar: BinaryIO) -> bool:
    """Whether anything but zeros follows: writers end with zeros, and a hole in the middle of a file looks like an end."""
    return any(piece.count(0) < len(piece) for piece in iter(lambda: tar.read(1 << 20), b""))


def _samples(tar: BinaryIO, found: list[Member], config: SourceConfig) -> Iterator[dict[str, Any]]:
    """FOUND's rows, for each key with a picture."""
    for _, group in groupby(found, key=lambda member: sample_of(member.name)[0]):
        parts: dict[str, Member] = {}
        for member in group:
            parts.setdefault(sample_of(member.name)[1], member)
        picture = next((parts[kind] for kind in PICTURES if kind in parts), None)
        if picture is None:
            continue
        label_in_json = config.label_column is not None and "cls" not in parts
        meta = _meta(tar, parts) if label_in_json or "txt" not in parts else {}
        captions = _captions(tar, parts, meta, config)
        labels = _labels(tar, parts, meta, config)
        yield {"offset": picture.offset, "length": picture.size, "captions": captions, "labels": labels}


def _captions(tar: BinaryIO, parts: Mapping[str, Member], meta: Mapping[str, Any], config: SourceConfig) -> list[str]:
    text = _small(tar, parts.get("txt"))
    if text is not None:
        whole = text.decode("utf-8", "replace").strip()
        lines = whole.splitlines() if config.caption_per_line else [whole]
        return [line.strip() for line in lines if line.strip()]
    value = meta.get(config.caption_column)
    return [plain(each) for each in (value if isinstance(value, list) else [value]) if isinstance(each, str) and each]


def _labels(
    tar: BinaryIO, parts: Mapping[str, Member], meta: Mapping[str, Any], config: SourceConfig
) -> list[str] | None:
    text = _small(tar, parts.get("cls"))
    if text is not None:
        return _named(text.decode("utf-8", "replace")) or None
    value = meta.get(config.label_column or "")
    values = value if isinstance(value, list) else [value]
    return [plain(str(each)) for each in values if isinstance(each, str | int) and not isinstance(each, bool)] or None


def _named(text: str) -> list[str]:
    """The labels in a .cls member: numbers between blanks or commas; or names, which may have blanks, between commas or lines."""
    pieces = [piece.strip() for piece in re.split(r"[,\r\n]", text) if piece.strip()]
    words = [word for piece in pieces for word in piece.split()]
    return words if all(word.isdecimal() for word in words) else pieces


def _small(tar: BinaryIO, member: Member | None) -> bytes | None:
    if member is None or member.size > MAX_SMALL_BYTES:
        return None
    tar.seek(member.offset)
    return tar.read(member.size)


def _meta(tar: BinaryIO, parts: Mapping[str, Member]) -> Mapping[str, Any]:
    try:
        value = json.loads(_small(tar, parts.get("json")) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
