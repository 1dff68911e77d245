"""The byte-level BPE of OpenAI's CLIP, from the files that come with a checkpoint.

    tokenizer.json                     as the `tokenizers` library writes it
    vocab.json + merges.txt            the older pair of files of Hugging Face
    bpe_simple_vocab_16e6.txt.gz       merges alone, as OpenAI and open_clip ship them; ids follow from their order

Words of a caption that look like special tokens stay plain text: no caption can end itself early.
"""

import gzip
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Encoder
    from torch import Tensor

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES_ONLY = "bpe_simple_vocab_16e6.txt.gz"
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", MERGES_ONLY)
MERGES = 49_152 - 256 - 2  # what OpenAI's clip/simple_tokenizer.py takes of that file
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class ForeignTokenizer:
    """Texts to rows of `context` ids: start, pieces, end, zeros."""

    def __init__(self, bpe: "Encoder", context: int) -> None:
        self._bpe, self.context = bpe, context
        self.start, self.end = bpe.token_to_id(START), bpe.token_to_id(END)
        if self.start is None or self.end is None or self.end != bpe.get_vocab_size() - 1:
            raise DataError(f"this tokenizer has no {START}, or its last id is not {END}; use CLIP's own")
        bpe.no_truncation()
        bpe.no_padding()
        bpe.encode_special_tokens = True

    def encode(self, texts: Sequence[str]) -> "Tensor":
        """(N, context) int64; a text that is too long loses its tail, never its end token."""
        import torch

        tokens = torch.zeros(len(texts), self.context, dtype=torch.long)
        for row, encoding in enumerate(self._bpe.encode_batch(list(texts), add_special_tokens=False)):
            ids = [self.start, *encoding.ids[: self.context - 2], self.end]
            tokens[row, : len(ids)] = torch.tensor(ids)
        return tokens

    @staticmethod
    def load(folder: str, context: int) -> "ForeignTokenizer":
        """Raises DataError where the folder has none of the files, or damaged ones."""
        from tokenizers import Tokenizer as Encoder

        names = storage.list_names(folder)
        try:
            if "tokenizer.json" in names:
                text = storage.read_bytes(storage.join(folder, "tokenizer.json")).decode()
                return ForeignTokenizer(Encoder.from_str(text), context)
            if "vocab.json" in names and "merges.txt" in names:
                vocabulary = json.loads(storage.read_bytes(storage.join(folder, "vocab.json")))
                lines = storage.read_bytes(storage.join(folder, "merges.txt")).decode().splitlines()
                return ForeignTokenizer(_bpe(vocabulary, _merges(lines)), context)
            if MERGES_ONLY in names:
                lines = gzip.decompress(storage.read_bytes(storage.join(folder, MERGES_ONLY))).decode().splitlines()
                merges = _merges(lines)[:MERGES]
                return ForeignTokenizer(_bpe(_vocabulary(merges), merges), context)
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"{folder}: its tokenizer cannot be read ({type(error).__name__}: {error})"[:300]
            ) from error
        raise DataError(f"{folder}: has no tokenizer; put {' or '.join(TOKENIZER_FILES)} beside the weights")


def _merges(lines: Sequence[str]) -> list[tuple[str, str]]:
    """The first line names the format's version."""
    pairs = [line.split() for line in lines[1:] if line.strip()]
    return [(pair[0], pair[1]) for pair in pairs]


def _vocabulary(merges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Bytes, bytes that end a word, merges in their order, start and end: ids count through."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [*map(chr, printable), *(chr(256 + place) for place in range(len(rest)))]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    return {word: number for number, word in enumerate(words)}


def _bpe(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> "Encoder":
    from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers
    from tokenizers import Tokenizer as Encoder

    options: dict[str, Any] = {"continuing_subword_prefix": "", "end_of_word_suffix": "</w>", "unk_token": END}
    bpe = Encoder(models.BPE(vocab=vocabulary, merges=merges, **options))
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.add_special_tokens([AddedToken(START, special=True), AddedToken(END, special=True)])
    return bpe
