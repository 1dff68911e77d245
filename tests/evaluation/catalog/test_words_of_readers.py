"""The readers give the very words that the class tables are keyed by: checked on the miniatures of every official layout."""

from pathlib import Path

import pytest
from miniatures import MINIATURES, make

from evaluation.catalog.benchmarks import find, names, prompts_of
from evaluation.pictures.joining import plain

TRANSLATED = {"imagenetv2", "imagenet-real", "imagenet-a", "imagenet-r", "objectnet", "sun397@datacomp", "birdsnap"}
"""Their words are numbers, further classes, or written with other signs: evaluation/pictures/joining.py joins them."""


@pytest.mark.parametrize("name", sorted(set(MINIATURES) - TRANSLATED))
def test_labels_on_disk_are_keys_of_the_table(name: str, tmp_path: Path) -> None:
    made = make(name, tmp_path)
    tasks = [find(task) for task in names()]
    asked = [task for task in tasks if made.layout.partition("@")[0] in task.layouts and task.prompts]
    for task in asked:
        assert task.prompts
        columns = {split: [label for label, _ in rows] for split, rows in made.splits.items()}
        if task.label != made.column:
            columns = {split: list(values[task.label]) for split, values in made.columns.items()}
            assert columns
        words = {word for values in columns.values() for value in values for word in _several(value)}
        assert words <= set(prompts_of(task.prompts).classes)


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def test_birds_are_called_alike_with_and_without_their_apostrophes() -> None:
    keys = {plain(key) for key in prompts_of("birdsnap").classes}
    assert {plain("Anna’s_Hummingbird"), plain("Allen's Hummingbird"), plain("Bells_Vireo")} <= keys


@pytest.mark.parametrize("name", names())
def test_no_two_classes_are_called_alike_however_a_name_is_written(name: str) -> None:
    prompts = find(name).prompts
    owners: dict[str, set[str]] = {}
    for key, called in prompts_of(prompts).classes.items() if prompts else ():
        for word in (key, *called):
            owners.setdefault(plain(word), set()).add(key)
    shared = {word for word, keys in owners.items() if len(keys) > 1}
    assert shared == ({"missile", "sunglasses"} if prompts == "imagenet" else set())
