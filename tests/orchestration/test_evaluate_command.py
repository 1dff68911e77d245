"""An evaluation that measured nothing at all does not pass for one that did, in whichever way it was asked for."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from evaluation.__main__ import main as evaluate_alone
from evaluation.corruptions.overlays import read_overlays
from orchestration.cli import main
from orchestration.recipe import load
from orchestration.steps import build_steps
from tests.evaluation.test_parts import mine, shop


def test_nothing_measured_is_exit_code_2_with_its_reason_now_and_when_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENWIT_EXECUTOR", "in-process")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recipe = tmp_path / "mine.yaml"
    settings = f"tasks: [food101, cifar10], protocols: [zero_shot], datasets: {tmp_path}, threads: 1"
    recipe.write_text(f"name: mine\ncheckpoint: '{mine(tmp_path)}'\nevaluate: {{{settings}}}\n")
    arguments = [str(recipe), "--root", str(tmp_path / "runs")]
    assert main(["evaluate", *arguments]) == 2
    shown = capsys.readouterr()
    line = shown.err.strip().splitlines()[-1]
    assert line.startswith("openwit: evaluate: nothing was measured of food101, cifar10: ")
    assert "`openwit tasks fetch food101` gets it (and 1 more reason, in the table and report.json)" in line
    assert "cifar10 is expected there" in shown.out  # and the rows, with all reasons
    (report,) = (tmp_path / "runs").glob("evaluate-*/report.json")
    assert {row["task"] for row in json.loads(report.read_text())["absent"]} == {"food101", "cifar10"}
    assert main(["run", *arguments, "--json"]) == 2
    shown = capsys.readouterr()
    assert json.loads(shown.out)["nothing_measured"] in shown.err


def test_one_score_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = shop(tmp_path, "fruit")
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"protocols": ["zero_shot"], "datasets": str(tmp_path), "threads": 1}))
    how = ["--checkpoint", mine(tmp_path), "--config", str(settings), "--out", str(tmp_path / "out")]
    assert evaluate_alone([*how, "--tasks", "food101", card]) == 0
    assert "fruit/zero_shot/top1" in capsys.readouterr().out
    assert evaluate_alone([*how, "--tasks", "food101"]) == 2
    assert capsys.readouterr().err.startswith("evaluate: nothing was measured of food101: ")


def test_a_plan_refuses_the_checkpoint_that_a_run_would_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "resnet").mkdir()
    (tmp_path / "resnet/config.json").write_text('{"model_type": "resnet"}')
    (tmp_path / "resnet/model.safetensors").write_bytes(b"")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"name: mine\ncheckpoint: {tmp_path / 'resnet'}\nevaluate: {{tasks: [digits]}}\n")
    assert main(["plan", str(recipe), "--root", str(tmp_path / "runs")]) == 2
    assert "model_type 'resnet' is not known here; clip, vit, imagegpt are" in capsys.readouterr().err


def test_what_a_step_reads_besides_its_benchmark_is_known_by_content(tmp_path: Path) -> None:
    """Another sentence or overlay under the same path, and a reference that comes later, are another evaluation."""
    words, panes, datasets = tmp_path / "words.json", tmp_path / "panes", tmp_path / "datasets"
    panes.mkdir()
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"name: mine\ncheckpoint: '{mine(tmp_path)}'\nevaluate:\n  tasks: [{shop(tmp_path, 'fruit')}, imagenet-a]\n"
        f"  datasets: {datasets}\n  protocols: [zero_shot, robustness, natural_shift]\n  corruptions: [frost]\n"
        f"  robustness: {{frost: {panes}}}\n  zero_shot: {{descriptions: {{fruit: {words}}}}}\n"
    )

    def say(sentence: str) -> None:
        words.write_text(json.dumps({"apple": [sentence], "pear": ["green"]}))

    def draw(name: str, level: int) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (level, 0, 0)).save(tmp_path / name)
        read_overlays.cache_clear()  # as in another process

    def step() -> str:
        (found,) = (each for each in build_steps(load(str(recipe))) if each.name == "evaluate")
        return json.dumps(found.config, sort_keys=True)

    say("red")
    draw("panes/pane.png", 10)
    first = step()
    assert str(words) not in first
    assert step() == first
    changes = (
        lambda: say("round"),
        lambda: draw("panes/pane.png", 250),
        lambda: draw("datasets/imagenet/val/n01498041/a.png", 10),
        lambda: draw("datasets/imagenet/val/n01498041/a.png", 250),
    )
    seen = [first]
    for change in changes:
        change()
        seen.append(step())
    assert len(set(seen)) == len(seen)
    say("red")
    draw("panes/pane.png", 10)
    shutil.rmtree(datasets)
    assert step() == first


def test_a_plan_refuses_the_descriptions_that_a_run_would_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, recipe = tmp_path / "words.json", tmp_path / "mine.yaml"
    recipe.write_text(
        f"name: mine\ncheckpoint: '{mine(tmp_path)}'\nevaluate:\n  tasks: [{shop(tmp_path, 'fruit')}]\n"
        f"  protocols: [zero_shot]\n  zero_shot: {{descriptions: {{fruit: {words}}}}}\n"
    )
    arguments = ["plan", str(recipe), "--root", str(tmp_path / "runs")]
    assert main(arguments) == 2
    assert f"openwit: evaluate.zero_shot.descriptions.fruit: {words}: there is no such file" in capsys.readouterr().err
    words.write_text('{"apple": ["red"]}')
    assert main(arguments) == 2
    assert "has no sentence for class 'pear'" in capsys.readouterr().err
    words.write_text('{"apple": ["red"], "pear": ["green"]}')
    assert main(arguments) == 0
