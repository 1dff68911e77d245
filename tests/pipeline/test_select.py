"""Selection: the twin does it in one loop over all rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from phases import phase_of, split

from pipeline.errors import DataError
from pipeline.executor import InProcess
from pipeline.queries import BalanceConfig, QueriesConfig, hash01
from pipeline.sample import CANDIDATE, pair_uid
from pipeline.select import SelectConfig, select

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
    return SelectConfig(queries=QueriesConfig(path=str(path)), balance=BalanceConfig(t=t), buckets=buckets)


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
