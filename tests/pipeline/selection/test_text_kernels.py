"""The compiled measures of captions, each beside its slow twin."""

import random
import unicodedata

import numpy as np
import pyarrow as pa
import pytest

from pipeline.compiled import text_buffers
from pipeline.selection import text_kernels
from pipeline.selection.text import special_shares

LETTERS = "aab  éßу東😀.!"


def texts_of(seed: int) -> list[str]:
    chance = random.Random(seed)
    texts = ["".join(chance.choices(LETTERS, k=chance.randint(0, 90))) for _ in range(300)]
    return [" ".join(text.split()) for text in [*texts, "", "ab" * 40, "red dog " * 9, "one two three"]]


def repeated(units: list[str], size: int) -> float:
    windows = [tuple(units[i : i + size]) for i in range(len(units) - size + 1)]
    return 1 - len(set(windows)) / len(windows) if windows else 0.0


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_repetition_is_the_share_of_windows_that_stood_before(size: int) -> None:
    texts = texts_of(size)
    buffers = text_buffers(pa.array(texts))
    characters = [repeated(list(text), size) for text in texts]
    words = [repeated(text.split(" ") if text else [], size) for text in texts]
    assert text_kernels.repetition(*buffers, size, False).tolist() == pytest.approx(characters)
    assert text_kernels.repetition(*buffers, size, True).tolist() == pytest.approx(words)


def test_special_characters_are_what_unicode_calls_neither_letter_nor_number_nor_mark() -> None:
    texts = ["", "abc", "a-b!", "".join(map(chr, range(33, 127))), "नमस्ते ⭐ é×", "东京！", *texts_of(9)]
    column = pa.array(texts)
    data, offsets = text_buffers(column)
    shares = special_shares(column, data, offsets, np.array([len(text) for text in texts]))
    slow = [sum(unicodedata.category(each)[0] not in "LNM" and not each.isspace() for each in text) for text in texts]
    assert shares.tolist() == pytest.approx(
        [count / max(1, len(text)) for count, text in zip(slow, texts, strict=True)]
    )


def test_plain_is_what_repair_would_not_change() -> None:
    texts = ["a b", "", " a", "a ", "a  b", "a\tb", "é", "a&b", "a\x7f", "a-b!"]
    plain = text_kernels.is_plain(*text_buffers(pa.array(texts))).tolist()
    assert plain == [True, True, False, False, False, False, False, False, False, True]
