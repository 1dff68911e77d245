"""The live view: funnel words, taxonomy and advice from the ledger's own records, in a log and on a terminal."""

import functools
import io
from pathlib import Path

import pyarrow as pa
import pytest
from phases import phase_of
from rich.console import Console

from orchestration import progress as shown
from orchestration.advice import ADVICE, CLASS_OF, advice_for, classes
from orchestration.curation_steps import _phase
from orchestration.live import LINE, Live, ended
from orchestration.progress import Bars, Lines, say
from orchestration.reasons import MEANING
from orchestration.step import StepRecord
from pipeline.errors import DataError
from pipeline.execution.batch import Batch
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items
from pipeline.execution.progress import met, silent


def work(number: int) -> Output:
    """20 rows, 8 of which have no address and 2 are not found."""
    rows = pa.table({"uid": [f"{number}-{i}" for i in range(20)]})
    reasons = ["name_not_resolved"] * 8 + ["not_found"] * 2 + [None] * 10
    return Output.of_batch(20, Batch.of(rows).drop(reasons))


ITEMS = [WorkItem(f"n{number}", number, number) for number in range(5)]


def test_a_log_shows_what_stays_and_falls_and_advises_once(tmp_path: Path) -> None:
    now, lines = 0.0, list[str]()

    def clock() -> float:
        nonlocal now
        now += 10.0
        return now

    run_items(str(tmp_path), work, ITEMS, InProcess(), Lines(clock, lines.append), "pictures")
    advice = [line for line in lines if line.startswith("advice: ")]
    assert len(advice) == 1
    assert advice[0].startswith("advice: pictures: 40% have no address; the name server is overloaded")
    assert lines[-1].startswith("pictures: 5/5 (100%)")
    assert lines[-1].endswith("kept 50%, dns 40.0%, 404 10.0%")
    # A resumed run finds the items done, and shows the whole all the same.
    again = list[str]()
    run_items(str(tmp_path), work, ITEMS, InProcess(), Lines(clock, again.append), "pictures")
    assert any(line.startswith("advice: ") for line in again)


def test_a_terminal_shows_the_same_beside_the_bar_and_lines_above_it(tmp_path: Path) -> None:
    sink = io.StringIO()
    with shown._bars(Console(file=sink, force_terminal=True, width=200)) as bars:
        view = Bars(bars)
        run_items(str(tmp_path), work, ITEMS, InProcess(), view, "pictures")
        assert bars.tasks[0].fields["note"] == "kept 50%, dns 40.0%, 404 10.0%"
        say(view, "crawl: 3 pages, 7 pairs; nothing dropped")
    assert "crawl: 3 pages" in sink.getvalue()
    assert "advice: pictures: 40% have no address" in sink.getvalue()


def test_words_that_fetch_met_are_finer_than_reasons() -> None:
    reasons = {"http_error": 30, "connection_failed": 10, "image_too_small": 5}
    telemetry = {"met_ok": 55, "met_403": 25, "met_5xx": 5, "met_tls": 10, "retried": 3}
    assert classes(reasons, telemetry) == {"403": 25, "5xx": 5, "tls": 10, "image_too_small": 5}
    assert classes({"connection_failed": 3, "robots_txt": 2}) == {"refused": 3, "robots": 2}
    assert advice_for("fetch", 60, {"http_error": 30}, {"met_429": 30})[0].startswith("fetch: 50% are rate limited")
    assert advice_for("fetch", 49, {"http_error": 49}, {"met_429": 49}) == []


@pytest.mark.parametrize("word", ADVICE)
def test_every_advice_is_one_line_that_says_what_helps(word: str) -> None:
    reason = next((reason for reason, name in CLASS_OF.items() if name == word), word)
    lines = advice_for("fetch", 100, {reason: 100})
    assert len(lines) == 1
    assert lines[0].startswith("fetch: 100% ")
    assert "; " in lines[0]
    assert "\n" not in lines[0]


def test_new_work_of_the_same_name_is_counted_anew() -> None:
    live = Live()
    fate = {"pairs": {"rows_in": 10, "kept": 5, "reasons": {"not_found": 5}}}
    live.note("cut", fate, {})
    assert live.words("cut") == "kept 50%, 404 50.0%"
    live.again("cut")
    assert live.words("cut") == ""
    live.note("rows", {"rows": {"rows_in": 1, "kept": 1, "reasons": {}}}, {})
    assert live.words("rows") == ""


def test_what_a_fetch_meets_is_advised_on_before_its_rows_are_settled() -> None:
    lines = list[str]()
    view = Lines(write=lines.append)
    for n in (10, 60, 90):  # counts of all that went before
        met(view, "pictures", {"ok": n, "dns": n, "bytes": 10**9})
    assert [line[:40] for line in lines] == ["advice: pictures: 50% have no address; t"]
    met(silent, "pictures", {"dns": 100})


def record(name: str, **facts: object) -> StepRecord:
    return StepRecord(name, "/x", {}, "", {}, "id", 1.0, facts)


def test_every_reason_has_its_meaning() -> None:
    """Those that pipeline/README.md names: the card prints them."""
    table = (Path(__file__).parents[2] / "pipeline" / "README.md").read_text("utf-8").partition("\n\n| room")[0]
    named = {
        word for row in table.splitlines() if row.startswith("|") for word in row.split("|")[3].strip().split(", ")
    }
    assert {word for word in named if "_" in word and " " not in word} <= MEANING.keys()
    assert "no_picture" in named


def test_a_step_leaves_one_short_line() -> None:
    reasons = {"pages": {"robots_txt": 12, "not_found": 3}, "pairs": {}}
    told = ended(record("crawl", pages_in=330, pages_kept=315, pairs_in=3912, pairs_kept=3912, reasons=reasons))
    assert told == "crawl: 315 pages, 3,912 pairs; dropped: robots_txt 12, not_found 3"
    assert ended(record("decontaminate", pairs_in=2, pairs_kept=2, reasons={"pairs": {}})) == (
        "decontaminate: 2 pairs; nothing dropped"
    )
    assert ended(record("train", step=3)) is None
    many = {"pairs": dict.fromkeys(MEANING, 1000)}
    line = ended(record("fetch", pairs_in=9, pairs_kept=5, reasons=many))
    assert line is not None
    assert line.endswith(" reasons more")
    assert len(line) < LINE + 25


@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [
        ("decontaminate", "near_evaluation", "is an evaluation set itself among the sources"),
        ("deduplicate", "near_duplicate", "widen curate.deduplicate"),
    ],
)
def test_a_phase_that_drops_everything_stops_with_advice(tmp_path: Path, name: str, reason: str, said: str) -> None:
    given = phase_of(str(tmp_path), [pa.table({"uid": ["a"]})])
    result = PhaseResult(name, str(tmp_path), given.kept, (), {"pairs": Fate(4, 0, {reason: 4})})
    with pytest.raises(DataError, match=f"{name}: not one of 4 pairs is left .*{said}"):
        _phase(result)


def test_nothing_is_said_where_nothing_is_shown() -> None:
    say(functools.partial(print), "x")
    say(lambda done, total, what: None, "x")
