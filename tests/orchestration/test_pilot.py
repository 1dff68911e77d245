"""The pilot's forecast against the real run of the same recipe, on a small demo web; and its mathematics."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from phases import phase_of, split

from orchestration.cli import cli
from orchestration.forecast import Range, Seen, dropped_copies, forecast_stages, kept_share
from orchestration.pilot import pilot
from orchestration.pilot_sample import draw, drawn, place, weighed
from orchestration.pilot_sources import part_of
from orchestration.recipe import Recipe, load
from orchestration.steps import build_steps
from orchestration.work import Work
from pipeline.errors import ConfigError
from pipeline.execution.ledger import Fate, PhaseResult
from pipeline.execution.progress import silent
from pipeline.manifest import Manifest
from pipeline.sample import pair_uid
from pipeline.sources.config import TableSource

CURATED = ("fetch", "deduplicate", "decontaminate")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load("smoke", ["train=null", "evaluate=null", "curate.deduplicate.buckets=1", "curate.select.buckets=1"])


@pytest.fixture(scope="module")
def real(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Mapping[str, PhaseResult], Manifest]:
    root = str(tmp_path_factory.mktemp("real"))
    with contextlib.ExitStack() as stack:  # flow.run without MLflow
        work = Work(recipe, root, silent, None, "", None, "in-process", stack)
        for step in build_steps(recipe)[:-1]:
            work.records[step.name] = step.run(work, root)
    paths = {name: record.path for name, record in work.records.items()}
    return (
        root,
        {name: PhaseResult.load(paths[name]) for name in ("crawl", "select", *CURATED)},
        Manifest.load(paths["pack"]),
    )


def test_the_pilot_predicts_the_real_yield_within_its_interval(
    recipe: Recipe, real: tuple[str, Mapping[str, PhaseResult], Manifest], tmp_path: Path
) -> None:
    _, phases, manifest = real
    found = pilot(recipe, str(tmp_path), 120, 2)
    assert found.sample == 120
    assert not found.at_least
    assert found.candidates["crawl"]["expected"] == phases["crawl"].fates["pairs"].kept
    stages = {stage.name: stage for stage in found.stages}
    assert list(stages) == ["select", *CURATED]
    for name in ("select", *CURATED):
        fate = phases[name].fates["pairs"]
        assert stages[name].kept.low - 1e-9 <= fate.kept / fate.rows_in <= stages[name].kept.high + 1e-9, name
        assert stages[name].rows_kept.low - 1 <= fate.kept <= stages[name].rows_kept.high + 1, name
    assert stages["select"].kept.low == stages["select"].kept.high
    assert found.rows.low <= manifest.rows <= found.rows.high
    assert (found.rows.high - found.rows.low) / found.rows.value < 0.6
    assert found.balance["t"] == 50
    assert found.balance["largest"][0]["before"] >= found.balance["largest"][0]["after"]
    assert found.hours.value > 0
    assert found.bytes.value == pytest.approx(sum(b for b in _bytes(phases, manifest)), rel=0.35)
    # Nothing but the pilot's own folder is there, and the same pilot gives the same answer.
    assert [path.name for path in tmp_path.iterdir()] == ["pilot"]
    again = pilot(recipe, str(tmp_path), 120, 2)
    assert [(s.name, s.kept, s.rows_kept) for s in again.stages] == [
        (s.name, s.kept, s.rows_kept) for s in found.stages
    ]


def _bytes(phases: Mapping[str, PhaseResult], manifest: Manifest) -> list[int]:
    curated = [phases[name] for name in ("select", *CURATED)]
    return [manifest.bytes, *(sum(f.bytes for f in (*phase.kept, *phase.dropped)) for phase in curated)]


def test_what_the_real_run_has_read_is_not_read_again_and_a_part_of_a_site_says_so(
    recipe: Recipe, real: tuple[str, Mapping[str, PhaseResult], Manifest], tmp_path: Path
) -> None:
    root, _, _ = real
    before = {path: path.stat().st_mtime_ns for path in Path(root).rglob("*") if path.is_file()}
    found = pilot(recipe, root, 30, 2)
    assert found.candidates["crawl"]["exact"]
    assert not list((Path(root) / "pilot").glob("crawl-*"))
    assert not list((Path(root) / "pilot").glob("web-*"))
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before

    part = pilot(recipe.model_copy(update={"name": "part"}), str(tmp_path), 24, 2)
    assert part.at_least
    assert not part.candidates["crawl"]["exact"]
    assert part.candidates["crawl"]["share_read"] < 1
    assert part.candidates["crawl"]["expected"] > part.candidates["crawl"]["read"]
    assert part.balance["t"] == 50


def test_the_command_prints_a_table_and_json(
    recipe: Recipe, real: tuple[str, Mapping[str, PhaseResult], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _, _ = real
    sets = ["--set", "train=null", "--set", "evaluate=null", "--set", "curate.deduplicate.buckets=1"]
    words = [
        "plan",
        "smoke",
        *sets,
        "--set",
        "curate.select.buckets=1",
        "--root",
        root,
        "--pilot",
        "30",
        "--workers",
        "4",
    ]
    table = CliRunner().invoke(cli, words)
    assert table.exit_code == 0, table.output
    assert "deduplicate" in table.stdout
    assert "with 4 workers" in table.stdout
    value: dict[str, Any] = json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)
    assert value["workers"] == 4
    assert len(value["stages"][0]["kept"]) == 3


def test_a_recipe_that_curates_nothing_has_nothing_to_forecast(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no curate section"):
        pilot(recipe.model_copy(update={"curate": None}), str(tmp_path), 5, 1)


def test_of_many_files_some_are_read_and_of_a_site_some_pages(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe.curate is not None
    for number in range(12):
        (tmp_path / f"{number:02}.csv").write_text("url,text\nhttp://a.example/1.jpg,a dog\n")
    table = TableSource(kind="table", files=(str(tmp_path / "*.csv"),))
    curate = recipe.curate.model_copy(update={"sources": {**recipe.curate.sources, "list": table}})
    part = part_of(recipe.model_copy(update={"curate": curate}), 7)
    assert part.recipe.curate is not None
    found = part.recipe.curate.sources
    assert found["crawl"].max_pages == 7  # type: ignore[union-attr]
    assert [Path(path).name for path in found["list"].files] == ["00.csv", "04.csv", "08.csv"]  # type: ignore[union-attr]
    assert part.shares == {"list": 0.25}
    result = PhaseResult("list", "", (), (), {"pairs": Fate(3, 3)})
    assert part.share_read("list", result) == (0.25, True)
    half_read = {"pages": Fate(5, 5), "pairs": Fate(3, 3)}
    assert part.share_read("crawl", PhaseResult("crawl", "", (), (), half_read, {"left_out": 15})) == (0.25, False)
    assert part.share_read("crawl", PhaseResult("crawl", "", (), (), half_read, {"left_out": 0})) == (1.0, True)


# --- mathematics --------------------------------------------------------------------------------------------------------


def test_copies_seen_in_a_sample_stand_for_more_in_the_whole() -> None:
    """Simulation: 10,000 rows, 800 of which are copies of another row; samples of a tenth."""
    random = np.random.default_rng(0)
    original = np.concatenate([np.arange(9200), random.choice(9200, 800, replace=False)])
    inside, shares = 0, []
    for _ in range(200):
        rows = original[random.permutation(10_000)[:1000]]
        copies = len(rows) - len(np.unique(rows))
        share = dropped_copies(copies, 1000, 0.1)
        shares.append(share.value)
        inside += share.low <= 0.08 <= share.high
    assert np.mean(shares) == pytest.approx(0.08, rel=0.1)
    assert inside >= 180


@pytest.mark.parametrize(("each", "share"), [(2, 0.5), (4, 0.75), (10, 0.9)])
def test_where_every_picture_has_copies_some_are_left(each: int, share: float) -> None:
    """Simulation: all of 10,000 rows stand there several times; samples of a tenth."""
    random = np.random.default_rng(each)
    original, found, inside = np.arange(10_000) // each, [], 0
    for _ in range(100):
        copies = 1000 - len(np.unique(original[random.permutation(10_000)[:1000]]))
        said = dropped_copies(copies, 1000, 0.1)
        found.append(said.value)
        inside += said.low <= share <= said.high
    assert np.mean(found) == pytest.approx(share, abs=0.12)
    assert inside >= 90


def test_one_copy_seen_among_very_many_rows_is_not_the_end_of_all() -> None:
    """Of a million rows 3,000 are one picture; two of them are in many a sample of 200."""
    random = np.random.default_rng(3)
    drawn = random.binomial(200, 0.003, 300)
    shares = [dropped_copies(max(0, int(many) - 1), 200, 200 / 1e6) for many in drawn]
    assert {int(many) for many in drawn} >= {1, 2}
    assert all(each.value < 1 for each in shares)
    assert sum(each.low <= 0.003 <= each.high for each in shares) >= 285
    _, last = forecast_stages(
        [Seen("deduplicate", "pairs", Fate(200, 199, {"near_duplicate": 1}), 0, 0.0)], Range(1e6, 1e6, 1e6),
        {"deduplicate": 200 / 1e6}, 1,
    )  # fmt: skip
    assert last.value > 1000
    assert last.high > 990_000


def test_where_one_host_sets_the_pace_more_workers_change_nothing() -> None:
    rows, fate = Range(1000.0, 1000.0, 1000.0), Fate(10, 10)
    hours = [
        forecast_stages([Seen("fetch", "pairs", fate, 0, 36.0, alone=alone)], rows, {}, workers)[0][0].hours.value
        for alone in (True, False)
        for workers in (1, 4)
    ]
    assert hours == pytest.approx([1.0, 1.0, 1.0, 0.25])


def test_intervals_of_stages_hold_the_truth_together() -> None:
    """Simulation: three stages in a row; the forecast of the last one's rows has the coverage it claims."""
    random, inside = np.random.default_rng(1), 0
    for _ in range(300):
        rows, seen = 200, []
        for name, share in (("a", 0.7), ("b", 0.9), ("c", 0.4)):
            kept = int(random.binomial(rows, share))
            seen.append(Seen(name, "pairs", Fate(rows, kept, {"x": rows - kept}), 10 * rows, 1.0))
            rows = kept
        stages, last = forecast_stages(seen, Range(1e6, 1e6, 1e6), {}, 4)
        inside += last.low <= 1e6 * 0.7 * 0.9 * 0.4 <= last.high
        assert stages[0].bytes.value == 1e7
        assert stages[0].hours.value == pytest.approx(1e6 / 200 / 4 / 3600)
    assert inside >= 0.93 * 300


def test_nothing_kept_has_an_upper_end_and_no_lower() -> None:
    share = kept_share(Fate(20, 0, {"not_found": 20}), 1.0, False)
    assert share.value == share.low == 0
    assert 0 < share.high < 0.2
    _, last = forecast_stages([Seen("fetch", "pairs", Fate(20, 0, {"x": 20}), 0, 0.0)], Range(100, 100, 100), {}, 1)
    assert (last.value, last.low) == (0, 0)
    assert last.high > 10


def rows_of(name: str, count: int) -> pa.Table:
    urls = [f"http://{name}.example/{i}" for i in range(count)]
    return pa.table({"uid": [pair_uid(url, "") for url in urls], "url": urls})


def test_the_sample_is_the_same_for_any_order_of_files_and_weighs_its_sources(tmp_path: Path) -> None:
    small, large = rows_of("small", 30), rows_of("large", 300)
    both = pa.concat_tables([small, large])
    shuffled = both.take(pa.array(np.random.default_rng(2).permutation(330)))
    pools = {
        "small": phase_of(str(tmp_path / "s"), [small]),
        "large": phase_of(str(tmp_path / "l"), split(large, 3)),
    }
    one = drawn(phase_of(str(tmp_path / "1"), [both]), pools, 20)
    other = drawn(phase_of(str(tmp_path / "2"), split(shuffled, 4)), pools, 20)
    assert one == other
    mine = [uid for uid in one if uid in set(small.column("uid").to_pylist())]
    assert len(one) == 40
    assert sorted(mine, key=place) == sorted(small.column("uid").to_pylist(), key=place)[:20]
    assert {one[uid] for uid in mine} == {30 / 20}
    assert {one[uid] for uid in one if uid not in mine} == {300 / 20}

    sample = draw(phase_of(str(tmp_path / "3"), [both]), pools, 20, str(tmp_path / "out"))
    assert sample.phase.read_kept().column("uid").to_pylist() == sorted(one)
    # Of the small source all stay, of the large one none: 30 of 330 rows in the whole.
    kept = phase_of(str(tmp_path / "k"), [sample.phase.read_kept().filter(pa.array([u in mine for u in sorted(one)]))])
    gone = [{"uid": uid, "reason": "not_found"} for uid in sorted(one) if uid not in mine]
    dropped = phase_of(str(tmp_path / "d"), [pa.Table.from_pylist(gone)])
    result = PhaseResult("fetch", str(tmp_path), (kept.kept[0].below("k"),), (dropped.kept[0].below("d"),), {})
    fate = weighed(result, sample.weights)
    assert fate.kept / fate.rows_in == pytest.approx(30 / 330, abs=0.03)
    assert 20 <= fate.rows_in < 40
