"""Recipes: merging, overriding, and one line for every way to get one wrong."""

from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import Field, field_validator

from orchestration.recipe import Recipe, load, load_model, shipped_recipes, written_yaml
from orchestration.recipe_file import merge, read_document
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.settings_errors import known_keys, nearest_key


class Optimizer(Settings):
    learning_rate: float = Field(default=0.0005, gt=0)
    name: Literal["adamw", "sgd"] = "adamw"
    steps: int = 10
    token: str = "none"
    betas: tuple[float, ...] = (0.9, 0.98)
    nesterov: bool = False

    @field_validator("token")
    @classmethod
    def _no_blank(cls, token: str) -> str:
        if " " in token:
            raise ValueError(f"{token!r} holds a blank; leave it out")
        return token


class Small(Settings):
    name: str
    train: Optimizer | None = None
    other: dict[str, str] = Field(default_factory=dict)


def write(folder: Path, text: str, name: str = "my.yaml") -> str:
    path = folder / name
    path.write_text(text, "utf-8")
    return str(path)


def mistake(path: str, *sets: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_model(Small, path, sets)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def good(tmp_path: Path) -> str:
    return write(tmp_path, "name: good\ntrain: {learning_rate: 0.1}\n")


def test_every_shipped_recipe_is_valid_and_its_head_tells_result_cost_and_command() -> None:
    assert {"clip-small", "clip-vit-b-32", "demo", "igpt-s", "openstax", "smoke"} <= set(shipped_recipes())
    folder = Path(__file__).parents[2] / "orchestration" / "recipes"
    for name in shipped_recipes():
        assert load(name).name == name
        head = (folder / f"{name}.yaml").read_text("utf-8").split("\nextends:")[0].split("\nname:")[0]
        assert all(word in head for word in ("# Expect ", "# Cost ", "# Command  openwit "))


def test_a_value_is_set_by_its_dotted_key_with_yaml_types(good: str) -> None:
    sets = ["train.learning_rate=1e-4", "train.steps=3", "train.betas=[0.5, 0.6]", "train.nesterov=true", "name='007'"]
    assert load_model(Small, good, sets) == Small(
        name="007", train=Optimizer(learning_rate=1e-4, steps=3, betas=(0.5, 0.6), nesterov=True)
    )
    assert load_model(Small, good, ["train=null"]).train is None
    assert load_model(Small, good, ["train.steps=1", "train.steps=2"]).train == Optimizer(learning_rate=0.1, steps=2)


def test_a_value_may_hold_an_equals_sign(good: str) -> None:
    assert load_model(Small, good, ["other.url=http://x/?a=b"]).other == {"url": "http://x/?a=b"}


def test_extends_merges_sections_and_replaces_lists(tmp_path: Path) -> None:
    write(tmp_path, "name: base\ntrain: {steps: 5, betas: [1, 2, 3]}\n", "base.yaml")
    child = write(tmp_path, "extends: base.yaml\nname: child\ntrain: {betas: [4]}\n", "child.yaml")
    assert load_model(Small, child) == Small(name="child", train=Optimizer(steps=5, betas=(4.0,)))


def test_a_shipped_recipe_can_be_extended_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "extends: demo\nname: mine\ntrain: {learning_rate: 0.25}\n")
    mine, demo = load(path), load("demo")
    assert mine.train is not None
    assert mine.train.learning_rate == 0.25
    assert mine.curate == demo.curate


def test_merge_equals_its_slow_twin_on_flat_keys() -> None:
    def flat(value: object, prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
        if not isinstance(value, dict) or not value:
            return {prefix: value}
        return {key: each for name, below in value.items() for key, each in flat(below, (*prefix, name)).items()}

    base = {"a": {"b": 1, "c": {"d": 2, "e": [1]}}, "f": 3}
    change = {"a": {"c": {"d": 9, "new": 0}}, "f": {"g": 1}}
    expected = {key: value for key, value in flat(base).items() if key != ("f",)} | flat(change)
    assert flat(merge(base, change)) == expected
    assert base == {"a": {"b": 1, "c": {"d": 2, "e": [1]}}, "f": 3}


def test_an_unknown_key_is_named_in_full_with_the_nearest_one(good: str) -> None:
    assert mistake(good, "train.optim.lrr=1") == "train.optim.lrr: unknown key; did you mean train.learning_rate?"
    assert mistake(good, "trian.steps=1") == "trian.steps: unknown key; did you mean train.steps?"
    assert mistake(good, "qqq=1") == "qqq: unknown key; a recipe has name, other, train"
    beside = "betas, learning_rate, name, nesterov, steps, token"
    assert mistake(good, "train.qqq=1") == f"train.qqq: unknown key; train has {beside}"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("train.lrr", "train.learning_rate"),
        ("train.batch_size", "train.global_batch_size"),
        ("train.warmup", "train.warmup_steps"),
        ("curate.fetch.size", "curate.fetch.image_size"),
        ("evaluate.task", "evaluate.tasks"),
        ("learning_rate", "train.learning_rate"),
    ],
)
def test_the_hint_is_the_key_that_people_mean(wrong: str, meant: str) -> None:
    assert nearest_key(wrong, known_keys(Recipe)) == meant


def test_a_wrong_value_is_shown_with_one_that_would_do(good: str) -> None:
    assert (
        mistake(good, "train.learning_rate=fast")
        == "train.learning_rate: 'fast' is not a number; give one such as 0.0005"
    )
    assert mistake(good, "train.steps=1.5") == "train.steps: 1.5 is not a whole number; give one such as 10"
    assert (
        mistake(good, "train.nesterov=maybe") == "train.nesterov: 'maybe' is not true or false; give one such as true"
    )
    assert mistake(good, "train.betas=0.9") == "train.betas: 0.9 is not a list; give one such as [0.9, 0.98]"
    assert mistake(good, "train.betas=[0.9, x]") == "train.betas.1: 'x' is not a number; give one such as 0.5"
    assert mistake(good, "name=3") == "name: 3 is not text; give one such as 'text' in quotes"
    assert mistake(good, "train=3") == "train: 3 is not a section; write its keys below train"
    assert mistake(good, "train.learning_rate=0") == "train.learning_rate: 0 is out of range; it must be more than 0"
    assert mistake(good, "train.name=adam") == "train.name: 'adam' is not one of adamw, sgd; did you mean adamw?"
    assert mistake(good, "train.token='a b'") == "train.token: 'a b' holds a blank; leave it out"


def test_several_mistakes_are_one_line_with_their_number(good: str) -> None:
    message = mistake(good, "train.learning_rate=fast", "train.steps=x", "train.zzzz=1")
    assert message == "train.learning_rate: 'fast' is not a number; give one such as 0.0005 (and 2 more)"


def test_a_missing_key_says_how_to_give_it(tmp_path: Path) -> None:
    path = write(tmp_path, "train: {}\n")
    assert mistake(path) == "name: missing; write it in the recipe or give --set name=..."


def test_a_set_that_cannot_be_applied_says_why(good: str) -> None:
    assert mistake(good, "name").startswith("--set name: not of the form key=value; write for example ")
    assert mistake(good, "name.x=3") == "--set name.x=3: name is 'good', which has no keys below it"
    assert "give all of it: --set train.betas=[first, second]" in mistake(good, "train.betas=[1]", "train.betas.0=1")
    assert mistake(good, "train.steps=[1").startswith("--set train.steps=[1: line 1, column ")


def test_an_unknown_recipe_lists_the_known_ones_nearest_first() -> None:
    with pytest.raises(ConfigError, match=r"^dmo: unknown recipe; did you mean demo\? known: demo, .*\.yaml file$"):
        load("dmo")
    with pytest.raises(ConfigError, match=r"^nowhere/x\.yaml: no such file; check the path, or use one of .*demo, "):
        load("nowhere/x.yaml")


def test_broken_files_are_named_with_the_line(tmp_path: Path) -> None:
    syntax = write(tmp_path, "name: a\ntrain: [1, 2\nother: 3\n")
    assert mistake(syntax).startswith(f"{syntax}: line 3, column ")
    twice = write(tmp_path, "name: a\nname: b\n")
    assert mistake(twice) == f"{twice}: line 2, column 1: the key 'name' is written twice; keep one"
    tab = write(tmp_path, "name:\n\t- a\n")
    assert mistake(tab).startswith(f"{tab}: line 2, column 1: ")
    assert "empty" in mistake(write(tmp_path, "# nothing\n"))
    assert "is not a recipe" in mistake(write(tmp_path, "- a\n- b\n"))
    assert "is a folder" in mistake(f"{tmp_path}/")
    number = write(tmp_path, "1: a\n")
    assert "the key '1' is not text" in mistake(number)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    assert "is not UTF-8" in mistake(str(tmp_path / "latin.yaml"))
    (tmp_path / "null.yaml").write_bytes(b"name: \x00\n")
    assert "\x00" not in mistake(str(tmp_path / "null.yaml"))


def test_a_loop_of_extends_is_told_and_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml\nname: a\n", "a.yaml")
    write(tmp_path, "extends: a.yaml\n", "b.yaml")
    assert "goes round in a loop (a.yaml -> b.yaml -> a.yaml)" in mistake(str(tmp_path / "a.yaml"))
    own = write(tmp_path, "extends: my.yaml\n")
    assert "goes round in a loop (my.yaml -> my.yaml)" in mistake(own)
    lost = write(tmp_path, "extends: lost\nname: a\n")
    assert mistake(lost).startswith(f"{lost}: extends 'lost': unknown recipe; known: ")


def test_a_recipe_can_name_no_code(tmp_path: Path) -> None:
    path = write(tmp_path, f"name: !!python/object/apply:os.system ['touch {tmp_path}/owned']\n")
    assert mistake(path).endswith("tags (!...) are not allowed; write plain values")
    assert not (tmp_path / "owned").exists()


def test_recipes_built_to_exhaust_memory_are_refused_fast(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "too large to be a recipe" in mistake(write(tmp_path, "\n".join(lines)))
    assert "too deep or too large" in mistake(write(tmp_path, "a: &a [*a]\n"))
    assert "too deep" in mistake(write(tmp_path, "a: " + "[" * 20_000 + "\n"))
    assert "larger than" in mistake(write(tmp_path, "a: " + "x" * 2_000_000))


def test_only_the_environment_that_is_asked_for_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENWIT_TEST_TOKEN", "s3cret")
    path = write(tmp_path, "name: $HOME ${HOME} ~\ntrain: {token: 'x-${env:OPENWIT_TEST_TOKEN}'}\n")
    small = load_model(Small, path)
    assert small.name == "$HOME ${HOME} ~"
    assert small.train is not None
    assert small.train.token == "x-s3cret"
    missing = mistake(path, "name=${env:OPENWIT_NOT_SET}")
    assert missing == "name: the environment variable OPENWIT_NOT_SET is not set; export OPENWIT_NOT_SET=..."


def test_what_came_from_the_environment_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENWIT_TEST_TOKEN", "s3cret word")
    path = write(tmp_path, "name: a\ntrain: {token: '${env:OPENWIT_TEST_TOKEN}'}\n")
    assert "s3cret" not in mistake(path)
    assert "s3cret" not in mistake(path, "train.learning_rate=${env:OPENWIT_TEST_TOKEN}")
    assert "s3cret" not in str(read_document(path).written)
    contact = "curate.network.contact=${env:OPENWIT_TEST_TOKEN}"
    assert load("demo", [contact]).shown()["curate"]["network"]["contact"] == "${env:OPENWIT_TEST_TOKEN}"
    assert "s3cret" not in written_yaml("demo", [contact])


def test_the_recipe_that_a_job_takes_along_is_the_same_recipe(tmp_path: Path) -> None:
    path = write(tmp_path, written_yaml("smoke", ["train.learning_rate=0.25"]))
    assert "extends" not in yaml.safe_load(Path(path).read_text("utf-8"))
    assert load(path) == load("smoke", ["train.learning_rate=0.25"])


@pytest.mark.parametrize(
    ("sets", "way_out"),
    [
        (["data=somewhere"], "both data and curate are given; keep one"),
        (["curate=null"], "train has no dataset; add curate, or data:"),
        (["train=null"], "evaluate has no model; add train, or checkpoint:"),
        (["train=null", "evaluate=null", "curate=null"], "nothing to do; add at least one of"),
    ],
)
def test_sections_that_do_not_fit_together_are_told_by_the_recipes_name(sets: list[str], way_out: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("demo", sets)
    assert str(caught.value).startswith(f"demo: {way_out}")
