"""Lower-cased byte-level BPE, trained on the corpus (arXiv:2103.00020, section 2.4; Sennrich et al. 2016).

Text is split into words, numbers' digits and signs as CLIP does; each piece opens with a space mark, so that word starts
differ from word parts. All 256 bytes are in the vocabulary: no text is unknown. Start and end tokens come after the
merges, so the end token has the highest id, and ids of one vocabulary never depend on the texts' special words: a caption
that contains "<end>" is five plain tokens.
"""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pipeline import storage
from pipeline.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Encoder
    from torch import Tensor

FORMAT = "openwit-bpe-1"
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


class Tokenizer:
    """Texts to rows of `context` ids: start, pieces, end, zeros."""

    def __init__(self, bpe: "Encoder", context: int) -> None:
        self._bpe = bpe
        self.context = context
        self.start = bpe.get_vocab_size()
        self.end = self.start + 1

    @property
    def size(self) -> int:
        """Ids in use, start and end included."""
        return self.end + 1

    @staticmethod
    def train(texts: Iterable[str], vocabulary_size: int, context: int) -> "Tokenizer":
        """Learn at most `vocabulary_size` - 258 merges; fewer where the texts have no more pairs that occur twice.

        The same texts in the same order give the same tokenizer.
        """
        from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers
        from tokenizers import Tokenizer as Encoder

        bpe = Encoder(models.BPE())
        bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
        bpe.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
            ]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size - 2,
            min_frequency=2,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return Tokenizer(bpe, context)

    def encode(self, texts: Sequence[str]) -> "Tensor":
        """(N, context) int64; a text that is too long loses its tail, never its end token."""
        import torch

        tokens = torch.zeros(len(texts), self.context, dtype=torch.long)
        for row, encoding in enumerate(self._bpe.encode_batch(list(texts), add_special_tokens=False)):
            ids = [self.start, *encoding.ids[: self.context - 2], self.end]
            tokens[row, : len(ids)] = torch.tensor(ids)
        return tokens

    def to_bytes(self) -> bytes:
        return storage.canonical_json(
            {"format": FORMAT, "context": self.context, "bpe": json.loads(self._bpe.to_str())}
        )

    def save(self, path: str) -> None:
        storage.write_bytes(path, self.to_bytes())

    @staticmethod
    def load(path: str) -> "Tokenizer":
        """Raises DataError when the file is no tokenizer of ours."""
        from tokenizers import Tokenizer as Encoder

        value = storage.read_json(path)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise DataError(
                f"{path}: not a tokenizer of format {FORMAT}; train again or give the checkpoint's own file"
            )
        return Tokenizer(Encoder.from_str(json.dumps(value["bpe"])), int(value["context"]))
