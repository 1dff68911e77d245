"""The query list, and the rule in plain Python."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.matching.queries import fold, read_queries, spaced, stands_in, words_of


def test_a_query_list_is_read_without_blanks_and_doubles(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_bytes(b"\xef\xbb\xbfdog\r\n\n cat \ndog\nnew \t york\ncaf\xe9\n")
    assert read_queries(str(tmp_path / "q.txt")) == ("dog", "cat", "new york", "café")
    (tmp_path / "wide.txt").write_bytes("dog\r\ncafé\r\n".encode("utf-16"))
    assert read_queries(str(tmp_path / "wide.txt")) == ("dog", "café")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ConfigError, match="holds no query"):
        read_queries(str(tmp_path / "empty.txt"))
    with pytest.raises(ConfigError, match="does not exist"):
        read_queries(str(tmp_path / "none.txt"))


def test_words_are_taken_without_case_and_punctuation() -> None:
    assert list(words_of("A dog, a DOG! -- ﬁne")) == ["a", "dog", "a", "dog", "fine"]


def test_the_rule_is_metaclips() -> None:
    assert spaced("a,b\tc") == " a , b c "
    assert stands_in("new york", "in new york.", "metaclip")
    assert not stands_in("new york", "new, york", "metaclip")
    assert not stands_in("New York", "new york", "metaclip")
    assert stands_in("New York", "NEW YORK", "normalised")
    assert not stands_in("york", "yorkshire", "metaclip")


def test_fold_is_lower_case_for_ascii_and_one_form_for_the_rest() -> None:
    assert fold("O’Clock") == fold("O'CLOCK") == "o'clock"
    assert fold("cre\u0300me") == fold("CRÈME") == "crème"
    assert fold("ＤＯＧ ﬁn") == "dog fin"
    assert fold("a\ud800b") == "a\ufffdb"
