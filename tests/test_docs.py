"""Documents that run: each command in the READMEs exists, each --help answers, each link leads somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from orchestration.cli import cli

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "runs" for part in path.relative_to(ROOT).parts)
)
QUICK = ("plan", "models", "tasks", "inspect", "doctor")
"""Commands of the README that are run as they stand; the others are parsed, and run by the end-to-end tests."""


def commands() -> list[tuple[str, list[str]]]:
    """(document, words) of each `openwit ...` line in a shell block."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", document.read_text("utf-8"), re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] == "openwit":
                    found.append((document.relative_to(ROOT).as_posix(), words))
    return found


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = [(path, group)]
    for name, command in group.commands.items():
        found += leaves(command, (*path, name)) if isinstance(command, click.Group) else [((*path, name), command)]
    return found


@pytest.mark.parametrize(
    ("document", "words"), commands(), ids=lambda value: " ".join(value) if isinstance(value, list) else value
)
def test_each_command_in_a_document_is_one_that_exists(document: str, words: list[str]) -> None:
    group: click.Command = cli
    rest = words[1:]
    context = click.Context(cli)
    while isinstance(group, click.Group):
        if group.invoke_without_command and (not rest or rest[0].startswith("-")):
            break
        name = rest.pop(0)
        assert name in group.commands, f"{document}: openwit has no command {name}"
        group = group.commands[name]
        context = click.Context(group, parent=context, info_name=name)
    group.make_parser(context).parse_args(args=list(rest))


@pytest.mark.parametrize("path", [path for path, _ in leaves(cli)], ids=" ".join)
def test_each_help_answers_in_words(path: tuple[str, ...]) -> None:
    command = dict(leaves(cli))[path]
    with click.Context(command, info_name=" ".join(("openwit", *path))) as context:
        text = command.get_help(context)
    assert "Usage: openwit" in text
    assert command.help
    assert not command.help.startswith("TO" + "DO")


def test_the_readmes_quick_commands_run(tmp_path: Path) -> None:
    run = [words for document, words in commands() if document == "README.md" and words[1] in QUICK]
    assert {words[1] for words in run} == set(QUICK)
    for words in run:
        if words[1] == "inspect":
            continue  # needs a finished run: tests/end_to_end
        if "--pilot" in words:
            words = ["smoke" if word == "demo" else word for word in words]  # the same web at a tenth of its size
        words = [*words[1:], *(["--root", str(tmp_path)] if words[1] == "plan" else [])]
        done = subprocess.run(
            [sys.executable, "-m", "orchestration.cli", *words], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"openwit {' '.join(words)}: {done.stderr}"


def test_the_readmes_recipe_is_a_recipe(tmp_path: Path) -> None:
    from orchestration.recipe import load

    block = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    path = tmp_path / "longer.yaml"
    path.write_text(block[1])
    recipe = load(str(path))
    assert recipe.train is not None
    assert recipe.train.steps == yaml.safe_load(block[1])["train"]["steps"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_link_in_a_document_leads_to_a_file(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", document.read_text("utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_each_room_has_a_readme_that_says_how_to_add_one_more() -> None:
    for room in ("pipeline", "training", "evaluation", "orchestration"):
        text = (ROOT / room / "README.md").read_text("utf-8").lower()
        assert "add" in text
        assert "where" in text
        assert "number" in text or "figures" in text
