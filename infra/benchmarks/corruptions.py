"""Corruptions of ImageNet-C: CPU milliseconds per picture and kind, ours beside the published arithmetic written plainly.

    python infra/benchmarks/corruptions.py [--pictures 20]

The plain twins do what make_imagenet_c.py does with NumPy and SciPy (Python loops and all); kinds without a faster way are timed
alone. Also how much of a second all 75 variants of a picture cost: that bounds a robustness run on a CPU.
"""

import argparse
import functools
import time
from collections.abc import Callable

import numpy as np
from harness import write_facts
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from evaluation.corruptions.constants import TABLES
from evaluation.corruptions.corruptions import BENCHMARK, CORRUPTIONS, SEVERITIES, corrupt

SIDE = 224
Picture = NDArray[np.uint8]


def zoom_blur(picture: Picture, values: tuple[float, ...], random: np.random.Generator) -> None:
    unit = picture.astype(np.float32) / 255
    factors = np.arange(1, values[0], values[1])
    for factor in factors:
        middle = int(np.ceil(SIDE / factor))
        top = (SIDE - middle) // 2
        zoom(unit[top : top + middle, top : top + middle], (factor, factor, 1), order=1)


def glass_blur(picture: Picture, values: tuple[float, ...], random: np.random.Generator) -> None:
    sigma, reach, rounds = values[0], int(values[1]), int(values[2])
    taken = np.asarray(gaussian_filter(picture / 255, (sigma, sigma, 0)) * 255, np.uint8)
    for _ in range(rounds):
        for row in range(SIDE - reach, reach, -1):
            for column in range(SIDE - reach, reach, -1):
                right, down = random.integers(-reach, reach, size=2)
                taken[row, column] = taken[row + down, column + right]
    gaussian_filter(taken / 255, (sigma, sigma, 0))


def elastic_transform(picture: Picture, values: tuple[float, ...], random: np.random.Generator) -> None:
    unit = picture.astype(np.float32) / 255
    across, down = (
        gaussian_filter(random.uniform(-1, 1, (SIDE, SIDE)), values[1], mode="reflect", truncate=3) * values[0]
        for _ in "xy"
    )
    x, y, z = np.meshgrid(np.arange(SIDE), np.arange(SIDE), np.arange(3))
    places = (y + down[..., None]).reshape(-1, 1), (x + across[..., None]).reshape(-1, 1), z.reshape(-1, 1)
    map_coordinates(unit, places, order=1, mode="reflect")


def gaussian_blur(picture: Picture, values: tuple[float, ...], random: np.random.Generator) -> None:
    gaussian_filter(picture / 255, (values[0], values[0], 0), mode="nearest", truncate=4)


PLAIN: dict[str, Callable[[Picture, tuple[float, ...], np.random.Generator], None]] = {
    each.__name__: each for each in (zoom_blur, glass_blur, elastic_transform, gaussian_blur)
}


def milliseconds(work: Callable[[], object], times: int) -> float:
    work()
    start = time.process_time()
    for _ in range(times):
        work()
    return round(1000 * (time.process_time() - start) / times, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20)
    count = parser.parse_args().pictures
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    rows: list[list[object]] = []
    total = 0.0
    for name in CORRUPTIONS:
        mine = np.mean(
            [milliseconds(functools.partial(corrupt, picture, name, s, 0, 0, "imagenet-c"), count) for s in SEVERITIES]
        )
        plain = ""
        if name in PLAIN:
            works = [
                functools.partial(PLAIN[name], picture, row, np.random.default_rng(0))
                for row in TABLES["imagenet-c"][name]
            ]
            slow = np.mean([milliseconds(work, max(1, count // 10)) for work in works])
            plain = f"{slow:.1f}, {slow / mine:.0f} times ours"
        total += 5 * float(mine) if name in BENCHMARK else 0
        rows.append([name, round(float(mine), 2), plain])
    rows.append(["all 75 of the benchmark, one picture", round(total, 1), ""])
    write_facts(
        "corruptions",
        f"{count} pictures of {SIDE} pixels, mean over the five severities, CPU time of one process",
        ("corruption", "ours, ms per picture", "plain NumPy and SciPy, ms per picture"),
        rows,
    )


if __name__ == "__main__":
    main()
