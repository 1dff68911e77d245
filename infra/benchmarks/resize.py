"""CPU time per picture from downloaded bytes to stored bytes: our decoder beside img2dataset's Resizer, on one core.

Ours also makes two hashes, three statistics and two thumbnails from the same decode; the peer does not. With
`downscale: area` the stored files must be equal byte by byte, with `fast` they must be near, before a speed is reported.

    PICTURES=8 REPEATS=1 python infra/benchmarks/resize.py     a quick look
"""

import base64
import io
import json
import os
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from harness import Row, cpu_seconds, paired, peer, write
from PIL import Image

from pipeline.pictures.picture import process
from pipeline.pictures.picture_config import PictureConfig

PEER = "img2dataset"
PACKAGES = ("img2dataset", "opencv-python-headless", "albumentations", "albucore", "numpy", "pillow")
PICTURES = int(os.environ.get("PICTURES", "100"))
REPEATS = int(os.environ.get("REPEATS", "5"))
FAST_LEVELS = 2.0
KINDS = {
    "JPEG 650 px, 36 KB": (650, 490, "JPEG", {"quality": 85}),
    "JPEG 2000 px, 260 KB": (2000, 1500, "JPEG", {"quality": 85}),
    "JPEG 300 px, 12 KB": (300, 225, "JPEG", {"quality": 85}),
    "PNG 650 px": (650, 490, "PNG", {"compress_level": 6}),
}


def requirements() -> list[str]:
    """The peer with our versions of what it computes with, so that equal pixels can be asked for."""
    return [f"{name}=={metadata.version(name)}" for name in PACKAGES]


def natural(width: int, height: int, seed: int) -> Image.Image:
    """Noise with the spectrum of photographs and some hard edges."""
    draw = np.random.default_rng(seed)
    size = np.fft.rfftfreq(width)[None, :] ** 2 + np.fft.fftfreq(height)[:, None] ** 2
    size[0, 0] = 1
    amplitude = size ** (-1.75 / 2)
    amplitude[0, 0] = 0

    def layer() -> np.ndarray:
        noise = np.fft.irfft2(amplitude * np.exp(2j * np.pi * draw.random(amplitude.shape)), s=(height, width))
        return noise / noise.std()

    shared = layer()
    planes = [np.clip(128 + 50 * (0.9 * shared + 0.3 * layer()), 0, 255) for _ in range(3)]
    pixels = np.stack(planes, -1).astype(np.uint8)
    for _ in range(8):
        x, y = draw.integers(0, width - width // 7), draw.integers(0, height - height // 7)
        pixels[y : y + height // 7, x : x + width // 7] = draw.integers(0, 255, 3)
    return Image.fromarray(pixels)


def made(folder: Path, kind: str) -> list[Path]:
    width, height, format, options = KINDS[kind]
    paths = []
    for number in range(PICTURES if width < 1000 else max(1, PICTURES // 5)):
        paths.append(folder / f"{kind}-{number}".replace(" ", "-"))
        natural(width, height, number).save(paths[-1], format, **options)
    return paths


def distance(left: bytes, right: bytes) -> float:
    pixels = [np.asarray(Image.open(io.BytesIO(each))).astype(int) for each in (left, right)]
    return float(np.abs(pixels[0] - pixels[1]).mean())


def compare(other: Any, kind: str, paths: Sequence[Path], mode: str, rows: list[Row]) -> None:
    """Answers first, then the times of both ways of shrinking."""
    bodies = [path.read_bytes() for path in paths]
    resizer = {"image_size": 256, "resize_mode": mode, "resize_only_if_bigger": True}
    other.ask(json.dumps({"do": "load", "resizer": resizer, "paths": [str(path) for path in paths]}))
    theirs = [
        base64.b64decode(other.ask(json.dumps({"do": "open", "path": str(path)}))["image"]) for path in paths[:10]
    ]
    for downscale in ("fast", "area"):
        config = PictureConfig(image_size=256, resize_mode=mode, downscale=downscale, skip_reencode=False)
        header = config.picture_header()
        ours = [process(header, body)[1][0] for body in bodies[:10]]
        levels = max(distance(a, b) for a, b in zip(ours, theirs, strict=True))
        if (downscale == "area" and ours != theirs) or levels > FAST_LEVELS:
            raise SystemExit(f"{kind}, {mode}, {downscale}: pixels differ by {levels:.2f}; no speed is reported")
        seconds = paired(
            lambda h=header: cpu_seconds(lambda: [process(h, body) for body in bodies]),
            lambda: other.ask(json.dumps({"do": "resize"}))["seconds"],
            REPEATS,
        )
        name = f"{kind}, {mode} 256, {downscale} (differs by {levels:.2f} levels)"
        each = [1000 * total / len(bodies) for total in seconds]
        rows.append(Row(name, "CPU time per picture", "ms", each[0], each[1], PEER, higher_is_better=False))


def main() -> None:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = {"resizer": {"image_size": 256, "resize_mode": "border", "resize_only_if_bigger": True}}
        with peer("img2dataset_pictures", requirements(), job, folder) as other:
            for kind in KINDS:
                paths = made(folder, kind)
                for mode in (
                    ("keep_ratio_largest", "border") if kind.startswith("JPEG 650") else ("keep_ratio_largest",)
                ):
                    compare(other, kind, paths, mode, rows)
    data = f"{PICTURES} generated pictures of each kind with the spectrum of photographs; JPEG quality 95 out"
    write("resize", data, rows, {name: metadata.version(name) for name in PACKAGES[:2]})


if __name__ == "__main__":
    main()
