import numpy as np
import pytest

from evaluation.protocols import ranks as retrieval
from evaluation.protocols.ranks import first_match_ranks, group_captions


def test_recall_equals_sorting_all_items() -> None:
    random = np.random.default_rng(0)
    captions = [f"caption {number}" for number in random.integers(0, 25, 60)]
    texts, group = group_captions(captions)
    images, sentences = random.normal(size=(60, 8)), random.normal(size=(len(texts), 8))
    ranks = first_match_ranks(images, sentences, group, np.arange(len(texts)))
    back = first_match_ranks(sentences, images, np.arange(len(texts)), group)
    unit_images = images / np.linalg.norm(images, axis=1, keepdims=True)
    unit_sentences = sentences / np.linalg.norm(sentences, axis=1, keepdims=True)
    near = unit_images @ unit_sentences.T
    for depth in (1, 5, 10):
        for i in range(60):
            top = np.argsort(-near[i])[:depth]
            assert (ranks[i] < depth) == (captions[i] in [texts[j] for j in top])
        for j, text in enumerate(texts):
            top = np.argsort(-near[:, j])[:depth]
            assert (back[j] < depth) == (text in [captions[i] for i in top])


def test_chunks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    queries, items = random.normal(size=(37, 4)), random.normal(size=(20, 4))
    groups, owners = random.integers(0, 20, 37), np.arange(20)
    whole = first_match_ranks(queries, items, groups, owners)
    monkeypatch.setattr(retrieval, "CHUNK_QUERIES", 5)
    assert (first_match_ranks(queries, items, groups, owners) == whole).all()


def test_a_model_that_gives_everything_the_same_embedding_finds_nothing() -> None:
    same = np.ones((12, 4))
    assert (first_match_ranks(same, same, np.arange(12), np.arange(12)) == 11).all()


def test_equal_captions_are_one_text_and_any_of_its_pictures_is_a_hit() -> None:
    texts, group = group_captions(["red", "blue", "red"])
    assert texts == ["blue", "red"]
    pictures = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1]])  # the first "red" fits its text, the second does not
    sentences = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert first_match_ranks(sentences, pictures, np.arange(2), group).tolist() == [0, 0]
