"""Steps: a folder follows from what made it; done is done; why says what differs."""

import io
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from PIL import Image

from orchestration.step import FAILED, Context, Made, Step, StepRecord, differences, read_record, why
from pipeline import storage
from pipeline.datasets.shards import write_dataset
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items

_MADE = io.BytesIO()
Image.new("RGB", (8, 8)).save(_MADE, "JPEG")
PICTURE = _MADE.getvalue()
ITEMS = [WorkItem("rows", 1, None)]


def step(
    name: str = "crawl", config: Mapping[str, Any] | None = None, inputs: tuple[str, ...] = (), id: str = "x"
) -> Step:
    def work(context: Context, folder: str) -> Made:
        storage.write_bytes(storage.join(folder, "out"), b"data")
        return Made(id, {"rows": 3})

    return Step(name, config or {"pages": 1}, "pipeline.errors", inputs, work, "does something")


def context(**records: StepRecord) -> Any:
    return SimpleNamespace(records=records)


def test_a_finished_step_is_found_again_and_tells_what_it_made(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert step().finished(root, {}) is None
    record = step().run(context(), root)
    assert step().finished(root, {}) == record == read_record(record.path)
    assert (record.output_id, record.facts) == ("x", {"rows": 3})


def test_a_step_of_which_a_part_failed_is_done_again_and_says_why(tmp_path: Path) -> None:
    """Out of memory and the like: what was changed since (a batch size) need not be part of what the step is."""
    root, facts = str(tmp_path), iter(({FAILED: 2}, {}))
    once = Step("crawl", {"pages": 1}, "pipeline.errors", (), lambda *_: Made("x", next(facts)), "does something")
    first = once.run(context(), root)
    assert once.finished(root, {}) is None
    assert why(once, root, {}) == "2 of its parts failed; they are tried again"
    again = once.run(context(), root)
    assert again.path == first.path
    assert once.finished(root, {}) == again


def test_the_folder_changes_with_config_and_with_the_content_of_inputs_only(tmp_path: Path) -> None:
    root = str(tmp_path)
    crawl = step().run(context(), root)
    same_content = step(config={"pages": 2}).run(context(), root)
    assert crawl.path != same_content.path
    paths = {step("select", inputs=("crawl",)).path(root, {"crawl": record}) for record in (crawl, same_content)}
    assert len(paths) == 1  # another crawl config, the same pairs: selection stands
    other = step(config={"pages": 3}, id="y").run(context(), root)
    assert step("select", inputs=("crawl",)).path(root, {"crawl": other}) not in paths


def test_a_step_whose_output_is_gone_or_cut_short_is_not_finished(tmp_path: Path) -> None:
    def work(context: Context, folder: str) -> Made:
        rows = pa.table({"uid": ["a", "b"]})
        record = run_items(folder, lambda _: Output({"kept": rows}, {"pairs": Fate(2, 2)}), ITEMS, InProcess())
        result = PhaseResult.of_records("crawl", folder, record)
        result.save()
        return Made(result.id)

    phase = Step("crawl", {}, "pipeline.errors", (), work, "does something")
    record = phase.run(context(), str(tmp_path))
    kept = Path(record.path) / PhaseResult.load(record.path).kept[0].path
    whole = kept.read_bytes()
    for damage in (kept.unlink, lambda: kept.write_bytes(whole[:-1])):
        damage()
        assert phase.finished(str(tmp_path), {}) is None
        assert why(phase, str(tmp_path), {}) == f"{kept.name} is missing or damaged"
        assert phase.run(context(), str(tmp_path)).output_id == record.output_id
        assert phase.finished(str(tmp_path), {}) is not None
        assert kept.read_bytes() == whole


def test_a_dataset_whose_index_is_cut_short_is_made_again(tmp_path: Path) -> None:
    """`openwit card` and the like say so: "run the recipe again" must help."""

    def work(context: Context, folder: str) -> Made:
        return Made(write_dataset(folder, [(f"http://a.example/{n}", "a cat", PICTURE) for n in range(3)]).id)

    made = Step("pack", {}, "pipeline.errors", (), work, "does something")
    record = made.run(context(), str(tmp_path))
    index = Path(record.path) / "00000.parquet"
    whole = index.read_bytes()
    other = storage.table_bytes(storage.read_table(str(index)).slice(0, 2))
    for damage in (whole[:500], b"", other):
        index.write_bytes(damage)
        assert made.finished(str(tmp_path), {}) is None
        assert why(made, str(tmp_path), {}) == "00000.parquet is missing or damaged"
        assert made.run(context(), str(tmp_path)).output_id == record.output_id
        assert made.finished(str(tmp_path), {}) is not None


def test_work_without_a_record_is_not_finished(tmp_path: Path) -> None:
    folder = step().path(str(tmp_path), {})
    storage.write_bytes(storage.join(folder, "out"), b"half")
    assert step().finished(str(tmp_path), {}) is None
    assert why(step(), str(tmp_path), {}) == "begun, not finished"


def test_why_names_the_difference_to_the_most_like_finished_step(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert why(step(), root, {}) == "never run"
    step(config={"pages": 1, "depth": 9}).run(context(), root)
    step(config={"pages": 7, "depth": 7}).run(context(), root)
    assert why(step(config={"pages": 2, "depth": 9}), root, {}) == "crawl.pages: 1 -> 2"
    longer = {f"a_key_of_some_length_{at}": "value" * 6 for at in range(5)} | {"pages": 1, "depth": 9}
    shown, more = why(step(config=longer), root, {}).rsplit("; ", 1)
    assert (len(shown) < 130, more) == (True, "and 4 more")
    record = step().run(context(), root)
    step("select", inputs=("crawl",)).run(context(crawl=record), root)
    changed = step(config={"pages": 5}, id="z").run(context(), root)
    assert why(step("select", inputs=("crawl",)), root, {"crawl": changed}) == "crawl changed"


def test_differences_are_dotted_keys_with_both_values() -> None:
    before, after = {"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"b": 2, "c": (1, 2)}, "e": 3}
    assert differences("train", before, after) == ["train.a.b: 1 -> 2", "train.d: 1 -> None", "train.e: None -> 3"]


def test_differences_of_long_lists_are_what_came_and_went() -> None:
    def row(task: str, digest: str = "") -> dict[str, object]:
        return {"task": task, "asked": ["classification", "label", "top1"], "there": ["present", digest * 64]}

    before = [row("digits"), row("fruit", "a"), row("mnist")]
    after = [row("digits"), row("fruit", "b"), row("cifar10"), row("dtd")]
    assert differences("evaluate.tasks", before, after) == ["evaluate.tasks: +cifar10 +dtd -mnist, fruit changed"]
    (many,) = differences("evaluate.tasks", [], [row(f"task{at}") for at in range(27)])
    assert many == "evaluate.tasks: +task0 +task1 +task2, 24 more"
    assert differences("a.b", "x" * 64, "y" * 64) == ["a.b changed"]
    assert differences("a", [0.9, 0.98], [0.9, 0.95]) == ["a: [0.9, 0.98] -> [0.9, 0.95]"]
    assert differences("a", [*range(30)], [*range(30)][::-1]) == ["a changed"]


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    root = str(tmp_path)
    record = step().run(context(), root)
    (Path(record.path) / "step.json").write_text("{")
    assert step().finished(root, {}) is None
    assert why(step(config={"pages": 2}), root, {}) == "never run"
