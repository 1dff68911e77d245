"""Pictures to the sandbox and back: several per message, and one by one where a message is the child's last.

`pipeline.pictures.picture_batch:process_batch` is the child's side. A picture that brings down the child costs itself only.
With engine img2dataset the pictures of one message are one of its shards instead (img2dataset_engine.py).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline import storage
from pipeline.execution.sandbox import SandboxDied, shared
from pipeline.fetching.img2dataset_engine import img2dataset_pictures
from pipeline.pictures.picture_row import facts_to_row
from pipeline.web.answer import Fetched

TARGET = "pipeline.pictures.picture_batch:process_batch"
BATCH_PICTURES = 32
SHARD_PICTURES = 128
"""Pictures of one shard of engine img2dataset, at most."""
BATCH_BYTES = 2_000_000

Facts = dict[str, Any]
"""Columns of picture_config.IMAGE_COLUMNS, or reason and evidence."""


def decode(header: dict[str, Any], payloads: Sequence[bytes]) -> list[Facts]:
    """What `pipeline.pictures.picture.process`, or engine img2dataset, makes of each payload, in a limited child process."""
    if header["engine"] == "img2dataset":
        names = [f"sha256:{storage.sha256(payload)}" for payload in payloads]
        answers = [Fetched(name, name, 200, body=body) for name, body in zip(names, payloads, strict=True)]
        return img2dataset_pictures(header, answers, [""] * len(answers))
    found: list[Facts] = []
    for batch in _batches(payloads):
        try:
            found += _call(header, batch)
        except SandboxDied:
            found += [_alone(header, payload) for payload in batch]
    return found


def _batches(payloads: Sequence[bytes]) -> list[list[bytes]]:
    batches: list[list[bytes]] = []
    size = 0
    for payload in payloads:
        if not batches or size + len(payload) > BATCH_BYTES or len(batches[-1]) == BATCH_PICTURES:
            batches.append([])
            size = 0
        batches[-1].append(payload)
        size += len(payload)
    return batches


def _call(header: dict[str, Any], payloads: Sequence[bytes]) -> list[Facts]:
    request = {"picture": header, "sizes": [len(payload) for payload in payloads]}
    reply, blobs = shared(TARGET).call(request, payloads)
    found, start = [], 0
    for facts, count, payload in zip(reply["facts"], reply["blobs"], payloads, strict=True):
        found.append(facts_to_row(facts, blobs[start : start + count], payload))
        start += count
    return found


def _alone(header: dict[str, Any], payload: bytes) -> Facts:
    try:
        return _call(header, [payload])[0]
    except SandboxDied as death:
        return {"reason": death.reason, "evidence": f"{death.detail}, sha256 {storage.sha256(payload)}"}


Taken = Callable[[Facts | Exception], None]


class Decoder:
    """Decodes beside an event loop: `decode(payload, taken)`, and `taken(facts)` is called in the loop when it is done.

    An exception in place of facts is a bug of ours, or a child that cannot be started. `bytes_waiting` is what came in and
    is not decoded yet.
    """

    def __init__(self, header: dict[str, Any], relieved: Callable[[], None]) -> None:
        self._header = header
        self._relieved = relieved
        self._waiting: deque[tuple[bytes, Taken]] = deque()
        self._thread = ThreadPoolExecutor(1, "decode")
        self._pump: asyncio.Task[None] | None = None
        self.bytes_waiting = 0

    def decode(self, payload: bytes, taken: Taken) -> None:
        self._waiting.append((payload, taken))
        self.bytes_waiting += len(payload)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.ensure_future(self._work())

    async def close(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        most = SHARD_PICTURES if self._header["engine"] == "img2dataset" else BATCH_PICTURES
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            payloads = [payload for payload, _ in batch]
            try:
                found: Sequence[Facts | Exception] = await loop.run_in_executor(
                    self._thread, decode, self._header, payloads
                )
            except Exception as error:  # the lanes end with it
                found = [error] * len(batch)
            self.bytes_waiting -= sum(map(len, payloads))
            for (_, taken), facts in zip(batch, found, strict=True):
                taken(facts)
            self._relieved()
