"""Samples per second and core from shards to batches: our loader beside open_clip's, same tars, same boxes, same text length.

Photographs of ../shared (without it: generated pictures of their spectrum) with the shorter side 256, JPEG quality 95, in
WebDataset tars; both loaders cut boxes of 90-100 % of the area and 3:4 to 4:3, resize to 224 bicubic with antialiasing, and
make 77 tokens of each caption. Ours gives uint8 (models normalise on their device), open_clip normalised float32. CPU time is
that of all processes; the pixels are compared first. Then the same again with originals, with a longer epoch for memory, and
what handing batches over costs the training process.

    SAMPLES=512 LONG=2048 REPEATS=1 python infra/benchmarks/loader.py     a quick look
"""

import base64
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Row, paired, peer, write
from PIL import Image
from resize import natural
from torch_peers import TORCH_PEERS

from training.config import TrainConfig
from training.data.config import DataConfig, SourceConfig
from training.data.decode import decode
from training.data.loader import Loader
from training.data.resize import cut
from training.data.sources import open_data
from training.tokens.tokenizer import Tokenizer

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "clothing-dataset-small"
PEER = "open_clip"
SAMPLES = int(os.environ.get("SAMPLES", "2048"))
LONG = int(os.environ.get("LONG", "32768"))
REPEATS = int(os.environ.get("REPEATS", "3"))
SIZE, BATCH, SHARDS, PHOTOGRAPHS = 224, 256, 8, 512
WARM = 4


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


def epoch(loader: Loader, samples: int) -> dict[str, float]:
    start, cpu = time.monotonic(), time.process_time()
    for _ in loader.batches(0, samples // BATCH):
        pass
    return {"seconds": time.monotonic() - start, "cpu": time.process_time() - cpu}


def steady_cpu(loader: Loader, samples: int) -> float:
    """CPU seconds of this process for `samples` samples: as many batches are ahead at the end as at the start."""
    batches = loader.batches(0, samples // BATCH + 2 * WARM)
    for _ in range(WARM):
        next(batches)
    cpu = time.process_time()
    for _ in range(samples // BATCH):
        next(batches)
    seconds = time.process_time() - cpu
    batches.close()  # type: ignore[attr-defined]
    return seconds


def memory_gib() -> float:
    return int(Path("/proc/self/smaps_rollup").read_text().split("Pss:")[1].split()[0]) / 2**20


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


def compare(kind: str, pictures: list[bytes], folder: Path, decoding: str, rows: list[Row]) -> None:
    tars = folder / f"{kind}-{decoding}".replace(" ", "-")
    write_tars(tars, pictures, SAMPLES)
    job = {"shards": f"{tars}/{{00000..{SHARDS - 1:05d}}}.tar", "size": SIZE, "batch": BATCH, "workers": 1}
    ours = our_loader(tars, folder / "cache", decode=decoding)
    with peer("loader_open_clip", TORCH_PEERS, job | {"samples": SAMPLES}, folder) as other:
        mean, largest = pixel_difference(other, pictures, folder)
        if mean > 0.1:
            raise SystemExit(f"{kind}: pixels differ by {mean:.2f} levels; no speed is reported")
        print(
            f"{kind}: exact pixels differ from Pillow's crop by {mean:.4f} levels (0 inside the edges, {largest} at most)"
        )
        epoch(ours, SAMPLES)
        other.ask("epoch")
        mine: list[dict[str, float]] = []
        theirs: list[dict[str, float]] = []

        def run_ours() -> float:
            mine.append(epoch(ours, SAMPLES))
            return mine[-1]["cpu"]

        def run_theirs() -> float:
            theirs.append(other.ask("epoch"))
            return theirs[-1]["own_cpu"] + theirs[-1]["workers_cpu"]

        seconds = paired(run_ours, run_theirs, REPEATS)
    name = f"{kind}, decode: {decoding}"
    if decoding == "fast":
        name += f" (differs from exact by {fast_difference(pictures):.2f} levels)"
    rows.append(Row(name, "samples per CPU second", "1/s", SAMPLES / seconds[0], SAMPLES / seconds[1], PEER))
    wall = [min(each["seconds"] for each in runs) for runs in (mine, theirs)]
    rows.append(
        Row(name, "samples/s of the clock, one thread or worker", "1/s", SAMPLES / wall[0], SAMPLES / wall[1], PEER)
    )


def hand_over(folder: Path, pictures: list[bytes], rows: list[Row]) -> None:
    """CPU time that the training process spends to get a batch from one process of a loader."""
    tars = folder / "handed"
    write_tars(tars, pictures, SAMPLES)
    ours = our_loader(tars, folder / "cache", processes=1)
    job = {"shards": f"{tars}/{{00000..{SHARDS - 1:05d}}}.tar", "size": SIZE, "batch": BATCH, "workers": 1}
    with peer("loader_open_clip", TORCH_PEERS, job | {"samples": SAMPLES}, folder) as other:
        epoch(ours, SAMPLES)
        other.ask("epoch")
        seconds = paired(lambda: steady_cpu(ours, SAMPLES), lambda: float(other.ask("epoch")["own_cpu"]), REPEATS)
    what = "samples per CPU second of the training process, pictures made by one process beside it"
    rows.append(Row("one worker's queue", what, "1/s", SAMPLES / seconds[0], SAMPLES / max(seconds[1], 0.01), PEER))


def memory_curve(folder: Path, pictures: list[bytes]) -> Iterator[list[Any]]:
    """Memory along one long epoch, ours and theirs."""
    tars = folder / "long"
    write_tars(tars, pictures, LONG)
    loader = our_loader(tars, folder / "cache")
    ours = []
    for number, _ in enumerate(loader.batches(0, LONG // BATCH), 1):
        ours.append((number * BATCH, memory_gib()))
    job = {"shards": f"{tars}/{{00000..{SHARDS - 1:05d}}}.tar", "size": SIZE, "batch": BATCH, "workers": 1}
    with peer("loader_open_clip", TORCH_PEERS, job | {"samples": LONG}, folder) as other:
        theirs = other.ask("epoch")["memory"]
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        at = [min(curve, key=lambda point: abs(point[0] - share * LONG))[1] for curve in (ours, theirs)]
        yield [f"{int(share * LONG):,}", f"{at[0]:.3f}", f"{at[1]:.3f}"]


def main() -> None:
    torch.set_num_threads(1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = photographs()
        small = [encoded(picture, 256) for picture in found]
        large = [encoded(picture, 640) for picture in found[: len(found) // 2]]
        compare("256-short JPEG", small, folder, "exact", rows)
        compare("640-short JPEG", large, folder, "exact", rows)
        compare("640-short JPEG", large, folder, "fast", rows)
        hand_over(folder, small, rows)
        curve = list(memory_curve(folder, small))
    weight = sum(map(len, small)) // len(small) // 1000
    what = f"{len(found)} photographs, shorter side 256 ({weight} KB) or 640, JPEG quality 95; {SAMPLES:,} samples an epoch"
    versions = {"open_clip": "3.3.0", "webdataset": "0.2.86"}
    for samples, ours, theirs in (curve[0], curve[len(curve) // 2], curve[-1]):
        case = f"one epoch of {LONG:,} samples, after {samples}"
        rows.append(Row(case, "resident memory", "GiB", float(ours), float(theirs), PEER, higher_is_better=False))
    write("loader", what, rows, versions)


if __name__ == "__main__":
    main()
