"""A plan counts what an evaluation then decodes and puts through the model, whatever is asked, there and made already."""

from pathlib import Path

import numpy as np
import pytest
from own_model import MINE
from PIL import Image

from evaluation.config import EvaluateConfig
from evaluation.models.abilities import Abilities, abilities_of
from evaluation.models.open import identity_of
from evaluation.plan import plan_evaluation
from evaluation.run import evaluate
from training.spec import get_spec

ALL = ("zero_shot", "knn", "robustness", "occlusion", "stored_corruptions", "natural_shift")


def mine(above: Path) -> str:
    (above / "mine.py").write_text(MINE)
    return f"{above / 'mine.py'}:load"


def fruit(above: Path) -> str:
    """Four pictures to ask and four to learn from, as a shift of another benchmark."""
    for split in ("train", "test"):
        for at, word in enumerate(("apple", "pear")):
            folder = above / "fruit" / split / word
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (8, 8), (200 * at, 20 * number, 90)).save(folder / f"{number}.png")
    (above / "fruit.yaml").write_text("folder: fruit\nclasses: [apple, pear]\nreference: scenes-colour\n")
    return str(above / "fruit.yaml")


def stored(above: Path, count: int = 4) -> str:
    """A benchmark that is stored under corruptions as CIFAR-10-C is, of which only fog is there."""
    folder = above / "planes"
    folder.mkdir()
    np.save(folder / "labels.npy", np.tile(np.arange(2), 10).astype(np.uint8))
    corrupted(above, "fog")
    (above / "planes.yaml").write_text(
        f"folder: planes\nlayouts: [cifar10-c]\nconditions: [gaussian_noise, fog, snow]\nsplits: {{test: {count}}}\n"
        "classes: [airplane, automobile]\n"
    )
    return str(above / "planes.yaml")


def corrupted(above: Path, kind: str) -> None:
    pixels = np.random.default_rng(len(kind)).integers(0, 255, (20, 32, 32, 3), np.uint8)
    np.save(above / "planes" / f"{kind}.npy", pixels)


def test_a_plan_counts_what_an_evaluation_reads(tmp_path: Path) -> None:
    model, folder, cards = mine(tmp_path), str(tmp_path / "features"), (fruit(tmp_path), stored(tmp_path))
    able = Abilities("mine", identity_of(model))

    def met(*protocols: str, tasks: tuple[str, ...] = cards) -> tuple[list[int], list[int], list[bool]]:
        """What is planned and then read, decoded and encoded, and which tasks are planned as made already."""
        config = EvaluateConfig.model_validate(
            {"tasks": tasks, "protocols": protocols, "corruptions": ["contrast"], "robustness_pictures": 3}
            | {"robustness": {"occlusion_step": 50}, "bootstrap_resamples": 100, "threads": 1}
        )
        rows = plan_evaluation(config, folder, able, 1e6)
        told = evaluate(config, model, folder).telemetry
        planned = [sum(row[key] for row in rows) for key in ("to_decode", "to_read")]
        return planned, [told["pictures_decoded"], told["pictures_encoded"]], [row["cached"] for row in rows]

    # Of fruit the four; of planes, which only stored_corruptions asks, none.
    assert met("zero_shot") == ([4, 4], [4, 4], [False, True])
    # Three of fruit as they are, five times corrupted and three times occluded, and four to learn from; fog five times; the
    # reference of the shift is read for fruit, and there for its own task.
    reference = int(plan_evaluation(EvaluateConfig(tasks=("scenes-colour",)), "", Abilities(""), None)[0]["pictures"])
    wanted = [3 + 4 + reference + 20, 3 * 9 + 4 + reference + 20]
    both = (*cards, "scenes-colour")
    planned, done, _ = met(*ALL)
    assert planned == done == wanted
    planned, done, made = met("zero_shot", tasks=both)
    assert (planned, done, made) == ([0, 0], [0, 0], [True, True, True])
    corrupted(tmp_path, "snow")
    assert met(*ALL) == ([20, 20], [20, 20], [True, False])
    assert met(*ALL) == ([0, 0], [0, 0], [True, True])


@pytest.mark.parametrize("left", [0, 40, 130, -1])
def test_a_feature_file_that_was_cut_off_is_planned_to_be_made_again(tmp_path: Path, left: int) -> None:
    model, folder, card = mine(tmp_path), tmp_path / "features", fruit(tmp_path)
    able = Abilities("mine", identity_of(model))
    config = EvaluateConfig(tasks=(card,), protocols=("zero_shot",), bootstrap_resamples=100, threads=1)
    evaluate(config, model, str(folder))
    config = config.model_copy(update={"protocols": ("zero_shot", "knn")})
    (before,) = plan_evaluation(config, str(folder), able, None)
    assert before["to_decode"] == 4  # the part to learn from
    for path in folder.glob("*.npy"):
        path.write_bytes(path.read_bytes()[:left])
    (row,) = plan_evaluation(config, str(folder), able, None)
    told = evaluate(config, model, str(folder)).telemetry
    assert (row["to_decode"], row["cached"]) == (told["pictures_decoded"], False) == (8, False)
    assert plan_evaluation(config, str(folder), able, None)[0]["cached"]


def test_any_stored_corruption_is_measured_and_each_of_the_right_size(tmp_path: Path) -> None:
    """The first that its card names need not be there; one of fewer pictures is no copy of the benchmark."""
    config = EvaluateConfig(
        tasks=(stored(tmp_path),), protocols=("stored_corruptions",), bootstrap_resamples=100, threads=1
    )
    report = evaluate(config, mine(tmp_path), str(tmp_path / "features"))
    assert {score.variant for score in report.scores} == {"fog", *(f"fog/{severity}" for severity in range(1, 6))}
    card = tmp_path / "planes.yaml"
    card.write_text(card.read_text().replace("test: 4", "test: 5"))
    (planned,) = plan_evaluation(config, "", Abilities("mine"), None)
    (met,) = evaluate(config, mine(tmp_path), str(tmp_path / "features")).absent
    assert (met["status"], met["reason"]) == (planned["status"], planned["reason"])
    assert met["status"] == "broken"
    assert "planes/fog/1 has 4 pictures, its card says 5" in met["reason"]
    (tmp_path / "planes/fog.npy").rename(tmp_path / "planes/saturate.npy")
    (met,) = evaluate(config, mine(tmp_path), str(tmp_path / "features")).absent
    assert (met["status"], "holds none of the 3 corruptions of planes" in met["reason"]) == ("absent", True)


def test_a_model_that_is_yet_to_be_trained_is_planned_by_its_spec(tmp_path: Path) -> None:
    """A ViT learns classes, so its answers are counted; an iGPT learns none, and is read at every layer in one pass."""
    config = EvaluateConfig.model_validate(
        {"tasks": [fruit(tmp_path)], "protocols": ["zero_shot", "own_classes", "robustness", "linear_probe"]}
        | {"corruptions": ["contrast"]}
    )
    (vit,) = plan_evaluation(config, "", abilities_of(get_spec("vit-b-16"), learns_classes=True), None)
    assert (vit["to_decode"], vit["to_read"], vit["lacks"]) == (8, 4 * 6 + 4, [])
    (igpt,) = plan_evaluation(config, "", abilities_of(get_spec("igpt-tiny")), None)
    assert (igpt["to_decode"], igpt["to_read"]) == (8, 8)
    assert [(row["protocol"], row["status"]) for row in igpt["lacks"]] == [
        (name, "unfit") for name in ("zero_shot", "own_classes", "robustness")
    ]


@pytest.mark.parametrize("kind", ["snow", "saturate"])
def test_cifar_c_is_known_by_any_of_its_corruptions(tmp_path: Path, kind: str) -> None:
    from evaluation.pictures.table import LAYOUTS

    np.save(tmp_path / "labels.npy", np.zeros(5, np.uint8))
    np.save(tmp_path / f"{kind}.npy", np.zeros((5, 32, 32, 3), np.uint8))
    assert LAYOUTS["cifar10-c"].found(str(tmp_path))
