"""Files that hold the captions of a folder's pictures, as datasets of pictures are published.

    metadata, captions, labels, annotations, as .jsonl .csv .tsv .parquet   a column of names, one of texts (Hugging Face)
    captions.txt, results.csv       image,caption of Flickr8k; image_name| comment_number| comment of Flickr30k
    *.token, *.token.txt            Flickr's own: 1000268201.jpg#0<tab>A child in a pink dress .
    captions*.json, annotations*.json, {images, annotations} of COCO; dataset*.json, {images: [{sentences}]} of Karpathy

A name is a path from the file's folder, or that of the only picture so called, which lies below that folder (of JSON: below the one
above, as COCO has annotations/captions_val2017.json beside val2017/).
"""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline import storage
from pipeline.sources.json_values import loaded
from pipeline.sources.rows import cut_file, read_part
from pipeline.sources.table_form import TEXT_NAMES, cells_of
from pipeline.web.body import file_text

_TABLES = ("metadata", "captions", "labels", "annotations")
_TABLE_FORMS = (".jsonl", ".csv", ".tsv", ".parquet")
_FILE_NAMES = ("file_name", "filename", "image", "file", "path", "image_id", "image_name")
_TEXT_NAMES = (*TEXT_NAMES, "label", "captions", "comment")
_FLICKR = re.compile(r"captions\.txt|results\.csv|.*\.token(\.txt)?")
_JSON = re.compile(r"(captions|annotations|dataset)[^/]*\.json")
_NUMBERED = re.compile(r"([^\t]+)#\d+\t(.*)")

_Named = Iterator[tuple[str, Any]]
"""(name of a picture as the file has it, its caption or list of captions)."""


def is_caption_file(name: str) -> bool:
    base = posixpath.basename(name).lower()
    stem, form = posixpath.splitext(base.removesuffix(".gz"))
    return (stem in _TABLES and form in _TABLE_FORMS) or bool(_FLICKR.fullmatch(base) or _JSON.fullmatch(base))


def captions_of(folder: str, files: Sequence[str], pictures: Sequence[str]) -> dict[str, list[str]]:
    """picture -> its captions in all the files; about 100 bytes per caption are held."""
    places: dict[str, str | None] = {}
    for picture in pictures if files else ():
        base = posixpath.basename(picture)
        places[base] = None if base in places else picture
    known = set(pictures)
    found: dict[str, list[str]] = {}
    for file in files:
        where = posixpath.dirname(file)
        around = posixpath.dirname(where) if _JSON.fullmatch(posixpath.basename(file).lower()) else where
        for name, given in _named(storage.join(folder, file)):
            place = posixpath.normpath(posixpath.join(where, name))
            if place not in known:
                only = places.get(posixpath.basename(name))
                place = only if only and (not around or only.startswith(f"{around}/")) else place
            texts = given if isinstance(given, list) else [given]
            found.setdefault(place, []).extend(text for each in texts if (text := " ".join(str(each).split())))
    return {name: list(dict.fromkeys(texts)) for name, texts in found.items()}


def _named(path: str) -> _Named:
    base = posixpath.basename(path).lower()
    if _JSON.fullmatch(base):
        yield from _of_json(storage.read_bytes(path))
    elif _FLICKR.fullmatch(base):
        yield from _of_lines(file_text(storage.read_bytes(path)).splitlines())
    else:
        for part in cut_file(1 << 60, path):
            for row in read_part(part, _columns):
                if not isinstance(row, str) and row[0] and row[1] is not None:
                    yield str(row[0]).split("#")[0].strip(), row[1]


def _of_lines(lines: Sequence[str]) -> _Named:
    head = lines[0] if lines else ""
    if _NUMBERED.fullmatch(head):
        for line in lines:
            if found := _NUMBERED.fullmatch(line):
                yield found[1].strip(), found[2]
        return
    if "|" in head:  # nothing is quoted here, and a comment may hold a quote
        cells: list[list[str]] = [line.split("|", head.count("|")) for line in lines]
    else:
        cells = [row for row in cells_of(iter(lines), "csv", ",") if isinstance(row, list)]
    names = [cell.strip().lower() for cell in cells[0]] if cells else []
    picture = next((names.index(word) for word in _FILE_NAMES if word in names), None)
    text = next((names.index(word) for word in _TEXT_NAMES if word in names), None)
    if picture is None or text is None:
        return
    for row in cells[1:]:
        if len(row) > max(picture, text):
            yield row[picture].strip(), row[text]


def _of_json(data: bytes) -> _Named:
    try:
        value = loaded(data)
    except ValueError:
        return
    images, notes = (value.get(name) for name in ("images", "annotations")) if isinstance(value, dict) else (None, None)
    if not isinstance(images, list):
        return
    names: dict[Any, str] = {}
    for image in (each for each in images if isinstance(each, Mapping)):
        name = next((image[word] for word in _FILE_NAMES if isinstance(image.get(word), str)), None)
        if name is None:
            continue
        names[str(image.get("id"))] = name
        sentences = image.get("sentences")
        if isinstance(sentences, list):
            yield name, [each["raw"] for each in sentences if isinstance(each, Mapping) and "raw" in each]
    for note in notes if isinstance(notes, list) else ():
        if isinstance(note, Mapping) and isinstance(note.get("caption"), str) and str(note.get("image_id")) in names:
            yield names[str(note["image_id"])], note["caption"]


def _columns(names: Sequence[str], first: Sequence[Any]) -> list[int | None]:
    lower = [str(name).strip().lower() for name in names]
    picture = next((lower.index(word) for word in _FILE_NAMES if word in lower), 0)
    text = next((lower.index(word) for word in _TEXT_NAMES if word in lower), None)
    if text is None and not names:
        text = len(first) - 1 if len(first) > 1 else 1
    return [picture, text]
