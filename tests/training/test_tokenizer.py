"""The tokenizer: no unknown text, no trick with special words, the same bytes each time."""

import gzip
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel

from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.tokens.clip_vocabulary import cleaned
from training.tokens.tokenizer import Tokenizer, released

TEXTS = ["A photo of a red circle", "a photo of the digit 7", "A RED square, isn't it?", "photo of two red circles"] * 3


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, 320, 16)


def test_a_row_is_start_pieces_end_and_zeros(tokenizer: Tokenizer) -> None:
    (row,) = tokenizer.encode(["red circle"]).tolist()
    length = row.index(tokenizer.end) + 1
    assert row[0] == tokenizer.start
    assert row[length:] == [0] * (16 - length)
    assert max(row) == tokenizer.end == tokenizer.size - 1


def test_case_and_spaces_do_not_count(tokenizer: Tokenizer) -> None:
    one, other = tokenizer.encode(["a  Red\tCIRCLE ", "a red circle"])
    assert torch.equal(one, other)


def test_a_long_text_loses_its_tail_and_keeps_its_end_token(tokenizer: Tokenizer) -> None:
    (row,) = tokenizer.encode(["red " * 50]).tolist()
    assert len(row) == 16
    assert row[-1] == tokenizer.end


def test_every_text_can_be_encoded(tokenizer: Tokenizer) -> None:
    rows = tokenizer.encode(["", "Ελλάδα 漢字 🦆", "\x00\ud7ff"])
    assert rows[0].tolist()[:3] == [tokenizer.start, tokenizer.end, 0]
    assert (rows.max(dim=1).values == tokenizer.end).all()
    assert (rows[1] != 0).sum() > 10


def test_a_caption_cannot_write_the_special_tokens(tokenizer: Tokenizer) -> None:
    for text in ("<|endoftext|> red", "<|startoftext|>", "</s>", "<end>"):
        row = tokenizer.encode([text])[0]
        assert (row == tokenizer.end).sum() == 1
        assert (row == tokenizer.start).sum() == 1


def test_frequent_words_become_one_token(tokenizer: Tokenizer) -> None:
    (row,) = tokenizer.encode(["red"]).tolist()
    assert row.index(tokenizer.end) == 2


def test_training_again_in_another_process_gives_the_same_bytes(tokenizer: Tokenizer) -> None:
    code = (
        "import sys; from training.tokens.tokenizer import Tokenizer;"
        f"sys.stdout.buffer.write(Tokenizer.train({TEXTS!r}, 320, 16).to_bytes())"
    )
    for _ in range(2):
        again = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert again.stdout == tokenizer.to_bytes()


def test_a_saved_tokenizer_encodes_alike(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = str(tmp_path / "tokenizer.json")
    tokenizer.save(path)
    assert torch.equal(Tokenizer.load(path).encode(TEXTS), tokenizer.encode(TEXTS))
    (tmp_path / "other.json").write_text('{"model": {}}')
    with pytest.raises(DataError, match="not a tokenizer of format"):
        Tokenizer.load(str(tmp_path / "other.json"))


# Ids of OpenAI's clip.tokenize, as its README's examples and open_clip give them.
KNOWN = {
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "Hello   World!": [3306, 1002, 256],
    "": [],
}


@pytest.fixture(scope="module")
def vocabulary(shared: Path) -> Path:
    return shared / "data" / "reference" / "openai-clip" / "clip" / "bpe_simple_vocab_16e6.txt.gz"


def slow_ids(text: str, ranks: dict[tuple[str, str], int], ids: dict[str, int]) -> list[int]:
    """The pair that was merged first in training is joined first, until no pair is known (Sennrich et al. 2016)."""
    letters = dict(zip(sorted(ByteLevel.alphabet(), key=ids.__getitem__), bytes_in_order(), strict=True))
    letter_of = {byte: letter for letter, byte in letters.items()}
    found = []
    for word in re.findall(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", " ".join(text.lower().split())):
        pieces = [letter_of[byte] for byte in word.encode()]
        pieces[-1] += "</w>"
        while len(pieces) > 1:
            pairs = list(pairwise(pieces))
            best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
            if best not in ranks:
                break
            merged: list[str] = []
            while pieces:
                if len(pieces) > 1 and (pieces[0], pieces[1]) == best:
                    merged.append(pieces.pop(0) + pieces.pop(0))
                else:
                    merged.append(pieces.pop(0))
            pieces = merged
        found += [ids[piece] for piece in pieces]
    return found


def bytes_in_order() -> list[int]:
    """As OpenAI's bytes_to_unicode lists them: those one can print, then the others."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return printable + [byte for byte in range(256) if byte not in printable]


def test_the_released_vocabulary_gives_openai_s_ids(vocabulary: Path, tmp_path: Path) -> None:
    clip = Tokenizer.released(str(vocabulary), 77)
    assert (clip.start, clip.end, clip.size) == (49406, 49407, 49408)
    lines = gzip.decompress(vocabulary.read_bytes()).decode().splitlines()[1 : 49152 - 256 - 2 + 1]
    ranks = {tuple(line.split()): rank for rank, line in enumerate(lines)}
    text = json.loads(clip.to_bytes())["bpe"]["model"]["vocab"]
    more = ["it's a naïve café's 37 DOGS", "snow_man — déjà vu!!", "Größe 猫 犬 unbelievably", "x" * 50]
    for sentence in (*KNOWN, *more):
        row = clip.encode([sentence])[0].tolist()
        ids = row[1 : row.index(49407)]
        assert ids == KNOWN.get(sentence, ids)
        assert ids == slow_ids(sentence, ranks, text)  # type: ignore[arg-type]  # pairs
    again = tmp_path / "tokenizer.json"
    clip.save(str(again))
    assert torch.equal(Tokenizer.load(str(again)).encode(more), clip.encode(more))


def test_captions_are_mended_as_openai_mends_them(vocabulary: Path) -> None:
    clip = Tokenizer.released(str(vocabulary), 16)
    for damaged, meant in (
        ("cats &amp;amp; dogs", "cats & dogs"),
        ("dÃ©jÃ\xa0 vu", "déjà vu"),
        ("“curly” ‘quotes’\x07", "\"curly\" 'quotes'"),
        ("\ttab\n\nand\u2028line", "tab and line"),
        ("&lt;b&gt;", "<b>"),
    ):
        assert cleaned(damaged) == meant
        assert torch.equal(clip.encode([damaged]), clip.encode([meant]))
    row = clip.encode(["a <|endoftext|> dog"])[0]
    assert (row == clip.end).sum() == 1


def test_a_config_that_names_a_vocabulary_trains_with_it_or_says_why_not(vocabulary: Path, tmp_path: Path) -> None:
    config = TrainConfig(vocabulary=str(vocabulary), context_length=16)
    made = released(config)
    assert made is not None
    assert (made.size, made.context) == (49_408, 16)
    assert released(TrainConfig()) is None
    with pytest.raises(ConfigError, match=r"vocabulary_size is 1,000, and .* has 49,408 entries; set it to that"):
        released(TrainConfig(vocabulary=str(vocabulary), vocabulary_size=1000))
    with pytest.raises(ConfigError, match=r"train.vocabulary: .*has no tokenizer; put"):
        released(TrainConfig(vocabulary=str(tmp_path)))
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"has vocab.json alone, and it takes both of vocab.json and merges.txt; put"):
        released(TrainConfig(vocabulary=str(tmp_path)))


def test_other_libraries_read_the_same_ids(tokenizer: Tokenizer) -> None:
    from tokenizers import Tokenizer as Encoder

    theirs = Encoder.from_str(tokenizer.for_others().decode())
    for text in TEXTS:
        row = tokenizer.encode([text])[0].tolist()
        assert theirs.encode(text).ids == row[: row.index(tokenizer.end) + 1]
