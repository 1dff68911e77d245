"""openwit why: every row that ever was in a run can say where it came from and what became of it."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.datasets.lineage import Answer, _nearby, why
from pipeline.datasets.lineage_question import Question
from pipeline.datasets.pack import PackConfig, pack
from pipeline.datasets.reshard import reshard
from pipeline.datasets.subset import select_uids
from pipeline.datasets.takedown import takedown
from pipeline.errors import ConfigError, DataError
from pipeline.execution.batch import Batch
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Output, PhaseResult, WorkItem, run_items
from pipeline.manifest import Manifest
from tests.pipeline.datasets.test_derived import rules
from tests.pipeline.datasets.test_pack import rows

IN = InProcess()
EARLY = ["uid", "url", "text", "text_origin", "page_url"]


def phase(root: Path, name: str, batch: Batch, rows_in: int, **extra: Any) -> PhaseResult:
    folder = str(root / f"{name}-0123456789ab")
    made = run_items(folder, lambda _: Output.of_batch(rows_in, batch), [WorkItem("one", name, None)], IN)
    result = PhaseResult.of_records(name, folder, made, extra)
    result.save()
    return result


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 pairs: 1 falls in select, 2 in fetch, 1 in deduplicate; one page was no HTML."""
    folder = tmp_path_factory.mktemp("root")
    table = rows(12, queries=pa.array([[n % 3] for n in range(12)], pa.list_(pa.int32())))
    pages = pa.table({"uid": ["http://a.example/feed"], "url": ["http://a.example/feed"]})
    dropped = Batch.of(pages).drop(["not_html"], ["text/xml"]).dropped
    crawl = phase(folder, "crawl", Batch(table.select(EARLY), dropped), 13)
    first = Batch.of(table.select([*EARLY, "queries"])).drop(
        ["balanced_out" if n == 4 else None for n in range(12)],
        [f"keep probability 0.1, coin 0.{n}" for n in range(12)],
    )
    select = phase(folder, "select", first, 12, t=2)
    curve = {
        "query": ["cat", "dog", "red fox"],
        "before": [4, 1, 2],
        "after": [2, 1, 2],
        "keep_probability": [0.5, 1.0, 1.0],
    }
    storage.write_table(f"{select.folder}/queries.parquet", pa.table(curve))
    left = table.filter(pa.array([n != 4 for n in range(12)]))
    second = Batch.of(left).drop(["not_found" if n in (2, 3) else None for n in range(11)], ["status 404"] * 11)
    fetch = phase(folder, "fetch", second, 11)
    third = Batch.of(second.rows).drop(["near_duplicate"] + [None] * 8, ["of x: 3 bits"] * 9)
    late = phase(folder, "deduplicate", third, 9)
    config = {"select": {"balance": {"seed": 3}}}
    pack(PackConfig(samples_per_shard=4), [crawl, select, fetch, late], config, "c", str(folder / "pack-0"), IN)
    return folder


def story(answer: Answer) -> list[tuple[str, str, str | None]]:
    return [(v.phase, v.outcome, v.reason) for v in answer.pairs[0].verdicts]


def test_a_kept_sample_tells_its_whole_way_by_key_uid_url_and_page(root: Path) -> None:
    dataset = str(root / "pack-0")
    by_url = why(dataset, "http://a.example/7.jpg")
    pair = by_url.pairs[0]
    assert pair.here
    assert [each[0] for each in story(by_url)] == ["crawl", "select", "fetch", "deduplicate"]
    assert {outcome for _, outcome, _ in story(by_url)} == {"kept"}
    crawl, select, fetch, late = pair.verdicts
    assert crawl.facts["page_url"] == "http://a.example/page1"
    assert select.facts["queries"] == [{"query": "dog", "pairs_before": 1}]
    assert select.facts["balance_t"] == 2
    assert 0 <= select.facts["coin"] < 1
    assert select.facts["keep_probability"] == 1.0
    assert fetch.facts["sha256"] == f"{7:064x}"
    assert late.facts == {}
    assert pair.place is not None
    assert why(dataset, str(pair.place["key"])).pairs == by_url.pairs
    assert why(dataset, pair.uid).pairs == by_url.pairs
    assert why(dataset, "HTTP://A.example:80/7.jpg").pairs == by_url.pairs
    of_page = why(dataset, "http://a.example/page1")
    assert {p.url for p in of_page.pairs} == {f"http://a.example/{n}.jpg" for n in (1, 4, 7, 10)}
    assert of_page.because == "4 pairs, 3 of them in the dataset"


@pytest.mark.parametrize(
    ("number", "last", "because"),
    [
        (4, ("select", "dropped", "balanced_out"), "select dropped it: balanced_out (keep probability 0.1, coin 0.4)"),
        (3, ("fetch", "dropped", "not_found"), "fetch dropped it: not_found (status 404)"),
        (0, ("deduplicate", "dropped", "near_duplicate"), "deduplicate dropped it: near_duplicate (of x: 3 bits)"),
    ],
)
def test_a_dropped_pair_says_who_dropped_it_and_why(
    root: Path, number: int, last: tuple[str, str, str], because: str
) -> None:
    answer = why(str(root / "pack-0"), f"http://a.example/{number}.jpg")
    assert story(answer)[-1] == last
    assert (answer.because, answer.pairs[0].here) == (because, False)


def test_pages_and_what_nobody_has_seen(root: Path) -> None:
    dataset = str(root / "pack-0")
    assert why(dataset, "http://a.example/feed").because == "the page was not taken: not_html (text/xml)"
    near = why(dataset, "http://a.example/none.jpg")
    assert near.because == "never seen; of its host 12 other pairs were found"
    assert near.nearby == {
        "host": "a.example", "pairs_of_host": 12, "pages_of_host_dropped": {"not_html": 1}
    }  # fmt: skip
    assert why(dataset, "http://b.example/").because == "never seen: no source gave this URL"
    assert why(dataset, "0" * 32).because == "never seen: no source gave this pair"
    for wrong, said in (("99999", "no sample has this key"), ("two words", "is no key, uid or URL")):
        with pytest.raises(ConfigError, match=said):
            why(dataset, wrong)
    with pytest.raises(DataError, match=r"no manifest\.json"):
        why(str(root), "0" * 32)


@pytest.mark.parametrize(
    "spelled", ["https://a.example/7.jpg", "http://a.example/%37%2Ejpg", "HTTPS://A.example:443/7%2ejpg#x"]
)
def test_another_spelling_of_a_url_is_the_same_picture(root: Path, spelled: str) -> None:
    dataset = str(root / "pack-0")
    assert why(dataset, spelled).pairs == why(dataset, "http://a.example/7.jpg").pairs != ()
    assert why(dataset, spelled.replace("7", "77")).pairs == ()


def test_files_without_rows_are_asked_too() -> None:
    question = Question.of("https://a.example/7.jpg")
    for table in (pa.table({"url": pa.chunked_array([], pa.string())}), pa.table({"url": pa.array([], pa.string())})):
        assert len(question.mask(table)) == 0
    there = pa.table(
        {"url": pa.chunked_array([["http://a.example/7.jpg", None], [], ["http://a.example/8.jpg"]], pa.string())}
    )
    assert question.mask(there).to_pylist() == [True, False, False]


def test_a_host_is_looked_for_in_all_sources(tmp_path: Path) -> None:
    table = rows(4).select(EARLY)
    urls = [f"http://{name}.example/{n}.jpg" for n, name in enumerate("abbc")]
    table = table.set_column(table.column_names.index("url"), "url", pa.array(urls))
    early = [phase(tmp_path, f"s{n}", Batch.of(table.slice(n, 1)), 1) for n in range(4)]
    found = _nearby([*early, phase(tmp_path, "select", Batch.of(table), 4)], Question.of("http://b.example/none.jpg"))
    assert found == {"host": "b.example", "pairs_of_host": 2, "pages_of_host_dropped": {}}


def test_the_way_goes_on_through_datasets_made_from_datasets(root: Path, tmp_path: Path) -> None:
    dataset = str(root / "pack-0")
    uid = why(dataset, "http://a.example/7.jpg").pairs[0].uid
    done = takedown(dataset, rules(url=["http://a.example/7.jpg"]), None, IN)
    assert done.folder is not None
    taken = why(done.folder, uid)
    assert story(taken)[-1] == ("takedown", "dropped", "taken_down")
    assert taken.because == "takedown dropped it: taken_down (url http://a.example/7.jpg)"
    assert why(dataset, uid).pairs[0].here
    far = str(tmp_path / "elsewhere")  # origin.json leads back
    reshard(PackConfig(), done.folder, select_uids(done.folder, Manifest.load(done.folder)), far, IN)
    assert story(why(far, uid))[-1] == ("takedown", "dropped", "taken_down")
    assert len(story(why(far, "http://a.example/10.jpg"))) == 4
    less = str(tmp_path / "less")
    some = select_uids(far, Manifest.load(far), "url != 'http://a.example/10.jpg'")
    reshard(PackConfig(), far, some, less, IN)
    other = why(less, "http://a.example/10.jpg")
    assert story(other)[-1] == ("reshard", "dropped", "not_in_subset")
    assert (other.because, other.pairs[0].here) == ("reshard dropped it: not_in_subset", False)
    assert why(less, "http://a.example/1.jpg").pairs[0].here


def test_without_the_phases_the_index_still_tells(root: Path, tmp_path: Path) -> None:
    from shutil import copytree

    alone = str(copytree(root / "pack-0", tmp_path / "alone" / "pack-0"))
    answer = why(alone, "http://a.example/7.jpg")
    assert answer.pairs[0].place is not None
    assert answer.pairs[0].place["page_url"] == "http://a.example/page1"
    assert answer.pairs[0].verdicts == ()
    gone = why(alone, "http://a.example/3.jpg")
    assert gone.because == "it is not in the dataset, and the phases that made it are not beside it"
