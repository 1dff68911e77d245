"""The tokenizer: no unknown text, no trick with special words, the same bytes each time."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.errors import DataError
from training.tokenizer import Tokenizer

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
        "import sys; from training.tokenizer import Tokenizer;"
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
