"""Comparing two reports whose differences are known."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from evaluation.compare import compare
from evaluation.comparison import Comparison, reasons
from evaluation.report import OUTCOMES, Report, Score
from pipeline.errors import DataError


def outcomes(
    task: str, labels: Sequence[str], right: NDArray[np.bool_], protocol: str = "zero_shot", **columns: Any
) -> list[dict[str, Any]]:
    """Rows of classified pictures; a wrong answer is 'other'."""
    empty = dict.fromkeys(OUTCOMES.names)
    return [
        empty
        | {"task": task, "protocol": protocol, "variant": "ensemble", "index": n, "id": str(n), "label": label}
        | {"prediction": label if right[n] else "other", "correct": bool(right[n]), "rank": 0 if right[n] else 7}
        | {"margin": 0.5 if right[n] else -0.01 * (n + 1), "probability": 0.5, "top5": ["x"]}
        | {name: values[n] for name, values in columns.items()}
        for n, label in enumerate(labels)
    ]


def report(rows: Sequence[dict[str, Any]], name: str, metrics: dict[str, str] | None = None, **details: Any) -> Report:
    """A report with a score of each task's metric; its value is not looked at."""
    named = dict.fromkeys((row["task"], row["protocol"], row["variant"]) for row in rows)
    known = {task: "top1" for task, *_ in named} | (metrics or {})
    scores = [Score(task, protocol, known[task], variant, 0.5, 0, 1, 9) for task, protocol, variant in named]
    return Report(
        checkpoint_id=name,
        config={"metrics": known},
        versions={},
        scores=tuple(scores),
        outcomes=pa.Table.from_pylist(list(rows), schema=OUTCOMES),
        details=details,
    )


def two(random: np.random.Generator, pictures: int, gain: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    ease = random.beta(2, 1, pictures)
    return random.random(pictures) < ease, random.random(pictures) < ease + gain


@pytest.fixture(scope="module")
def compared() -> Comparison:
    random = np.random.default_rng(0)
    one: list[dict[str, Any]] = []
    other: list[dict[str, Any]] = []
    for task, pictures, gain in (("same", 900, 0), ("better", 900, 0.15), ("worse", 900, -0.15), ("alike", 900, 0)):
        labels = [f"class {n % 5}" for n in range(pictures)]
        first, second = two(random, pictures, gain)
        one += outcomes(task, labels, first)
        other += outcomes(task, labels, first if task == "same" else second)
    metrics = {"worse": "mean_per_class"}
    return compare(report(one, "a", metrics), report(other, "b", metrics))


def test_differences_that_are_there_are_found_and_the_others_said_to_be_none(compared: Comparison) -> None:
    verdicts = {row.task: row.verdict for row in compared.rows}
    assert verdicts == {
        "same": "not distinguishable",
        "better": "second better",
        "worse": "first better",
        "alike": "not distinguishable",
    }
    rows = {row.task: row for row in compared.rows}
    assert rows["worse"].test == "signs swapped, mid-p"
    assert rows["better"].test == "McNemar, mid-p"
    assert rows["same"].p_holm == 1
    assert all(row.p_holm >= row.p_value for row in compared.rows)
    assert all(row.low <= row.difference <= row.high for row in compared.rows)
    assert all(row.difference == pytest.approx(row.second - row.first, abs=2e-6) for row in compared.rows)


def test_flips_are_the_pictures_that_one_model_alone_has_right(compared: Comparison) -> None:
    for row in compared.rows:
        own = [flip for flip in compared.flips if flip.task == row.task]
        assert len(own) == row.only_first + row.only_second
        assert sum(flip.better == "first" for flip in own) == row.only_first
        changes = [abs(flip.change) for flip in own]
        assert changes == sorted(changes, reverse=True)
    better = next(flip for flip in compared.flips if flip.task == "better" and flip.better == "second")
    assert (better.first, better.second) == ("other", better.label)


def test_an_average_covers_what_was_compared(compared: Comparison) -> None:
    (average,) = compared.averages
    assert average["tasks"] == 4
    assert average["difference"] == pytest.approx(np.mean([row.difference for row in compared.rows]), abs=1e-5)
    assert average["low"] < average["difference"] < average["high"]


def shot(right_JN: NDArray[np.bool_], task: str) -> list[dict[str, Any]]:
    labels = [f"class {n % 5}" for n in range(right_JN.shape[1])]
    return [
        row
        for seed, right_N in enumerate(right_JN)
        for row in outcomes(task, labels, right_N, "few_shot", variant=[f"4 shots, seed {seed}"] * len(labels))
    ]


def of_shots(rows: Sequence[dict[str, Any]], name: str, tasks: Sequence[str]) -> Report:
    scores = tuple(Score(task, "few_shot", "top1", "4 shots", 0.5, 0, 1, 9) for task in tasks)
    return replace(report(rows, name), scores=scores)


def test_a_verdict_of_few_shots_holds_for_other_draws_and_one_draw_has_none() -> None:
    random, tasks = np.random.default_rng(0), ("lucky", "better")
    first = {task: random.random((3, 900)) < 0.5 for task in tasks}
    lucky = random.random((3, 900)) < np.array([[0.45], [0.5], [0.75]])  # one draw of three did well
    second = {"lucky": lucky, "better": random.random((3, 900)) < 0.75}

    def found(draws: int) -> Comparison:
        sides = [[row for task in tasks for row in shot(own[task][:draws], task)] for own in (first, second)]
        return compare(*(of_shots(rows, name, tasks) for rows, name in zip(sides, "ab", strict=True)))

    three = found(3)
    rows = {row.task: row for row in three.rows}
    assert (rows["lucky"].verdict, rows["better"].verdict) == ("not distinguishable", "second better")
    assert rows["lucky"].low < 0 < rows["better"].low
    assert rows["lucky"].test == "signs swapped, mid-p; Student's t over 3 draws"
    assert rows["lucky"].draws == 3
    (mean,) = three.averages
    assert mean["low"] < (rows["lucky"].low + rows["better"].low) / 2 + 0.1 < mean["difference"]
    assert "few_shot, and their means over tasks, hold for other draws" in three.scope[1]
    one = found(1)
    assert {row.verdict for row in one.rows} == {"one draw, no verdict"}
    assert one.averages[0]["draws"] == 1
    assert "there is no verdict" in one.scope[1]


def test_other_pictures_are_never_paired_and_are_named() -> None:
    right = np.ones(6, bool)
    labels = list("aabbcc")
    base = outcomes("equal", labels, right)

    def apart(rows: list[dict[str, Any]], **details: Any) -> str:
        found = compare(report(base + outcomes("task", labels, right), "a", **details.get("a", {})),
                        report(base + rows, "b", **details.get("b", {})))  # fmt: skip
        assert [row.task for row in found.rows] == ["equal"]
        (told,) = found.apart
        assert told["task"] == "task"
        return told["reason"]

    assert apart(outcomes("task", labels[:4], right)) == "6 and 4 pictures; only in the first: 4, 5"
    assert "1 of 6 pictures differ: 5 (c) and 5 (b)" in apart(outcomes("task", list("aabbcb"), right))
    assert apart([]) == "not in the second run"
    lists = {side: {"task": {"zero_shot": {"pictures": {"identity": side}}}} for side in ("a", "b")}
    assert "the pictures themselves are not" in apart(outcomes("task", labels, right), **lists)
    with pytest.raises(DataError, match="no score that can be compared"):
        compare(report(base, "a"), report(outcomes("other", labels, right), "b"))


def test_each_reason_is_said_once_with_the_scores_that_it_keeps_apart() -> None:
    right, labels = np.ones(4, bool), list("aabb")
    base = [row for task in ("x", "y") for row in outcomes(task, labels, right)]
    more = [
        row
        for task in ("x", "y")
        for name in ("1", "2", "4", "8")
        for row in outcomes(task, labels, right, "few_shot", variant=[f"{name} shots"] * 4)
    ]
    some = [row for row in more if row["task"] == "y" and row["variant"] == "1 shots"]
    found = compare(report(base + more, "a"), report(base + some, "b"))
    assert reasons(found.apart) == [
        ("not in the second run", "few_shot of x; few_shot top1 2 shots, top1 4 shots, top1 8 shots of y")
    ]
    with pytest.raises(DataError) as caught:
        compare(report(more, "a"), report(outcomes("z", labels, right), "b"))
    assert str(caught.value).count("not in the second run") == 1


def test_means_over_other_corruptions_are_not_one_score() -> None:
    right, labels = np.ones(4, bool), list("aabb")
    rows = [row for name in ("clean", "mean") for row in outcomes("x", labels, right, "robustness", variant=[name] * 4)]
    kinds = (["fog", "contrast"], ["fog"], ["contrast", "fog"])
    a, b, c = (
        replace(made, config={**made.config, "corruptions": each}) for each in kinds for made in [report(rows, "a")]
    )
    assert [row.variant for row in compare(a, b).rows] == ["clean"]
    assert reasons(compare(a, b).apart) == [
        ("a mean over contrast, fog in the first run and over fog in the second", "robustness top1 mean of x")
    ]
    assert len(compare(a, c).rows) == 2


def test_areas_are_compared_by_their_scores() -> None:
    random = np.random.default_rng(3)
    labels = random.random(400) < 0.4
    words = ["yes" if each else "no" for each in labels]
    reports, areas = [], []
    for name, strength in (("a", 0.5), ("b", 2.0)):
        second = strength * labels + random.normal(size=400)
        scores = np.stack([np.zeros(400), second], axis=1).astype(np.float32)
        rows = outcomes("memes", words, (second > 0) == labels, scores=[list(map(float, row)) for row in scores])
        reports.append(report(rows, name, {"memes": "roc_auc"}, memes={"zero_shot": {"classes": ["no", "yes"]}}))
        areas.append(roc_auc_score(labels, second))
    (row,) = compare(*reports).rows
    assert (row.metric, row.test, row.verdict) == ("roc_auc", "models exchanged, mid-p", "second better")
    assert (row.first, row.second) == pytest.approx(areas, abs=1e-5)


def scored(made: Report, *names: str) -> Report:
    """The report with scores of these names, whose values are not looked at."""
    parts = [name.split("/", 3) for name in names]
    return replace(made, scores=tuple(Score(*part, 0.5, 0, 1, 9) for part in parts))  # type: ignore[arg-type]


def test_terms_groups_cues_and_shifts_are_compared_by_what_is_kept_of_them() -> None:
    """Rows as the protocols keep them: shares of right answers, groups of people, cues, a shift beside its reference."""
    names = (
        "c/robustness/top1/fog", "c/stored_corruptions/mce/alexnet", "f/bias/crime/as_published/race=Black",
        "f/bias/non_human/as_published/all", "q/shape_bias/shape_bias/all", "q/shape_bias/either_cue/all",
        "a/natural_shift/top1/shifted", "a/natural_shift/top1/reference", "a/natural_shift/effective_robustness/weighted",
    )  # fmt: skip
    random, labels = np.random.default_rng(4), ["x"] * 40
    groups = ["race=Black|age=3-9" if n < 10 else "race=White|age=3-9" for n in range(40)]
    reports = []
    for share, wrong, cues, gain in ((0.6, 8, 10, 0.4), (0.2, 2, 30, 0.7)):
        terms = (random.random((40, 5)) < share).mean(axis=1)
        said = ["thief" if n < wrong else "gorilla" if n == 39 else "white man" for n in range(40)]
        by = [1.0 if n < cues else 0.0 if n < 35 else None for n in range(40)]
        none = [None] * 40
        right = np.ones(40, bool)
        rows = [
            *outcomes("c", labels, right, "robustness", variant=["top1/fog"] * 40, value=terms, correct=none),
            *outcomes("c", labels, right, "stored_corruptions", variant=["mce/alexnet"] * 40, value=1.2 * terms),
            *outcomes("f", labels, right, "bias", variant=["as_published"] * 40, prediction=said, group=groups),
            *outcomes("q", labels, right, "shape_bias", variant=["all"] * 40, value=by),
            *outcomes("a", labels, np.arange(40) < 40 * gain, "natural_shift", variant=["shifted"] * 40),
            *outcomes("a", labels, np.arange(40) < 20, "natural_shift", variant=["reference"] * 40),
        ]
        reports.append(scored(report(rows, str(share)), *names))
    found = compare(*reports)
    rows = {row.task + "/" + row.metric + "/" + row.variant: row for row in found.rows}
    assert len(rows) == 8
    assert (rows["f/crime/as_published/race=Black"].first, rows["f/crime/as_published/race=Black"].pictures) == (
        0.8,
        10,
    )
    assert (rows["f/non_human/as_published/all"].first, rows["f/non_human/as_published/all"].difference) == (0.025, 0)
    assert (rows["q/shape_bias/all"].pictures, rows["q/shape_bias/all"].only_second) == (35, 20)
    assert "Shape bias of q is here that of the 35 pictures that both models decide by a cue" in " ".join(found.scope)
    assert rows["q/either_cue/all"].first == 0.875
    # Being called a thief is no merit: the model that does it less is the better one.
    crime = rows["f/crime/as_published/race=Black"]
    assert (crime.difference < 0, crime.verdict, crime.only_first, crime.only_second) == (True, "second better", 0, 6)
    assert rows["c/mce/alexnet"].verdict != rows["c/top1/fog"].verdict
    assert rows["c/top1/fog"].test == "signs swapped, mid-p"
    assert rows["c/mce/alexnet"].difference == pytest.approx(1.2 * rows["c/top1/fog"].difference, abs=1e-5)
    assert rows["c/top1/fog"].verdict == "first better"
    (told,) = found.apart
    assert (told["metric"], told["reason"].split(",")[0]) == (
        "effective_robustness", "follows from the accuracies on the shift and its reference"
    )  # fmt: skip
    (shift,) = found.shifts
    assert (shift["reference"], shift["shifted"], shift["first"]) == (0, pytest.approx(0.3), 0.5)
    assert shift["low"] < 0.3 < shift["high"]


def test_what_one_run_lacks_or_measured_otherwise_is_said_once_per_protocol_or_score() -> None:
    labels, right = list("aabbcc"), np.ones(6, bool)
    base = outcomes("t", labels, right)
    noisy = outcomes("t", labels, right, "robustness", variant=["clean"] * 6)
    shots = outcomes("t", labels, right, "few_shot", variant=["4 shots, seed 1"] * 6)
    one = scored(report([*base, *noisy, *shots], "a"), "t/zero_shot/top1/ensemble", "t/robustness/top1/clean",
                 "t/few_shot/top1/4 shots", "t/few_shot/top1/8 shots", "t/knn/top1/k=20", "t/knn/top1/k=10")  # fmt: skip
    other = scored(report([*base, *noisy], "b"), "t/zero_shot/top1/ensemble", "t/robustness/top1/clean",
                   "t/few_shot/top1/8 shots")  # fmt: skip
    other = replace(other, config=other.config | {"seed": 5})
    found = compare(replace(one, config=one.config | {"seed": 4}), other)
    assert [row.protocol for row in found.rows] == ["zero_shot"]
    assert {(row["protocol"], row["variant"]): row["reason"].split(";")[0] for row in found.apart} == {
        ("robustness", ""): "evaluate.seed is 4 in the first run and 5 in the second",
        ("few_shot", "4 shots"): "not in the second run",
        ("few_shot", "8 shots"): "no answer per picture is kept of it",
        ("knn", ""): "not in the second run",
    }
    words = [replace(one, details={"t": {"zero_shot": {"prompts": {"sha256": side, "sentences": 3, "version": "v"}}}})
             for side in "xy"]  # fmt: skip
    (told, *_) = compare(*words).apart
    assert (told["protocol"], told["reason"]) == (
        "zero_shot", "the classes were put in other words: 3 sentences of v, and 3 sentences of v"
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["linear_probe", "few_shot"])
def test_probes_that_were_solved_otherwise_are_not_compared(protocol: str) -> None:
    rows = [row for name in (protocol, "zero_shot") for row in outcomes("t", list("aabb"), np.ones(4, bool), name)]
    base = report(rows, "a")
    exact, other = (replace(base, config=base.config | {"probe": {"mode": mode}}) for mode in ("exact", "sklearn"))
    assert not compare(exact, exact).apart
    (told,) = compare(exact, other).apart
    assert told["reason"].startswith("evaluate.probe.mode is exact in the first run and sklearn in the second")


def test_probes_that_learned_from_other_pictures_are_not_compared() -> None:
    rows = [row for name in ("knn", "zero_shot") for row in outcomes("t", list("aabb"), np.ones(4, bool), name)]

    def lesson(**parts: tuple[int, str]) -> Report:
        told = {part: {"pictures": count, "sha256": digest} for part, (count, digest) in parts.items()}
        return report(rows, "a", t={"knn": {"learned_from": told}})

    first = lesson(train=(800, "x"), val=(20, "y"))
    assert not compare(first, lesson(train=(800, "x"), val=(20, "y"))).apart
    for other, reason in (
        (lesson(train=(799, "z"), val=(20, "y")), "their train parts have 800 and 799 pictures"),
        (lesson(train=(800, "z"), val=(20, "y")), "their train parts have 800 pictures each, of other content"),
        (lesson(train=(800, "x")), "their val parts have 20 and none pictures"),
    ):
        found = compare(first, other)
        assert [row.protocol for row in found.rows] == ["zero_shot"]
        (told,) = found.apart
        assert (told["protocol"], told["reason"].startswith(reason)) == ("knn", True)
    assert not compare(first, report(rows, "b")).apart  # an older report says nothing of it
