"""Data: all sources of a run as one row of samples, 0 .. rows-1, read one part at a time."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.manifest import NAME as MANIFEST
from training.data.config import DataConfig, SourceConfig
from training.data.dataset_source import CHANGED, DatasetSource
from training.data.each_caption import EachCaption
from training.data.labels import merged
from training.data.losses import Lost
from training.data.mixing import MixedStream
from training.data.needing import Needing
from training.data.order import Integers, SampleStream, Stream
from training.data.parquet_source import ParquetSource, picture_column
from training.data.part import Part, Source
from training.data.picture_folder import PictureFolder
from training.data.shard_cache import ShardCache
from training.data.tar_source import TarSource

LEAST_ROWS_IN_MEMORY = 1 << 20
"""Index rows that stay in memory at least; more where windows are larger."""


def open_data(config: DataConfig, dataset: str = "") -> "Data":
    """The sources of `config`, or the finished dataset in the folder `dataset` where it names none.

    Raises ConfigError and DataError where one is missing, empty or damaged. Tars without a manifest are looked through.
    """
    cache = ShardCache(config.cache_folder, config.shard_cache_mib * 2**20)
    named = config.sources or (SourceConfig(),)
    sources = [_open(source.model_copy(update={"path": source.path or dataset}), config, cache) for source in named]
    return Data(sources, config, cache, dataset)


def _open(config: SourceConfig, data: DataConfig, cache: ShardCache) -> Source:
    if not config.path:
        raise ConfigError("train.data.sources: a source has no path and this run has no dataset; give it a path")
    source: Source
    kind = config.kind if config.kind != "auto" else _kind_of(config.path)
    if kind == "dataset":
        source = DatasetSource(config.path, config, data.verify_checksums)
    elif kind == "tars":
        source = TarSource(config.path, config, cache)
    elif kind == "parquet":
        source = ParquetSource(config.path, config, cache)
    else:
        source = PictureFolder(config.path, config)
    return EachCaption(source) if config.captions == "all" else source


def _kind_of(path: str) -> str:
    if path.endswith(".tar") or "{" in path:
        return "tars"
    if storage.exists(storage.join(path, MANIFEST)):
        return "dataset"
    if path.endswith(".parquet"):
        return "parquet"
    names = storage.list_names(path)
    if any(name.endswith(".tar") for name in names):
        return "tars"
    tables = [name for name in names if name.endswith(".parquet")]
    if tables and "index" not in names and picture_column(storage.read_schema(storage.join(path, tables[0]))):
        return "parquet"
    # A folder of a dataset of ours that lacks its manifest is not finished: DatasetSource says so.
    return "dataset" if tables or not names else "pictures"


@dataclass(frozen=True)
class Place:
    """A row of a part."""

    part: Part
    row: int


class Data:
    """`id` names the data and how it is mixed; of one dataset it is the manifest's. Threads may share it."""

    def __init__(self, sources: Sequence[Source], config: DataConfig, cache: ShardCache, dataset: str = "") -> None:
        self.sources, self.config, self.cache, self.dataset = tuple(sources), config, cache, dataset
        self.needs: Set[str] = frozenset()
        self._window = window = config.shuffle_window_samples
        self.weights = [source.weight for source in config.sources if source.weight is not None]
        self.rows = sum(sum(source.part_rows) for source in sources)
        self.has_captions = all(source.has_captions for source in sources)
        self.classes = merged([source.classes for source in sources]) if all(s.classes for s in sources) else ()
        self.multi_label = any(source.multi_label for source in sources)
        self._part_rows = [rows for source in sources for rows in source.part_rows]
        self._ends = np.cumsum(self._part_rows, dtype=np.int64)
        self._homes = [(source, part) for source in sources for part in range(len(source.part_rows))]
        self._parts: OrderedDict[int, Part] = OrderedDict()
        self._most_rows = max(LEAST_ROWS_IN_MEMORY, 3 * window * max(1, len(self.weights)))
        self._busy = threading.Lock()

    @property
    def id(self) -> str:
        if len(self.sources) == 1:
            return self.sources[0].id
        content = [[source.id for source in self.sources], self.weights]
        return storage.sha256(storage.canonical_json(content))

    def needing(self, needs: Set[str]) -> "Data":
        """The same without the samples that an objective cannot learn from, which needs "text" or "label". A source that has none
        of them at all stays as it is (training/data/check.py speaks of it)."""
        named = self.config.sources or (SourceConfig(),)
        found: list[Source] = []
        for source, config in zip(self.sources, named, strict=True):
            lacks = ("text" in needs and not source.has_captions) or ("label" in needs and not source.classes)
            settings = config.model_dump(mode="json", exclude={"path", "weight"})
            found.append(source if lacks or not needs else Needing(source, needs, self.cache.folder, settings))
        data = Data(found, self.config, self.cache, self.dataset)
        data.needs = frozenset(needs)
        return data

    @property
    def dropped(self) -> Counter[str]:
        """Samples that were left out, by reason: no_text, no_label."""
        return sum((each.dropped for each in self.sources if isinstance(each, Needing)), start=Counter[str]())

    @property
    def lost(self) -> tuple[Lost, ...]:
        """Samples that cannot be read, by file; a file that cannot be decoded is met later (training/data/loader.py)."""
        return tuple(lost for source in self.sources for lost in source.lost)

    @property
    def is_changed(self) -> bool:
        """Whether comparing checksums found a shard that is to be left alone."""
        return any(lost.reason == CHANGED for lost in self.lost)

    @property
    def whole_rows(self) -> int:
        """Samples that the data would have if all could be read and had what is needed."""
        return self.rows + self.dropped.total() + sum(lost.samples for lost in self.lost if not lost.listed)

    def stream(self, seed: int) -> Stream:
        """The order of samples: one stream over all, or with weights one of each source by turns."""
        if not self.weights:
            return SampleStream(self.rows, seed, self.id, self._part_rows, self._window)
        streams, first_parts, parts = [], [], 0
        for number, source in enumerate(self.sources):
            # The number keeps two sources with the same content from running in step.
            name = source.id if len(self.sources) == 1 else f"{source.id}/{number}"
            streams.append(SampleStream(sum(source.part_rows), seed, name, source.part_rows, self._window))
            first_parts.append(parts)
            parts += len(source.part_rows)
        return MixedStream(streams, first_parts, self.weights, seed)

    def places(self, samples: Integers) -> list[Place]:
        """Where each sample lies. Raises DataError where an index cannot be read."""
        numbers = np.searchsorted(self._ends, samples, side="right")
        found: list[Place] = []
        for sample, number in zip(samples.tolist(), numbers.tolist(), strict=True):
            start = int(self._ends[number]) - self._part_rows[number]
            found.append(Place(self.part(number), sample - start))
        return found

    def part(self, number: int) -> Part:
        """The part's index, from memory where it was used lately."""
        with self._busy:
            part = self._parts.get(number)
            if part is not None:
                self._parts.move_to_end(number)
                return part
            source, own = self._homes[number]
            part = self._parts[number] = source.part(own)
            rows = sum(len(kept) for kept in self._parts.values())
            while rows > self._most_rows and len(self._parts) > 1:
                _, gone = self._parts.popitem(last=False)
                rows -= len(gone)
            return part

    def all_captions(self) -> Iterator[str]:
        """Every caption of every sample, in order; one part in memory at a time."""
        for source, own in self._homes:
            captions = source.part(own).captions
            for value in captions.to_pylist() if captions is not None else []:
                yield from (value or [""]) if isinstance(value, list) else [value or ""]

    def label_values(self, places: Sequence[Place]) -> list[Any]:
        """Labels as the sources have them; null where a row has none."""
        return [place.part.labels[place.row].as_py() if place.part.labels is not None else None for place in places]
