"""CLIP's released vocabulary: lower-cased byte-level BPE of 49,152 entries (arXiv:2103.00020, section 2.4; what
OpenAI's clip/simple_tokenizer.py does), from any of the files that it travels in.

    bpe_simple_vocab_16e6.txt.gz       merges alone, as OpenAI and open_clip ship them; ids follow from their order
    vocab.json + merges.txt            the older pair of files of Hugging Face
    tokenizer.json                     as the `tokenizers` library writes it; its own rules hold then, not those below

Texts are mended first (mojibake by ftfy, HTML's escapes twice over), then white space is made one, then all is lower case.
The end of a word is part of its last piece: "cat</w>". Words of a caption that look like special tokens stay plain text,
where OpenAI's code takes them for the tokens: no caption can end itself early.
"""

import gzip
import html
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Encoder

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES_ONLY = "bpe_simple_vocab_16e6.txt.gz"
PAIR = ("vocab.json", "merges.txt")
TOKENIZER_FILES = ("tokenizer.json", *PAIR, MERGES_ONLY)
MERGES = 49_152 - 256 - 2  # what OpenAI's clip/simple_tokenizer.py takes of that file
# OpenAI's pattern ignores case, and so takes U+0345, a Greek subscript whose capital is a letter, for neither kind: it is lost.
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}\x{345}]+"


def cleaned(text: str) -> str:
    """Mended, in lower case, with single spaces. Plain ASCII without escapes, which is most captions, needs no mending."""
    if not (text.isascii() and text.isprintable()) or "&" in text:
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip().lower()


def read_vocabulary(place: str) -> tuple["Encoder", bool]:
    """The encoder from a folder or one of the files above, and whether texts are to be `cleaned` for it.

    Raises DataError where there is none, or a damaged one.
    """
    try:
        if place.endswith((".gz", ".txt")):
            return _from_merges(place), True
        if place.endswith(".json"):
            return _from_json(place), False
        names = storage.list_names(place)
        if "tokenizer.json" in names:
            return _from_json(storage.join(place, "tokenizer.json")), False
        if "vocab.json" in names and "merges.txt" in names:
            vocabulary = json.loads(storage.read_bytes(storage.join(place, "vocab.json")))
            lines = storage.read_bytes(storage.join(place, "merges.txt")).decode().splitlines()
            return _bpe(vocabulary, _merges(lines)), True
        if MERGES_ONLY in names:
            return _from_merges(storage.join(place, MERGES_ONLY)), True
    except Exception as error:
        raise DataError(f"{place}: its tokenizer cannot be read ({type(error).__name__}: {error})"[:300]) from error
    half = [name for name in PAIR if name in names]
    found = f"has {half[0]} alone, and it takes both of {' and '.join(PAIR)}" if half else "has no tokenizer"
    raise DataError(
        f"{place}: {found}; put tokenizer.json, or {' with '.join(PAIR)}, or {MERGES_ONLY} beside the weights"
    )


def _from_json(path: str) -> "Encoder":
    from tokenizers import Tokenizer as Encoder

    bpe = Encoder.from_str(storage.read_bytes(path).decode())
    start, end = bpe.token_to_id(START), bpe.token_to_id(END)
    if (start, end) != (bpe.get_vocab_size() - 2, bpe.get_vocab_size() - 1):
        raise ValueError(f"its last two entries are not {START} and {END}; use CLIP's own")
    return bpe


def _from_merges(path: str) -> "Encoder":
    data = storage.read_bytes(path)
    text = (gzip.decompress(data) if path.endswith(".gz") else data).decode()
    merges = _merges(text.splitlines(), MERGES)
    return _bpe(_vocabulary(merges), merges)


def _merges(lines: Sequence[str], most: int | None = None) -> list[tuple[str, str]]:
    """The first line names the format's version. Of CLIP's file a fifth is used: to split the rest too takes 0.2 s."""
    pairs = (line.split() for line in lines[1:] if line.strip())
    return [(pair[0], pair[1]) for pair in itertools.islice(pairs, most)]


def _vocabulary(merges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Bytes, bytes that end a word, merges in their order, start and end: ids count through."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [*map(chr, printable), *(chr(256 + place) for place in range(len(rest)))]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    return {word: number for number, word in enumerate(words)}


def _bpe(vocabulary: Mapping[str, int], merges: list[tuple[str, str]]) -> "Encoder":
    """Raises ValueError where the start and end of texts are not the last two entries."""
    from tokenizers import AddedToken, Regex, models, pre_tokenizers
    from tokenizers import Tokenizer as Encoder

    size = len(vocabulary)
    if (vocabulary.get(START), vocabulary.get(END)) != (size - 2, size - 1):
        raise ValueError(f"its last two entries are not {START} and {END}; use CLIP's own")
    options: dict[str, Any] = {"continuing_subword_prefix": "", "end_of_word_suffix": "</w>", "unk_token": END}
    bpe = Encoder(models.BPE(vocab=dict(vocabulary), merges=merges, **options))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.add_special_tokens([AddedToken(START, special=True), AddedToken(END, special=True)])
    return bpe
