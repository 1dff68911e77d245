import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.catalog import benchmarks as catalog
from evaluation.catalog import references
from evaluation.catalog.suites import SUITES
from evaluation.config import EvaluateConfig
from evaluation.pictures import pictures
from evaluation.protocols.classified import label_positions
from pipeline.demo.casting import EVALUATION_SCENES
from pipeline.errors import ConfigError, DataError
from pipeline.overlap.reference_sets import PICTURES


@pytest.mark.parametrize("task", [catalog.find(name) for name in SUITES["small"]], ids=lambda task: task.name)
def test_each_drawn_row_has_its_pictures_labels_and_prompts(task: catalog.Task) -> None:
    loaded = pictures.load(task.loader, task.split, task.pictures)
    assert len(loaded.column(task.label)) == loaded.count == task.pictures
    if task.kind == "classification":
        assert task.prompts is not None
        prompts = catalog.prompts_of(task.prompts)
        assert task.chance == pytest.approx(1 / len(prompts.classes))
        assert all(template.count("{}") == 1 for template in prompts.templates)
        names = [name for group in prompts.classes.values() for name in group]
        assert len(names) == len(set(names))
        assert set(loaded.column(task.label)) == set(prompts.classes)
        assert label_positions(loaded, task.label, prompts).max() == len(prompts.classes) - 1


def test_the_tasks_scenes_are_those_that_the_demo_web_leaks_from() -> None:
    assert pictures.SCENE_COUNTS["test"] == EVALUATION_SCENES


def test_a_class_without_prompts_is_named() -> None:
    prompts = catalog.Prompts({"circle": ("circle",)}, ("{}",), "v")
    with pytest.raises(DataError, match=r"scenes/test: class 'crescent' has no prompts; add it"):
        label_positions(pictures.load("scenes", "test"), "shape", prompts)


def test_a_dataset_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match="digits/test has 360 pictures, its benchmark has 10000"):
        pictures.load("digits", "test", 10000)


def test_an_unknown_task_is_refused_with_the_nearest_known() -> None:
    with pytest.raises(ConfigError, match="no task is called 'digit'; did you mean digits\\?"):
        EvaluateConfig(tasks=("digit",))
    with pytest.raises(ConfigError, match="'qqq'; `openwit tasks` lists"):
        EvaluateConfig(tasks=("qqq",))
    with pytest.raises(ConfigError, match="is empty"):
        EvaluateConfig(tasks=())
    with pytest.raises(ConfigError, match="'scenes' is named twice"):
        EvaluateConfig(tasks=("scenes", "scenes"))


def test_suites_stand_for_their_tasks_each_once() -> None:
    assert EvaluateConfig().tasks == EvaluateConfig(tasks=("small",)).tasks == SUITES["small"]
    chosen = EvaluateConfig(tasks=("cars", "kornblith-12", "eurosat@clip-paper")).tasks
    assert chosen[:2] == ("cars", "food101")
    assert len(chosen) == 13


def test_reference_sets_hold_each_picture_once_and_unchanged() -> None:
    sets = references.reference_sets(["scenes-colour", "scenes", "digits", "scenes-retrieval"])
    assert [(one.name, one.count) for one in sets] == [("scenes-colour", 400), ("digits", 360)]
    table = sets[1].read(2, 5)
    assert table.schema == PICTURES
    assert table.column("key").to_pylist() == ["2", "3", "4"]
    row = table.to_pylist()[1]
    stored = np.asarray(Image.open(io.BytesIO(row["image"])))
    assert (stored == np.asarray(pictures.load("digits", "test").read(row["index"]))).all()
    assert "scenes-retrieval" in references.list_names("scenes")
    assert "digits" not in references.list_names("scenes")


def test_reference_pictures_need_no_torch() -> None:
    code = (
        "import sys; from evaluation import config; from evaluation.catalog import references;"
        "references.reference_sets(['digits'])[0].read(0, 2); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pictures_on_disk_are_references_as_they_are_stored_and_absent_ones_are_none(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for word in ("a", "b"):
            (tmp_path / "letters" / split / word).mkdir(parents=True)
            Image.new("RGB", (8, 8), (len(split), ord(word), 0)).save(tmp_path / "letters" / split / word / "0.jpg")
    card = tmp_path / "letters.yaml"
    card.write_text("classes: [a, b]\nsplits: {train: 2, test: 2}\n")
    assert references.there(["digits", "dtd", str(card)], str(tmp_path)) == ["digits", str(card)]
    (one,) = pickle.loads(pickle.dumps(references.reference_sets([str(card)])))
    assert (one.name, one.count) == ("letters", 2)
    table = one.read(1, 2)
    assert table.schema == PICTURES
    assert table.column("image").to_pylist() == [(tmp_path / "letters/test/b/0.jpg").read_bytes()]
