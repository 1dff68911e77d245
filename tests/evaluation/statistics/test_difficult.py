"""VOC's difficult objects, beside the scoring that its devkit describes, and what they do to a score of a protocol."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from evaluation.catalog.benchmarks import Prompts, find
from evaluation.compare import compare
from evaluation.config import EvaluateConfig
from evaluation.notes import notes_of
from evaluation.protocols.truth import truth_of
from evaluation.protocols.zero_shot import ZeroShot
from evaluation.run import evaluate
from evaluation.statistics.compared import measured
from evaluation.statistics.metrics import METRICS, Answers
from tests.evaluation.protocols.test_zero_shot import WORDS, listed, question
from tests.evaluation.test_compare import report
from tests.evaluation.test_parts import mine


def devkit(scores_N: NDArray[np.floating], truth_N: NDArray[np.int64]) -> float:
    """VOCevalcls: 1, -1, or 0 for difficult; down the list of falling scores, then eleven recalls one by one."""
    order = sorted(range(len(scores_N)), key=lambda at: -scores_N[at])
    found = wrong = 0
    curve = []
    for at in order:
        found += truth_N[at] > 0
        wrong += truth_N[at] < 0
        if truth_N[at]:
            curve.append((found, found / (found + wrong)))
    total = int((truth_N > 0).sum())
    return sum(max((p for hits, p in curve if 10 * hits >= step * total), default=0.0) for step in range(11)) / 11


def test_a_difficult_picture_is_neither_found_nor_a_mistake() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        truth_NC = draw.choice([-1, 0, 1], (60, 5), p=[0.6, 0.15, 0.25])
        scores_NC = draw.permutation(300).reshape(60, 5) / 300
        right = truth_NC > 0
        labels = np.where(right.any(1), right.argmax(1), -1)
        answers = Answers.of(scores_NC, labels, right, ignored_NC=truth_NC == 0)
        wanted = np.mean([devkit(scores_NC[:, c], truth_NC[:, c]) for c in range(5) if right[:, c].any()])
        found = METRICS["map_11_point"](answers, 100, 0)
        assert found.value == pytest.approx(wanted, abs=1e-12)
        assert found.low <= found.value <= found.high
        as_negatives = METRICS["map_11_point"](Answers.of(scores_NC, labels, right), 1, 0)
        assert found.value > as_negatives.value
        none = Answers.of(scores_NC, labels, right, ignored_NC=np.zeros_like(right))
        assert METRICS["map"](none, 50, 0) == METRICS["map"](Answers.of(scores_NC, labels, right), 50, 0)


def test_the_column_of_the_pictures_becomes_the_mask_of_multi_label_tasks_alone() -> None:
    columns = {"label": (("a",), ("b", "c"), ()), "difficult": ((), ("a", "stranger"), ("b",))}
    prompts = Prompts({"a": ("a",), "b": ("b",), "c": ("c",)}, ("{}",), "v")
    pictures = listed("made/test", columns, 3)
    ignored = truth_of(find("voc2007"), pictures, prompts).ignored
    assert ignored is not None
    np.testing.assert_array_equal(ignored, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert truth_of(find("digits"), pictures, prompts).ignored is None


def test_a_protocol_scores_without_them_and_says_how_many() -> None:
    draw = np.random.default_rng(1)
    features = draw.normal(size=(30, 8)).astype(np.float32)
    labels = tuple((WORDS[at % 7],) for at in range(30))
    difficult = tuple((WORDS[(at + 1) % 7],) if at % 5 == 0 else () for at in range(30))
    scores = {}
    for name, columns in (
        ("without", {"label": labels}),
        ("ignored", {"label": labels, "difficult": difficult}),
        ("counted", {"label": tuple(a + b for a, b in zip(labels, difficult, strict=True))}),
    ):
        found = ZeroShot().measure(question(columns, features, kind="multilabel", metric="map_11_point"))
        scores[name] = next(score.value for score in found.scores if score.metric == "map_11_point")
        assert ("ignored" in found.details) == (name == "ignored")
        # What is kept of every picture gives the same value again, for `openwit compare`.
        rows = pa.concat_tables(found.outcomes).to_pandas()
        again = measured("map_11_point", rows, WORDS)
        assert again is not None
        assert again.value == pytest.approx(scores[name], abs=1e-6)
        if name == "ignored":
            assert found.details["ignored"]["pairs"] == 6
    assert scores["ignored"] > scores["without"]
    assert len(set(scores.values())) == 3


def test_a_copy_of_voc_that_has_lost_which_objects_are_difficult_is_told() -> None:
    """CLIP_benchmark's, which `openwit tasks fetch voc2007` takes: another figure under the official one's name."""
    labels = tuple((WORDS[at % 7],) for at in range(30))
    difficult = tuple((WORDS[(at + 1) % 7],) if at % 5 == 0 else () for at in range(30))
    features = np.random.default_rng(2).normal(size=(30, 8)).astype(np.float32)

    def told(task: str, columns: dict[str, Any]) -> list[tuple[str, str]]:
        found = ZeroShot().measure(question(columns, features, kind="multilabel", metric="map_11_point"))
        made = report([], "a", **{task: {"zero_shot": found.details}})
        return [(note.protocol, note.kind) for note in notes_of(made)]

    assert told("voc2007", {"label": labels}) == [("zero_shot", "difficult_counted")]
    assert told("voc2007", {"label": labels, "difficult": difficult}) == []
    assert told("voc2007@difficult-counted", {"label": labels}) == []


def test_a_probes_eleven_points_are_those_of_its_logits_when_two_runs_are_compared(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    (tmp_path / "bowls").mkdir()
    for split, count in (("train", 60), ("test", 40)):
        kinds = draw.integers(0, 3, count)
        for at, kind in enumerate(kinds):
            pixels = draw.integers(0, 90, (8, 8, 3)) + 40 * np.eye(3, dtype=int)[kind]
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"bowls/{split}{at}.png")
        rows = [f"{split}{at}.png,{'abc'[kind]}" + ("|a" if at % 3 == 0 else "") for at, kind in enumerate(kinds)]
        (tmp_path / f"bowls/{split}.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    card = tmp_path / "bowls.yaml"
    card.write_text("folder: bowls\nkind: multilabel\nclasses: [a, b, c]\n")
    config = EvaluateConfig(tasks=(str(card),), protocols=("zero_shot", "linear_probe"), bootstrap_resamples=100)
    report = evaluate(config, mine(tmp_path), str(tmp_path / "features"))
    compared = {f"{row.protocol}/{row.metric}": row.first for row in compare(report, report, 100).rows}
    assert set(compared) >= {"zero_shot/map_11_point", "linear_probe/map_11_point", "linear_probe/map"}
    for score in report.scores:
        assert compared[f"{score.protocol}/{score.metric}"] == pytest.approx(score.value, abs=1e-4)
