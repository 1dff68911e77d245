import numpy as np
import pytest

from evaluation.protocols import ranks as retrieval
from evaluation.protocols.ranks import Matches, captions_and_matches, match_ranks


def several_captions(random: np.random.Generator, pictures: int) -> list[tuple[str, ...]]:
    """One to five captions a picture, of which many are another picture's too."""
    return [tuple(f"caption {n}" for n in random.integers(0, 60, random.integers(1, 6))) for _ in range(pictures)]


@pytest.mark.parametrize("merge", [True, False])
def test_recall_equals_sorting_all_items(merge: bool) -> None:
    random = np.random.default_rng(0)
    captions = several_captions(random, 60)
    texts, to_texts = captions_and_matches(captions, merge)
    owner = dict(zip(to_texts.items.tolist(), to_texts.queries.tolist(), strict=True))
    images, sentences = random.normal(size=(60, 8)), random.normal(size=(len(texts), 8))
    ranks = match_ranks(images, sentences, to_texts)
    back = match_ranks(sentences, images, to_texts.turned())
    unit_images = images / np.linalg.norm(images, axis=1, keepdims=True)
    unit_sentences = sentences / np.linalg.norm(sentences, axis=1, keepdims=True)
    near = unit_images @ unit_sentences.T

    def fits(picture: int, text: int) -> bool:
        return texts[text] in captions[picture] if merge else owner[text] == picture

    for depth in (1, 5, 10):
        for i in range(60):
            top = np.argsort(-near[i])[:depth]
            assert (ranks.first[i] < depth) == any(fits(i, j) for j in top)
        for j in range(len(texts)):
            top = np.argsort(-near[:, j])[:depth]
            assert (back.first[j] < depth) == any(fits(i, j) for i in top)
    assert (ranks.nearest == np.argsort(-near, axis=1)[:, :5]).all()
    assert ((ranks.margin > 0) == (ranks.first == 0)).all()


def test_chunks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    queries, items = random.normal(size=(37, 4)), random.normal(size=(20, 4))
    matches = Matches(np.arange(37), random.integers(0, 20, 37))
    whole = match_ranks(queries, items, matches)
    monkeypatch.setattr(retrieval, "CHUNK_COSINES", 100)
    parts = match_ranks(queries, items, matches)
    for name in ("first", "nearest"):
        assert (getattr(parts, name) == getattr(whole, name)).all()
    np.testing.assert_allclose(parts.margin, whole.margin, atol=1e-6)


def test_a_model_that_gives_everything_the_same_embedding_finds_nothing() -> None:
    same = np.ones((12, 4))
    assert (match_ranks(same, same, Matches(np.arange(12), np.arange(12))).first == 11).all()


def test_equal_captions_are_one_text_and_any_of_its_pictures_is_a_hit() -> None:
    texts, matches = captions_and_matches(["red", "blue", "red"])
    assert texts == ["blue", "red"]
    pictures = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1]])  # the first "red" fits its text, the second does not
    sentences = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert match_ranks(sentences, pictures, matches.turned()).first.tolist() == [0, 0]
