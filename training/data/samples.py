"""What a dataset says of its samples by position, for people: key, url, caption (training/replay.py)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.datasets import shards
from pipeline.manifest import Manifest
from training.config import TrainConfig


@dataclass(frozen=True)
class SampleFacts:
    """`position` counts over the whole data; the others are empty where the data does not say them."""

    position: int
    key: str
    url: str
    caption: str
    file: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def describe_samples(config: TrainConfig, folder: str, positions: Sequence[int]) -> list[SampleFacts]:
    """In the order asked for. Raises DataError where an index cannot be read."""
    manifest = Manifest.load(folder)
    ends = np.cumsum([shard.rows for shard in manifest.shards])
    found: dict[int, SampleFacts] = {}
    shard_of = np.searchsorted(ends, np.asarray(positions), side="right")
    for number in sorted(set(shard_of.tolist())):
        shard = manifest.shards[number]
        wanted = [position for position, at in zip(positions, shard_of.tolist(), strict=True) if at == number]
        first = int(ends[number]) - shard.rows
        names = [name for name in ("key", "url", "caption") if name in shards.read_schema(folder, shard).names]
        rows = shards.read_index(folder, shard, names).take([position - first for position in wanted]).to_pylist()
        for position, row in zip(wanted, rows, strict=True):
            texts = (str(row.get(name) or "") for name in ("key", "url", "caption"))
            key, url, caption = texts
            found[position] = SampleFacts(position, key, url, caption, storage.join(folder, shard.tar))
    return [found[position] for position in positions]
