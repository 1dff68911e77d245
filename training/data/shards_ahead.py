"""Remote shards are fetched before they are needed: those of this window of the shuffle, then those of the next."""

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from pipeline import storage
from pipeline.errors import DataError
from training.data.order import Stream
from training.data.sources import Data

FETCHERS = 4
WINDOWS = 2


class ShardsAhead:
    """Does nothing where all data is local or nothing is kept. Use it as a context, and `look` at each batch's place."""

    def __init__(self, data: Data, stream: Stream) -> None:
        self._data, self._stream = data, stream
        remote = any(not storage.is_local(source.name) for source in data.sources)
        self._pool = ThreadPoolExecutor(FETCHERS, "shards") if remote and data.cache.keeps else None
        self._asked: set[int] = set()

    def look(self, place: int) -> None:
        if self._pool is None:
            return
        parts = self._stream.parts_at(place, WINDOWS)
        for part in parts:
            if part not in self._asked:
                self._pool.submit(self._fetch, part)
        self._asked = set(parts)

    def _fetch(self, number: int) -> None:
        try:
            for file in self._data.part(number).files:
                self._data.cache.local(file)
        except DataError:
            return  # whoever needs a picture of it meets the error, and counts it

    def __enter__(self) -> "ShardsAhead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
