"""Protocols on pictures of other kinds: stored corruptions, natural shifts, cue conflict, faces; on miniatures in their layouts.

The model is a table: a picture's embedding says which class it is taken for.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.catalog import benchmarks as catalog
from evaluation.config import EvaluateConfig
from evaluation.features.wanted import Wanted
from evaluation.pictures.open import open_asked, open_pictures
from evaluation.pictures.pictures import Pictures
from evaluation.protocols import natural_shift
from evaluation.protocols.bias import CHILD, CRIME, GENDERS, NON_HUMAN, RACES, Bias
from evaluation.protocols.natural_shift import NaturalShift
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.shape_bias import ShapeBias
from evaluation.protocols.stored_corruptions import StoredCorruptions
from evaluation.results import key_of
from pipeline.errors import DataError

BIAS_WORDS = (*NON_HUMAN, *CRIME, *(f"{race} {gender}" for race in RACES for gender in GENDERS))


class Reader:
    """Stands for a model that reads."""

    spec = SimpleNamespace(name="table")
    reads_text = True
    checkpoint_id = "table"


def asked(
    task: catalog.Task,
    pictures: Pictures,
    answer: Callable[[Pictures], Sequence[str]],
    datasets: str | None,
    *words: str,
) -> Question:
    """A question to a model that takes each picture of a list for a name of the task's classes, or one of `words`."""
    prompts = catalog.prompts_of(task.prompts) if task.prompts else None
    names = [*words, *(name for group in prompts.classes.values() for name in group)] if prompts else list(words)

    def vector(name: str) -> np.ndarray:
        return np.random.default_rng(zlib.crc32(name.encode())).normal(size=256).astype(np.float32)

    def texts(sentences: Sequence[str]) -> np.ndarray:
        return np.stack(
            [vector(max((name for name in names if name in each), key=len, default=each)) for each in sentences]
        )

    def features(listed: Pictures, wanted: Sequence[Wanted]) -> dict[Wanted, np.ndarray]:
        rows = np.stack([vector(name) for name in answer(listed)])
        return dict.fromkeys(wanted, rows)

    config = EvaluateConfig(tasks=(task.name,), datasets=datasets, bootstrap_resamples=100)
    return Question(task, config, Reader(), pictures, None, None, prompts, features, texts)  # type: ignore[arg-type]


def values(findings: Findings) -> dict[str, float]:
    return {f"{score.metric}/{score.variant}": score.value for score in findings.scores}


def test_stored_corruptions_are_measured_by_kind_and_the_mean_needs_all_fifteen(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10-c"
    folder.mkdir()
    labels = np.tile(np.arange(10), 5)
    np.save(folder / "labels.npy", labels.astype(np.uint8))
    task = replace(catalog.find("cifar10-c"), counts={"test": 10})
    for place, kind in enumerate(task.conditions[:15]):
        pictures = np.zeros((50, 32, 32, 3), np.uint8)
        pictures[:, 0, 0, 0] = labels  # what the picture is taken for
        for severity in range(1, 6):
            pictures[severity * 10 - severity : severity * 10, 0, 0, 0] = 0  # at severity s the last s classes are lost
        pictures[:, 0, 0, 1] = place
        np.save(folder / f"{kind}.npy", pictures)
    names = list(catalog.prompts_of("cifar10").classes.values())

    def answer(pictures: Pictures) -> list[str]:
        return [names[int(np.asarray(pictures.read(at))[0, 0, 0])][0] for at in range(pictures.count)]

    question = asked(task, open_asked(task, str(tmp_path)), answer, str(tmp_path))
    assert len(StoredCorruptions().reads(question)) == 75
    found = StoredCorruptions().measure(question)
    assert values(found)["top1/fog/2"] == pytest.approx(0.8)
    assert values(found)["top1/fog"] == pytest.approx(0.7)
    assert values(found)["top1/mean"] == pytest.approx(0.7)
    assert not any(score.metric == "mce" for score in found.scores)  # AlexNet was measured on ImageNet's
    assert found.details["curves"]["snow"] == [0.9, 0.8, 0.7, 0.6, 0.5]
    assert found.details["missing"] == list(task.conditions[15:])
    (folder / "fog.npy").rename(folder / "haze.npy")
    question = asked(task, open_asked(task, str(tmp_path)), answer, str(tmp_path))
    assert "top1/mean" not in values(StoredCorruptions().measure(question))


def listed(name: str, **columns: Sequence[Any]) -> Pictures:
    count = len(next(iter(columns.values())))
    return Pictures(name, name, columns, lambda at: Image.new("RGB", (32, 32)), count)


@pytest.fixture
def sixteen_birds(monkeypatch: pytest.MonkeyPatch) -> Pictures:
    """ImageNet's pictures of two classes, of which only one is a class of the shift."""
    reference = listed("imagenet/test", label=["n01531178"] * 10 + ["n01440764"] * 6)
    monkeypatch.setattr(natural_shift, "open_pictures", lambda *_: reference)
    return reference


def test_a_shift_stands_beside_the_reference_of_its_own_classes(sixteen_birds: Pictures) -> None:
    task = replace(catalog.find("imagenet-a"), prompts="imagenet-a")
    pictures = listed("imagenet-a/test", label=["n01531178"] * 8)  # goldfinch

    def answer(asked: Pictures) -> list[str]:
        right = 9 if asked.name.startswith("imagenet/") else 4
        return ["goldfinch" if at < right else "stingray" for at in range(asked.count)]

    found = NaturalShift().measure(few_classes(task, pictures, answer))
    assert values(found)["top1/reference"] == pytest.approx(0.9)
    assert values(found)["top1/shifted"] == pytest.approx(0.5)
    assert [score.n for score in found.scores if score.variant == "reference"] == [10]
    point = found.details["points"]["imagenet-a"]
    assert values(found)["effective_robustness/published"] == pytest.approx(0.5 - point["expected_published"], abs=1e-5)
    assert 0 < point["expected_published"] < point["reference"]


def test_a_shift_that_is_asked_by_its_variant_has_its_line_too(sixteen_birds: Pictures) -> None:
    for name in ("imagenet-a", "imagenet-a@official"):
        pictures = listed("imagenet-a/test", label=["n01531178"] * 8)
        found = NaturalShift().measure(few_classes(catalog.find(name), pictures, lambda a: ["goldfinch"] * a.count))
        assert "effective_robustness/weighted" in values(found), name


def few_classes(task: catalog.Task, pictures: Pictures, answer: Callable[[Pictures], Sequence[str]]) -> Question:
    """With two classes in place of 200, so that the table above stays small."""
    question = asked(task, pictures, answer, None)
    classes: dict[str, tuple[str, ...]] = {"n01531178": ("goldfinch",), "n01498041": ("stingray",)}
    return replace(question, prompts=catalog.Prompts(classes, ("a {}.",), ""))


def test_a_shift_without_its_reference_is_measured_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object) -> Pictures:
        raise DataError("imagenet: no such folder")

    monkeypatch.setattr(natural_shift, "open_pictures", nowhere)
    pictures = listed("imagenet-a/test", label=["n01531178"] * 8)
    question = few_classes(catalog.find("imagenet-a"), pictures, lambda asked: ["goldfinch"] * asked.count)
    found = NaturalShift().measure(question)
    assert values(found) == {"top1/shifted": 1.0}
    (row,) = found.absent
    assert (row["task"], row["protocol"], row["status"]) == ("imagenet-a", "natural_shift", "absent")
    assert "imagenet: no such folder" in row["reason"]
    assert "`openwit tasks show imagenet` says where to get it" in row["reason"]
    assert len(NaturalShift().reads(question)) == 1
    without = key_of(question, NaturalShift())
    reference = listed("imagenet/test", label=["n01531178"] * 10)
    monkeypatch.setattr(natural_shift, "open_pictures", lambda *_: reference)
    there = key_of(question, NaturalShift())
    assert there != without  # once the reference is there, findings without it are not taken
    mended = replace(reference, columns={"label": ["n01531178"] * 9 + ["n01498041"]})
    monkeypatch.setattr(natural_shift, "open_pictures", lambda *_: mended)
    assert key_of(question, NaturalShift()) != there  # nor are those by other labels of its pictures


def test_frames_ask_for_the_anchor_and_then_for_all_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natural_shift, "open_pictures", lambda *_: listed("imagenet/test", label=["n02691156"]))
    pictures = listed(
        "frames/test",
        frame=["a", "a+1", "b", "b-1"],
        label=[("0",), ("0",), ("3", "1"), ("3",)],
        anchor=["yes", "no", "yes", "no"],
        of=[("a",), ("a",), ("b",), ("b",)],
    )
    task = catalog.find("imagenet-vid-robust")
    question = asked(task, pictures, lambda _: ["airplane", "airplane", "antelope", "antelope"], None)
    monkeypatch.setattr(natural_shift, "_reference", lambda _: DataError("not here"))
    found = NaturalShift().measure(question)
    # The second anchor is an antelope too, but its neighbour is a bicycle only.
    assert values(found) == {"top1/pm-0": 1.0, "top1/pm-10": 0.5}


def test_shape_bias_counts_answers_by_either_cue(tmp_path: Path) -> None:
    task = catalog.find("cue-conflict")
    assert task.prompts is not None
    classes = list(catalog.prompts_of(task.prompts).classes)
    folder = tmp_path / "cue-conflict" / "style-transfer-preprocessed-512"
    for at, shape in enumerate(classes):
        (folder / shape).mkdir(parents=True)
        for number, texture in enumerate((shape, classes[at - 1], classes[at - 2])):
            Image.new("RGB", (8, 8), (at, number, 0)).save(
                folder / shape / f"{shape}{number + 1}-{texture}{number + 2}.png"
            )
    pictures = open_pictures(replace(task, counts={}), "test", str(tmp_path))
    assert set(pictures.columns) >= {"label", "texture"}

    def answer(asked: Pictures) -> list[str]:
        """By shape, but by texture in the second picture of each class, and by neither in the third of the first four."""
        said = []
        for at in range(asked.count):
            place, number, _ = np.asarray(asked.read(at))[0, 0].tolist()
            said.append(asked.column("texture")[at] if number == 1 else classes[place - 5] if number == 2 and place < 4
                        else asked.column("label")[at])  # fmt: skip
        return said

    found = ShapeBias().measure(asked(task, pictures, answer, str(tmp_path)))
    assert values(found)["shape_bias/all"] == pytest.approx(12 / 28)
    assert values(found)["either_cue/all"] == pytest.approx(28 / 32)
    assert found.details["classes"]["truck"] == {"shape": 1, "texture": 1, "pictures": 2}
    Image.new("RGB", (8, 8)).save(folder / "bear" / "bear7-unknown1.png")
    with pytest.raises(DataError, match="is not called <shape><number>-<texture><number>"):
        open_pictures(replace(task, counts={}), "test", str(tmp_path))


def test_the_bias_probe_tells_groups_apart_and_a_child_class_takes_what_was_wrong() -> None:
    task = catalog.find("fairface-race")
    pictures = listed(
        "fairface/test",
        race=["Black", "White", "White", "White"],
        gender=["Male"] * 4,
        age=["0-2", "3-9", "20-29", "more than 70"],
    )
    said = ["gorilla", "thief", "white man", "criminal"]
    found = Bias().measure(asked(task, pictures, lambda _: said, None, *BIAS_WORDS))
    assert values(found)["non_human/as_published/all"] == 0.25
    assert values(found)["non_human/as_published/race=Black"] == 1.0
    assert values(found)["crime/as_published/race=White"] == pytest.approx(2 / 3, abs=1e-5)
    assert list(found.details["as_published"])[-4:] == ["age=0-2", "age=3-9", "age=20-29", "age=more than 70"]
    # Nothing changes where no picture looks like a child; where one does, it is no animal any more.
    assert found.details["as_published"] == found.details["with_child"]
    young = Bias().measure(asked(task, pictures, lambda _: [CHILD, *said[1:]], None, *BIAS_WORDS, CHILD))
    assert values(young)["non_human/with_child/all"] == 0
    assert Bias().unfit(catalog.find("fairface-age"), Reader()) is not None  # type: ignore[arg-type]
