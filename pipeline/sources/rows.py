"""Rows of table files, whatever their form (table_form.py), cut into parts that a work item can hold.

A text file is passed over once to find where each part begins (a line end outside quotes in CSV, a value in JSON); one that is
gzipped or UTF-16 is read again from its start up to a part's first byte, since there is no other way in. Parquet parts are
ranges of rows (parquet_rows.py).
"""

import functools
import itertools
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.sources.csv_quotes import Quotes
from pipeline.sources.inputs import open_blocks
from pipeline.sources.json_values import TOO_LONG, json_values, loaded
from pipeline.sources.lines import is_plain, text_blocks
from pipeline.sources.parquet_rows import parquet_row_count, parquet_rows
from pipeline.sources.table_form import Shape, cells_of, form_of, has_header, is_url, separator_line, shape_of
from pipeline.web.body import text_of

Choose = Callable[[Sequence[str], Sequence[Any]], list[int | None]]
"""(names, first row) -> places of the columns wanted, None for one that is not there. Raises LookupError."""

_MAX_LINE = 64 << 20  # bytes of a line that are looked at for quotes
_HEAD = 1 << 20  # bytes that a file's form is told by


@dataclass(frozen=True)
class Part:
    """Rows `first` to before `stop` of a file: bytes of its unzipped text, or rows of Parquet. `stop` -1 is the end."""

    path: str
    form: str
    first: int
    stop: int
    head: tuple[str, ...] = ()
    sample: tuple[str, ...] = ()
    """Without a head: the first row that holds a URL, which tells the columns of all."""
    mark: str = ""
    """What cuts the cells of a row."""

    @property
    def identity(self) -> list[Any]:
        """What it is, without the place."""
        return [self.form, self.first, self.stop, list(self.head), list(self.sample), self.mark]


def cut_file(rows_per_part: int, path: str) -> list[Part]:
    """The file's parts, in order."""
    form = form_of(path)
    if form == "parquet":
        rows = parquet_row_count(path)
        if rows is None:
            return [Part(path, form, 0, -1)]
        return [Part(path, form, at, min(at + rows_per_part, rows)) for at in range(0, rows, rows_per_part)]
    with open_blocks(path) as stream:
        head = b""
        for block in text_blocks(stream):
            head += block
            if len(head) > _HEAD:
                break
    shape = shape_of(form, head[:_HEAD], len(head) <= _HEAD)
    damage: list[str] = []
    with open_blocks(path) as stream:
        blocks = text_blocks(stream, damage=damage)
        if shape.form == "json":
            places = (at for at, _ in json_values(_after(blocks, shape.first), shape.first))
            edges = [at for number, at in enumerate(places) if number % rows_per_part == 0]
        else:
            edges = _edges(blocks, rows_per_part, shape.mark)
    told = _told_columns(shape)
    ends = [*edges[1:], -1]
    parts = [Part(path, shape.form, a, b, *told, shape.mark) for a, b in zip(edges, ends, strict=False)]
    return parts + [Part(path, "damaged", 0, 0, (word,)) for word in damage]  # one row that tells of it


def _told_columns(shape: Shape) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The header, and the first row that holds a URL."""
    if shape.form not in ("csv", "tsv"):
        return (), ()
    lines = shape.lines[1:] if shape.lines and separator_line(shape.lines[0]) is not None else shape.lines
    cells = list(itertools.islice(cells_of(iter(lines), shape.form, shape.mark), 100))
    head = cells[0] if cells and isinstance(cells[0], list) and has_header(cells[0]) else []
    sample = next((row for row in cells if isinstance(row, list) and any(map(is_url, row))), [])
    return tuple(head), tuple(sample)


def _after(blocks: Iterator[bytes], skip: int) -> Iterator[bytes]:
    for block in blocks:
        yield block[skip:]
        skip = max(0, skip - len(block))


def _edges(blocks: Iterator[bytes], rows: int, mark: str) -> list[int]:
    """Where parts begin in the plain text: every `rows` line ends, outside quotes in CSV, whose cells `mark` cuts."""
    edges, position, lines, rest = [0], 0, 0, b""
    quotes = Quotes(mark) if mark else None
    for block in blocks:
        data = rest + block if rest else block
        end = data.rfind(b"\n") + 1 if quotes is not None and len(data) < _MAX_LINE else len(data)
        if quotes is not None and (quotes.is_open or b'"' in data):
            place = 0
            for line in data[:end].split(b"\n")[:-1]:
                is_inside = quotes.is_open_after(line.removeprefix(BOM_UTF8) if position + place == 0 else line)
                place += len(line) + 1
                if not is_inside:
                    lines += 1
                    if lines % rows == 0:
                        edges.append(position + place)
        else:
            count, place = data.count(b"\n", 0, end), 0
            if (lines + count) // rows > lines // rows:
                for number in range(lines + 1, lines + count + 1):
                    place = data.index(b"\n", place) + 1
                    if number % rows == 0:
                        edges.append(position + place)
            lines += count
        rest, position = data[end:], position + end
    position += len(rest)
    if len(edges) > 1 and edges[-1] >= position:
        edges.pop()
    return edges if position else []


def read_part(part: Part, choose: Choose) -> Iterator[tuple[Any, ...] | str]:
    """The wanted cells of each row; a word for a row that cannot be read.

    Raises ConfigError where a column that the recipe names is missing.
    """
    return _READERS[part.form](part, choose)


def _places(choose: Choose, names: Sequence[str], first: Sequence[Any]) -> list[int | None] | str:
    try:
        return choose(names, first)
    except LookupError as error:
        return str(error.args[0])


def _part_blocks(part: Part) -> Iterator[bytes]:
    """The bytes of the part, as UTF-8."""
    with open_blocks(part.path) as stream:
        position = 0
        if part.first and is_plain(stream):
            stream.seek(part.first)
            position = part.first
        for block in text_blocks(stream, is_gzip=None if position == 0 else False):
            start, end = position, position + len(block)
            position = end
            if end <= part.first:
                continue
            if part.stop >= 0 and end > part.stop:
                block = block[: part.stop - start]
            yield block[max(0, part.first - start) :]
            if part.stop >= 0 and position >= part.stop:
                break


def _text_lines(part: Part) -> Iterator[str]:
    """Lines of the part, without those ends that CSV does not need and without a byte order mark."""
    rest, mark = b"", b"" if part.first else BOM_UTF8
    for block in _part_blocks(part):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield text_of(line.removeprefix(mark)) + "\n"
            mark = b""
    if rest:
        yield text_of(rest.removeprefix(mark)) + "\n"


def _delimited(part: Part, choose: Choose) -> Iterator[tuple[Any, ...] | str]:
    places = _places(choose, part.head, part.sample)
    lines = _text_lines(part)
    if part.first == 0:
        first = next(lines, "")
        lines = lines if separator_line(first) is not None else itertools.chain([first], lines)
    awaits_head = bool(part.head) and part.first == 0
    for cells in cells_of(lines, part.form, part.mark):
        if awaits_head and not isinstance(cells, str) and cells:
            awaits_head = False
            continue
        if not cells or cells == [""]:
            continue
        if isinstance(cells, str) or isinstance(places, str):
            yield cells if isinstance(cells, str) else str(places)
        elif places[0] is None or places[0] >= len(cells):
            yield f"{len(cells)} cells"
        else:
            yield tuple(cells[place] if place is not None and place < len(cells) else None for place in places)


def _json_lines(part: Part, choose: Choose) -> Iterator[tuple[Any, ...] | str]:
    return _objects((line for line in _text_lines(part) if line.strip()), choose)


def _json_array(part: Part, choose: Choose) -> Iterator[tuple[Any, ...] | str]:
    return _objects((value for _, value in json_values(_part_blocks(part), part.first)), choose)


def _objects(texts: Iterator[Any], choose: Choose) -> Iterator[tuple[Any, ...] | str]:
    known: list[Any] = []
    for line in texts:
        try:
            value = loaded(line)
        except ValueError:
            yield line.decode() if line is TOO_LONG else "no JSON"
            continue
        if not isinstance(value, dict):
            yield "no JSON object"
            continue
        names = list(value)
        if not known or names != known[0]:
            known = [names, _places(choose, names, names)]
        places = known[1]
        if isinstance(places, str):
            yield places
        else:
            yield tuple(value[names[place]] if place is not None else None for place in places)


def _urls(part: Part, choose: Choose) -> Iterator[tuple[Any, ...] | str]:
    for line in _text_lines(part):
        if words := line.split(None, 1):
            yield words[0], *words[1:], *[None] * (4 - len(words))


def _parquet(part: Part, choose: Choose) -> Iterator[tuple[Any, ...] | str]:
    return parquet_rows(part.path, (part.first, part.stop), functools.partial(_places, choose))


def _damaged(part: Part, choose: Choose) -> Iterator[str]:
    yield part.head[0]


_READERS: dict[str, Callable[[Part, Choose], Iterator[tuple[Any, ...] | str]]] = {
    "damaged": _damaged,
    "csv": _delimited,
    "tsv": _delimited,
    "jsonl": _json_lines,
    "json": _json_array,
    "txt": _urls,
    "parquet": _parquet,
}
