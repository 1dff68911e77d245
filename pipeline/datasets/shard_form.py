"""The form of a shard: file names, keys and columns, in img2dataset's output contract (img2dataset 1.47, writer.py).

A row on its way into a shard has a picture, a text and whatever columns the phases gave it. All of them reach the index
and the sample's JSON, but for those that only the way there needed. A column that no phase gave is there, and null.
"""

import json
import math
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, get_args

import pyarrow as pa

from pipeline.sample import STORED_COLUMNS, TEXTS
from pipeline.web.answer import Reason

HEAD = (
    ("key", pa.string()),
    ("url", pa.string()),
    ("caption", pa.string()),
    ("status", pa.string()),
    ("error_message", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("original_width", pa.int32()),
    ("original_height", pa.int32()),
    ("sha256", pa.string()),  # of the bytes as they were downloaded
    ("uid", pa.string()),
)
"""img2dataset's columns and DataComp's uid, first in every index and of these types."""

KNOWN = (
    ("page_url", pa.string()),
    ("text_origin", pa.string()),
    ("texts", TEXTS),
    ("heading", pa.string()),
    ("licence", pa.string()),
    ("crawl_id", pa.string()),
    ("warc_file", pa.string()),
    ("warc_offset", pa.int64()),
    ("queries", pa.list_(pa.int32())),
    ("repairs", pa.list_(pa.string())),
)
"""Our own columns that every index has; where a phase gives one in another type, it keeps that type."""

PLACE = (("format", pa.string()), ("image_offset", pa.int64()), ("image_bytes", pa.int32()))
"""Last in every index: jpg, png or webp, and where in the shard's data file the picture lies."""

PACKED = pa.schema(
    [
        ("uid", pa.string()),
        ("url", pa.string()),
        ("text", pa.string()),
        ("text_origin", pa.string()),
        ("page_url", pa.string()),
        ("queries", pa.list_(pa.int32())),
        *STORED_COLUMNS,
    ]
)
"""The columns that every row brings to a shard; further ones are welcome."""

_DOWNLOAD = (*get_args(Reason), "file_missing")
"""Reasons of a picture that did not arrive; others are of one that could not be used."""

INTERNAL = ("image", "thumbnail", "thumbnail8", "text", "key", "caption", "status", "error_message")
"""Columns of a row that the index does not carry under this name."""


def sample_key(shard: int, row: int, samples_per_shard: int) -> str:
    """img2dataset's key: five digits for the shard, then the row padded to the digits of the shard size."""
    return f"{shard:05d}{row:0{max(1, math.ceil(math.log10(samples_per_shard)))}d}"


def carried(name: str) -> bool:
    """Whether a row's column `name` goes into the index."""
    return name not in INTERNAL and not name.startswith(("location", "embedding"))


def index_schema(rows: pa.Schema) -> pa.Schema:
    """The index of shards made from rows of schema `rows`: HEAD, KNOWN, every further column by name, PLACE."""
    fixed = {name for name, _ in (*HEAD, *PLACE)}
    given = {field.name: field.type for field in rows if carried(field.name) and field.name not in fixed}
    known = {name for name, _ in KNOWN}
    fields = list(HEAD)
    fields += [(name, given.get(name, kind)) for name, kind in KNOWN]
    fields += [(name, given[name]) for name in sorted(set(given) - known)]
    fields += list(PLACE)
    return pa.schema([(name, _settled(kind)) for name, kind in fields])


def _settled(kind: pa.DataType) -> pa.DataType:
    """The type in one form: a column null throughout has none of its own, and Parquet renames the values of a list."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _settled(field.type)) for field in kind])
    return pa.list_(_settled(kind.value_type)) if pa.types.is_list(kind) else kind


def index_rows(rows: pa.Table, schema: pa.Schema, keys: list[str]) -> pa.Table:
    """Rows of a finished shard as its index, image_offset and image_bytes still null."""
    count = rows.num_rows
    given = set(rows.column_names)
    columns: dict[str, Any] = {}
    for field in schema:
        source = "text" if field.name == "caption" and "caption" not in given else field.name
        columns[field.name] = (
            rows.column(source).cast(field.type).combine_chunks() if source in given else pa.nulls(count, field.type)
        )
    columns["key"] = pa.array(keys, pa.string())
    columns["status"] = pa.array(["success"] * count, pa.string())
    columns["error_message"] = pa.nulls(count, pa.string())
    return pa.table([columns[field.name] for field in schema], schema=schema)


def meta_texts(index: pa.Table) -> list[str]:
    """Each index row as the sample's JSON tells it: without its place, bytes in hex.

    What json.dumps(row, indent=4, sort_keys=True) gives, column by column: in a tenth of its time.
    """
    away = {name for name, _ in PLACE}
    columns = []
    for name in sorted(set(index.column_names) - away):
        head = f"{encode_basestring_ascii(name)}: "
        texts = _texts(index.column(name))
        columns.append([head + text for text in texts])
    return ["{\n    " + ",\n    ".join(parts) + "\n}" for parts in zip(*columns, strict=True)]


def _texts(column: pa.ChunkedArray) -> list[str]:
    values, kind = column.to_pylist(), column.type
    if column.null_count == len(column):
        return ["null"] * len(values)
    if pa.types.is_string(kind):
        return ["null" if value is None else encode_basestring_ascii(value) for value in values]
    if pa.types.is_integer(kind):
        return ["null" if value is None else repr(value) for value in values]
    if pa.types.is_floating(kind):
        return [repr(value) if value is not None and math.isfinite(value) else "null" for value in values]
    if pa.types.is_binary(kind):
        return ["null" if value is None else f'"{value.hex()}"' for value in values]
    return ["[]" if value == [] else json_text(plain(value), "\n    ") for value in values]


def json_text(value: Any, margin: str = "\n") -> str:
    """json.dumps(value, indent=4, sort_keys=True) in a third of its time: the module indents in Python, token by token."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    if type(value) is int:
        return repr(value)
    inside = margin + "    "
    if isinstance(value, dict) and value:
        parts = [f"{encode_basestring_ascii(name)}: {json_text(value[name], inside)}" for name in sorted(value)]
        return f"{{{inside}{(',' + inside).join(parts)}{margin}}}"
    if isinstance(value, list) and value:
        return f"[{inside}{(',' + inside).join([json_text(each, inside) for each in value])}{margin}]"
    return json.dumps(value)


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool | list | dict) else str(value)


def stats(count: int, failed: Mapping[str, int] | None = None) -> dict[str, Any]:
    """img2dataset's counts of one shard; times are zero, because equal data give equal files.

    `failed` are the reasons of rows that would have come into this shard had their picture been fetched; they are in the
    counts, as with img2dataset, and not in the index.
    """
    failed = failed or {}
    download = sum(number for reason, number in failed.items() if reason in _DOWNLOAD)
    resize = sum(failed.values()) - download
    return {
        "count": count + download + resize,
        "successes": count,
        "failed_to_download": download,
        "failed_to_resize": resize,
        "duration": 0.0,
        "start_time": 0.0,
        "end_time": 0.0,
        "status_dict": {"success": count} | dict(sorted(failed.items())),
    }
