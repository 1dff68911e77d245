"""Evaluation over a folder with some of the datasets: those present are measured, each other is a row that says what is wrong."""

from pathlib import Path

import pytest
from miniatures import make

from evaluation.catalog.benchmarks import find
from evaluation.config import EvaluateConfig
from evaluation.pictures.open import open_pictures
from evaluation.run import evaluate

OWN = """\
title: pictures of ours
folder: ours
layouts: [image-folder]
classes: {cat: [cat, kitten], t-shirt: [tee]}
templates: ["a photo of a {}.", "a drawing of a {}."]
splits: {train: null, test: 3}
"""


def test_what_is_present_is_measured_and_the_rest_is_said(checkpoint_folder: str, tmp_path: Path) -> None:
    datasets = tmp_path / "datasets"
    make("image-folder", datasets / "ours")
    make("rendered-sst2", datasets / "rendered-sst2")
    make("cifar10", datasets / "cifar10")
    (datasets / "cifar10/cifar-10-batches-py/test_batch").write_bytes(b"\x80\x02cos\nsystem\n.")
    card = tmp_path / "ours.yaml"
    card.write_text(OWN.replace("folder: ours", f"folder: {datasets / 'ours'}"))
    tasks = (str(card), "pets", "rendered-sst2", "cifar10")
    config = EvaluateConfig(tasks=tasks, protocols=("zero_shot",), datasets=str(datasets), batch_size=8)
    report = evaluate(config, checkpoint_folder, str(tmp_path / "out"))
    rows = {row["task"]: row for row in report.absent}
    assert {name: row["status"] for name, row in rows.items()} == {
        "pets": "absent",
        "rendered-sst2": "broken",
        "cifar10": "broken",
    }
    assert rows["pets"]["reason"].endswith(
        "/datasets/pets: no such folder, or nothing in it; pets is expected there; `openwit tasks fetch pets` gets it"
    )
    assert "has 2 pictures, its benchmark has 1,821" in rows["rendered-sst2"]["reason"]
    assert "test_batch: asks to call os.system; it is no file of CIFAR's, refused" in rows["cifar10"]["reason"]
    assert {score.task for score in report.scores} == {"ours"}


CLOTHES = """\
title: clothing, a subset of ten classes
folder: {folder}
layouts: [image-folder]
classes: [dress, hat, longsleeve, outwear, pants, shirt, shoes, shorts, skirt, t-shirt]
templates: ["a photo of a {{}}."]
source: github.com/alexeygrigorev/clothing-dataset-small
licence: public domain
splits: {{train: 600, val: 341, test: 372}}
"""


@pytest.mark.shared
def test_real_pictures_are_a_task_in_ten_lines(checkpoint_folder: str, shared: Path, tmp_path: Path) -> None:
    card = tmp_path / "clothing.yaml"
    card.write_text(CLOTHES.format(folder=shared / "data" / "clothing-dataset-small"))
    config = EvaluateConfig(tasks=(str(card),), protocols=("zero_shot",))
    report = evaluate(config, checkpoint_folder, str(tmp_path / "out"))
    assert report.absent == ()
    assert report.score("clothing/zero_shot/top1/ensemble").n == 372
    assert open_pictures(find(str(card)), "trainval").count == 600 + 341
