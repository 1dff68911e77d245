"""What of a dataset of one's own is there: a card need not name its splits, and a plan says what an evaluation meets."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from own_model import MINE
from PIL import Image

from evaluation.config import EvaluateConfig
from evaluation.models.abilities import Abilities
from evaluation.plan import plan_evaluation
from evaluation.run import evaluate
from orchestration.cli import main
from orchestration.show import not_measured

LEARNERS = ("linear_probe", "knn")
PROTOCOLS = ("zero_shot", *LEARNERS)


def shop(above: Path, name: str, words: str = "") -> str:
    """Pictures of two kinds of fruit, 6 to learn from and 4 to ask, and a card that says nothing of splits."""
    for split, count in (("train", 3), ("test", 2)):
        for at, word in enumerate(("apple", "pear")):
            folder = above / name / split / word
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (200 * at, 20 * number, 90)).save(folder / f"{number}.png")
    card = above / f"{name}.yaml"
    card.write_text(f"folder: {name}\nclasses: [apple, pear]\n{words}")
    return str(card)


def mine(above: Path) -> str:
    (above / "mine.py").write_text(MINE)
    return f"{above / 'mine.py'}:load"


Spoil = Callable[[Path], object]
CASES: dict[str, tuple[str, Spoil, tuple[str, str] | None, tuple[str, str] | None]] = {
    # name: (in its card, what is done to it, how it stands, what its learners lack)
    "whole": ("", lambda home: None, None, None),
    "counted": ("splits: {test: 4}\n", lambda home: None, None, None),
    "asked-only": (
        "",
        lambda home: shutil.rmtree(home / "train"),
        None,
        ("absent", "no training split: "),
    ),
    "promised": (
        "splits: {train: 6, test: 4}\n",
        lambda home: shutil.rmtree(home / "train"),
        None,
        ("absent", "has no split 'train'; it has test"),
    ),
    "odd-train": (
        "",
        lambda home: (home / "train/pear").rename(home / "train/zebra"),
        None,
        ("broken", "label 'zebra' is not in"),
    ),
    "odd-val": (
        "",
        lambda home: shutil.copytree(home / "train/pear", home / "val/zebra"),
        None,
        ("broken", "odd-val/val: label 'zebra'"),
    ),
    "gone": ("", shutil.rmtree, ("absent", "no such folder, or nothing in it"), None),
    "empty": ("", lambda home: [shutil.rmtree(each) for each in home.iterdir()], ("absent", "nothing in it"), None),
    "strange": (
        "",
        lambda home: [shutil.rmtree(each) for each in home.iterdir()] + [(home / "notes.txt").write_text("x")],
        ("broken", "in no layout that is known"),
        None,
    ),
    "small": (
        "splits: {train: 6, test: 5}\n",
        lambda home: None,
        ("broken", "has 4 pictures, its card says 5"),
        None,
    ),
    "outside": (
        "",
        lambda home: shutil.copytree(home / "test/pear", home / "test/kiwi"),
        ("broken", "label 'kiwi' is not in the task's table of 2"),
        None,
    ),
    "hollow": (
        "",
        lambda home: [each.unlink() for each in (home / "test/pear").iterdir()],
        ("broken", "holds no picture"),
        None,
    ),
}


def test_a_plan_and_an_evaluation_say_the_same_of_every_dataset(tmp_path: Path) -> None:
    cards = [shop(tmp_path, name, words) for name, (words, *_) in CASES.items()]
    for name, (_, spoil, *_) in CASES.items():
        spoil(tmp_path / name)
    config = EvaluateConfig(tasks=(*cards, "food101"), protocols=PROTOCOLS, bootstrap_resamples=100, threads=1)
    planned = {row["task"]: row for row in plan_evaluation(config, str(tmp_path / "features"), Abilities("mine"), 1e6)}
    report = evaluate(config, mine(tmp_path), str(tmp_path / "features"))
    met: dict[str, list[tuple[str, str, str]]] = {}
    for row in report.absent:
        met.setdefault(row["task"], []).append((row["protocol"], row["status"], row["reason"]))
    for name, (_, _, stands, lacks) in CASES.items():
        row, found = planned[name], met.get(name, [])
        whole = [] if row["status"] == "present" else [("", row["status"], row["reason"])]
        assert found == whole + [(each["protocol"], each["status"], each["reason"]) for each in row["lacks"]], name
        wanted = [("", stands)] if stands else [(each, lacks) for each in LEARNERS if lacks]
        assert [(protocol, status) for protocol, status, _ in found] == [(each, said[0]) for each, said in wanted], name
        assert all(said[1] in reason for (_, said), (_, _, reason) in zip(wanted, found, strict=True)), found
        scored = {score.protocol for score in report.scores if score.task == name}
        assert scored == (set() if stands else {"zero_shot"} if lacks else set(PROTOCOLS)), name
    assert [(status, reason) for _, status, reason in met["food101"]] == [
        (planned["food101"]["status"], planned["food101"]["reason"])
    ]
    assert planned["whole"]["to_read"] == 10


def test_what_was_asked_and_does_not_apply_is_a_row_each(tmp_path: Path) -> None:
    card = shop(tmp_path, "fruit")
    asked = EvaluateConfig(
        tasks=(card, "scenes-retrieval"), protocols=("retrieval", "layers", "few_shot_lsr"), threads=1
    )
    rows = [
        (row["task"], row["protocol"], row["status"]) for row in evaluate(asked, mine(tmp_path), str(tmp_path)).absent
    ]
    assert rows == [
        ("fruit", "retrieval", "unfit"),
        ("fruit", "layers", "unfit"),
        ("scenes-retrieval", "layers", "unfit"),
        ("scenes-retrieval", "few_shot_lsr", "unfit"),
    ]
    usual = EvaluateConfig(tasks=(card,), robustness_pictures=1, corruptions=("contrast",), threads=1)
    assert evaluate(usual, mine(tmp_path), str(tmp_path)).absent == ()  # of the usual ones those that fit are meant


def test_one_reason_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"status": "unfit", "reason": "has no captions"}
    not_measured(
        [{"task": f"t{at}", "protocol": "retrieval", **row} for at in range(6)]
        + [
            {"task": "mine", "protocol": name, "status": "absent", "reason": "no training split"}
            for name in ("linear_probe", "knn")
        ]
    )
    head, *lines = capsys.readouterr().out.strip().splitlines()
    assert head.split() == ["task", "protocol", "why", "reason"]
    assert [" ".join(line.split()) for line in lines] == [
        "t0, t1, t2, t3 and 2 more retrieval unfit has no captions",
        "mine linear_probe, knn absent no training split",
    ]


def test_the_command_prints_them_and_keeps_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = shop(tmp_path, "fruit")
    shutil.rmtree(tmp_path / "fruit/train")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"name: mine\ncheckpoint: {mine(tmp_path)}\nevaluate:\n  tasks: [{card}]\n  protocols: [zero_shot, linear_probe, knn]\n"
        "  threads: 1\n"
    )
    root = ["--root", str(tmp_path / "runs")]
    assert main(["plan", str(recipe), *root]) == 0
    assert "would not be measured:" in (told := capsys.readouterr().out)
    assert "no training split" in told
    assert main(["evaluate", str(recipe), *root]) == 0
    assert "linear_probe, knn" in (told := " ".join(capsys.readouterr().out.split()))
    assert "not measured:" in told
    assert "absent no training split" in told
    assert main(["evaluate", str(recipe), *root, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["absent"]
    assert [(row["protocol"], row["status"]) for row in rows] == [("linear_probe", "absent"), ("knn", "absent")]
