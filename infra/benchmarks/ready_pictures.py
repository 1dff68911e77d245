"""The loader's process with pictures that are ready (benchmark loader): it reads bytes and captions and writes rows as always, but
each picture is grey, so that decoding does not hide what the queue costs."""

from typing import Any

from training.data import pictures, worker
from training.data.resize import Pixels


def _grey(self: pictures.Pictures, sample: int, data: Any, draws: list[float], out_3SS: Pixels) -> None:
    out_3SS.fill(127)


if __name__ == "__main__":
    pictures.Pictures._make = _grey  # type: ignore[method-assign]
    worker.main()
