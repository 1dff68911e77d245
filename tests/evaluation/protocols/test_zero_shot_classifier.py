import numpy as np
import pytest

from evaluation.catalog.benchmarks import Prompts
from evaluation.protocols.zero_shot_classifier import classifier, cosines, margins

PROMPTS = Prompts({"b": ("bee", "wasp"), "a": ("ant",), "c": ("cat",)}, ("a photo of {}", "{}", "the {} there"), "v")


def embed(sentences: list[str]) -> np.ndarray:
    """A different random direction and length for every sentence, the same each time."""
    rows = [np.random.default_rng([ord(letter) for letter in text]).normal(size=8) * len(text) for text in sentences]
    return np.array(rows, np.float32)


def the_obvious_classifier(prompts: Prompts) -> np.ndarray:
    weights = []
    for names in prompts.classes.values():
        total = np.zeros(8)
        for name in names:
            for template in prompts.templates:
                z = embed([template.replace("{}", name)])[0]
                total += z / np.sqrt((z**2).sum())
        mean = total / (len(names) * len(prompts.templates))
        weights.append(mean / np.sqrt((mean**2).sum()))
    return np.array(weights)


def test_the_classifier_equals_its_definition() -> None:
    words = classifier(embed, PROMPTS)
    np.testing.assert_allclose(words.weights, the_obvious_classifier(PROMPTS), atol=1e-6)
    for t, template in enumerate(PROMPTS.templates):
        alone = Prompts(PROMPTS.classes, (template,), "v")
        np.testing.assert_allclose(words.single[t], the_obvious_classifier(alone), atol=1e-6)


def test_averaging_before_normalising_would_give_another_classifier() -> None:
    sloppy = np.array(
        [
            embed([t.replace("{}", n) for n in names for t in PROMPTS.templates]).mean(0)
            for names in PROMPTS.classes.values()
        ]
    )
    sloppy /= np.linalg.norm(sloppy, axis=1, keepdims=True)
    assert np.abs(classifier(embed, PROMPTS).weights - sloppy).max() > 1e-3


def test_each_distinct_prompt_is_embedded_once() -> None:
    asked: list[str] = []

    def count(sentences: list[str]) -> np.ndarray:
        asked.extend(sentences)
        return embed(sentences)

    classifier(count, PROMPTS)
    assert len(asked) == len(set(asked)) == 12


def test_a_margin_is_positive_exactly_where_the_answer_is_right() -> None:
    random = np.random.default_rng(0)
    scores = cosines(random.normal(size=(40, 8)).astype(np.float32), classifier(embed, PROMPTS).weights)
    labels = random.integers(0, 3, 40)
    found = margins(scores, labels)
    for row, label, margin in zip(scores, labels, found, strict=True):
        assert margin == pytest.approx(row[label] - max(np.delete(row, label)))
    assert ((found > 0) == (scores.argmax(axis=1) == labels)).all()
