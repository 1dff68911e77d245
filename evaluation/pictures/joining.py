"""Joins the words of a dataset's labels to a task's table of classes; by name, never by position.

Published lists order classes differently (VOC, EuroSAT, CLEVR), so a number is first turned into the name that the
dataset itself gives to it. A word that fits no class, or a class without pictures, is an error with the names in it; of a dataset
whose pictures are known to vanish (`Pictures.lacking`) such classes are counted.
"""

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

from evaluation.pictures.pictures import EMPTY_CLASS, Broken, Pictures

_WRITTEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_WRITTEN)}
_SYNSET = re.compile(r"n\d{8}")


def joined(
    pictures: Pictures,
    column: str,
    table: Mapping[str, Sequence[str]],
    part: bool = False,
    whole: bool = True,
    also: Mapping[str, Sequence[str]] | None = None,
) -> Pictures:
    """The pictures with the table's own words in `column`. `table`: the dataset's word of a class -> its names.

    `part`: the table holds only some of the dataset's classes, and pictures of the others are left out (ObjectNet's 113
    of 313, ImageNet's validation part on the classes of ImageNet-A). `whole`: no class may lack. `also`: more words
    that copies call a class by. Raises Broken.
    """
    words = pictures.words(column)
    known = {word for each in words for word in each}
    called = {key: (*names, *(also or {}).get(key, ())) for key, names in table.items()}
    translated = _by_number(pictures, known, called) if pictures.classes is not None else _by_word(known, called)
    outside = sorted(word for word in known if word not in translated)
    if outside and not part:
        near = difflib.get_close_matches(outside[0], list(table), 1)
        hint = f", nearest is '{near[0]}'" if near else f", e.g. '{next(iter(table))}'"
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        raise Broken(f"{pictures.name}: label '{outside[0]}'{more} is not in the task's table of {len(table)}{hint}")
    several = not isinstance(pictures.columns[column][0], str)
    if part and outside:
        keep = [at for at, each in enumerate(words) if any(word in translated for word in each)]
        pictures, words = pictures.subset(keep), tuple(words[at] for at in keep)
    found = [tuple(translated[word] for word in each if word in translated) for each in words]
    lacking = sorted(set(table) - {word for each in found for word in each})
    if lacking and pictures.lacking:  # its list says that some are gone: a class can be among them
        pictures = replace(pictures, lacking={**pictures.lacking, EMPTY_CLASS: len(lacking)})
    elif lacking and whole:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise Broken(
            f"{pictures.name}: has no picture of class '{lacking[0]}'{more} of {len(table)}; the dataset is not whole"
        )
    values = tuple(found) if several else tuple(each[0] for each in found)
    return replace(pictures, columns={**pictures.columns, column: values}, classes=None)


def plain(name: str) -> str:
    """A name without what spellings differ in: case, punctuation, underscores, digits written out, and which of Unicode's codes
    of one letter is taken (file systems decompose them)."""
    letters = unicodedata.normalize("NFKC", re.sub("['’]", "", name)).casefold()  # Anna's is Birdsnap's Annas
    words = re.sub(r"[\W_]+", " ", letters).split()
    return " ".join(_DIGITS.get(word, word) for word in words)


def _by_word(words: set[str], table: Mapping[str, Sequence[str]]) -> dict[str, str]:
    names = _names(table)
    found = {word: word if word in table else names.get(plain(word), "") for word in words}
    if all(_SYNSET.fullmatch(key) for key in table):  # ImageNetV2's folders are numbers in the order of the synsets
        synsets = sorted(table)
        for word in words:
            if not found[word] and word.isdecimal() and int(word) < len(synsets) == 1000:
                found[word] = synsets[int(word)]
    return {word: key for word, key in found.items() if key}


def _names(table: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """plain name -> key, for names that one class alone has ('missile' is the name of two of ImageNet's)."""
    owners: dict[str, set[str]] = {}
    for key, names in table.items():
        for name in (key, *names):
            owners.setdefault(plain(name), set()).add(key)
    return {name: next(iter(keys)) for name, keys in owners.items() if len(keys) == 1}


def _by_number(pictures: Pictures, numbers: set[str], table: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Numbers by the names that the dataset gives to them.

    A name of two classes is settled by its place only where all others prove that the dataset's order is the table's.
    """
    classes = pictures.classes or ()
    by_name = _by_word(set(classes), table)
    found = {str(at): by_name[name] for at, name in enumerate(classes) if name in by_name}
    order = sorted(table)
    if len(found) < len(classes) == len(order) and all(order[int(at)] == key for at, key in found.items()) and found:
        names = {key: {plain(name) for name in (key, *table[key])} for key in order}
        for at, name in enumerate(classes):
            if plain(name) in names[order[at]]:
                found[str(at)] = order[at]
    wrong = sorted(number for number in numbers if not number.isdecimal() or int(number) >= len(classes))
    if wrong:
        raise Broken(f"{pictures.name}: label {wrong[0]} is outside its list of {len(classes)} classes")
    unknown = [classes[int(number)] for number in sorted(numbers, key=int) if number not in found]
    if unknown:
        raise Broken(
            f"{pictures.name}: class '{unknown[0]}' of its own list fits none or several of the task's {len(table)}; "
            "call it as the task does, or give the task a synonym"
        )
    return {number: found[number] for number in numbers}
