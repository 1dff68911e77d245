"""The facts of a data card, read from a finished dataset's manifest and indexes, one index in memory at a time.

Counts come from the manifest and are of all rows. Columns are counted in at most MEASURED_SHARDS indexes, languages in at
most MEASURED_TEXTS captions, both spread evenly, and the card says of how many.
"""

import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from orchestration import overlap_view
from orchestration.inspection import spread
from orchestration.show import bytes_text
from pipeline import storage
from pipeline.datasets.lineage import phases_of
from pipeline.datasets.shards import read_image, read_index
from pipeline.manifest import Manifest
from pipeline.web.urls import UnusableURLError, canonical, host_of

MEASURED_SHARDS = 256
MEASURED_TEXTS = 2_000
PICTURES = 48
DROPPED_FILES, DROPPED_PER_REASON = 16, 8
TOP = 25

SIDES = (32, 64, 128, 200, 256, 512, 1024)
CHARACTERS = (5, 10, 20, 40, 80, 160, 320, 1000)


@dataclass
class CardFacts:
    """`measured` rows of `rows` were looked at for everything that is a Counter; a Counter that is empty is unknown."""

    manifest_id: str
    rows: int
    size_bytes: int
    shards: int
    code_version: str
    parents: tuple[str, ...]
    counts: Mapping[str, Mapping[str, Mapping[str, Any]]]
    config: Mapping[str, Any]
    measured: int = 0
    identified: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    domains: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    crawls: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    overlap: Counter[str] = field(default_factory=Counter)
    thresholds: Sequence[Mapping[str, Any]] = ()
    """How well copies of evaluation pictures are found, where that was measured."""
    sides: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """5th, 50th and 95th percentile of each score_* column."""
    kept: Sequence[tuple[bytes, str]] = ()
    dropped: Sequence[tuple[bytes, str]] = ()
    """Pictures that fell, with the reason, where the phases that made the dataset still lie beside it."""

    def reasons(self, wanted: Sequence[str] = (), containing: str = "") -> list[tuple[str, str, str, int]]:
        """(phase, unit, reason, rows) of drop reasons that are in `wanted` or contain a word."""
        return [
            (phase, unit, reason, int(count))
            for phase, units in self.counts.items()
            for unit, fate in units.items()
            for reason, count in fate["reasons"].items()
            if reason in wanted or (containing and containing in reason)
        ]

    def headline(self) -> str:
        return f"{self.rows:,} image-text pairs, {bytes_text(self.size_bytes)} in {self.shards:,} shards"


def gather_facts(folder: str) -> CardFacts:
    """Raises DataError where the dataset is damaged."""
    manifest = Manifest.load(folder)
    manifest.require_files(folder)
    facts = CardFacts(
        manifest.id,
        manifest.rows,
        manifest.bytes,
        len(manifest.shards),
        manifest.code_version,
        manifest.parents,
        manifest.counts,
        manifest.config,
    )
    facts.thresholds = overlap_view.measured(folder)
    sides: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    scores: dict[str, list[np.ndarray]] = {}
    measured = spread([shard for shard in manifest.shards if shard.rows], MEASURED_SHARDS)
    texts, pictures = -(-MEASURED_TEXTS // max(1, len(measured))), -(-PICTURES // max(1, len(measured)))
    sample: list[str] = []
    kept: list[tuple[bytes, str]] = []
    for shard in measured:
        index = read_index(folder, shard)
        _count(facts, index)
        sides.append(_shorter(index))
        captions = [text or "" for text in index.column("caption").to_pylist()]
        lengths.append(np.array([len(text) for text in captions], np.int64))
        for name in index.column_names:
            if name.startswith("score_") and pa.types.is_floating(index.schema.field(name).type):
                scores.setdefault(name, []).append(index.column(name).drop_null().to_numpy())
        sample += spread(captions, texts)
        for row in spread(range(index.num_rows), pictures):
            told = index.slice(row, 1).to_pylist()[0]
            image = read_image(storage.join(folder, shard.tar), told["image_offset"], told["image_bytes"])
            kept.append((image, told["caption"] or ""))
    facts.sides = classes(sides, SIDES, "px")
    facts.lengths = classes(lengths, CHARACTERS, "")
    facts.scores = {name: _percentiles(np.concatenate(parts)) for name, parts in sorted(scores.items())}
    facts.kept = spread(kept, PICTURES)
    facts.dropped = _dropped(folder, manifest)
    if not facts.languages:
        identifier = _identifier()  # of 100 MB, for this only
        facts.languages = Counter(_language(identifier, text) for text in sample)
        facts.identified = len(sample)
    return facts


def _dropped(folder: str, manifest: Manifest) -> list[tuple[bytes, str]]:
    found: dict[str, list[tuple[bytes, str]]] = {}
    for phase in phases_of(folder, manifest):
        for file in spread([file for file in phase.dropped if file.rows], DROPPED_FILES):
            table = storage.read_table(storage.join(phase.folder, file.path), ["reason", "text", "thumbnail"])
            for row in table.filter(table.column("thumbnail").is_valid()).to_pylist():
                some = found.setdefault(row["reason"], [])
                if len(some) < DROPPED_PER_REASON:
                    some.append((row["thumbnail"], f"{row['reason']}: {row['text'] or ''}"))
    return [each for reason in sorted(found) for each in found[reason]]


def _count(facts: CardFacts, index: pa.Table) -> None:
    facts.measured += index.num_rows
    given = set(index.column_names)
    for counter, name in (
        (facts.origins, "text_origin"),
        (facts.crawls, "crawl_id"),
        (facts.formats, "format"),
        (facts.licences, "licence"),
        (facts.languages, "language"),
    ):
        if name in given:
            counter.update(value for value in index.column(name).to_pylist() if value)
    facts.domains.update(filter(None, map(_host, index.column("url").to_pylist())))
    if "repairs" in given:
        facts.repairs.update(word for words in index.column("repairs").to_pylist() for word in words or ())
    if "near_evaluation" in given:
        marked = index.column("near_evaluation").to_pylist()
        facts.overlap.update(str(value).split(" ")[0] for value in marked if value)


@functools.lru_cache(100_000)
def _host(url: str) -> str | None:
    try:
        return host_of(canonical(url))
    except UnusableURLError:
        return None


def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _language(identifier: Any, text: str) -> str:
    """The likeliest of 140 languages; "unsure" below 0.2, from where on nine of ten short captions are told right."""
    language, probability = identifier.classify(text)
    return str(language) if float(probability) >= 0.2 else "unsure"


def _shorter(index: pa.Table) -> np.ndarray:
    sides = [index.column(name).fill_null(0).to_numpy() for name in ("original_width", "original_height")]
    shorter = np.minimum(*sides)
    return np.asarray(shorter[shorter > 0], np.int64)


def _percentiles(values: np.ndarray) -> tuple[float, float, float]:
    known = values[~np.isnan(values)]
    low, middle, high = np.percentile(known, (5, 50, 95)) if len(known) else (0.0, 0.0, 0.0)
    return float(low), float(middle), float(high)


def classes(parts: Sequence[np.ndarray], edges: Sequence[int], unit: str) -> dict[str, int]:
    """How many values lie between the edges, by name: "under 32 px", "32-63 px", ..., "1024 px +"."""
    values = np.concatenate([np.empty(0, np.int64), *parts])
    found = np.histogram(values, bins=[-1, *edges, 1 << 62])[0].tolist()
    names = [f"under {edges[0]}", *(f"{a}-{b - 1}" for a, b in itertools.pairwise(edges)), f"{edges[-1]} +"]
    names = [f"{name} {unit}".strip() for name in names]
    return dict(zip(names, found, strict=True)) if sum(found) else {}
