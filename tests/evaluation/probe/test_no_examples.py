"""Pictures that are no example for or against a class (VOC's difficult objects), beside a classifier per class without them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from miniatures import make
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from evaluation.catalog.benchmarks import Prompts, find
from evaluation.models.encoder import Encoder
from evaluation.pictures.table import LAYOUTS
from evaluation.probe.linear_probe import How, probe
from evaluation.probe.solver import Job, Solver
from evaluation.protocols.lesson import labels_of
from evaluation.protocols.linear_probe import LinearProbe
from evaluation.protocols.truth import truth_of
from tests.evaluation.protocols.test_zero_shot import listed, question


def marked(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Features (N, 8) and labels (N, 4): 1, 0, or -1 for a fifth of all pairs."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, 8)) + 5
    labels = (rows[:, :4] + random.normal(size=(count, 4)) > 5.5).astype(np.int64)
    return rows, np.where(random.random(labels.shape) < 0.2, -1, labels)


def slow(rows: NDArray[np.float64], column: NDArray[np.int64], penalty: float) -> LogisticRegression:
    kept = column >= 0
    return LogisticRegression(C=1 / penalty, max_iter=20000, tol=1e-10).fit(rows[kept], column[kept])


@pytest.mark.parametrize("resident", [None, 1])
def test_the_solver_fits_each_class_to_its_own_pictures(resident: int | None) -> None:
    rows, labels = marked(150, 0)
    solver = Solver([rows], labels[None], 4, "sigmoid", resident_bytes=resident)
    found = solver.solve([Job(2.0)], tolerance=1e-12, settle=True)[0]
    objective = 0.0
    for label in range(4):
        model, kept = slow(rows, labels[:, label], 2.0), labels[:, label] >= 0
        np.testing.assert_allclose(found.weights[:, label], model.coef_[0], atol=2e-5)
        share = model.predict_proba(rows[kept])[np.arange(kept.sum()), labels[kept, label]]
        objective += float(-np.log(share).sum() + (model.coef_**2).sum())
    assert found.objective == pytest.approx(objective, rel=1e-8)
    assert found.gap_bound < 1e-8


@pytest.mark.parametrize("mode", ["exact", "sklearn"])
def test_the_probe_learns_and_chooses_without_them(mode: Any) -> None:
    (rows, labels), (test, _) = marked(120, 1), marked(20, 2)
    labels[:, 3] = np.where(labels[:, 3] == 0, -1, labels[:, 3])  # nothing against it: always said to be there
    seen: list[NDArray[np.int64]] = []

    def score(right: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
        seen.append(right)
        return float(((scores > 0) == (right > 0))[right >= 0].mean())

    done = probe(rows, labels, test, score, 0, How(mode))
    assert any((right < 0).any() for right in seen)
    for label in range(3):
        wanted = slow(rows, labels[:, label], done.fit.penalty).decision_function(test)
        np.testing.assert_allclose(done.scores[:, label], wanted, atol=2e-2)
    assert (done.scores[:, 3] == np.inf).all()


def test_vocs_own_files_say_which(tmp_path: Path) -> None:
    make("voc2007", tmp_path)
    pictures = LAYOUTS["voc2007"].open(str(tmp_path), "train")
    names = sorted({word for column in ("label", "difficult") for each in pictures.words(column) for word in each})
    truth = truth_of(find("voc2007"), pictures, Prompts({name: (name,) for name in names}, ("{}",), "v"))
    labels = labels_of(truth)
    for at, (easy, hard) in enumerate(zip(pictures.words("label"), pictures.words("difficult"), strict=True)):
        assert [names[c] for c in np.flatnonzero(labels[at] == 1)] == sorted(easy)
        assert [names[c] for c in np.flatnonzero(labels[at] == -1)] == sorted(hard)
    counted = LAYOUTS["voc2007@difficult-counted"].open(str(tmp_path), "train")
    assert (labels_of(truth_of(find("voc2007"), counted, Prompts({n: (n,) for n in names}, ("{}",), "v"))) >= 0).all()


def test_difficult_pictures_that_look_like_the_class_do_not_spoil_it() -> None:
    random = np.random.default_rng(5)
    words = ("a", "b", "c")
    table = Prompts({word: (word,) for word in words}, ("{}",), "v")

    def part(name: str, count: int) -> tuple[Any, NDArray[np.float32]]:
        right = random.random((count, 3)) < 0.4
        rows = (2 * right + random.normal(size=(count, 3))).astype(np.float32)
        doubt = right & (random.random((count, 3)) < 0.6)  # a class is there and hard to see: marked
        labels = [tuple(np.array(words)[row].tolist()) for row in right & ~doubt]
        hard = [tuple(np.array(words)[row].tolist()) for row in doubt]
        return listed(name, {"label": tuple(labels), "difficult": tuple(hard)}, count), rows

    train, (test, test_rows) = part("made/train", 300), part("made/test", 300)
    encoder = SimpleNamespace(probe_layers=("penultimate",), name="e", checkpoint_id="c")
    values = {}
    for which in ("ignored", "negatives"):
        learned = (
            train[0]
            if which == "ignored"
            else replace(train[0], columns={**train[0].columns, "difficult": ((),) * 300})
        )
        columns = {key: test.columns[key] for key in ("label", "difficult")}
        asked = question(columns, test_rows, table, (learned, train[1]), kind="multilabel", metric="map_11_point")
        asked = replace(asked, encoder=cast(Encoder, encoder))
        found = LinearProbe().measure(asked)
        values[which] = next(score.value for score in found.scores if score.metric == "map_11_point")
        pairs = sum(len(each) for each in train[0].columns["difficult"])
        assert found.details.get("no_examples") == ({"pairs": pairs} if which == "ignored" else None)
    assert values["ignored"] > values["negatives"] - 0.005
    assert values["ignored"] > 0.75
