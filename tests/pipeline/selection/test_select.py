"""Selection: the twin does it in one loop over all rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from phases import phase_of, split

from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import InProcess
from pipeline.matching.queries import QueriesConfig
from pipeline.sample import CANDIDATE, pair_uid
from pipeline.selection.balance import hash01
from pipeline.selection.select import bucket_count, select
from pipeline.selection.select_config import BalanceConfig, SelectConfig
from pipeline.selection.text_config import TextConfig
from pipeline.storage import read_table

QUERIES = ["dog", "cat", "red dog", "zebra"]


def candidates() -> pa.Table:
    texts = [
        "a dog sits",
        "a red dog runs",
        "the cat sleeps",
        "a dog and a cat",
        "one zebra",
        "nothing here",
        "",
        "logo",
    ]
    rows = []
    for i in range(400):
        url, text = f"http://a.example/{i}.jpg", texts[i % len(texts)]
        rows.append({"uid": pair_uid(url, text), "url": url, "text": text, "text_origin": "alt", "page_url": f"p{i}"})
        if i % 40 == 0:  # the same pair on a second page
            rows.append(rows[-1] | {"page_url": f"q{i}"})
    return pa.Table.from_pylist(rows, schema=CANDIDATE)


def twin(rows: pa.Table, t: int) -> tuple[set[str], dict[str, int]]:
    unique = {row["uid"]: row for row in rows.to_pylist()}
    reasons = {"duplicate_pair": rows.num_rows - len(unique), "text_empty": 0, "text_boilerplate": 0, "no_query": 0}
    matched: dict[str, list[str]] = {}
    for uid, row in unique.items():
        if not row["text"]:
            reasons["text_empty"] += 1
        elif row["text"] == "logo":
            reasons["text_boilerplate"] += 1
        else:
            matched[uid] = [query for query in QUERIES if f" {query} " in f" {row['text']} "]
            reasons["no_query"] += not matched[uid]
    counts = {query: sum(query in found for found in matched.values()) for query in QUERIES}
    kept = set()
    for uid, found in matched.items():
        chance = 1 - np.prod([1 - t / max(counts[query], t) for query in found])
        if found and hash01(0, uid) < chance:
            kept.add(uid)
    reasons["balanced_out"] = sum(bool(found) for found in matched.values()) - len(kept)
    return kept, {reason: count for reason, count in sorted(reasons.items()) if count}


def config(tmp_path: Path, t: int | None = 30, buckets: int = 4) -> SelectConfig:
    path = tmp_path / "queries.txt"
    path.write_text("\n".join(QUERIES))
    text, queries = TextConfig(languages=()), QueriesConfig(path=str(path))
    return SelectConfig(text=text, queries=queries, balance=BalanceConfig(t=t), buckets=buckets)


@pytest.mark.parametrize(("parts", "buckets"), [(1, 1), (3, 4), (7, 2)])
def test_selection_equals_its_twin_however_the_rows_are_cut(tmp_path: Path, parts: int, buckets: int) -> None:
    rows = candidates()
    source = phase_of(str(tmp_path / "in"), split(rows, parts))
    result = select(config(tmp_path, buckets=buckets), [source], str(tmp_path / "out"), InProcess())
    kept, reasons = twin(rows, 30)
    assert set(result.read_kept().column("uid").to_pylist()) == kept
    assert dict(result.fates["pairs"].reasons) == reasons
    assert reasons["balanced_out"] > 20


def test_a_finished_selection_done_again_has_the_same_id(tmp_path: Path) -> None:
    source = phase_of(str(tmp_path / "in"), split(candidates(), 3))
    ids = [select(config(tmp_path), [source], str(tmp_path / name), InProcess()).id for name in ("a", "a", "b")]
    assert len(set(ids)) == 1


def test_without_a_list_the_texts_words_are_the_queries(tmp_path: Path) -> None:
    source = phase_of(str(tmp_path / "in"), [candidates()])
    words = SelectConfig(queries=QueriesConfig(minimum_count=60), balance=BalanceConfig(t=1000))
    result = select(words, [source], str(tmp_path / "out"), InProcess())
    assert result.extra["queries"] == 3  # a, dog and cat: the rest is rarer
    assert "balanced_out" not in result.fates["pairs"].reasons


def test_nothing_left_is_one_line(tmp_path: Path) -> None:
    source = phase_of(str(tmp_path / "in"), [candidates()])
    strict = SelectConfig(queries=QueriesConfig(minimum_count=10_000))
    with pytest.raises(DataError, match="no pair left after selection"):
        select(strict, [source], str(tmp_path / "out"), InProcess())


def shuffled(rows: pa.Table, seed: int) -> pa.Table:
    return rows.take(pa.array(np.random.default_rng(seed).permutation(rows.num_rows)))


def test_rows_and_files_in_any_order_give_the_same_id(tmp_path: Path) -> None:
    rows = candidates()
    twice = [
        dict(row, texts=[{"text": row["text"], "origin": f"o{i}"}]) for row in rows.to_pylist()[:40] for i in (0, 1)
    ]
    rows = pa.concat_tables([rows, pa.Table.from_pylist(twice, schema=CANDIDATE)])
    kept, contents = set(), set()
    for seed in range(3):
        tables = split(shuffled(rows, seed), 3)
        source = phase_of(str(tmp_path / f"in{seed}"), tables)
        result = select(config(tmp_path), [source], str(tmp_path / f"out{seed}"), InProcess())
        kept.add(tuple(file.sha256 for file in result.kept))
        other = phase_of(str(tmp_path / f"again{seed}"), tables[::-1])
        contents.add((seed, result.id))
        contents.add((seed, select(config(tmp_path), [other], str(tmp_path / f"to{seed}"), InProcess()).id))
    assert len(kept) == 1  # however the rows are spread over files
    assert len({id for _, id in contents}) == 1  # nor is it, or the files' own order, part of the id


def test_of_pairs_that_several_sources_give_the_first_sources_stays(tmp_path: Path) -> None:
    rows = candidates()
    named = rows.set_column(rows.column_names.index("crawl_id"), "crawl_id", pa.array(["second"] * rows.num_rows))
    extra = pa.Table.from_pylist(
        [{"uid": pair_uid("u", "a zebra"), "url": "u", "text": "a zebra", "text_origin": "alt"}], CANDIDATE
    )
    first = phase_of(str(tmp_path / "first"), [rows.slice(0, 200)])
    second = phase_of(str(tmp_path / "second"), [named.slice(100), extra])
    big = config(tmp_path, t=100_000)
    result = select(big, [first, second], str(tmp_path / "out"), InProcess())
    found = {row["url"]: row["crawl_id"] for row in result.read_kept().to_pylist()}
    firsts = set(rows.slice(0, 200).column("url").to_pylist())
    assert {url for url, crawl in found.items() if crawl is None} - {"u"} == firsts & set(found)
    assert "u" in found
    assert result.fates["pairs"].rows_in == 200 + rows.num_rows - 100 + 1
    other = select(big, [second, first], str(tmp_path / "other"), InProcess())
    assert other.read_kept().num_rows == result.read_kept().num_rows
    assert other.id != result.id


def test_a_text_that_a_domain_repeats_falls_and_counts_for_no_query(tmp_path: Path) -> None:
    rows = candidates()
    source = phase_of(str(tmp_path / "in"), split(rows, 3))
    strict = config(tmp_path, t=100_000).model_copy(update={"text": TextConfig(maximum_per_domain=10)})
    places = [f"http://site{i % 40 if i % 8 == 0 else 0}.example/{i}" for i in range(rows.num_rows)]
    moved = rows.set_column(rows.column_names.index("page_url"), "page_url", pa.array(places))
    source = phase_of(str(tmp_path / "in2"), split(moved, 3))
    result = select(strict, [source], str(tmp_path / "out"), InProcess())
    assert result.fates["pairs"].reasons["text_frequent_in_domain"] > 100
    assert result.fates["pairs"].kept > 0
    dropped = result.read_dropped().filter(pa.compute.field("reason") == "text_frequent_in_domain").to_pylist()
    assert all("pictures of the domain have it, 10 may" in row["evidence"] for row in dropped)
    curve = read_table(f"{result.folder}/queries.parquet")
    assert sum(curve.column("before").to_pylist()) == sum(curve.column("after").to_pylist())


def test_with_the_counts_of_a_smaller_pool_a_larger_one_only_adds_pairs(tmp_path: Path) -> None:
    rows = candidates()
    unique = pa.Table.from_pylist(list({row["uid"]: row for row in rows.to_pylist()}.values()), schema=CANDIDATE)
    small = select(
        config(tmp_path, t=None),
        [phase_of(str(tmp_path / "in"), [unique.slice(0, 200)])],
        str(tmp_path / "small"),
        InProcess(),
    )
    given = config(tmp_path, t=None)
    given = given.model_copy(update={"balance": BalanceConfig(counts=f"{small.folder}/queries.parquet")})
    large = select(given, [phase_of(str(tmp_path / "all"), [unique])], str(tmp_path / "large"), InProcess())
    middle = select(
        given,
        [phase_of(str(tmp_path / "more"), [unique.slice(0, 300)])],
        str(tmp_path / "middle"),
        InProcess(),
    )
    # The newest list serves as well as the first: it holds the counts that p_e was made of, not those of its own pool.
    newest = given.model_copy(update={"balance": BalanceConfig(counts=f"{middle.folder}/queries.parquet")})
    chained = select(newest, [phase_of(str(tmp_path / "all"), [unique])], str(tmp_path / "chained"), InProcess())
    before, between, after = (set(each.read_kept().column("uid").to_pylist()) for each in (small, middle, large))
    assert before < between < after == set(chained.read_kept().column("uid").to_pylist())
    assert chained.extra["t"] == large.extra["t"] == small.extra["t"]


def test_more_rows_make_more_buckets_and_the_curve_sums_up_what_happened(tmp_path: Path) -> None:
    source = phase_of(str(tmp_path / "in"), split(candidates(), 2))
    fine = config(tmp_path).model_copy(update={"rows_per_bucket": 50})
    assert bucket_count(fine, 410) == 9
    result = select(fine, [source], str(tmp_path / "out"), InProcess())
    assert result.extra["buckets"] == 9
    curve = read_table(f"{result.folder}/queries.parquet")
    kept = result.read_kept()
    after = np.bincount(np.concatenate([np.array(row) for row in kept.column("queries").to_pylist()]), minlength=4)
    assert curve.column("after").to_pylist() == after.tolist()
    counts = curve.column("before").to_numpy()
    assert curve.column("keep_probability").to_pylist() == (30 / np.maximum(counts, 30)).tolist()
    assert result.extra["matches_before"] == counts.sum()
    assert result.extra["queries_without_a_pair"] == (counts == 0).sum()
    assert 0 < result.extra["bits_from_uniform_after"] < result.extra["bits_from_uniform_before"]


def test_a_lower_expected_yield_keeps_more_and_all_that_was_kept(tmp_path: Path) -> None:
    source = phase_of(str(tmp_path / "in"), [candidates()])
    kept = []
    for share in (1.0, 0.6):
        given = config(tmp_path, t=15)
        given = given.model_copy(update={"balance": BalanceConfig(t=15, expected_yield=share)})
        result = select(given, [source], str(tmp_path / str(share)), InProcess())
        assert result.extra["t"] == round(15 / share)
        kept.append(set(result.read_kept().column("uid").to_pylist()))
    assert kept[0] < kept[1] == set(twin(candidates(), 25)[0])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"queries": QueriesConfig(path="none.txt")}, "curate.select.queries.path"),
        ({"text": TextConfig(languages=("xx",))}, "curate.select.text.languages"),
        ({"balance": BalanceConfig(counts="none.parquet")}, "curate.select.balance.counts"),
    ],
)
def test_what_cannot_work_is_told_before_any_work(tmp_path: Path, change: dict[str, object], word: str) -> None:
    source = phase_of(str(tmp_path / "in"), [candidates()])
    with pytest.raises(ConfigError, match=word):
        select(config(tmp_path).model_copy(update=change), [source], str(tmp_path / "out"), InProcess())
    assert not (tmp_path / "out").exists()


def test_masked_addresses_are_counted_and_reach_no_output(tmp_path: Path) -> None:
    texts = ["a dog of me@a.example", "a cat, call 555-867-5309", "a zebra"]
    rows = [{"uid": pair_uid(f"u{i}", text), "url": f"u{i}", "text": text} for i, text in enumerate(texts)]
    source = phase_of(str(tmp_path / "in"), [pa.Table.from_pylist(rows, CANDIDATE)])
    masking = config(tmp_path).model_copy(update={"text": TextConfig(mask_personal_data=True, languages=())})
    result = select(masking, [source], str(tmp_path / "out"), InProcess())
    assert dict(result.telemetry) == {"masked_emails": 1, "masked_phones": 1}
    kept = {row["text"]: row["uid"] for row in result.read_kept().to_pylist()}
    assert set(kept) == {"a dog of <email>", "a cat, call <phone>", "a zebra"}
    assert kept["a dog of <email>"] == pair_uid("u0", "a dog of <email>")
