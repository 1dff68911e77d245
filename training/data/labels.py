"""Class labels: names and numbers from wherever they come, as the numbers that a classifier counts with.

Whole numbers are class numbers: the classes are 0 .. the largest. Names are sorted, and their place is the class number.
Several sources share one list of classes.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

MAX_CLASSES = 1_000_000


def classes_of(values: Iterable[Any], where: str) -> tuple[tuple[str, ...], bool]:
    """(names, whether some sample has a list of labels) of label values. Raises DataError where they cannot be labels."""
    numbers: set[int] = set()
    names: set[str] = set()
    many = False
    for value in values:
        many = many or isinstance(value, list)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, bool) or not isinstance(each, int | str):
                if each is not None:
                    raise DataError(f"{where}: a label is {each!r:.40}; labels are class numbers or names")
            elif isinstance(each, int):
                numbers.add(each)
            else:
                names.add(each)
    if numbers and names:
        raise DataError(f"{where}: labels are numbers in some rows and names in others; make them one kind")
    if numbers and not 0 <= min(numbers) <= max(numbers) < MAX_CLASSES:
        wrong = min(numbers) if min(numbers) < 0 else max(numbers)
        raise DataError(f"{where}: a label is {wrong:,}; class numbers go from 0 to {MAX_CLASSES - 1:,}")
    if numbers:
        return tuple(map(str, range(max(numbers) + 1))), many
    return tuple(sorted(names)), many


def merged(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """One list of classes for several sources: numbers in their order, else names sorted."""
    names = set().union(*lists)
    numbers = [int(name) for name in names if is_number(name)]
    if len(numbers) == len(names) and max(numbers, default=-1) < MAX_CLASSES:
        return tuple(map(str, range(max(numbers, default=-1) + 1)))
    return tuple(sorted(names))


def is_number(word: str) -> bool:
    """Whether it is how a class number is written; other digits are a name, as a folder called 00042."""
    return word.isascii() and word.isdecimal() and (word == "0" or word[0] != "0")


def as_tensor(values: Sequence[Any], classes: tuple[str, ...], multi_label: bool) -> "Tensor":
    """(N,) int64, or with `multi_label` (N, C) float32 of zeros and ones, from label values of any source.

    A null is the class -1, which cross-entropy ignores, or a row of zeros.
    """
    import torch

    number = {name: place for place, name in enumerate(classes)}
    if not multi_label:
        return torch.tensor([-1 if value is None else number[str(value)] for value in values], dtype=torch.int64)
    shares = np.zeros((len(values), len(classes)), np.float32)
    for row, value in enumerate(values):
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                shares[row, number[str(each)]] = 1
    return torch.from_numpy(shares)
