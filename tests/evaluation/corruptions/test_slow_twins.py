"""Each fast corruption against the published arithmetic, written out slowly with SciPy and plain loops."""

import colorsys
import math

import numpy as np
import pytest
from scipy.ndimage import correlate, gaussian_filter, map_coordinates, zoom

from evaluation.corruptions import blur, digital, pixels
from evaluation.corruptions.plasma import plasma
from evaluation.pictures.pictures import load


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.asarray(load("scenes", "test").read(3))[:48, :48].copy()


def floats(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) / 255


def as_bytes(unit: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(unit, 0, 1) * 255)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 6.0])
def test_the_gaussian_is_scipys_with_edges_repeated(sigma: float, picture: np.ndarray) -> None:
    slow = gaussian_filter(floats(picture).astype(float), (sigma, sigma, 0), mode="nearest", truncate=4)
    np.testing.assert_allclose(pixels.gaussian_blurred(floats(picture), sigma), slow, atol=2e-6)


@pytest.mark.parametrize("factor", [1.0, 1.05, 1.13, 2.25, 4.5])
def test_the_zoom_is_scipys_of_the_middle(factor: float, picture: np.ndarray) -> None:
    side = len(picture)
    middle = math.ceil(side / factor)
    first = (side - middle) // 2
    cut = floats(picture)[first : first + middle, first : first + middle]
    slow = zoom(cut, (factor, factor, 1), order=1)
    trim = (len(slow) - side) // 2
    np.testing.assert_allclose(
        pixels.zoomed(floats(picture), factor), slow[trim : trim + side, trim : trim + side], atol=2e-6
    )


@pytest.mark.parametrize(("radius", "sigma", "degrees"), [(10, 1.0, 33.0), (20, 15.0, -120.0), (12, 8.0, 0.0)])
def test_motion_adds_up_pixels_along_a_line(radius: int, sigma: float, degrees: float, picture: np.ndarray) -> None:
    side, weights = len(picture), [math.exp(-step * step / (2 * sigma * sigma)) for step in range(2 * radius + 1)]
    slow = np.zeros((side, side, 3))
    for step, weight in enumerate(weights):
        down = math.ceil(step * math.sin(math.radians(degrees)) - 0.5)
        right = math.ceil(step * math.cos(math.radians(degrees)) - 0.5)
        rows, columns = (np.clip(np.arange(side) + by, 0, side - 1) for by in (down, right))
        slow += weight / sum(weights) * picture[rows][:, columns]
    assert np.abs(pixels.moved(picture, radius, sigma, degrees) - slow).max() <= 0.51


def test_glass_copies_near_pixels_from_the_last_to_the_first(picture: np.ndarray) -> None:
    sigma, reach, rounds, side = 0.7, 2, 2, len(picture)
    slow = np.floor(gaussian_filter(floats(picture).astype(float), (sigma, sigma, 0), mode="nearest") * 255 + 1e-4)
    random = np.random.default_rng(5)
    for _ in range(rounds):
        rows = range(side - reach, reach, -1)
        across, down = random.integers(-reach, reach, size=(2, len(rows) ** 2))
        for number, (row, column) in enumerate((r, c) for r in rows for c in rows):
            slow[row, column] = slow[row + down[number], column + across[number]]
    slow = as_bytes(gaussian_filter(slow / 255, (sigma, sigma, 0), mode="nearest"))
    fast = blur.glass_blur(picture, (sigma, reach, rounds), np.random.default_rng(5))
    assert np.abs(fast - slow).max() <= 1


@pytest.mark.parametrize(("radius", "softness"), [(0.5, 0.6), (3.0, 0.1), (10.0, 0.5)])
def test_defocus_is_a_softened_disc(radius: float, softness: float, picture: np.ndarray) -> None:
    reach = max(8, int(radius))
    disc = np.array(
        [[float(x * x + y * y <= radius * radius) for x in range(-reach, reach + 1)] for y in range(-reach, reach + 1)]
    )
    taps = 1 if radius <= 8 else 2
    line = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * softness**2))
    soft = correlate(disc / disc.sum(), np.outer(line, line) / line.sum() ** 2, mode="mirror")
    slow = np.stack([correlate(floats(picture)[:, :, c].astype(float), soft, mode="mirror") for c in range(3)], axis=2)
    fast = blur.defocus_blur(picture, (radius, softness), np.random.default_rng(0))
    assert np.abs(fast - as_bytes(slow)).max() <= 1


@pytest.mark.parametrize("values", [(0.1, 0.0), (5.0, 0.1), (20.0, 0.2)])
def test_saturation_and_brightness_are_those_of_hsv(values: tuple[float, float], picture: np.ndarray) -> None:
    picture = picture[:12, :12].copy()
    picture[0, 0] = 90  # a grey has no hue of its own
    slow, bright = np.zeros(picture.shape), np.zeros(picture.shape)
    for row, column in np.ndindex(picture.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*(picture[row, column] / 255).tolist())
        slow[row, column] = colorsys.hsv_to_rgb(h, min(1, max(0, s * values[0] + values[1])), v)
        bright[row, column] = colorsys.hsv_to_rgb(h, s, min(1, v + 0.3))
    random = np.random.default_rng(0)
    assert np.abs(digital.saturate(picture, values, random) - as_bytes(slow)).max() <= 1
    assert np.abs(digital.brightness(picture, (0.3,), random) - as_bytes(bright)).max() <= 1


def test_elastic_fields_are_smoothed_noise_and_pixels_come_from_where_they_point(picture: np.ndarray) -> None:
    side, strength, sigma = len(picture), 6.4, 5.12
    random = np.random.default_rng(1)
    random.uniform(-1e-9, 1e-9, size=(3, 2))  # the three points, which this twin leaves where they are
    field = [
        gaussian_filter(random.uniform(-1, 1, (side, side)), sigma, mode="reflect", truncate=3) * strength for _ in "xy"
    ]
    y, x = np.mgrid[:side, :side]
    slow = np.stack(
        [
            map_coordinates(floats(picture)[:, :, c], [y + field[1], x + field[0]], order=1, mode="reflect")
            for c in range(3)
        ],
        2,
    )
    fast = digital.elastic_transform(picture, (strength, sigma, 1e-9), np.random.default_rng(1))
    # Positions are taken to 1/32 of a pixel, so a pixel on a sharp edge may be off by that share of the edge.
    assert np.abs(fast / 255 - slow).max() < 0.04
    assert np.abs(fast / 255 - slow).mean() < 2e-3


def test_plasma_is_diamond_square_on_a_torus() -> None:
    side, decay, random = 8, 1.7, np.random.default_rng(2)
    height, step, swing = np.zeros((side, side)), 8, 1.0
    while step >= 2:
        half, places = step // 2, range(0, side, step)
        for (down, right), near in (
            ((half, half), ((0, 0), (0, step), (step, 0), (step, step))),
            ((0, half), ((0, 0), (0, step), (half, half), (-half, half))),
            ((half, 0), ((0, 0), (step, 0), (half, half), (half, -half))),
        ):
            drawn = random.uniform(-1, 1, (len(places), len(places)))
            for i, row in enumerate(places):
                for j, column in enumerate(places):
                    around = [height[(row + a) % side, (column + b) % side] for a, b in near]
                    height[row + down, column + right] = sum(around) / 4 + swing * drawn[i, j]
        step, swing = half, swing / decay**2
    height = (height - height.min()) / (height - height.min()).max()
    np.testing.assert_allclose(plasma(side, decay, np.random.default_rng(2)), height, atol=1e-12)
