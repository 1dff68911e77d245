"""Lower-cased byte-level BPE, trained on the corpus (arXiv:2103.00020, section 2.4; Sennrich et al. 2016), or CLIP's
released one from a file of its own (training/clip_vocabulary.py).

Text is split into words, numbers' digits and signs as CLIP does; each piece opens with a space mark, so that word starts
differ from word parts. All 256 bytes are in the vocabulary: no text is unknown. Start and end tokens come after the
merges, so the end token has the highest id, and ids of one vocabulary never depend on the texts' special words: a caption
that contains "<end>" is five plain tokens. In CLIP's vocabulary they are the last two entries, with the same effect.
"""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from training.clip_vocabulary import END, START, cleaned, read_vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Encoder
    from torch import Tensor

    from training.config import TrainConfig

FORMAT = "openwit-bpe-1"
RELEASED_SIZE = 49_408
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


class Tokenizer:
    """Texts to rows of `context` ids: start, pieces, end, zeros."""

    def __init__(self, bpe: "Encoder", context: int, released: bool = False, mended: bool = False) -> None:
        """`released`: CLIP's vocabulary, which has entries for start and end; `mended`: texts are cleaned as CLIP's are."""
        self._bpe = bpe
        self.context = context
        self._released, self._mended = released, mended
        bpe.no_truncation()
        bpe.no_padding()
        if released:
            bpe.encode_special_tokens = True
        self.start = bpe.get_vocab_size() - 2 if released else bpe.get_vocab_size()
        self.end = self.start + 1

    @property
    def is_released(self) -> bool:
        """Whether this is CLIP's vocabulary, which other libraries have by themselves."""
        return self._released and self.size == RELEASED_SIZE

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

    @staticmethod
    def released(place: str, context: int) -> "Tokenizer":
        """CLIP's own, from the folder or file `place`. Raises DataError where there is none, or a damaged one."""
        bpe, mended = read_vocabulary(place)
        return Tokenizer(bpe, context, released=True, mended=mended)

    def encode(self, texts: Sequence[str]) -> "Tensor":
        """(N, context) int64; a text that is too long loses its tail, never its end token."""
        return self.rows(self.ids(texts))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text's ids from start to end, at most `context`; the loader's processes make these, without torch."""
        plain = [cleaned(text) for text in texts] if self._mended else list(texts)
        found = self._bpe.encode_batch(plain, add_special_tokens=False)
        return [[self.start, *encoding.ids[: self.context - 2], self.end] for encoding in found]

    def rows(self, ids: Sequence[Sequence[int]]) -> "Tensor":
        """(N, context) int64 with zeros behind each text's ids."""
        import torch

        tokens = np.zeros((len(ids), self.context), np.int64)
        for row, text in enumerate(ids):
            tokens[row, : len(text)] = text
        return torch.from_numpy(tokens)

    def to_bytes(self) -> bytes:
        kind = {"released": True, "mended": self._mended} if self._released else {}
        return storage.canonical_json(
            {"format": FORMAT, "context": self.context, "bpe": json.loads(self._bpe.to_str()), **kind}
        )

    def for_others(self) -> bytes:
        """tokenizer.json for the `tokenizers` library and transformers: the same ids, start and end put around each text.

        They do not mend texts as `cleaned` does; white space and case are seen to.
        """
        from tokenizers import AddedToken, Regex, normalizers, processors
        from tokenizers import Tokenizer as Encoder

        bpe = Encoder.from_str(self._bpe.to_str())
        if self._mended:
            one_space = normalizers.Replace(Regex(r"\s+"), " ")
            bpe.normalizer = normalizers.Sequence([normalizers.NFC(), one_space, normalizers.Lowercase()])
        bpe.add_special_tokens([AddedToken(START, special=True), AddedToken(END, special=True)])
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{START} $A {END}", special_tokens=[(START, self.start), (END, self.end)]
        )
        return bpe.to_str(pretty=False).encode()

    def save(self, path: str) -> None:
        storage.write_bytes(path, self.to_bytes())

    @staticmethod
    def load(path: str) -> "Tokenizer":
        """Raises DataError when the file is no tokenizer of ours."""
        return Tokenizer.of_bytes(storage.read_bytes(path), path)

    @staticmethod
    def of_bytes(data: bytes, path: str = "tokenizer") -> "Tokenizer":
        """What `to_bytes` gave. Raises DataError naming `path` when it is something else."""
        from tokenizers import Tokenizer as Encoder

        value = json.loads(data)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise DataError(
                f"{path}: not a tokenizer of format {FORMAT}; train again or give the checkpoint's own file"
            )
        bpe = Encoder.from_str(json.dumps(value["bpe"]))
        return Tokenizer(bpe, int(value["context"]), bool(value.get("released")), bool(value.get("mended")))


def released(config: "TrainConfig") -> Tokenizer | None:
    """The vocabulary that `train.vocabulary` names, if any.

    Raises ConfigError where it cannot be read, or has more entries than the model's table has rows.
    """
    if config.vocabulary is None:
        return None
    try:
        made = Tokenizer.released(config.vocabulary, config.context_length)
    except DataError as error:
        raise ConfigError(f"train.vocabulary: {error}") from error
    if made.size > config.vocabulary_size:
        raise ConfigError(
            f"train.vocabulary_size is {config.vocabulary_size:,}, and {config.vocabulary} has {made.size:,} entries; set it to"
            " that"
        )
    return made
