"""What form a table file has: told by its name, and where names say too little, by its first megabyte.

A .csv may be cut at semicolons, tabs or bars as spreadsheets of other countries write it, a .json or .jsonl may be one array
or objects over many lines. The header's words are those of published datasets of links.
"""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError
from pipeline.sources.json_values import json_values, loaded

URL_NAMES = ("url", "image_url", "imageurl", "img_url", "image", "link", "contenturl", "src")
TEXT_NAMES = ("text", "caption", "alt", "alt_text", "top_caption", "title", "description")
PAGE_NAMES = ("page_url", "pageurl", "referrer", "source_page")
LICENCE_NAMES = ("license", "licence", "license_url", "licence_url")
UID_NAMES = ("uid", "sample_id", "id")
"""The table's own name of a pair (DataComp, LAION, COYO), carried as SOURCE_UID."""
SOURCE_UID = "source_uid"
SCORE_NAMES = (
    *("clip_b32_similarity_score", "clip_l14_similarity_score"),  # DataComp
    *("similarity", "punsafe", "pwatermark", "aesthetic", "aesthetic_score"),  # LAION
    *(
        "clip_similarity_vitb32",
        "clip_similarity_vitl14",
        "nsfw_score_opennsfw2",
        "nsfw_score_gantman",
    ),  # COYO, to the end
    *("watermark_score", "aesthetic_score_laion_v2", "num_faces"),
)
"""Numbers that published tables say of a pair, carried under their own names in lower case."""
HEADER_WORDS = frozenset((*URL_NAMES, *TEXT_NAMES, *PAGE_NAMES, *LICENCE_NAMES, "uid", "key", "sha256"))
MAX_CELL = 1 << 20
MARKS = ",;\t|"
_ROWS_LOOKED_AT = 100
_SEPARATOR = re.compile(rf'"?sep=([{MARKS}])"?\s*', re.I)
_QUOTED = re.compile(r'\A"((?:[^"]|"")+)"\Z')  # as pandas and spreadsheets write a cell with quotes in it


def form_of(path: str) -> str:
    """parquet, csv, tsv, jsonl or txt, from the name. Raises ConfigError."""
    name = path.lower().removesuffix(".gz").removesuffix(".snappy")
    for form, ends in {
        "parquet": (".parquet", ".pq"),
        "csv": (".csv",),
        "tsv": (".tsv", ".tab"),
        "jsonl": (".jsonl", ".ndjson", ".json"),
        "txt": (".txt",),
    }.items():
        if name.endswith(ends):
            return form
    raise ConfigError(
        f"{path}: no table that is known by its name; it must end in .parquet, .csv, .tsv, .jsonl or .txt"
    )


@dataclass(frozen=True)
class Shape:
    """What a text file's start tells: its form, what cuts its cells, the byte its values begin at, its first lines."""

    form: str
    mark: str
    first: int
    lines: tuple[str, ...]


def shape_of(form: str, head: bytes, is_whole: bool) -> Shape:
    """`head` is the start of the file as UTF-8, `is_whole` whether there is no more."""
    lines = head.decode("utf-8-sig", "replace").split("\n")
    if not is_whole and len(lines) > 1:
        lines.pop()
    lines = [line + "\n" for line in lines[:_ROWS_LOOKED_AT]]
    if form == "csv":
        return Shape(form, _mark(lines), 0, tuple(lines))
    if form == "jsonl" and (first := _values_at(head)) is not None:
        return Shape("json", "", first, ())
    return Shape(form, "", 0, tuple(lines))


def _values_at(head: bytes) -> int | None:
    """Where the values of an array, or of objects over several lines, begin; None where each line is a value."""
    start = len(head) - len(head.removeprefix(b"\xef\xbb\xbf").lstrip())
    line, _, rest = head[start:].partition(b"\n")
    if _is_json(line) and (rest.strip() or line[:1] != b"["):
        return None
    if line[:1] == b"[":
        return start + 1
    if line[:1] == b"{":
        _, value = next(json_values(iter([head[start:]]), start), (0, b""))
        return start if _is_json(value) else None
    return None


def _is_json(text: bytes) -> bool:
    try:
        loaded(text)
    except ValueError:
        return False
    return True


def _mark(lines: Sequence[str]) -> str:
    """What cuts the cells of a .csv: under it the header has most known words, then most of its rows have a URL."""
    told = separator_line(lines[0]) if lines else None
    if told is not None:
        return told
    best, found = (0, 0.0), ","
    for mark in MARKS:
        rows = [row for row in itertools.islice(cells_of(iter(lines), "csv", mark, True), _ROWS_LOOKED_AT) if row]
        if not rows or isinstance(rows[0], str) or len(rows[0]) < 2:
            continue
        words = sum(cell.strip().lower() in HEADER_WORDS for cell in rows[0]) if has_header(rows[0]) else 0
        fit = sum(
            len(row) == len(rows[0]) and any(is_url(cell) and not re.search(r"\s", cell.strip()) for cell in row)
            for row in rows
        )
        share = fit / len(rows)
        if (words, share) > best:
            best, found = (words, share), mark
    return found


def separator_line(line: str) -> str | None:
    """The mark that a first line "sep=;" names for spreadsheets."""
    found = _SEPARATOR.fullmatch(line)
    return found[1] if found else None


def is_url(cell: str) -> bool:
    return cell.strip().lower().startswith(("http://", "https://"))


def has_header(cells: Sequence[str]) -> bool:
    """Whether the first line names columns: some cell is a word that tables use, and none is a URL."""
    return any(cell.strip().lower() in HEADER_WORDS for cell in cells) and not any(map(is_url, cells))


def cells_of(lines: Iterator[str], form: str, mark: str, strict: bool = False) -> Iterator[list[str] | str]:
    """Cells of each row, or what is wrong with it; `strict` lets nothing follow a closing quote but the mark."""
    if form == "tsv":
        for line in lines:
            cells = line.rstrip("\r\n").split("\t")
            yield [_QUOTED.sub(_unquoted, cell) for cell in cells] if '"' in line else cells
        return
    csv.field_size_limit(MAX_CELL)
    rows = csv.reader((line.replace("\0", "") for line in lines), delimiter=mark or ",", strict=strict)
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield str(error)


def _unquoted(cell: "re.Match[str]") -> str:
    return cell[1].replace('""', '"')
