"""The compiled matcher against a search for " query " in the spaced text, on random texts of many kinds."""

import pickle
import random
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.matching.matcher import Matcher
from pipeline.matching.queries import fold, spaced

QUERIES = ["dog", "new york", "New York", "red", "3", "ice cream", "cream", "c++", "o'clock", "the red", "a b c", "b", "a b",
           "new york city hall", "york city", "ß", "straße", "crème brûlée", "東京", "ﬁn", "İ", "u.s.", ",", "new , york",
           "a  b", "a\tb", "x y z w v u", "i̇", "μ"]  # fmt: skip
WORDS = [*QUERIES, "new", "york", "York", "NEW", "YORK", "ice", "city", "hall", "a", "c", "O'CLOCK", "o’clock", "STRASSE",
         "Crème", "cre\u0300me", "brûlée", "ＤＯＧ", "ﬁN", "fin", ",", ".", "!", "`", "\t", "\r\n", "york,", "(dog)", "",
         " ", "\u00a0", "x", "y", "z", "w", "v", "u", "µ", "Μ", "😀", "\u0000"]  # fmt: skip


def twin(text: str, rule: str) -> list[int]:
    """MetaCLIP's documented rule, word for word; of queries that are equal under the rule the first stands for all."""
    forms = [fold(query) if rule == "normalised" else query for query in QUERIES]
    text = spaced(fold(text) if rule == "normalised" else text)
    return [i for i, query in enumerate(forms) if f" {query} " in text and forms.index(query) == i]


@pytest.mark.parametrize("rule", ["metaclip", "normalised"])
@pytest.mark.parametrize("seed", range(4))
def test_the_matcher_finds_what_a_substring_search_finds(seed: int, rule: str) -> None:
    chance = random.Random(seed)
    joints = ("", " ", " ", " ", " ", ", ", "  ")
    texts = [
        "".join(word + chance.choice(joints) for word in chance.choices(WORDS, k=chance.randint(0, 14)))
        for _ in range(1500)
    ]
    assert Matcher.of(QUERIES, rule).match(pa.array(texts)).to_pylist() == [twin(text, rule) for text in texts]


def test_wrapped_punctuation_separates_words_but_never_joins_them() -> None:
    matcher = Matcher.of(["dog", "new york"], "metaclip")
    texts = pa.array(["new, york", "new york.", "dog,dog", "(dog)", "hotdog dogs", None])
    assert matcher.match(texts).to_pylist() == [[], [1], [0], [], [], []]


def test_the_normalised_rule_folds_case_and_unicode_and_counts_a_query_once() -> None:
    matcher = Matcher.of(["New York", "dog", "o'clock", "NEW YORK"], "normalised")
    texts = ["NEW YORK dog Dog", "newyork", "ＤＯＧ", "ten O’Clock"]
    assert matcher.match(pa.array(texts)).to_pylist() == [[0, 1], [], [1], [2]]


def test_chunks_slices_and_both_string_types_give_the_same() -> None:
    matcher, texts = Matcher.of(QUERIES), ["a dog", "", "Crème Brûlée", "new york city hall", "red"] * 3
    expected = matcher.match(pa.array(texts)).to_pylist()
    assert matcher.match(pa.array(texts, pa.large_string())).to_pylist() == expected
    assert matcher.match(pa.chunked_array([texts[:4], texts[4:]], pa.string())).to_pylist() == expected
    assert matcher.match(pa.array(texts).slice(2, 7)).to_pylist() == expected[2:9]
    assert matcher.match(pa.array([], pa.string())).to_pylist() == []


def test_a_long_list_of_like_beginnings_and_a_text_of_one_word_repeated() -> None:
    queries = [" ".join(["a"] * k) for k in range(1, 60)]
    assert Matcher.of(queries).match(pa.array([" ".join(["a"] * 40), " ".join(["a"] * 5000)])).to_pylist() == [
        list(range(40)),
        list(range(59)),
    ]


def test_a_matcher_that_travelled_finds_the_same() -> None:
    matcher = Matcher.of(QUERIES)
    texts = pa.array(["a dog in new york city hall", "東京"])
    for protocol in (4, 5):
        other = pickle.loads(pickle.dumps(matcher, protocol=protocol))
        assert not other.slots.flags.writeable
        assert other.match(texts) == matcher.match(texts)


@pytest.mark.parametrize("rule", ["metaclip", "normalised"])
def test_strings_that_break_software_are_matched_as_the_twin_says(rule: str, shared: Path) -> None:
    lines = (shared / "data" / "naughty-strings" / "blns.txt").read_text("utf-8", "replace").split("\n")
    queries = list(dict.fromkeys([word for line in lines for word in line.split(" ") if word]))[:900]
    found = Matcher.of(queries, rule).match(pa.array(lines)).to_pylist()
    forms = [fold(query) if rule == "normalised" else query for query in queries]
    firsts = {form: i for i, form in reversed(list(enumerate(forms)))}
    for line, numbers in zip(lines, found, strict=True):
        text = spaced(fold(line) if rule == "normalised" else line)
        assert numbers == sorted(i for form, i in firsts.items() if f" {form} " in text)


def test_memory_of_a_long_list_is_tens_of_bytes_a_query() -> None:
    chance = random.Random(0)
    queries = [f"{chance.getrandbits(40):x} {chance.getrandbits(20):x}" for _ in range(50_000)]
    matcher = Matcher.of(queries)
    assert matcher.bytes < 70 * len(queries)
    assert matcher.match(pa.array([queries[7].upper()])).to_pylist() == [[7]]
