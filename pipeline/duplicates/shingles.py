"""What a caption says, as a set of shingles, and how alike two sets are (Broder 1997: resemblance).

A caption is compared without case, Unicode form and punctuation, but with its digits: a rule that maps them to one symbol
(datatrove's) makes 20,000 captions of different numbers equal. A shingle is kept as a 64-bit hash.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from pipeline.duplicates.config import CaptionConfig
from pipeline.duplicates.loops import jaccard_of
from pipeline.duplicates.shingle_loops import shingle_loop

_NUMBER = re.compile(r"\d+")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff]")


def plain(caption: str | None) -> str:
    """Words of letters and digits, folded, with single spaces between them."""
    return " ".join(_word().findall(unicodedata.normalize("NFKC", caption or "").casefold()))


@functools.cache
def _word() -> re.Pattern[str]:
    """Letters and digits with the vowels and other signs that belong to the letter before them, in Devanagari, Thai, Tamil and
    others: no letters to `re`. (With those beyond U+FFFF, of scripts hardly ever met, it would look for each in a list: five
    times as slow.)"""
    marks = "".join(
        each
        for each in map(chr, range(0x300, 0x10000))
        if unicodedata.category(each) in ("Mn", "Mc") and "VARIATION" not in unicodedata.name(each, "")
    )
    return re.compile(f"[^\\W_]+(?:[{marks}]+[^\\W_]*)*")


def word_count(text: str) -> int:
    """Words of a plain text; two characters of a script that writes no spaces are one."""
    return text.count(" ") + 1 + len(_UNSPACED.findall(text)) // 2 if text else 0


@dataclass(frozen=True)
class Shingled:
    """N plain texts as sets: `hashes[starts[i]:starts[i + 1]]` are text i's shingles, ascending, each once."""

    hashes: np.ndarray
    starts: np.ndarray
    numbers: np.ndarray
    """(N,) uint64: the numbers in the text, as one hash."""
    is_short: np.ndarray
    """(N,) bool: fewer words than may be judged."""

    @staticmethod
    def of(texts: Sequence[str], config: CaptionConfig) -> "Shingled":
        """From plain texts."""
        padded = [f" {text} " for text in texts]
        codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32)
        bounds = np.concatenate([[0], np.cumsum([len(text) for text in padded])]).astype(np.int64)
        out, counts = shingle_loop(codes, bounds, config.shingle_size, config.shingle == "word")
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        numbers = [xxhash.xxh64_intdigest(" ".join(_NUMBER.findall(text)).encode()) for text in texts]
        short = [word_count(text) < config.minimum_words for text in texts]
        agree = np.array(numbers if config.numbers_agree else [0] * len(texts), dtype=np.uint64)
        return Shingled(out[: starts[-1]], starts, agree, np.array(short, dtype=bool))

    def jaccard(self, i: int, j: int) -> float:
        return float(jaccard_of(self.hashes, self.starts, i, j))
