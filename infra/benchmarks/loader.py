"""Samples per second and core from shards to batches: our loader beside open_clip's, same tars, same boxes, same text length.

Photographs of ../shared (without it: generated pictures of their spectrum) with the shorter side 256 or 640, JPEG quality 95, in
WebDataset tars; both loaders cut boxes of 90-100 % of the area and 3:4 to 4:3, resize to 224 bicubic with antialiasing, and
make 77 tokens of each caption. Ours gives uint8 (models normalise on their device), open_clip normalised float32. The pixels are
compared first. CPU time is that of all processes, one thread or worker of each.

Then what one worker's queue carries: its process reads tars and captions as before, but pictures are ready (ready_pictures.py), so
that decoding does not hide the queue. Then memory along an epoch, each loader in a process of its own: pages that are no part of a
program's files, workers included.

About 4 minutes on two quiet cores.

    SAMPLES=512 LONG=4096 REPEATS=1 python infra/benchmarks/loader.py     a quick look
"""

import base64
import io
import json
import multiprocessing
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from harness import HERE, Peer, Row, paired, peer, write
from PIL import Image
from resize import natural
from torch_peers import TORCH_PEERS

from training.config import TrainConfig
from training.data import crew
from training.data.config import DataConfig, SourceConfig
from training.data.decode import decode
from training.data.loader import Loader
from training.data.resize import cut
from training.data.sources import open_data
from training.tokens.tokenizer import Tokenizer

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "clothing-dataset-small"
PEER = "open_clip"
SAMPLES = int(os.environ.get("SAMPLES", "1024"))
LONG = int(os.environ.get("LONG", "16384"))
REPEATS = int(os.environ.get("REPEATS", "3"))
SIZE, BATCH, SHARDS, PHOTOGRAPHS = 224, 128, 8, 256
MOST_AHEAD = 4
"""Batches that are made or ready while one is taken: two by default, and as many wait."""
WARM = 2 * MOST_AHEAD


def photographs() -> list[Image.Image]:
    paths = sorted(SHARED.rglob("*.jpg"))[:PHOTOGRAPHS]
    if paths:
        return [Image.open(path).convert("RGB") for path in paths]
    return [natural(534, 400, number) for number in range(PHOTOGRAPHS // 4)]


def encoded(picture: Image.Image, shorter: int | None) -> bytes:
    if shorter is not None:
        scale = shorter / min(picture.size)
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
        )
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=95)
    return sink.getvalue()


def write_tars(folder: Path, pictures: list[bytes], samples: int) -> None:
    """SHARDS tars of `samples` samples in all; pictures come again after each other."""
    folder.mkdir()
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for number in range(shard * samples // SHARDS, (shard + 1) * samples // SHARDS):
                text = f"a photograph of a piece of clothing, number {number}, worn by nobody in a bright room".encode()
                for name, data in (
                    (f"{number:08d}.jpg", pictures[number % len(pictures)]),
                    (f"{number:08d}.txt", text),
                ):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def our_loader(folder: Path, cache: Path, **data: Any) -> Loader:
    settings = DataConfig(
        sources=(SourceConfig(path=str(folder)),),
        augmentation="inception",
        min_crop_area=0.9,
        decoded_cache_mib=0,
        cache_folder=str(cache),
        **data,
    )
    config = TrainConfig(model="clip-tiny", global_batch_size=BATCH, steps=1, warmup_steps=0, data=settings)
    opened = open_data(settings)
    return Loader(config, opened, Tokenizer.train(opened.all_captions(), 1000, 77), SIZE, 0, 1)


def steady(loader: Loader, samples: int) -> dict[str, float]:
    """Seconds and CPU seconds of this process for `samples` samples, as many batches being ahead at the end as at the start.

    Before that each of the batches that take turns has been used once: a run pays for new memory once, not once an epoch.
    """
    batches = loader.batches(0, samples // BATCH + WARM + MOST_AHEAD)
    for _ in range(WARM):
        next(batches)
    start, cpu = time.monotonic(), time.process_time()
    for _ in range(samples // BATCH):
        next(batches)
    found = {"seconds": time.monotonic() - start, "cpu": time.process_time() - cpu}
    batches.close()  # type: ignore[attr-defined]
    return found


def memory_gib() -> float:
    lines = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()]
    return sum(int(line[1]) for line in lines if line[0] in ("Pss_Anon:", "Pss_Shmem:")) / 2**20


def pixel_difference(other: Any, pictures: list[bytes], folder: Path) -> tuple[float, int]:
    """Mean and largest difference in levels from torchvision's resized_crop on Pillow.

    Not quite none: it cuts before it resizes, so that the filter sees nothing outside the box, and Pillow chooses the order of
    its passes by the size of what it is given.
    """
    draw = np.random.default_rng(0)
    all_of, largest = [], 0
    for number, data in enumerate(pictures[:40]):
        path = folder / f"{number}.jpg"
        path.write_bytes(data)
        pixels = decode(data)
        height, width = pixels.shape[:2]
        h, w = draw.integers(height * 9 // 10, height), draw.integers(width * 9 // 10, width)
        top, left = draw.integers(0, height - h), draw.integers(0, width - w)
        ask = {"crop": str(path), "size": SIZE, "box": [int(top), int(left), int(h), int(w)]}
        theirs = np.frombuffer(base64.b64decode(other.ask(json.dumps(ask))["pixels"]), np.uint8)
        ours = np.empty((3, SIZE, SIZE), np.uint8)
        cut(pixels, (left, top, left + w, top + h), SIZE, ours)
        gap = np.abs(ours.transpose(1, 2, 0).astype(int) - theirs.reshape(SIZE, SIZE, 3))
        all_of.append(gap.mean())
        largest = max(largest, int(gap.max()))
    return float(np.mean(all_of)), largest


def fast_difference(pictures: list[bytes]) -> float:
    """Mean difference in levels between decode: fast and exact, where the picture is large enough for fast to matter."""
    gaps = []
    for data in pictures[:40]:
        whole = decode(data)
        height, width = whole.shape[:2]
        side = min(height, width)
        factor = next((each for each in (8, 4, 2) if side >= each * SIZE), 1)
        small = decode(data, factor)
        out = np.empty((2, 3, SIZE, SIZE), np.uint8)
        cut(whole, (0, 0, side, side), SIZE, out[0])
        cut(small, (0, 0, side / factor, side / factor), SIZE, out[1])
        gaps.append(np.abs(out[0].astype(int) - out[1]).mean())
    return float(np.mean(gaps))


def compare(
    kind: str, pictures: list[bytes], folder: Path, decodings: Sequence[Literal["exact", "fast"]]
) -> Iterator[Row]:
    """Two rows for each way to decode."""
    tars = folder / kind.replace(" ", "-")
    write_tars(tars, pictures, SAMPLES)
    loaders = {decoding: our_loader(tars, folder / "cache", decode=decoding) for decoding in decodings}
    with open_clip(tars, SAMPLES, folder) as other:
        mean, largest = pixel_difference(other, pictures, folder)
        if mean > 0.1:
            raise SystemExit(f"{kind}: pixels differ by {mean:.2f} levels; no speed is reported")
        names = {
            "exact": f"decode: exact (differs from Pillow's crop by {mean:.3f} levels in the mean, {largest} at most)",
            "fast": f"decode: fast (differs from exact by {fast_difference(pictures):.2f} levels in the mean)",
        }
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in (*decodings, PEER)}
        for turn in range(REPEATS + 1):  # the first is for indexes, compiled loops and imports
            for name in runs if turn % 2 == 0 else reversed(runs):
                found = other.ask("epoch") if name == PEER else steady(loaders[name], SAMPLES)
                if turn:
                    runs[name].append(found)
    for key, metric in (
        ("cpu", "samples per CPU second"),
        ("seconds", "samples/s of the clock, one thread or worker"),
    ):
        speed = {name: SAMPLES / statistics.median(each[key] for each in found) for name, found in runs.items()}
        for decoding in decodings:
            yield Row(f"{kind}, {names[decoding]}", metric, "1/s", speed[decoding], speed[PEER], PEER)


def one_queue(tars: Path, folder: Path) -> Iterator[Row]:
    """Through one worker's queue, pictures ready: by the clock, and what a batch costs the training process."""
    ours, mine, theirs = our_loader(tars, folder / "cache", processes=1), [], []
    crew.WORKER = (str(HERE / "ready_pictures.py"),)
    with open_clip(tars, LONG, folder, ready=True) as other:
        samples = LONG // 2
        steady(ours, samples), other.ask("epoch")

        def run_ours() -> float:
            mine.append(steady(ours, samples))
            return mine[-1]["seconds"]

        def run_theirs() -> float:
            theirs.append(other.ask("epoch"))
            return float(theirs[-1]["steady_seconds"] / theirs[-1]["steady_samples"] * samples)

        seconds = paired(run_ours, run_theirs, REPEATS)
    cpu = statistics.median(each["cpu"] for each in mine) / samples
    other_cpu = statistics.median(each["steady_cpu"] / each["steady_samples"] for each in theirs)
    case = "one worker's queue, pictures ready"
    yield Row(case, "samples/s of the clock", "1/s", samples / seconds[0], samples / seconds[1], PEER)
    yield Row(case, "samples per CPU second of the training process", "1/s", 1 / cpu, 1 / max(other_cpu, 1e-6), PEER)


def our_memory(tars: Path, cache: Path, answers: "multiprocessing.SimpleQueue[Any]") -> None:
    torch.set_num_threads(1)
    batches = our_loader(tars, cache).batches(0, LONG // BATCH)
    answers.put([(number * BATCH, memory_gib()) for number, _ in enumerate(batches, 1)])


def memory(tars: Path, folder: Path) -> Iterator[Row]:
    """Along one epoch. Ours is measured in a new process: this one has held the pictures."""
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    child = context.Process(target=our_memory, args=(tars, folder / "cache", answers))
    child.start()
    curves = [answers.get()]
    child.join()
    with open_clip(tars, LONG, folder) as other:
        curves.append(other.ask("epoch")["memory"])
    for share in (0.125, 0.5, 1.0):
        at = [min(curve, key=lambda point: abs(point[0] - share * LONG))[1] for curve in curves]
        case = f"one epoch of {LONG:,} samples, after {int(share * LONG):,}"
        yield Row(case, "memory, program files apart", "GiB", *at, PEER, higher_is_better=False)


def open_clip(tars: Path, samples: int, folder: Path, ready: bool = False) -> AbstractContextManager[Peer]:
    job = {"shards": f"{tars}/{{00000..{SHARDS - 1:05d}}}.tar", "size": SIZE, "batch": BATCH, "workers": 1}
    return peer("loader_open_clip", TORCH_PEERS, job | {"samples": samples, "ready": ready, "warm": WARM}, folder)


def main() -> None:
    torch.set_num_threads(1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = photographs()
        small = [encoded(picture, 256) for picture in found]
        large = [encoded(picture, 640) for picture in found[: len(found) // 2]]
        rows += compare("256-short JPEG", small, folder, ("exact",))
        rows += compare("640-short JPEG", large, folder, ("exact", "fast"))
        write_tars(folder / "long", small, LONG)
        rows += memory(folder / "long", folder)
        rows += one_queue(folder / "long", folder)
    weight = sum(map(len, small)) // len(small) // 1000
    what = (
        f"{len(found)} photographs, shorter side 256 ({weight} KB) or 640, JPEG quality 95; {SAMPLES:,} samples a run"
    )
    write("loader", what, rows, {"open_clip": "3.3.0", "webdataset": "0.2.86"})


if __name__ == "__main__":
    main()
