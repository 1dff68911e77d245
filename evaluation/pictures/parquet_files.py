"""Which Parquet files each split has, and whether a numbered part of it is gone.

    data/test-00000-of-00002.parquet, or the same names at the top, or test/0000.parquet (what the hub's converter makes)

"-of-00002" says how many there are; 0000, 0001, ... of the converter say it up to the last.
"""

import functools
import itertools
import re
from collections.abc import Callable, Sequence

from evaluation.pictures.folder import Folder
from evaluation.pictures.pictures import Broken

ALIASES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
KNOWN = tuple(alias for aliases in ALIASES.values() for alias in aliases)
ENDING = ".parquet"
NAMED = 4
"""Missing files that a complaint names."""

_OF = re.compile(r"(?P<stem>.*?)(?P<number>\d+)-of-(?P<total>\d+)(?:-[0-9a-f]+)?\.parquet")
"""A hash follows the number in what older versions of the `datasets` library pushed."""
_CONVERTED = re.compile(r"(?P<stem>(?:.*/)?)(?P<number>\d{4})\.parquet")


def split_files(home: Folder) -> dict[str, list[str]]:
    """Which files each split has, as they are called: {"train": [...], "validation": [...]}."""
    found: dict[str, list[str]] = {}
    for below in ("data", "", *home.folders()):
        for name in home.names(below):
            inner = f"{below}/{name}" if below else name
            split = name.removesuffix(ENDING).split("-")[0]
            if not name.endswith(ENDING):
                continue
            if split.isdecimal() or split == "part":
                split = below
            found.setdefault(split, []).append(inner)
        if found and below in ("data", ""):
            break
    return {split: names for split, names in sorted(found.items()) if split in KNOWN}


def hold_splits(home: Folder) -> bool:
    """Whether there are Parquet files that are called after a split, or lie in a folder that is."""
    top = home.names()
    if _named(top) or ("data" in top and _named(home.names("data"))):
        return True
    return any(name.endswith(ENDING) for alias in KNOWN if alias in top for name in home.names(alias))


def _named(names: Sequence[str]) -> bool:
    return any(name.endswith(ENDING) and name.removesuffix(ENDING).split("-")[0] in KNOWN for name in names)


def check_whole(home: Folder, names: Sequence[str]) -> None:
    """Raises Broken where the names of a split's files say that others belong to it that are gone, or are those of two copies."""
    counted: dict[str, list[re.Match[str]]] = {}
    converted: dict[str, list[int]] = {}
    for name in names:
        if found := _OF.fullmatch(name):
            counted.setdefault(found["stem"], []).append(found)
        elif found := _CONVERTED.fullmatch(name):
            converted.setdefault(found["stem"], []).append(int(found["number"]))
    for stem, parts in counted.items():
        _check_counted(home, stem, parts)
    for stem, numbers in converted.items():
        called = functools.partial("{}{:04d}.parquet".format, stem)
        _check_numbers(home, numbers, range(max(numbers) + 1), called)


def _check_counted(home: Folder, stem: str, parts: Sequence[re.Match[str]]) -> None:
    totals = sorted({int(part["total"]) for part in parts})
    numbers = [int(part["number"]) for part in parts]
    if len(totals) > 1 or len(set(numbers)) < len(numbers):
        what = f"files of {totals[0]:,} and of {totals[-1]:,}" if len(totals) > 1 else "files of the same number"
        raise Broken(f"{home.at(stem)}*: {what} lie there, as of two copies; keep those of one")
    start = int(totals[0] in numbers and 0 not in numbers)
    number, total = parts[0]["number"], parts[0]["total"]

    def called(at: int) -> str:
        return f"{stem}{at:0{len(number)}d}-of-{total}.parquet"

    _check_numbers(home, numbers, range(start, totals[0] + start), called)


def _check_numbers(home: Folder, numbers: Sequence[int], wanted: range, called: Callable[[int], str]) -> None:
    """A hostile name may say that there are billions: no more are looked for than are named."""
    there = {number for number in numbers if number in wanted}
    gone = list(itertools.islice((number for number in wanted if number not in there), NAMED))
    if gone:
        rest = len(wanted) - len(there) - len(gone)
        more = f" and {rest:,} more" if rest else ""
        raise Broken(
            f"{home.path}: lacks {', '.join(map(called, gone))}{more}, where {len(there):,} of {len(wanted):,} files of this "
            "split are there; get what is missing"
        )
