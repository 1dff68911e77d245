"""Tables of picture URLs and texts, as datasets of links are published.

    LAION      URL, TEXT                       COYO      url, text
    CC3M       caption, url (TSV, no header)   DataComp  uid, url, text, original_width, ...
    CC12M      url, caption (TSV, no header)   others    names near these, or given in the recipe

Parquet is read by row groups; text files are cut at line ends found in one pass over the file, so no item holds more than
`rows_per_item` rows. A row that cannot be used is one dropped row.

What a table says of a pair stays with it: told.py.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import ConfigError
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.sample import candidates, pair_uid
from pipeline.sources.columns import rows_in
from pipeline.sources.config import TableSource
from pipeline.sources.inputs import expanded, identified
from pipeline.sources.pages import Dropped
from pipeline.sources.rows import Part, cut_file, read_part
from pipeline.sources.table_form import LICENCE_NAMES, PAGE_NAMES, TEXT_NAMES, UID_NAMES, URL_NAMES
from pipeline.sources.told import told_names, with_told, words_of
from pipeline.web.urls import UnusableURLError, canonical
from pipeline.web.web_config import NetworkConfig

FACTS = 4
"""URL, text, page and licence stand first in a row that was read."""


def harvest_table(
    name: str,
    config: TableSource,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
    network: NetworkConfig | None = None,
) -> PhaseResult:
    """Kept rows: sample.CANDIDATE; a row without text is dropped as text_empty."""
    scores = told_names(config.score_columns, f"curate.sources.{name}")
    inputs = identified(expanded(config, f"curate.sources.{name}", network), executor, progress)
    columns = [config.url_column, config.text_column, config.page_url_column, config.licence_column, *scores]
    items: list[WorkItem] = []
    cut = functools.partial(cut_file, config.rows_per_item)
    for position, parts in executor.map(cut, [each.path for each in inputs]):
        identity = inputs[position].identity
        items += [
            WorkItem(f"table-{position:05d}-{number:05d}", [identity, part.identity, columns], part)
            for number, part in enumerate(parts)
        ]
    items.sort(key=lambda item: item.name)
    read = functools.partial(_read, config, scores)
    records = run_items(folder, read, items, executor, progress, f"{name}: table rows")
    result = PhaseResult.of_records(name, folder, records, {"files": len(inputs)})
    result.save()
    return result


def _read(config: TableSource, scores: tuple[str, ...], part: Part) -> Output:
    pairs: list[Mapping[str, Any]] = []
    told: list[Sequence[Any]] = []
    fallen = Dropped()
    count = 0
    wanted = (config.url_column, config.text_column, config.page_url_column, config.licence_column)
    found = read_part(part, functools.partial(choose, wanted, scores=scores))
    for row in itertools.chain.from_iterable(map(rows_in, found)):
        count += 1
        if isinstance(row, str):
            fallen.add("", "", "damaged_row", row)
            continue
        row, more = row[:FACTS], row[FACTS:]
        if any(isinstance(each, dict) for cell in row for each in (cell if isinstance(cell, list) else [cell])):
            fallen.add("", "", "damaged_row", "a cell holds an object where words should be")
            continue
        word, text, page, licence = (words_of(cell) for cell in row)
        try:
            url = canonical(word)
        except UnusableURLError as error:
            fallen.add(pair_uid(word, text), word[:4096], "url_unusable", str(error), text)
            continue
        if not text:
            fallen.add(pair_uid(url, ""), url, "text_empty", None)
            continue
        pair: dict[str, Any] = {
            "url": url,
            "text": text,
            "text_origin": "table",
            "page_url": _page(page),
            "licence": licence or None,
        }
        if isinstance(
            row[1], list
        ):  # of several captions the first is the pair's, the others stand in for it where it falls
            pair["texts"] = tuple((word, "table") for word in dict.fromkeys(map(words_of, row[1])) if word)
        pairs.append(pair)
        told.append(more)
    fate = Fate(count, len(pairs), fallen.counts())
    kept, carried = with_told(candidates(pairs), told, scores)
    return Output({"kept": kept, "dropped": fallen.table()}, {"pairs": fate}, telemetry=carried)


def _page(word: str) -> str:
    try:
        return canonical(word) if word else ""
    except UnusableURLError:
        return ""


def choose(
    wanted: Sequence[str | None], names: Sequence[str], first: Sequence[Any], scores: Sequence[str] = ()
) -> list[int | None]:
    """Which columns are URL, text, page and licence, and then, where `scores` are named, the table's uid and those.

    `names` is empty where there is no header; `first` is the first row.

    Raises LookupError with what is missing.
    """
    lower = [str(name).strip().lower() for name in names]
    known = (URL_NAMES, TEXT_NAMES, PAGE_NAMES, LICENCE_NAMES)
    found: list[int | None] = [_named(word, names, len(first) or len(names)) for word in wanted]
    for place, words in enumerate(known):
        if found[place] is None and wanted[place] is None:
            found[place] = next((lower.index(word) for word in words if word in lower), None)
    if not names:
        cells = ["" if cell is None else str(cell).strip() for cell in first]
        if found[0] is None:
            found[0] = next(
                (i for i, cell in enumerate(cells) if cell.lower().startswith(("http://", "https://"))), None
            )
        if found[1] is None and wanted[1] is None:
            found[1] = next((i for i in range(len(cells)) if i != found[0]), None)
    if found[0] is None:
        cells = [str(cell)[:40] for cell in first[:20]]
        said = ", ".join(map(str, names[:20])) or f"no header; the first row is {', '.join(cells)}"
        raise LookupError(f"no column of picture URLs ({said})")
    if scores:
        found.append(next((lower.index(word) for word in UID_NAMES if word in lower), None))
        found += [lower.index(word) if word in lower else None for word in scores]
    return found


def _named(word: str | None, names: Sequence[str], width: int) -> int | None:
    if word is None:
        return None
    if word in names:
        return list(names).index(word)
    if word.isascii() and word.isdigit() and int(word) < width:
        return int(word)
    said = ", ".join(map(str, names[:20])) or f"{width} columns without names"
    raise ConfigError(
        f"curate.sources: a table has no column {word!r}, it has {said}; correct url_column or text_column"
    )
