import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.catalog.benchmarks import Prompts
from evaluation.protocols.spoken import canonical_text, read_descriptions, spoken
from evaluation.protocols.zero_shot_classifier import classifier
from pipeline.errors import ConfigError
from tests.evaluation.protocols.test_zero_shot_classifier import embed

PROMPTS = Prompts({"n01": ("missile", "rocket"), "n02": ("missile",), "n03": ("sun glasses",)}, ("a {}.", "{}"), "v")


def written(folder: Path, value: Any) -> str:
    path = folder / "said.json"
    path.write_text(json.dumps(value))
    return str(path)


CUPL = {"missile": ["It flies.", "It is long."], "Sun_Glasses": ["Dark lenses."], "boat": ["It floats."]}


@pytest.mark.parametrize("shipped", [False, True])
def test_descriptions_are_joined_by_any_name_and_say_where_they_are_from(shipped: bool, tmp_path: Path) -> None:
    value = {"generator": "a model", "classes": CUPL} if shipped else CUPL
    found = read_descriptions("task", written(tmp_path, value), PROMPTS)
    assert found.sentences["n01"] == found.sentences["n02"] == ("It flies.", "It is long.")  # a name of two classes
    assert found.provenance["sentences"] == 5
    assert found.provenance["unused"] == ["boat"]
    assert found.provenance.get("generator") == ("a model" if shipped else None)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ({"missile": ["x"]}, "has no sentence for class 'n03' (sun glasses)"),
        ({"missile": "x"}, "'missile' holds no list of sentences"),
        ({"missile": [""]}, "'missile' holds no list of sentences"),
        (["x"], "is no object of class -> sentences"),
    ],
)
def test_a_file_that_does_not_fit_is_told_in_one_line(value: Any, word: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        read_descriptions("task", written(tmp_path, value), PROMPTS)
    assert word in str(told.value)
    assert str(told.value).startswith("evaluate.zero_shot.descriptions.task: ")
    (tmp_path / "no.json").write_text("{")
    for name, problem in (("no.json", "is no JSON"), ("none.json", "there is no such file")):
        with pytest.raises(ConfigError, match=problem):
            read_descriptions("task", str(tmp_path / name), PROMPTS)


def test_templates_and_descriptions_are_averaged_as_unit_embeddings(tmp_path: Path) -> None:
    said = read_descriptions("task", written(tmp_path, CUPL), PROMPTS)
    for with_templates in (True, False):
        words = classifier(embed, spoken(PROMPTS, said, with_templates))
        for c, (label, names) in enumerate(PROMPTS.classes.items()):
            sentences = [t.replace("{}", name) for t in PROMPTS.templates for name in names] if with_templates else []
            rows = embed([*sentences, *said.sentences[label]])
            mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
            np.testing.assert_allclose(words.weights[c], mean / np.linalg.norm(mean), atol=1e-6)
        assert words.single.shape == (2 if with_templates else 0, 3, 8)


def test_canonical_text_is_big_visions() -> None:
    assert canonical_text("  A Photo_of  the 'St. Bernard', 2-D!\n") == "a photo of the st bernard 2d"
    assert spoken(PROMPTS, canonical=True).ensemble()[2] == ["a sun glasses", "sun glasses"]
