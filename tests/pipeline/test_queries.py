"""Matching and balance, each against its slow and obvious twin."""

import random
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.queries import Matcher, count_words, hash01, keep_probability, read_queries, spaced, tail_t

QUERIES = ["dog", "new york", "New York", "red", "3", "ice cream", "cream", "c++", "o'clock", "the red", "a b c", "b"]
WORDS = [
    *["dog", "new", "york", "New", "York", "red", "3", "ice", "cream", "c++", "o'clock", "the", "a", "b", "c"],
    ",",
    ".",
    "!",
    "\t",
    "york,",
    "(dog)",
    "",
]


def substring_twin(text: str, queries: list[str]) -> list[int]:
    """MetaCLIP's documented rule, word for word: " " + query + " " stands in the spaced text."""
    return [number for number, query in enumerate(queries) if f" {query} " in spaced(text)]


@pytest.mark.parametrize("seed", range(5))
def test_the_matcher_finds_what_a_substring_search_finds(seed: int) -> None:
    chance = random.Random(seed)
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(0, 12))) for _ in range(400)]
    assert Matcher(QUERIES, "metaclip").match(texts) == [substring_twin(text, QUERIES) for text in texts]


def test_wrapped_punctuation_separates_words_but_never_joins_them() -> None:
    found = Matcher(QUERIES, "metaclip").match(["new, york", "new york.", "dog,dog", "(dog)"])
    assert [[QUERIES[i] for i in numbers] for numbers in found] == [[], ["new york"], ["dog"], []]


def test_the_normalised_rule_ignores_case_and_counts_a_query_once() -> None:
    matcher = Matcher(["New York", "dog"], "normalised")
    assert matcher.match(["NEW YORK dog Dog", "newyork"]) == [[0, 1], []]


def test_the_coin_is_even_and_depends_on_seed_and_uid_only() -> None:
    coins = np.array([hash01(1, f"{i:032x}") for i in range(20_000)])
    assert np.allclose(np.histogram(coins, bins=10, range=(0, 1))[0], 2000, atol=200)
    assert hash01(1, "a") == hash01(1, "a") != hash01(2, "a")


def test_a_larger_t_keeps_all_that_a_smaller_t_kept() -> None:
    counts = np.array([10, 1000, 50_000])
    matched = [[0], [1], [2], [1, 2], []]
    uids = [f"{i:032x}" for i in range(2000)]
    kept_before: set[str] = set()
    for t in (1, 20, 500, 20_000, 60_000):
        kept = {uid for i, uid in enumerate(uids) if hash01(0, uid) < keep_probability(matched[i % 5], counts, t)}
        assert kept_before <= kept
        kept_before = kept
    assert len(kept_before) == 1600  # every pair with a query; the fifth that has none never stays


def test_keep_probability_is_one_minus_the_product() -> None:
    counts = np.array([400, 100, 800])
    assert keep_probability([0, 2], counts, 100) == pytest.approx(1 - (1 - 0.25) * (1 - 0.125))
    assert keep_probability([1, 2], counts, 100) == 1.0


def test_tail_t_leaves_the_stated_share_below_it() -> None:
    counts = np.concatenate([np.full(60, 1), np.full(10, 94)])
    assert tail_t(counts, 0.05) == 1
    assert tail_t(counts, 0.07) == 94
    assert tail_t(np.zeros(3, int), 0.06) == 1


def test_a_query_list_is_read_without_blanks_and_doubles(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("dog\n\n cat \ndog\n")
    assert read_queries(str(tmp_path / "q.txt")) == ("dog", "cat")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ConfigError, match="holds no query"):
        read_queries(str(tmp_path / "empty.txt"))
    with pytest.raises(ConfigError, match="does not exist"):
        read_queries(str(tmp_path / "none.txt"))


def test_words_are_counted_without_case_and_punctuation() -> None:
    assert count_words(["A dog, a DOG!", "dog."]) == {"a": 2, "dog": 3}
