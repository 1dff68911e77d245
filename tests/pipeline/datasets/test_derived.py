"""Datasets made from datasets: subsets, resharding, takedown. The old one is never touched, and nothing is lost unsaid."""

import itertools
import json
import os
import shutil
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from phases import phase_of

from pipeline import storage
from pipeline.datasets.exclusion import Exclusions, exclude
from pipeline.datasets.expression import Condition
from pipeline.datasets.folded import folded
from pipeline.datasets.pack import PackConfig, pack
from pipeline.datasets.packing import uid_numbers
from pipeline.datasets.reshard import reshard
from pipeline.datasets.shards import iterate, read_image, read_index
from pipeline.datasets.subset import UID, as_uids, hex_of, load_uids, save_uids, select_uids
from pipeline.datasets.takedown import takedown
from pipeline.errors import ConfigError, DataError
from pipeline.execution.batch import Batch
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Fate, File, PhaseResult
from pipeline.manifest import Manifest
from tests.pipeline.datasets.test_pack import index_of, packed, rows

IN = InProcess()


def uids_of(words: list[str]) -> np.ndarray:
    return as_uids(uid_numbers(words))


def digests(folder: str) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): storage.sha256_file(str(path))
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def pictures(out: str, manifest: Manifest) -> list[tuple[str, bytes]]:
    return [
        (row["uid"], read_image(f"{out}/{row['file']}", row["image_offset"], row["image_bytes"]))
        for row in index_of(out, manifest)
    ]


@pytest.fixture(scope="module", params=["webdataset", "parquet"])
def dataset(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Manifest, pa.Table]:
    table = rows(45, score_clip_similarity=np.linspace(0, 1, 45), width=pa.array(range(100, 145), pa.int32()))
    out, manifest = packed(tmp_path_factory.mktemp("made"), [table], output=request.param)
    return out, manifest, table


# --- conditions and subset files ----------------------------------------------------------------------------------------

TABLE = pa.table(
    {
        "width": [100, 300, None],
        "height": [50, 10, 5],
        "caption": ["a cat", "Dog", None],
        "score": [0.1, 0.5, 0.9],
        "queries": pa.array([[1], [], None], pa.list_(pa.int32())),
    }
)


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("width >= 200 and score > .28", [1]),
        ("score > 0.4 or width < 200", [0, 1, 2]),
        ("not (caption contains 'cat')", [1]),
        ("caption is null or width / height > 2", [1, 2]),
        ("caption is not null", [0, 1]),
        ("max(width, height) / min(width, height) <= 3", [0]),
        ("count(queries) = 1", [0]),
        ("lower(caption) in ('dog', 'x')", [1]),
        ('caption starts with "a" or caption ends with "og"', [0, 1]),
        ("caption not in ('Dog', 'x')", [0]),
        ("caption is null or caption not in ('Dog')", [0, 2]),
        ("height / (height - 10) > 1", [0, 1]),  # 10 / 0 is infinite
        ("width + 1 = 101", [0]),
        ("length(caption) > 3", [0]),
        ("-width < -200", [1]),
        ("1 + 2 * 3 = 7 and score > -1e3", [0, 1, 2]),
    ],
)
def test_conditions(condition: str, kept: list[int]) -> None:
    assert np.flatnonzero(Condition(condition, TABLE.schema).keeps(TABLE).to_numpy()).tolist() == kept


HASHES = [5, 10**19, 1 << 63, (1 << 64) - 1, None]


@pytest.mark.parametrize("value", [0, 5, 1 << 62, 1 << 63, 10**19, (1 << 64) - 1])
def test_conditions_on_hashes_are_exact_over_all_of_64_bits(value: int) -> None:
    table = pa.table({"phash": pa.array(HASHES, pa.uint64()), "width": pa.array([9, 0, 1, 2, 3], pa.int32())})

    def holds(condition: str) -> list[int]:
        return np.flatnonzero(Condition(condition, table.schema).keeps(table).to_numpy()).tolist()

    rows = [(at, each) for at, each in enumerate(HASHES) if each is not None]
    assert holds(f"phash > {value}") == [at for at, each in rows if each > value]
    assert holds(f"phash = {value} or phash in ({value}, 7)") == [at for at, each in rows if each == value]
    assert holds(f"phash - {value} > -3") == [at for at, each in rows if each - value > -3]
    assert holds(f"min(phash, width) < 2 and width < {value}") == [
        at for at, _ in rows if at in (1, 2) and value > at - 1
    ]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("widht > 3", "did you mean width"),
        ("score", "it is a value, not a condition"),
        ("width > 'a'", "compare numbers with numbers"),
        ("width >", "expected a value"),
        ("width > 3 4", "cannot go on with '4'"),
        ("__import__('os').system('true')", "cannot read"),
        ("eval('1')", "no function eval"),
        ("width in (1, 'a')", "several types"),
        ("(" * 200 + "width > 1" + ")" * 200, "nested too deep"),
        ("caption contains 3", "expected text"),
        ("width = 99999999999999999999999", "too large"),
        ("min(width) > 1", "takes 2 values"),
        ("width > 1; drop", "cannot read"),
        ("", "expected a value"),
    ],
)
def test_a_condition_that_is_none_is_told_in_one_line(condition: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Condition(condition, TABLE.schema)
    assert "\n" not in str(caught.value)


def test_a_subset_file_has_datacomps_form(tmp_path: Path, dataset: tuple[str, Manifest, pa.Table]) -> None:
    out, manifest, table = dataset
    uids = select_uids(out, manifest, "score_clip_similarity >= 0.5 and width < 140")
    wanted = [r["uid"] for r in table.to_pylist() if r["score_clip_similarity"] >= 0.5 and r["width"] < 140]
    assert hex_of(uids) == sorted(wanted)
    path = str(tmp_path / "subset.npy")
    save_uids(path, uids)
    # Read as DataComp's resharder does: halves of the hex uid as u8,u8, sorted, found by binary search.
    theirs = np.load(path)
    assert theirs.dtype == np.dtype("u8,u8")
    one = np.array([(int(wanted[0][:16], 16), int(wanted[0][16:], 16))], np.dtype("u8,u8"))[0]
    assert theirs[np.searchsorted(theirs, one)] == one
    assert (load_uids(path) == uids).all()


def test_the_top_fraction_is_datacomps(dataset: tuple[str, Manifest, pa.Table]) -> None:
    out, manifest, table = dataset
    scores = table.column("score_clip_similarity").to_numpy()
    threshold = np.sort(scores)[::-1][int(len(scores) * 0.3)]
    found = select_uids(out, manifest, top="score_clip_similarity:0.3")
    assert len(found) == (scores >= threshold).sum()
    for wrong, said in (
        ("score:1.5", "is no column:fraction"),
        ("nothing:0.3", "no column nothing"),
        ("url:0.3", "not"),
    ):
        with pytest.raises(ConfigError, match=said):
            select_uids(out, manifest, top=wrong)


def test_what_is_no_subset_file_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "x.npy")
    for data in (b"", b"\x93NUMPY nonsense", b"not numpy"):
        storage.write_bytes(path, data)
        with pytest.raises(ConfigError, match=r"is no \.npy file of uids"):
            load_uids(path)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match=r"is no \.npy file of uids"):
        load_uids(path)
    np.save(path, np.zeros(3))
    with pytest.raises(ConfigError, match="not 128-bit uids"):
        load_uids(path)


# --- reshard ------------------------------------------------------------------------------------------------------------


def test_all_uids_in_the_same_form_give_the_same_files(tmp_path: Path, dataset: tuple[str, Manifest, pa.Table]) -> None:
    out, manifest, _ = dataset
    before = digests(out)
    form = "webdataset" if manifest.shards[0].tar.endswith(".tar") else "parquet"
    new = str(tmp_path / "new")
    made = reshard(PackConfig(samples_per_shard=10, output=form), out, select_uids(out, manifest), new, IN)
    assert made.shards == manifest.shards
    assert digests(out) == before
    made.verify(new)
    assert made.parents == (manifest.id,)
    assert Manifest.load(new).id == made.id


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_a_subset_is_resharded_without_gaps(tmp_path: Path, dataset: tuple[str, Manifest, pa.Table], form: Any) -> None:
    out, manifest, table = dataset
    uids = select_uids(out, manifest, "width < 123")
    new = str(tmp_path / "new")
    made = reshard(PackConfig(samples_per_shard=7, output=form), out, uids, new, IN)
    images = {row["uid"]: row["image"] for row in table.to_pylist()}
    assert pictures(new, made) == [(uid, images[uid]) for uid in hex_of(uids)]
    assert [shard.rows for shard in made.shards] == [7, 7, 7, 2]
    assert made.counts["reshard"]["pairs"] == {"rows_in": 45, "kept": 23, "reasons": {"not_in_subset": 22}}
    assert [s.uid for s in iterate(new, made)] == hex_of(uids)


def test_copies_are_there_and_never_beside_each_other(tmp_path: Path, dataset: tuple[str, Manifest, pa.Table]) -> None:
    out, _, table = dataset
    words = table.column("uid").to_pylist()[:12]
    wanted = Counter({uid: 1 + at % 4 for at, uid in enumerate(words)})
    made = reshard(PackConfig(samples_per_shard=10), out, uids_of(list(wanted.elements())), str(tmp_path / "new"), IN)
    line = [row["uid"] for row in index_of(str(tmp_path / "new"), made)]
    assert Counter(line) == wanted
    assert all(a != b for a, b in itertools.pairwise(line))
    assert made.counts["reshard"]["copies"]["kept"] == sum(wanted.values())


def test_a_subset_may_name_samples_by_their_sources_uid(tmp_path: Path) -> None:
    given = [None if n % 5 == 0 else "no uid" if n % 5 == 1 else f"{min(n, 28):032x}" for n in range(30)]  # 28 twice
    table = rows(30).append_column("source_uid", pa.array(given))
    folder, manifest = packed(tmp_path / "made", [table])
    index = index_of(folder, manifest)
    words = [row["source_uid"] for row in index]
    sources = [word for word in words if word and word != "no uid"]
    own = [row["uid"] for row in index if row["source_uid"] is None]
    named = uids_of([*sources[:6], *sources[:2], *own])
    made = reshard(PackConfig(samples_per_shard=10), folder, named, str(tmp_path / "new"), IN)
    twin = [next(row["uid"] for row in index if row["source_uid"] == word) for word in [*sources[:6], *sources[:2]]]
    assert Counter(row["uid"] for row in index_of(str(tmp_path / "new"), made)) == Counter([*twin, *own])
    assert (made.config["reshard"]["missing"], made.config["reshard"]["by_source_uid"]) == (0, 6)
    both = next(row for row in index if row["source_uid"] == sources[0])  # named both ways: one sample
    again = reshard(PackConfig(), folder, uids_of([both["uid"], sources[0]]), str(tmp_path / "both"), IN)
    assert again.rows == 1
    with pytest.raises(DataError, match=r"1 of 2 uids are not in .*, as uid or source_uid \(the first: f{32}\)"):
        reshard(PackConfig(), folder, uids_of([sources[0], "f" * 32]), str(tmp_path / "no"), IN)


def test_a_uid_goes_before_a_source_uid(tmp_path: Path) -> None:
    """Of two samples one has as its uid what the other has as its source's."""
    table = rows(4)
    uids = table.column("uid").to_pylist()
    folder, _ = packed(tmp_path / "made", [table.append_column("source_uid", pa.array([*uids[1:], uids[0]]))])
    made = reshard(PackConfig(), folder, uids_of(uids[2:3]), str(tmp_path / "new"), IN)
    assert [row["uid"] for row in index_of(str(tmp_path / "new"), made)] == [uids[2]]
    assert "by_source_uid" not in made.config["reshard"]


def test_uids_that_are_not_there_are_an_error_before_anything_is_written(
    tmp_path: Path, dataset: tuple[str, Manifest, pa.Table]
) -> None:
    out, _, table = dataset
    some = uids_of([*table.column("uid").to_pylist()[:5], "0" * 32, "f" * 32])
    new = tmp_path / "new"
    with pytest.raises(DataError, match=r"2 of 7 uids are not in .*the first: 0{32}"):
        reshard(PackConfig(), out, some, str(new), IN)
    assert not new.exists()
    made = reshard(PackConfig(), out, some, str(new), IN, allow_missing=True)
    assert (made.rows, made.config["reshard"]["missing"]) == (5, 2)
    with pytest.raises(DataError, match="none of the 1 uids"):
        reshard(PackConfig(), out, uids_of(["0" * 32]), str(tmp_path / "none"), IN, allow_missing=True)
    with pytest.raises(DataError, match="the subset names no sample"):
        reshard(PackConfig(), out, uids_of([]), str(tmp_path / "none"), IN)


# --- takedown -----------------------------------------------------------------------------------------------------------


def rules(**values: list[str]) -> Exclusions:
    found = Exclusions()
    for kind, words in values.items():
        for word in words:
            found.add(kind, word)
    return found


def test_a_takedown_rewrites_only_the_shards_that_change(
    tmp_path: Path, dataset: tuple[str, Manifest, pa.Table]
) -> None:
    out, manifest, table = dataset
    before = digests(out)
    shard = read_index(out, manifest.shards[1]).to_pylist()
    new = str(tmp_path / "new")
    wish = rules(url=[shard[3]["url"], "http://nowhere.example/"], sha256=[shard[7]["sha256"]], uid=[shard[0]["uid"]])
    done = takedown(out, wish, new, IN)
    assert done.manifest is not None
    assert digests(out) == before
    assert done.unmet == ("url http://nowhere.example/",)
    gone = {shard[0]["uid"], shard[3]["uid"], shard[7]["uid"]}
    assert set(done.removed.column("uid").to_pylist()) == gone
    assert [a == b for a, b in zip(done.manifest.shards, manifest.shards, strict=True)] == [
        True,
        False,
        True,
        True,
        True,
    ]
    assert os.stat(f"{new}/{manifest.shards[0].tar}").st_ino == os.stat(f"{out}/{manifest.shards[0].tar}").st_ino
    images = {row["uid"]: row["image"] for row in table.to_pylist()}
    assert pictures(new, done.manifest) == [(uid, images[uid]) for uid in sorted(set(images) - gone)]
    keys = {row["uid"]: row["key"] for row in index_of(out, manifest)}
    assert all(keys[row["uid"]] == row["key"] for row in index_of(new, done.manifest))
    done.manifest.verify(new)
    diff = json.loads((Path(new) / "takedown.json").read_text())
    assert diff["removed_by_rule"] == dict.fromkeys(done.rules(), 1)
    assert storage.read_table(f"{new}/takedown.parquet").num_rows == 3
    again = takedown(out, wish, str(tmp_path / "again"), IN)
    assert again.manifest is not None
    assert again.manifest.id == done.manifest.id


@pytest.mark.parametrize("file", ["tar", "index"])
def test_neither_a_takedown_nor_resharding_takes_damage_into_a_new_file(
    tmp_path: Path, dataset: tuple[str, Manifest, pa.Table], file: str
) -> None:
    out, manifest, _ = dataset
    old = str(shutil.copytree(out, tmp_path / "old"))
    shard = manifest.shards[1]
    damaged = tmp_path / "old" / getattr(shard, file)
    wish = rules(uid=[read_index(out, shard, ["uid"]).column("uid")[3].as_py()])
    data = bytearray(damaged.read_bytes())
    data[len(data) // 3] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(DataError, match=f"{damaged.name}: missing or (changed|damaged).*; remove it and run"):
        takedown(old, wish, str(tmp_path / "new"), IN)
    with pytest.raises(DataError, match=f"{damaged.name}: missing or (changed|damaged).*; remove it and run"):
        reshard(PackConfig(), str(old), uids_of(sorted(wish.rules["uid"])), str(tmp_path / "resharded"), IN)
    damaged.write_bytes((Path(out) / damaged.relative_to(old)).read_bytes())
    assert takedown(old, wish, str(tmp_path / "new"), IN).manifest is not None


def test_a_takedown_reaches_what_was_folded_into_a_duplicate(tmp_path: Path) -> None:
    """Pictures 0, 1 and 2 are one, under three addresses; 3 looks like it, and 4 like 3."""
    table = rows(12)
    hashes = ["ab" * 32] * 3 + table.column("sha256").to_pylist()[3:]
    table = table.set_column(table.column_names.index("sha256"), "sha256", pa.array(hashes))
    uid = table.column("uid").to_pylist()
    evidence = {
        1: f"of {uid[0]}: equal",
        2: f"of {uid[1]}: equal",
        3: f"of {uid[0]}: 2 bits",
        4: f"of {uid[3]}: 3 bits",
    }
    reasons = [
        None,
        "duplicate_bytes",
        "duplicate_bytes",
        "near_duplicate",
        "near_duplicate",
        *[None] * 6,
        "near_caption",
    ]
    evidence[11] = f"of {uid[10]}: equal captions"
    batch = Batch.of(table).drop(reasons, [evidence.get(n) for n in range(12)])
    fetched = phase_of(str(tmp_path / "fetch"), [table])
    kept = storage.table_bytes(batch.rows)
    gone = storage.table_bytes(batch.dropped)
    for name, data in (("kept", kept), ("dropped", gone)):
        storage.write_bytes(str(tmp_path / "dedup" / f"{name}.parquet"), data)
    files = [
        (File(f"{n}.parquet", t.num_rows, len(d), storage.sha256(d)),)
        for n, t, d in (("kept", batch.rows, kept), ("dropped", batch.dropped, gone))
    ]
    fate = {"pairs": Fate.of(12, batch)}
    phase = PhaseResult("deduplicate", str(tmp_path / "dedup"), files[0], files[1], fate)
    out = str(tmp_path / "out")
    pack(
        PackConfig(samples_per_shard=10),
        [fetched, phase],
        {"deduplicate": {"captions": {"scope": "everywhere"}}},
        "code",
        out,
        IN,
    )
    assert sum(each.num_rows for each in folded(out)) == 4
    url, page = table.column("url").to_pylist(), table.column("page_url").to_pylist()
    for number, rule in (
        (2, {"url": [url[2]]}),
        (4, {"url": [url[4]]}),
        (3, {"uid": [uid[3]]}),
        (1, {"url": [page[1]]}),
    ):
        done = takedown(out, rules(**rule), str(tmp_path / f"less-{number}"), IN)
        assert uid[0] in done.removed.column("uid").to_pylist(), number
        assert not done.unmet
    told = {row["uid"]: row["folded_url"] for row in done.removed.to_pylist()}
    assert told[uid[0]] in (url[1], url[4])  # both stand on that page
    assert [told[uid[n]] for n in (7, 10)] == [None, None]
    stones = Exclusions.load(str(tmp_path / "less-2" / "tombstones.txt"))
    assert stones.rules["sha256"] == {"ab" * 32}  # else the picture would come back from its third address
    # Captions alone were compared everywhere: nothing of the eleventh pair is left in the tenth.
    assert takedown(out, rules(url=[url[11]]), str(tmp_path / "none"), IN).manifest is None
    # A dataset made from it knows as much.
    thinner = takedown(out, rules(uid=[uid[6]]), str(tmp_path / "thinner"), IN)
    assert thinner.folder is not None
    assert takedown(thinner.folder, rules(url=[url[2]]), str(tmp_path / "last"), IN).removed.column(
        "uid"
    ).to_pylist() == [uid[0]]


def test_a_domain_takes_what_lies_on_it_and_below_it(tmp_path: Path, dataset: tuple[str, Manifest, pa.Table]) -> None:
    out, _, _ = dataset
    nothing = takedown(out, rules(domain=["ample", "b.example"]), str(tmp_path / "no"), IN)
    assert (nothing.manifest, nothing.removed.num_rows) == (None, 0)
    assert not (tmp_path / "no").exists()
    with pytest.raises(DataError, match="name all of its"):  # no empty dataset, and no folder of one
        takedown(out, rules(domain=["EXAMPLE."]), str(tmp_path / "all"), IN)
    assert not (tmp_path / "all").exists()


def test_a_shard_that_loses_every_sample_is_left_out(tmp_path: Path, dataset: tuple[str, Manifest, pa.Table]) -> None:
    out, manifest, _ = dataset
    gone = read_index(out, manifest.shards[1]).column("uid").to_pylist()
    new = str(tmp_path / "new")
    done = takedown(out, rules(uid=gone), new, IN)
    assert done.manifest is not None
    assert done.manifest.shards == (manifest.shards[0], *manifest.shards[2:])
    assert done.manifest.rows == manifest.rows - len(gone)
    assert done.manifest.counts["takedown"]["pairs"]["reasons"] == {"taken_down": len(gone)}
    done.manifest.verify(new)
    assert not [path for path in Path(new).rglob("00001*") if path.is_file()]
    assert not {row["uid"] for row in index_of(new, done.manifest)} & set(gone)


def test_tombstones_keep_the_same_samples_out_of_the_next_dataset(
    tmp_path: Path, dataset: tuple[str, Manifest, pa.Table]
) -> None:
    out, _, table = dataset
    done = takedown(out, rules(url=["http://a.example/page1"]), str(tmp_path / "new"), IN)
    stones = Exclusions.load(str(tmp_path / "new" / "tombstones.txt"))
    batch = exclude(Batch.of(table), stones)
    assert sorted(batch.dropped.column("uid").to_pylist()) == sorted(done.removed.column("uid").to_pylist())
    assert batch.reasons() == {"taken_down": 15}


@pytest.mark.parametrize(
    "spelled",
    ["https://{}", "{}", "HTTP://{}#top"],
)
def test_a_list_names_a_picture_however_it_spells_it(
    tmp_path: Path, dataset: tuple[str, Manifest, pa.Table], spelled: str
) -> None:
    """Over https what we have over http, without a scheme, and %70 for p, as whoever wrote the list had it."""
    out, manifest, table = dataset
    row = read_index(out, manifest.shards[1]).to_pylist()[3]
    place = row["url"].removeprefix("http://")
    for word in (place, place.replace(".jpg", "%2ejp%67")):
        path = tmp_path / "urls.txt"
        path.write_text(spelled.format(word) + "\n")
        found = Exclusions.load(str(path), "url")
        done = takedown(out, found, str(tmp_path / word.replace("/", "")), IN)
        assert done.removed.column("uid").to_pylist() == [row["uid"]]
        assert done.unmet == ()
        assert exclude(Batch.of(table), found).dropped.column("uid").to_pylist() == [row["uid"]]


def test_two_spellings_of_one_url_are_both_met(tmp_path: Path, dataset: tuple[str, Manifest, pa.Table]) -> None:
    out, manifest, _ = dataset
    url = read_index(out, manifest.shards[1]).to_pylist()[3]["url"]
    both = rules(url=[url, url.replace("http:", "https:"), url.replace("a.example", "b.example")])
    done = takedown(out, both, str(tmp_path / "new"), IN)
    assert done.rules() == {f"url {url}": 1}
    assert done.unmet == (f"url {url.replace('a.example', 'b.example')}",)


@pytest.mark.parametrize(
    ("kind", "line", "said"),
    [
        ("hash", "xyz", "line 2: 'xyz' is no sha256"),
        ("domain", "http://a/b", "is no domain"),
        (None, "sometimes a.example", "is no sometimes"),
        (None, "uid 123", "is no uid"),
    ],
)
def test_a_wrong_rule_is_told_with_its_line(tmp_path: Path, kind: str | None, line: str, said: str) -> None:
    path = tmp_path / "rules.txt"
    path.write_text(f"# a list\n{line}\n")
    with pytest.raises(ConfigError, match=said):
        Exclusions.load(str(path), kind)


def test_a_list_may_come_from_a_pipe(tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    writer = threading.Thread(target=Path(pipe).write_text, args=("http://a.example/1.jpg\n",))
    writer.start()
    assert Exclusions.load(pipe, "url").lines() == ["url http://a.example/1.jpg"]
    writer.join()


def test_no_rule_and_no_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nothing\n\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, said in (("empty", "holds no rule"), ("gone", "no such file"), ("binary", "no UTF-8")):
        with pytest.raises(ConfigError, match=said):
            Exclusions.load(str(tmp_path / name), "url")


def test_uids_have_the_dtype_of_datacomp() -> None:
    assert np.dtype("u8,u8") == UID
