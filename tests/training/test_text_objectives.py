"""Caption and word prediction against loops over tokens and words."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training.config import TrainConfig
from training.data.batch import Batch
from training.models.captioner import Captioner
from training.models.words import Words, shares
from training.objectives.objective import make_objective
from training.spec import REGISTRY, build

VOCABULARY = 40
END = VOCABULARY - 1


def texts() -> Tensor:
    """Start, words, end, zeros; one without words, one with a word twice, one with token 0."""
    rows = torch.zeros(4, 9, dtype=torch.long)
    for row, words in enumerate(([], [5, 7, 5], [1, 0, 3, 4, 6, 8], [9])):
        rows[row, : len(words) + 2] = torch.tensor([END - 1, *words, END])
    return rows


def batch(size: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (4, 3, size, size), generator=generator, dtype=torch.uint8)
    return Batch(pixels, texts())


def model(name: str) -> Captioner | Words:
    torch.manual_seed(0)
    made = build(REGISTRY[name].with_text(VOCABULARY, 9))
    assert isinstance(made, Captioner | Words)
    return made.eval()


def test_a_caption_s_log_probability_is_the_sum_over_its_tokens_each_from_those_before_it() -> None:
    made = model("captioner-tiny")
    assert isinstance(made, Captioner)
    pair = batch(32)
    found = made(pair.pixels, pair.tokens)
    assert found.shape == (4, 7)
    for row, tokens in enumerate(pair.tokens.tolist()):
        end = tokens.index(END)
        for place in range(7):
            if place >= end:
                assert found[row, place].item() == 0
                continue
            # The twin writes the text again up to here, alone, and asks for the next token.
            alone = torch.tensor([[*tokens[: place + 1], tokens[place + 1]]])
            x = made.text.token_embedding(alone[:, :-1]) + made.text.positional_embedding[: place + 1]
            places = made.places(pair.pixels[row : row + 1])
            for block in made.text.blocks:
                x = block(x, places)
            logits = made.text.answers(made.text.ln_final(x[:, -1]))
            wanted = functional.log_softmax(logits, dim=1)[0, tokens[place + 1]]
            torch.testing.assert_close(found[row, place], wanted, rtol=1e-4, atol=1e-5)

    objective = make_objective(TrainConfig(model="captioner-tiny"), made.spec)
    loss, metrics = objective.loss(found, pair)
    lengths = [row.tolist().index(END) for row in pair.tokens]
    wanted_loss = -sum(float(row.sum()) / length for row, length in zip(found, lengths, strict=True)) / 4
    assert float(loss) == pytest.approx(wanted_loss, rel=1e-5)
    assert float(metrics["text_nats"]) == pytest.approx(-float(found.sum()) / 4, rel=1e-5)


@pytest.mark.parametrize("name", ["captioner-tiny", "words-tiny"])
def test_texts_are_scored_for_each_picture_as_they_are_alone(name: str) -> None:
    made, pair = model(name), batch(32)
    scores = made.text_scores(pair.pixels, pair.tokens)
    for picture in range(4):
        for text in range(4):
            one, tokens = pair.pixels[picture : picture + 1], pair.tokens[text : text + 1]
            if isinstance(made, Captioner):
                wanted = made(one, tokens).sum()
            else:
                words = sorted(set(tokens[0].tolist()[1 : tokens[0].tolist().index(END)]))
                wanted = made(one)[0, words].mean() if words else torch.tensor(0.0)
            torch.testing.assert_close(scores[picture, text], wanted, rtol=1e-4, atol=1e-4)


def test_words_are_counted_once_and_neither_ends_nor_padding_are_words() -> None:
    wanted = torch.zeros(4, VOCABULARY)
    for row, words in enumerate(([], [5, 7], [1, 0, 3, 4, 6, 8], [9])):
        for word in words:
            wanted[row, word] = 1 / len(words)
    assert torch.equal(shares(texts(), VOCABULARY), wanted)

    made, pair = model("words-tiny"), batch(32)
    loss, metrics = make_objective(TrainConfig(model="words-tiny"), made.spec).loss(made(pair.pixels), pair)
    assert float(loss) == pytest.approx(-float((made(pair.pixels) * wanted).sum()) / 4, rel=1e-5)
    assert 0 <= float(metrics["likeliest_word_is_in_text"]) <= 1


@pytest.mark.parametrize("name", ["captioner-tiny", "words-tiny"])
def test_a_few_steps_learn_the_text_of_a_picture(name: str) -> None:
    made, pair = model(name).train(), batch(32)
    objective = make_objective(TrainConfig(model=name), made.spec)
    optimizer = torch.optim.AdamW(made.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss, _ = objective.loss(made(*objective.inputs(pair)), pair)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    if name == "captioner-tiny":
        assert made.eval().text_scores(pair.pixels, pair.tokens[1:]).argmax(dim=1)[1:].tolist() == [0, 1, 2]
