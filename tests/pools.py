"""Rows as deduplication meets them, with descriptors made up instead of pictures, and the kept rows of a run over them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from phases import phase_of, split

from pipeline.duplicates.config import DeduplicateConfig
from pipeline.duplicates.deduplicate import deduplicate
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import PhaseResult
from pipeline.sample import TEXTS, pair_uid

ROWS = pa.schema(
    [
        ("uid", pa.string()), ("url", pa.string()), ("text", pa.string()), ("texts", TEXTS), ("sha256", pa.string()),
        ("phash", pa.uint64()), ("phash256", pa.binary()), ("thumbnail8", pa.binary()), ("original_width", pa.int32()),
        ("original_height", pa.int32()), ("score", pa.float32()), ("embedding", pa.list_(pa.float32())),
    ]
)  # fmt: skip


def row(number: int, **given: Any) -> dict[str, Any]:
    """A row unlike all others, but for what is given."""
    random = np.random.default_rng(number)
    url, text = f"http://a.example/{number}", given.get("text", f"text {number}")
    return {
        "uid": pair_uid(url, text),
        "url": url,
        "text": text,
        "texts": [{"text": text, "origin": "alt"}],
        "sha256": hashlib.sha256(str(number).encode()).hexdigest(),
        "phash": int(random.integers(0, 2**64, dtype=np.uint64)),
        "phash256": random.bytes(32),
        "thumbnail8": random.bytes(192),
        "original_width": 100,
        "original_height": 100,
        "score": float(random.random()),
        "embedding": random.normal(size=16).tolist(),
    } | given


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=ROWS)


def run(folder: Path, rows: pa.Table, parts: int = 1, **config: Any) -> PhaseResult:
    """Deduplicate the rows, cut into `parts` files."""
    source = phase_of(str(folder / "in"), split(rows, parts))
    return deduplicate(DeduplicateConfig(**config), source, str(folder / "out"), InProcess())


def kept(result: PhaseResult) -> list[str]:
    return sorted(result.read_kept().column("url").to_pylist())


def fallen(result: PhaseResult) -> list[tuple[str, str, str]]:
    """(url, reason, evidence), sorted."""
    return sorted((d["url"], d["reason"], d["evidence"]) for d in result.read_dropped().to_pylist())


def thumbnails_fit(left: bytes, right: bytes, colour_distance: float = 8.0) -> bool:
    """The slow, obvious twin of the fitted comparison: pipeline/duplicates/looks.py in numpy, once per edge left out."""
    cells = np.ones((5, 8, 8), bool)
    cells[1, 0], cells[2, 7], cells[3, :, 0], cells[4, :, 7] = False, False, False, False
    one, other = (np.frombuffer(each, np.uint8).reshape(8, 8, 3).astype(np.float64) for each in (left, right))
    return any(_cells_fit(one[chosen], other[chosen], colour_distance) for chosen in cells)


def _cells_fit(one: np.ndarray, other: np.ndarray, colour_distance: float) -> bool:
    """Of the cells (C, 3) of two thumbnails."""
    light_a, light_b = (each @ [0.299, 0.587, 0.114] for each in (one, other))
    colour_a, colour_b = one - light_a[:, None], other - light_b[:, None]
    spread_a, spread_b = light_a.var() + 1, light_b.var() + 1
    apart = np.sqrt(((light_a - light_b) ** 2).mean())
    gain = np.sqrt(spread_b / spread_a)
    linear = np.cov(light_a, light_b, bias=True)[0, 1] / np.sqrt(spread_a * spread_b) >= 0.9
    if not (linear and min(spread_a, spread_b) >= 16 and 1 / 1.45 <= gain <= 1.45):
        if apart > 6:
            return False
        gain = 1.0
    size_a, size_b = (colour_a**2).mean(), (colour_b**2).mean()
    if apart <= 6 and min(size_a, size_b) <= 9:
        return True
    paler = np.clip(np.sqrt((size_b + 1) / (size_a + 1)), gain / 1.25, gain * 1.25)
    lit_a, lit_b = colour_a * np.sqrt(paler), colour_b / np.sqrt(paler)
    largest = np.sqrt(max((lit_a**2).mean(), (lit_b**2).mean()))
    return bool(np.sqrt(((lit_a - lit_b) ** 2).mean()) <= min(max(0.5 * largest, 4), colour_distance))
