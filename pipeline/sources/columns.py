"""Rows whose cells hold many: JSON that lists a table column by column, and cells with the URLs of several pictures.

    {"url": ["http://a/1.jpg", "http://a/2.jpg"], "text": ["a cat", "a dog"]}       as pandas' to_dict("list") and datasets have it
    {"url": {"0": "http://a/1.jpg", "1": "http://a/2.jpg"}, "text": {...}}          as pandas' to_json() writes it

Each is as many rows as it has URLs; what is no list stands for all of them. Where another list is longer or shorter, nobody can
say what belongs together.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.sources.table_form import is_url


def rows_in(row: tuple[Any, ...] | str) -> Iterator[tuple[Any, ...] | str]:
    """The rows in one whose first cell is its URL: itself, or one for each of several URLs; a word for what cannot be told
    apart. A single URL may have a list of texts, which stay together."""
    if isinstance(row, str):  # one that could not be read
        yield row
        return
    urls = row[0]
    if isinstance(urls, dict) and any(isinstance(url, str) and is_url(url) for url in urls.values()):
        named = [(cell if isinstance(cell, dict) else dict.fromkeys(urls, cell)) for cell in row]
        yield from (tuple(cell.get(key) for cell in named) for key in urls)
    elif isinstance(urls, list) and len(urls) > 1:
        odd = next((len(cell) for cell in row if isinstance(cell, list) and len(cell) != len(urls)), None)
        if odd is not None:
            yield f"{len(urls)} URLs in one cell, and {odd} values for them in another"
        else:
            yield from zip(*(_one_for_each(cell, len(urls)) for cell in row), strict=True)
    else:
        yield row


def _one_for_each(cell: Any, count: int) -> Sequence[Any]:
    return cell if isinstance(cell, list) else [cell] * count
