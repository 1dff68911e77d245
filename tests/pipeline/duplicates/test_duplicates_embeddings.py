"""Near embeddings: the twin compares all with all in 64 bits; with one cluster nothing may be missed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pools import fallen, kept, row, run, table

from pipeline.duplicates.by_embedding import first_better
from pipeline.duplicates.kmeans import kmeans, nearest, unit
from pipeline.errors import ConfigError


def families(seed: int, count: int, size: int = 16) -> np.ndarray:
    """Vectors of which many lie close to an earlier one."""
    random = np.random.default_rng(seed)
    found = [random.normal(size=size)]
    while len(found) < count:
        base = found[random.integers(len(found))] if random.random() < 0.6 else random.normal(size=size) * 2
        found.append(base + random.normal(size=size) * random.choice([0.05, 0.2, 0.5]))
    return np.array(found)


def better_twin(vectors: np.ndarray, epsilon: float) -> list[tuple[int, int]]:
    lengths = np.linalg.norm(vectors, axis=1)
    cosine = vectors @ vectors.T / lengths[:, None] / lengths[None, :]
    return [
        (j, int(np.flatnonzero(row > 1 - epsilon)[0]))
        for j in range(len(vectors))
        if (row := cosine[j, :j]).max(initial=-1) > 1 - epsilon
    ]


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5])
def test_a_row_falls_when_any_better_one_is_near(epsilon: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.duplicates.by_embedding.ROWS_AT_ONCE", 64)
    vectors, good = unit(families(0, 300))
    assert good.all()
    found = first_better(vectors, epsilon, "cpu")
    assert [(j, i) for j, i, _ in found] == better_twin(vectors.astype(np.float64), epsilon)
    assert len(found) > 30


def ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda r: (-r["original_width"], r["uid"]))


@pytest.mark.parametrize(("clusters", "parts"), [(1, 1), (1, 4), (6, 3)])
def test_the_kept_rows_are_those_of_the_twin(tmp_path: Path, clusters: int, parts: int) -> None:
    vectors = families(1, 240)
    rows = ranked([row(n, text="t", embedding=v.tolist(), original_width=90 + n % 7) for n, v in enumerate(vectors)])
    given = np.array([each["embedding"] for each in rows], dtype=np.float32).astype(np.float64)
    wanted = {rows[j]["url"] for j in range(len(rows))} - {rows[j]["url"] for j, _ in better_twin(given, 0.05)}
    shuffled = table([rows[i] for i in np.random.default_rng(parts).permutation(len(rows))])
    settings = {"column": "embedding", "clusters": clusters, "epsilon": 0.05, "probes": 2 if clusters > 1 else 1}
    result = run(tmp_path, shuffled, parts, rows_per_block=70, embeddings=settings)
    assert set(result.fates["pairs"].reasons) == {"near_embedding"}
    if clusters == 1:
        assert set(kept(result)) == wanted
    else:  # a pair that no cluster holds whole is missed, and nothing else
        assert wanted <= set(kept(result))
        assert len(set(kept(result)) - wanted) <= 0.05 * len(rows)


def test_evidence_does_not_depend_on_how_the_work_is_cut(tmp_path: Path) -> None:
    rows = [row(n, embedding=v.tolist()) for n, v in enumerate(families(2, 150))]
    settings = {"column": "embedding", "clusters": 5, "probes": 3}
    one = run(tmp_path / "a", table(rows), 1, embeddings=settings)
    many = run(tmp_path / "b", table(rows[::-1]), 6, embeddings=settings, rows_per_block=20, buckets=3)
    assert fallen(one) == fallen(many)
    assert len(fallen(one)) > 20


def test_rows_without_a_usable_embedding_stay(tmp_path: Path) -> None:
    odd = [None, [], [1.0, 2.0], [0.0] * 16, [float("nan")] * 16, [float("inf")] + [0.0] * 15]
    rows = [row(n, embedding=v) for n, v in enumerate(odd * 2)] + [row(50 + n, embedding=[1.0] * 16) for n in range(9)]
    result = run(tmp_path, table(rows), 3, rows_per_block=4, embeddings={"column": "embedding"})
    assert dict(result.fates["pairs"].reasons) == {"near_embedding": 8}
    none = run(tmp_path / "none", table(rows[:12]), 3, embeddings={"column": "embedding", "clusters": 2})
    assert none.fates["pairs"].kept in (11, 12)  # [1, 2] twice is the only embedding left


def test_kmeans_finds_what_lies_apart() -> None:
    random = np.random.default_rng(3)
    centres, _ = unit(random.normal(size=(4, 32)))
    vectors, _ = unit(np.repeat(centres, 50, axis=0) + random.normal(size=(200, 32)) * 0.05)
    vectors = vectors[random.permutation(200)]
    learned = kmeans(vectors, 16, 20, "cpu")
    assert (nearest(centres, learned, 1, "cpu")[:, 0] >= 0).all()
    assert (vectors @ learned.T).max(axis=1).min() > 0.9
    two = nearest(vectors, learned, 2, "cpu")
    assert (two[:, 0] == nearest(vectors, learned, 1, "cpu")[:, 0]).all()


def test_a_gpu_that_is_not_there_is_one_line() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match=r"embeddings.device: 'cuda', but torch sees no GPU; take auto or cpu"):
        nearest(np.ones((2, 2), np.float32), np.ones((1, 2), np.float32), 1, "cuda")
