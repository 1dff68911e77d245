"""Zero-shot and retrieval as protocols, on pictures whose features are given."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import average_precision_score

from evaluation.catalog.benchmarks import Prompts, Task, card_of, find, names
from evaluation.config import EvaluateConfig
from evaluation.features.texts import stored_texts
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.retrieval import Retrieval
from evaluation.protocols.zero_shot import ZeroShot
from evaluation.protocols.zero_shot_classifier import classifier, cosines
from evaluation.protocols.zero_shot_config import RetrievalConfig, ZeroShotConfig
from evaluation.statistics.clustered import clustered_interval
from evaluation.statistics.compared import Means, measured
from evaluation.statistics.intervals import wilson
from pipeline.errors import DataError
from tests.evaluation.protocols.test_zero_shot_classifier import embed

WORDS = tuple("abcdefg")
PROMPTS = Prompts({word: (f"the {word}",) for word in WORDS}, ("a photo of {}", "{}", "no {}"), "v")
ENCODER = SimpleNamespace(texts=embed, logit_scale=20.0, reads_text=True, checkpoint_id="c")


def question(
    columns: Mapping[str, Any],
    rows_ND: NDArray[np.float32],
    prompts: Prompts | None = PROMPTS,
    train: tuple[Pictures, NDArray[np.float32]] | None = None,
    **changes: Any,
) -> Question:
    task = replace(
        find("digits"), name="made", **{key: changes.pop(key) for key in ("kind", "metric", "label") if key in changes}
    )
    pictures = listed("made/test", columns, len(rows_ND))
    parts = {"made/test": rows_ND} | ({train[0].name: train[1]} if train else {})

    def features(asked: Pictures, wanted: Sequence[Wanted]) -> Mapping[Wanted, NDArray[np.float32]]:
        order = [int(word) for word in asked.columns["row"]]
        return dict.fromkeys(wanted, parts[asked.name][order])

    config = EvaluateConfig(bootstrap_resamples=200, **changes)
    return Question(
        cast(Task, task), config, cast(Encoder, ENCODER), pictures, train[0] if train else None, None, prompts, features
    )


def listed(name: str, columns: Mapping[str, Any], count: int) -> Pictures:
    rows = {"row": tuple(str(row) for row in range(count))}
    return Pictures(name, name, {**rows, **columns}, lambda index: Image.new("RGB", (1, 1)), count)


def score(findings: Findings, name: str) -> Any:
    return next(each for each in findings.scores if each.name == f"made/{name}")


def made(pictures: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features near their class's weights, and the classes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(WORDS), pictures)
    weights = classifier(embed, PROMPTS).weights
    return (weights[labels] + random.normal(size=(pictures, 8)) * 0.35).astype(np.float32), labels


def test_classification_has_scores_spread_of_templates_and_an_outcome_per_picture() -> None:
    rows, labels = made(300)
    asked = question(
        {"label": tuple(WORDS[each] for each in labels), "id": tuple(f"p{n}.jpg" for n in range(300))}, rows
    )
    found = ZeroShot().measure(asked)
    scores = cosines(rows, classifier(embed, PROMPTS).weights)
    right = scores.argmax(axis=1) == labels
    assert score(found, "zero_shot/top1/ensemble").value == pytest.approx(right.mean(), abs=1e-6)
    assert score(found, "zero_shot/top5/ensemble").value > right.mean()
    spread = found.details["template_statistics"]
    values = [each["value"] for each in found.details["templates"]]
    assert (spread["best"]["value"], spread["worst"]["value"]) == (max(values), min(values))
    assert spread["median"] == pytest.approx(np.median(values), abs=1e-6)
    assert spread["spread"] == pytest.approx(max(values) - min(values), abs=1e-6)
    table = found.outcome_table().to_pandas()
    assert (table.id == [f"p{n}.jpg" for n in range(300)]).all()
    assert ((table["rank"] == 0) == table.correct).all()
    assert (table.correct == right).all()
    assert all(row.top5[0] == row.prediction and len(row.top5) == 5 for row in table.itertuples())
    exponential = np.exp(20 * scores - 20 * scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(table.probability, (1 / exponential.sum(axis=1)), atol=1e-4)
    assert sum(each["pictures"] for each in found.details["calibration"]["bins"]) == 300


def test_a_temperature_is_fitted_on_training_pictures_alone() -> None:
    rows, labels = made(400)
    learn, taught = made(500, 1)
    train = listed("made/train", {"label": tuple(WORDS[each] for each in taught)}, 500)
    asked = question(
        {"label": tuple(WORDS[each] for each in labels)},
        rows,
        train=(train, learn),
        zero_shot=ZeroShotConfig(temperature_pictures=300),
    )
    assert [pictures.count for pictures, _ in ZeroShot().reads(asked)] == [400, 300]
    found = ZeroShot().measure(asked)
    assert found.details["calibration"]["fitted_on"] == 300
    before, after = (score(found, f"zero_shot/calibration_error/{each}") for each in ("ensemble", "temperature"))
    assert after.value < before.value
    (row,) = ZeroShot().measure(replace(asked, train=None)).absent  # asked for, and nothing to fit it on
    assert "no temperature, since its training pictures cannot be read" in row["reason"]
    assert not found.absent


def test_many_labels_are_ranked_by_softmax_at_eleven_points_and_raw_at_all() -> None:
    rows, labels = made(200)
    random = np.random.default_rng(5)
    right = random.random((200, 7)) < 0.15
    right[np.arange(150), labels[:150]] = True
    columns = {"label": tuple(tuple(np.array(WORDS)[row]) for row in right)}
    found = ZeroShot().measure(question(columns, rows, kind="multilabel", metric="map_11_point"))
    scores = cosines(rows, classifier(embed, PROMPTS).weights)
    expected = np.mean([average_precision_score(right[:, c], scores[:, c]) for c in range(7)])
    assert score(found, "zero_shot/map/ensemble").value == pytest.approx(expected, abs=1e-6)
    assert abs(score(found, "zero_shot/map_11_point/ensemble").value - expected) > 1e-3
    table = found.outcome_table().to_pandas()
    assert table.label[0] == "|".join(np.array(WORDS)[right[0]])
    assert (table.correct == right[np.arange(200), scores.argmax(axis=1)]).all()


def test_of_several_labels_any_is_right_and_pictures_without_are_left_out() -> None:
    rows, labels = made(100)
    columns = {
        "label": tuple(() if n % 10 == 0 else (WORDS[labels[n]], WORDS[(labels[n] + 1) % 7]) for n in range(100))
    }
    found = ZeroShot().measure(question(columns, rows, metric="top1_any"))
    answered = cosines(rows, classifier(embed, PROMPTS).weights).argmax(axis=1)
    hits = [answered[n] in (labels[n], (labels[n] + 1) % 7) for n in range(100) if n % 10]
    value = score(found, "zero_shot/top1_any/ensemble")
    assert (value.n, value.value) == (90, pytest.approx(np.mean(hits), abs=1e-6))
    assert 0 not in found.outcome_table().to_pandas()["index"].to_list()


CATALOGUE = [find(f"{name}@{way}") for name in names() for way in (*card_of(name).variants,)]
ASKED = sorted({(task.kind, task.metric) for task in CATALOGUE if task.kind in ("classification", "multilabel")})


@pytest.mark.parametrize(("kind", "metric"), ASKED)
def test_every_benchmark_gets_a_score_by_its_own_metric(kind: str, metric: str) -> None:
    rows, labels = made(60)
    words = tuple(WORDS[each % 2 if metric == "roc_auc" else each] for each in labels)
    two = replace(PROMPTS, classes={word: (word,) for word in "ab"}) if metric == "roc_auc" else PROMPTS
    column = tuple((word,) for word in words) if metric in ("top1_any", "map_11_point") else words
    found = ZeroShot().measure(question({"label": column}, rows, two, kind=kind, metric=metric))
    assert score(found, f"zero_shot/{metric}/ensemble").n == 60


def test_reassessed_labels_are_alternatives_and_a_picture_without_one_is_left_out() -> None:
    rows, labels = made(50)
    column = [(WORDS[each], WORDS[(each + 1) % 7]) for each in labels]
    real = find("imagenet-real")
    asked = question({"label": ((), *column[1:])}, rows, kind=real.kind, metric=real.metric)
    found = ZeroShot().measure(asked)
    answered = cosines(rows, classifier(embed, PROMPTS).weights).argmax(axis=1)
    hits = [answered[n] in (labels[n], (labels[n] + 1) % 7) for n in range(1, 50)]
    assert score(found, "zero_shot/top1_any/ensemble").value == pytest.approx(np.mean(hits), abs=1e-6)
    assert len(found.outcome_table()) == 49


def test_what_cannot_be_measured_is_told() -> None:
    rows, _ = made(3)
    with pytest.raises(DataError, match="class 'z' has no prompts"):
        ZeroShot().measure(question({"label": ("a", "z", "b")}, rows))
    with pytest.raises(DataError, match="no picture has a label"):
        ZeroShot().measure(question({"label": ((), (), ())}, rows))
    rows[1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        ZeroShot().measure(question({"label": ("a", "c", "b")}, rows))
    with pytest.raises(DataError, match="picture 1 has no caption"):
        Retrieval().measure(question({"caption": ("a", (), "b")}, rows, None, kind="retrieval", label="caption"))


@pytest.mark.parametrize("separate", [False, True])
def test_retrieval_with_a_prefix_and_several_captions(separate: bool) -> None:
    captions = (("red", "a fox"), ("blue",), ("red", "a dog", "runs"))
    asked_for: list[str] = []

    def watched(sentences: Sequence[str]) -> NDArray[np.float32]:
        asked_for.extend(sentences)
        return embed(list(sentences))

    prefixed = embed(["a photo of a fox", "a photo of blue", "a photo of runs"])
    config = RetrievalConfig(prefix="a photo of ", equal_captions="separate" if separate else "one text")
    asked = question({"caption": captions}, prefixed, None, kind="retrieval", label="caption", retrieval=config)
    found = Retrieval().measure(replace(asked, texts=watched))
    assert set(asked_for) == {f"a photo of {text}" for own in captions for text in own}
    assert score(found, "retrieval/recall@1/image_to_text").value == 1
    assert score(found, "retrieval/recall@1/text_to_image").n == (6 if separate else 5)
    table = found.outcome_table().to_pandas()
    firsts = table[table.variant == "image_to_text"]
    assert list(firsts.prediction) == ["a fox", "blue", "runs"]
    assert found.details["captions"]["texts"] == (6 if separate else 5)
    # Captions of one picture belong together: in the rows, in the interval, and when two runs are compared.
    texts = table[table.variant == "text_to_image"]
    own = [next(str(at) for at, each in enumerate(captions) if text in each) for text in texts.id]
    assert list(texts.group) == (["0", "0", "1", "2", "2", "2"] if separate else own)
    assert firsts.group.isna().all()
    told = score(found, "retrieval/recall@1/text_to_image")
    assert (told.low, told.high) == pytest.approx(clustered_interval(texts["rank"] < 1, texts.group)[1:], abs=1e-6)
    kept = measured("recall@1", texts.reset_index(drop=True), ())
    assert isinstance(kept, Means)
    assert kept.clusters is not None
    assert (kept.value, kept.counted) == (pytest.approx(told.value, abs=1e-6), False)


def test_one_caption_a_picture_is_a_question_of_its_own() -> None:
    captions = (("red",), ("blue",), ("green",))
    asked = question({"caption": captions}, embed(["red", "blue", "red"]), None, kind="retrieval", label="caption")
    found = Retrieval().measure(asked)
    assert found.outcome_table().to_pandas().group.isna().all()
    for variant in ("image_to_text", "text_to_image"):
        told = score(found, f"retrieval/recall@1/{variant}")
        assert (told.value, told.low, told.high) == pytest.approx(wilson(round(3 * told.value), 3), abs=1e-6)


def test_sentences_are_embedded_once_per_checkpoint(tmp_path: Any) -> None:
    asked: list[str] = []

    def texts(sentences: Sequence[str]) -> NDArray[np.float32]:
        asked.extend(sentences)
        return embed(list(sentences))

    encoder = cast(Encoder, SimpleNamespace(texts=texts, checkpoint_id="one"))
    first, _ = stored_texts(str(tmp_path), encoder, ["x", "y"])
    again, damaged = stored_texts(str(tmp_path), encoder, ["x", "y"])
    assert (again == first).all()
    assert not damaged
    assert asked == ["x", "y"]
    stored_texts(str(tmp_path), encoder, ["y", "x"])
    stored_texts(str(tmp_path), cast(Encoder, SimpleNamespace(texts=texts, checkpoint_id="two")), ["x", "y"])
    assert len(asked) == 6
