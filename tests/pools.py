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
