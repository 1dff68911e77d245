"""Which rows stay: the slow twin compares all with all, and no cut, order, retry or kill of the work changes the answer."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pools import fallen, kept, row, run, table, thumbnails_fit

from pipeline import storage
from pipeline.duplicates.config import DeduplicateConfig
from pipeline.duplicates.deduplicate import deduplicate
from pipeline.duplicates.texts import last_keepers
from pipeline.errors import ConfigError
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import PhaseResult
from pipeline.pictures.descriptors import thumbnail_distance
from pipeline.pictures.descriptors import thumbnails as as_arrays


def crowd(seed: int, count: int = 150) -> list[dict[str, Any]]:
    """Rows in families: same bytes; near in all descriptors; near in the pHash alone; missing descriptors; chains."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        other = rows[random.integers(len(rows))] if rows and random.random() < 0.7 else None
        if other is None:
            new = row(number)
        elif random.random() < 0.25:
            new = row(number, **{name: other[name] for name in ("sha256", "phash", "phash256", "thumbnail8")})
        else:
            bits = random.choice(64, random.integers(0, 11), replace=False)
            long = random.choice(256, random.integers(0, 45), replace=False)
            look = np.frombuffer(other["thumbnail8"] or bytes(192), np.uint8).astype(int)
            look = np.clip(look + random.integers(-1, 2, 192) * random.integers(0, 14), 0, 255).astype(np.uint8)
            new = row(
                number,
                phash=(other["phash"] or 0) ^ sum(1 << int(bit) for bit in bits),
                phash256=(
                    int.from_bytes(other["phash256"] or bytes(32), "big") ^ sum(1 << int(bit) for bit in long)
                ).to_bytes(32, "big"),
                thumbnail8=look.tobytes(),
            )
        for name in ("phash256", "thumbnail8"):
            if random.random() < 0.1:
                new[name] = None
        new |= {"original_width": int(random.integers(90, 110)), "text": "word " * int(random.integers(1, 4))}
        rows.append(new)
    rows[5]["phash"] = None
    return rows


def is_near(a: dict[str, Any], b: dict[str, Any], config: DeduplicateConfig) -> bool:
    if a["phash"] is None or b["phash"] is None:
        return False
    bits = (a["phash"] ^ b["phash"]).bit_count()
    verdicts = []
    if a["phash256"] and b["phash256"]:
        distance = (int.from_bytes(a["phash256"], "big") ^ int.from_bytes(b["phash256"], "big")).bit_count()
        verdicts.append(distance <= config.longer_radius)
    if a["thumbnail8"] and b["thumbnail8"]:
        if config.thumbnails == "fitted" and verdicts:
            verdicts.append(thumbnails_fit(a["thumbnail8"], b["thumbnail8"]))
        else:
            distance = thumbnail_distance(*as_arrays([a["thumbnail8"], b["thumbnail8"]]))
            verdicts.append(float(distance) <= config.thumbnail_distance)
    return bits <= config.radius and (all(verdicts) if verdicts else bits <= 3)


def best_of_clusters(rows: list[dict[str, Any]], joined: Any) -> list[dict[str, Any]]:
    """All pairs, repeated until nothing changes; then the best of each cluster."""
    label = list(range(len(rows)))
    pairs = [(a, b) for a in range(len(rows)) for b in range(a) if joined(rows[a], rows[b])]
    changed = True
    while changed:
        changed = False
        for a, b in pairs:
            if label[a] != label[b]:
                label[a] = label[b] = min(label[a], label[b])
                changed = True
    groups: dict[int, list[dict[str, Any]]] = {}
    for number, each in enumerate(rows):
        groups.setdefault(label[number], []).append(each)

    def rank(r: dict[str, Any]) -> tuple[Any, ...]:
        return -r["original_width"] * r["original_height"], -len(r["text"]), r["uid"]

    return [min(group, key=rank) for group in groups.values()]


def twin(rows: list[dict[str, Any]], config: DeduplicateConfig) -> list[str]:
    left = best_of_clusters(rows, lambda a, b: a["sha256"] == b["sha256"])
    return sorted(each["url"] for each in best_of_clusters(left, lambda a, b: is_near(a, b, config)))


@pytest.mark.parametrize(("seed", "radius", "thumbnails"), [(0, 7, "fitted"), (1, 3, "plain"), (2, 9, "fitted")])
def test_the_kept_rows_are_those_of_the_twin(tmp_path: Path, seed: int, radius: int, thumbnails: str) -> None:
    rows = crowd(seed)
    given: dict[str, Any] = {"radius": radius, "longer_radius": 40, "thumbnails": thumbnails}
    config = DeduplicateConfig(**given)
    result = run(tmp_path, table(rows), 3, rows_per_block=40, **given)
    assert kept(result) == twin(rows, config)
    reasons = result.fates["pairs"].reasons
    assert min(reasons["duplicate_bytes"], reasons["near_duplicate"]) > 10


def test_no_cut_and_no_order_changes_what_stays_or_what_is_said(tmp_path: Path) -> None:
    rows = crowd(3)
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = table([rows[i] for i in order])
    results = [
        run(tmp_path / "a", table(rows), 1),
        run(tmp_path / "b", table(rows), 7, buckets=64, rows_per_block=1),
        run(tmp_path / "c", shuffled, 3, buckets=9, rows_per_block=30),
        run(tmp_path / "d", shuffled, 1, buckets=1),
    ]
    assert {str(kept(result)) for result in results} == {str(kept(results[0]))}
    assert {str(fallen(result)) for result in results} == {str(fallen(results[0]))}


def test_a_run_that_lost_some_items_gives_the_same_result(tmp_path: Path) -> None:
    config = {"buckets": 32, "rows_per_block": 30, "merge_texts": True}
    first = run(tmp_path, table(crowd(4)), 4, **config)
    records = sorted((tmp_path / "out").rglob("items/*.json"))
    assert len(records) > 30
    for number, path in enumerate(records):
        if number % 3 == 0:
            path.unlink()
        elif number % 3 == 1:
            path.write_bytes(path.read_bytes()[:50])
    again = deduplicate(
        DeduplicateConfig(**config), PhaseResult.load(str(tmp_path / "in")), str(tmp_path / "out"), InProcess()
    )
    assert again.id == first.id
    assert os.path.getsize(records[0]) > 50 or records[0].exists()


def test_an_item_that_is_done_twice_and_edges_told_twice_change_nothing(tmp_path: Path) -> None:
    class Twice:
        """An executor that does every item again after it was done, as a retrying cluster may."""

        def map(self, function: Any, items: Any) -> Any:
            for position, item in reversed(list(enumerate(items))):
                function(item)
                yield position, function(item)

    once = run(tmp_path, table(crowd(5)), 3)
    source = PhaseResult.load(str(tmp_path / "in"))
    assert deduplicate(DeduplicateConfig(), source, str(tmp_path / "twice"), Twice()).id == once.id


def test_a_thousand_blanks_and_near_blanks_cost_no_square_of_edges(tmp_path: Path) -> None:
    """Equal pHashes by the thousand, with thumbnails that agree: one stays, and few edges are written."""
    random = np.random.default_rng(0)
    rows = [
        row(n, phash=7, phash256=None, thumbnail8=bytes(random.integers(0, 3, 192, dtype=np.uint8)))
        for n in range(1500)
    ]
    result = run(tmp_path, table(rows), 2)
    assert result.fates["pairs"].kept == 1
    edges = [
        storage.read_table(str(path)).num_rows for path in (tmp_path / "out" / "pictures").rglob("*-edges.parquet")
    ]
    assert sum(edges) < 1500


@pytest.mark.parametrize(
    ("keep", "best"),
    [
        ("resolution", "big"),
        ("text_length", "told"),
        ("score:score", "scored"),
        (["score:flat", "text_length"], "told"),
    ],
)
def test_the_policy_says_which_pair_stays(tmp_path: Path, keep: Any, best: str) -> None:
    look = {name: row(0)[name] for name in ("phash", "phash256", "thumbnail8")}
    rows = [
        row(1, url="big", text="a", original_width=500, score=0.1, **look),
        row(2, url="told", text="a much longer text", score=None, **look),
        row(3, url="scored", text="b", score=0.9, **look),
    ]
    given = table(rows).append_column("flat", pa.array([1, 1, 1]))
    assert kept(run(tmp_path, given, keep=keep)) == [best]


def test_equal_rank_is_decided_by_the_smallest_uid(tmp_path: Path) -> None:
    look = {name: row(0)[name] for name in ("phash", "phash256", "thumbnail8")}
    rows = [row(number, text="same", **look) for number in range(1, 9)]
    assert kept(run(tmp_path, table(rows))) == [min(rows, key=lambda each: each["uid"])["url"]]


def test_a_column_that_is_not_there_is_one_line_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"curate.deduplicate.keep: the rows have no column 'beauty'"):
        run(tmp_path, table([row(1)]), keep="score:beauty")
    with pytest.raises(ConfigError, match=r"embeddings.column: the rows have no column 'clip'"):
        run(tmp_path / "b", table([row(1)]), embeddings={"column": "clip"})
    with pytest.raises(ValueError, match="'newest' is no rule"):
        DeduplicateConfig(keep=("newest",))
    assert not (tmp_path / "out").exists()


def test_each_kind_can_be_switched_off(tmp_path: Path) -> None:
    rows = crowd(6)
    reasons = [
        dict(run(tmp_path / name, table(rows), 2, **off).fates["pairs"].reasons)
        for name, off in (
            ("b", {"bytes": False}),
            ("p", {"pictures": False}),
            ("n", {"bytes": False, "pictures": False}),
        )
    ]
    assert [list(each) for each in reasons] == [["near_duplicate"], ["duplicate_bytes"], []]


def test_the_pair_that_stays_gets_the_texts_of_all_that_fell_for_its_picture(tmp_path: Path) -> None:
    look = {name: row(0)[name] for name in ("phash", "phash256", "thumbnail8")}
    rows = [
        row(1, text="a dog", original_width=300, **look),
        row(2, text="the dog Rex", **look),
        row(3, text="Rex", sha256=row(2)["sha256"], **look),
        row(4, text="a dog", **look),
        row(5, text="a cat"),
    ]
    result = run(tmp_path, table(rows), 5, merge_texts=True, rows_per_block=1)
    texts = {each["url"]: [text["text"] for text in each["texts"]] for each in result.read_kept().to_pylist()}
    assert texts == {"http://a.example/1": ["Rex", "a dog", "the dog Rex"], "http://a.example/5": ["a cat"]}


def test_keepers_that_fell_themselves_are_followed_to_the_last() -> None:
    fallen_rows, keepers = np.array([1, 3, 4, 8]), np.array([4, 1, 9, 2])
    assert last_keepers(fallen_rows, keepers).tolist() == [9, 9, 9, 2]
