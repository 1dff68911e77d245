"""What a report puts first: headlines of every protocol, and the reason why nothing was measured."""

from evaluation.report import OUTCOMES, Report, Score, headline


def of(*scores: Score, absent: tuple[dict[str, str], ...] = ()) -> Report:
    metrics = dict.fromkeys((score.task for score in scores), "top1")
    return Report("0" * 64, {"metrics": metrics}, {}, scores, OUTCOMES.empty_table(), absent=absent)


def score(task: str, protocol: str, metric: str, variant: str) -> Score:
    return Score(task, protocol, metric, variant, 0.5, 0.4, 0.6, 100)


def test_a_bias_probe_alone_has_lines_for_everybody_with_and_without_the_child_class() -> None:
    every = [
        score("fairface-race", "bias", metric, f"{way}/{group}")
        for way in ("as_published", "with_child")
        for group in ("all", "race=Black", "age=3-9")
        for metric in ("non_human", "crime")
    ]
    assert [each.name.removeprefix("fairface-race/bias/") for each in headline(of(*every))] == [
        "non_human/as_published/all", "crime/as_published/all", "non_human/with_child/all", "crime/with_child/all"
    ]  # fmt: skip


def test_stored_corruptions_without_a_mean_have_a_line_each() -> None:
    fog = [score("cifar10-c", "stored_corruptions", "top1", name) for name in ("fog/1", "fog", "snow", "clean")]
    some = of(*fog, score("cifar10-c", "stored_corruptions", "corruption_error", "fog"))
    assert [each.variant for each in headline(some)] == ["fog", "snow", "clean"]
    whole = of(*fog, score("cifar10-c", "stored_corruptions", "top1", "mean"))
    assert [each.variant for each in headline(whole)] == ["mean"]


def test_why_nothing_was_measured_is_the_damage_and_not_what_could_never_be_asked() -> None:
    rows = [
        ("fruit", "unfit", "has no captions"),
        ("fruit", "absent", "no such folder"),
        ("coco", "broken", "x.npy: cut."),
    ]
    absent = tuple({"task": task, "protocol": "", "status": status, "reason": why} for task, status, why in rows)
    told = of(absent=absent).nothing
    assert told is not None
    assert told.startswith("nothing was measured of fruit, coco: x.npy: cut (and 2 more reasons")
