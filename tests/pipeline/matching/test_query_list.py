"""Query lists against counts made the slow way, and the kinds of files that they are made from."""

import bz2
import gzip
import io
import itertools
import json
import math
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import InProcess
from pipeline.matching.corpus import documents
from pipeline.matching.mediawiki import pages, plain_text
from pipeline.matching.queries import read_queries
from pipeline.matching.query_list import QueryListConfig, build_query_list
from pipeline.storage import read_table, write_table

VOCABULARY = [f"w{i}" for i in range(40)] + ["New", "York", "Paris", "été", "ice", "cream"]


def corpus(seed: int, texts: int = 800) -> list[str]:
    chance = random.Random(seed)
    out = []
    for _ in range(texts):
        words = chance.choices(VOCABULARY, weights=[60 - i for i in range(46)], k=chance.randint(1, 12))
        if chance.random() < 0.2:
            words[chance.randrange(len(words)) : 1] = ["New", "York"]
        out.append(" ".join(word + chance.choice(["", "", "", ",", "."]) for word in words))
    return out


def twin(texts: list[str], minimum: int, minimum_bigram: int) -> tuple[dict[str, int], dict[str, tuple[int, float]]]:
    """Words and bigrams by one loop over all texts; a mark or a rare word stands between its neighbours."""
    tokens = [text.lower().replace(",", " , ").replace(".", " . ").split() for text in texts]
    words = Counter(word for line in tokens for word in line if word[0].isalnum())
    listed = {word: count for word, count in words.items() if count >= minimum}
    pairs = Counter((a, b) for line in tokens for a, b in itertools.pairwise(line) if a in listed and b in listed)
    total = sum(words.values())
    return listed, {
        f"{a} {b}": (count, math.log2(count * total / (words[a] * words[b])))
        for (a, b), count in pairs.items()
        if count >= minimum_bigram
    }


def test_words_and_bigrams_are_those_of_one_slow_loop(tmp_path: Path) -> None:
    texts = [corpus(0), corpus(1)]
    (tmp_path / "a.txt").write_text("\n".join(texts[0]) + "\n", "utf-8")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts[1])
    config = QueryListConfig(
        corpora=(str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl.gz")),
        minimum_count=60, minimum_bigram_count=8, maximum_bigrams=25, numbers=False,
    )  # fmt: skip
    made = build_query_list(config, str(tmp_path / "out"), InProcess())
    words, bigrams = twin(texts[0] + texts[1], 60, 8)
    bigrams = {query: found for query, found in bigrams.items() if found[1] >= 0}
    rows = read_table(str(tmp_path / "out" / "queries.parquet")).to_pylist()
    assert {row["query"]: row["count"] for row in rows if row["source"] == "word"} == words
    best = sorted(bigrams.items(), key=lambda pair: -pair[1][1])[:25]
    found = {row["query"]: row for row in rows if row["source"] == "bigram"}
    assert sorted(row["score"] for row in found.values()) == pytest.approx(sorted(score for _, (_, score) in best))
    assert all(bigrams[query][0] == row["count"] for query, row in found.items())
    assert "new york" in found
    assert made["sources"] == {"word": len(words), "bigram": len(best)}
    assert read_queries(str(tmp_path / "out" / "queries.txt")) == tuple(row["query"] for row in rows)
    assert not (tmp_path / "out" / "work").exists()


def test_the_same_files_give_the_same_bytes_and_a_pmi_threshold_cuts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(corpus(2, 300)), "utf-8")
    config = QueryListConfig(corpora=(str(tmp_path / "a.txt"),), minimum_count=10, minimum_bigram_count=2)
    for name in ("one", "two"):
        build_query_list(config, str(tmp_path / name), InProcess())
    for name in ("queries.txt", "queries.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    strict = build_query_list(config.model_copy(update={"minimum_pmi": 2.0}), str(tmp_path / "three"), InProcess())
    assert strict["lowest_pmi_bits"] >= 2.0
    assert (tmp_path / "one" / "queries.txt").read_text().startswith("0\n1\n2\n")


def test_word_lists_come_first_and_the_length_is_kept(tmp_path: Path) -> None:
    (tmp_path / "wordnet.txt").write_text("n1\tEntity\nn2\tabstraction, abstract entity\nplain_word\n!\n" + "x" * 300)
    (tmp_path / "corpus.txt").write_text("entity dog dog dog\n" * 3)
    config = QueryListConfig(
        word_lists=(str(tmp_path / "wordnet.txt"),), corpora=(str(tmp_path / "corpus.txt"),),
        numbers=False, minimum_count=3, maximum_bigrams=0, maximum_entries=5,
    )  # fmt: skip
    build_query_list(config, str(tmp_path / "out"), InProcess())
    rows = read_table(str(tmp_path / "out" / "queries.parquet")).select(["query", "source"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("entity", "list"), ("abstraction", "list"), ("abstract entity", "list"), ("plain word", "list"), ("dog", "word"),
    ]  # fmt: skip
    build_query_list(config.model_copy(update={"first_form_only": True}), str(tmp_path / "out2"), InProcess())
    assert "abstract entity" not in read_queries(str(tmp_path / "out2" / "queries.txt"))


DUMP = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/"><siteinfo><dbname>x</dbname></siteinfo>
<page><title>Mercury (planet)</title><ns>0</ns><revision><id>1</id><text bytes="3">{{Infobox|name={{nowrap|M}}}}
'''Mercury''' is a [[planet|small planet]] near the [[Sun]].&lt;ref&gt;a &lt;b&gt;book&lt;/b&gt;&lt;/ref&gt;
[[File:M.jpg|thumb|The [[crater]]s]] == Orbit == * See [http://a.example the site] {| class=x | cell |}</text></revision></page>
<page><title>Talk:Mercury</title><ns>1</ns><revision><text>talk</text></revision></page>
<page><title>Hermes</title><ns>0</ns><redirect title="Mercury (planet)" /><revision><text>#REDIRECT</text></revision></page>
<page><title>Blue_whale</title><ns>0</ns><revision><text>The blue whale is large.</text></revision></page>
</mediawiki>"""


def test_a_mediawiki_dump_gives_articles_as_their_readers_see_them() -> None:
    found = dict(pages(io.BytesIO(DUMP.encode()), "dump"))
    assert list(found) == ["Mercury (planet)", "Blue_whale"]
    assert found["Mercury (planet)"].split() == [
        *("Mercury", "is", "a", "small", "planet", "near", "the", "Sun."),
        *("Orbit", "*", "See", "the", "site"),
    ]


def test_deep_or_broken_wikitext_takes_no_long_time() -> None:
    for text in ("{{" * 20_000, "[[" * 20_000, "{|" * 20_000, "<ref>" * 5_000, "'" * 50_000, "[http://" * 5000):
        assert isinstance(plain_text(text), str)


def test_titles_are_counted_by_views_of_the_project_and_only_where_an_article_has_them(tmp_path: Path) -> None:
    with bz2.open(tmp_path / "wiki.xml.bz2", "wt", encoding="utf-8") as file:
        file.write(DUMP)
    (tmp_path / "hour.txt").write_text(
        "en Mercury_(planet) 60 0\nen Mercury_(planet) 20 0\nde Blue_whale 500 0\nen Blue_whale 69 0\nen Nobody 900 0\nbroken\n"
    )
    (tmp_path / "pairs.tsv").write_text("Blue whale\t3\nUrania\t80\n")
    views = (str(tmp_path / "hour.txt"), str(tmp_path / "pairs.tsv"))
    config = QueryListConfig(corpora=(str(tmp_path / "wiki.xml.bz2"),), views=views, numbers=False, maximum_bigrams=0)
    made = build_query_list(config, str(tmp_path / "out"), InProcess())
    rows = read_table(str(tmp_path / "out" / "queries.parquet")).select(["query", "source", "count"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("mercury", "title", 80), ("blue whale", "title", 72)]
    assert made["documents"] == 2
    (tmp_path / "plain.txt").write_text("words that name no article\n")
    plain = QueryListConfig(corpora=(str(tmp_path / "plain.txt"),), views=views, numbers=False, maximum_bigrams=0)
    alone = QueryListConfig(views=views, numbers=False)
    for number, config in enumerate((plain, alone)):
        build_query_list(config, str(tmp_path / f"alone{number}"), InProcess())
        made_of = read_queries(str(tmp_path / f"alone{number}" / "queries.txt"))
        assert made_of == ("nobody", "mercury", "urania", "blue whale")


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("as_array", [False, True])
def test_json_of_any_layout_is_a_corpus(tmp_path: Path, as_array: bool, indent: int | None) -> None:
    rows = [{"title": f"Dog {n}", "text": f"a good dog {n}", "other": [{"text": "x"}]} for n in range(3)] + [
        {"text": 5}
    ]
    data = json.dumps(rows, indent=indent) if as_array else "\n".join(json.dumps(row, indent=indent) for row in rows)
    (tmp_path / "a.json").write_text(data)
    counts: dict[str, int] = {}
    found = list(documents(str(tmp_path / "a.json"), counts))
    assert found == [{"title": row["title"], "text": row["text"]} for row in rows[:3]]
    assert counts == {"bad_lines": 1}


def test_bad_lines_and_cut_files_are_counted_never_fatal(tmp_path: Path) -> None:
    lines = ['{"text": "a good dog"}', "no json", '{"text": 5}', "[]", '{"text": "\\ud800 dog"}', "[" * 100_000]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    counts: dict[str, int] = {}
    assert [row["text"] for row in documents(str(tmp_path / "a.jsonl"), counts)] == ["a good dog", "? dog"]
    assert counts == {"bad_lines": 4}
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"a dog\n" * 50_000)[:-40])
    config = QueryListConfig(corpora=(str(tmp_path / "a.jsonl"), str(tmp_path / "b.txt.gz")), minimum_count=2)
    made = build_query_list(config, str(tmp_path / "out"), InProcess())
    assert (made["bad_lines"], made["damaged_files"]) == (4, 1)
    assert {"a", "dog"} <= set(read_queries(str(tmp_path / "out" / "queries.txt")))


def test_parquet_needs_its_column_and_xml_no_document_type(tmp_path: Path) -> None:
    write_table(str(tmp_path / "good.parquet"), pa.table({"text": ["one dog"], "title": ["Dog"]}))
    assert list(documents(str(tmp_path / "good.parquet"), {})) == [{"title": "Dog", "text": "one dog"}]
    write_table(str(tmp_path / "bad.parquet"), pa.table({"caption": ["one dog"]}))
    with pytest.raises(DataError, match="no column text"):
        list(documents(str(tmp_path / "bad.parquet"), {}))
    bomb = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>'
    with pytest.raises(DataError, match="document type"):
        list(pages(io.BytesIO(bomb.encode()), "bomb.xml"))
    with pytest.raises(DataError, match="not a whole MediaWiki dump"):
        list(pages(io.BytesIO(DUMP[:-40].encode()), "cut.xml"))


def test_what_cannot_work_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to make a list from"):
        build_query_list(QueryListConfig(), str(tmp_path), InProcess())
    with pytest.raises(ConfigError, match="is no file"):
        build_query_list(QueryListConfig(corpora=("none.txt",)), str(tmp_path), InProcess())
    (tmp_path / "a.txt").write_text("rare words only\n")
    config = QueryListConfig(corpora=(str(tmp_path / "a.txt"),), numbers=False)
    with pytest.raises(DataError, match="list is empty"):
        build_query_list(config, str(tmp_path / "out"), InProcess())


def test_files_of_any_encoding_give_the_same_list(tmp_path: Path) -> None:
    """UTF-16, as an editor's "Unicode", gave the numbers 0 to 99 and no word of what went wrong."""
    text = "Café chaise café\r\nla chaise café\r\n"
    lists = []
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"):
        folder = tmp_path / encoding
        folder.mkdir()
        for name, content in (("a.txt", text), ("w.txt", "n1\tété,fin_d'été\r\n"), ("t.txt", "Éric Tabarly\r\n")):
            (folder / name).write_bytes(content.encode(encoding))
        (folder / "b.jsonl").write_bytes(
            (json.dumps({"text": "une chaise café"}, ensure_ascii=False) + "\n").encode(encoding)
        )
        config = QueryListConfig(
            corpora=(str(folder / "a.txt"), str(folder / "b.jsonl")), word_lists=(str(folder / "w.txt"),),
            titles=(str(folder / "t.txt"),), minimum_count=2, minimum_bigram_count=2, numbers=False, minimum_views=0,
        )  # fmt: skip
        build_query_list(config, str(folder / "out"), InProcess())
        lists.append(read_queries(str(folder / "out" / "queries.txt")))
    assert set(lists) == {("été", "fin d'été", "café", "chaise", "chaise café", "éric tabarly")}
