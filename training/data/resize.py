"""Cut and resize in one step, bicubic with antialiasing: the pixels that Pillow gives, bit for bit, in a quarter of its time.

Pillow's method (its Resample.c; Keys 1981, a = -0.5): each output pixel is a weighted mean of the input pixels that the
stretched filter covers, along rows and along columns, 8 bits in between, weights as whole numbers of 2^-22. The sums are of
whole numbers, so any order of adding gives the same bits; which of the two passes is first does not (a level here and there):
Pillow 13 begins with the columns in narrow, tall pictures, and earlier versions never do. Here both passes run along
contiguous memory, which the compiler turns into vector instructions: the picture is turned in between.
"""

import math
from typing import Any

import cv2
import numpy as np

from pipeline.compiled import compiled

BITS = 22
Box = tuple[float, float, float, float]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Filter = tuple[np.ndarray, np.ndarray]
"""Weights and first input pixel of each output pixel."""

cv2.setNumThreads(1)  # one picture, one core: pictures are many


def cut(pixels: Pixels, box: Box, size: int, out: Pixels) -> None:
    """`box` (left, top, right, bottom) of `pixels` (H, W, 3), made (size, size), into the planes `out` (3, size, size).

    Equal to Image.resize((size, size), BICUBIC, box) bit for bit. The box lies inside the picture.
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = (np.float32(edge) for edge in box)  # Pillow's boxes are single precision
    columns_first = height - size > 2 * max(0, width - size)
    _both(pixels, _filter(width, left, right, size), _filter(height, top, bottom, size), columns_first, out)


def resize_and_crop(pixels: Pixels, whole: tuple[int, int], corner: tuple[int, int], size: int, out: Pixels) -> None:
    """The square of `size` pixels at `corner` (left, top) of `pixels` resized to `whole` (width, height), into `out` as `cut`.

    Equal to Image.resize(whole, BICUBIC).crop(...) bit for bit; what the crop leaves out is never made.
    """
    height, width = pixels.shape[:2]
    zero = np.float32(0)
    across, first_columns = _filter(width, zero, np.float32(width), whole[0])
    down, first_rows = _filter(height, zero, np.float32(height), whole[1])
    columns, rows = slice(corner[0], corner[0] + size), slice(corner[1], corner[1] + size)
    columns_first = height - whole[1] > 2 * max(0, width - whole[0])
    _both(pixels, (across[columns], first_columns[columns]), (down[rows], first_rows[rows]), columns_first, out)


def _both(pixels: Pixels, horizontal: Filter, vertical: Filter, columns_first: bool, out: Pixels) -> None:
    """Both passes, over as much of the picture as they need."""
    (across, first_columns), (down, first_rows) = horizontal, vertical
    height, width = pixels.shape[:2]
    size = len(across)
    x, y = int(first_columns[0]), int(first_rows[0])
    columns = min(width, int(first_columns[-1]) + across.shape[1]) - x
    rows = min(height, int(first_rows[-1]) + down.shape[1]) - y
    part = pixels[y : y + rows, x : x + columns]
    if columns_first:
        low = np.empty((size, columns * 3), np.uint8)
        _along(np.ascontiguousarray(part).reshape(rows, columns * 3), down, first_rows - y, 1, 0, low)
        turned = cv2.transpose(low.reshape(size, columns, 3))
        done = np.empty((size, size * 3), np.uint8)
        _along(turned.reshape(columns, size * 3), across, first_columns - x, 1, 0, done)
        out[:] = cv2.transpose(done).reshape(size, 3, size).transpose(1, 0, 2)
        return
    turned = cv2.transpose(part)
    narrow = np.empty((size, rows * 3), np.uint8)
    _along(turned.reshape(columns, rows * 3), across, first_columns - x, 1, 0, narrow)
    lines = cv2.transpose(narrow)  # (rows * 3, size): the three colours of a row are three lines
    for colour in range(3):
        _along(lines, down, first_rows - y, 3, colour, out[colour])


@compiled
def _filter(inside: int, start: np.float32, end: np.float32, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (size, taps) int32 and first input pixel (size,) for output pixels over [start, end) of `inside` pixels."""
    scale = np.float64(np.float32(end - start)) / size
    stretch = max(scale, 1.0)
    support = 2.0 * stretch
    taps = int(math.ceil(support)) * 2 + 1  # noqa: RUF046 (numba's ceil gives a float)
    weights = np.zeros((size, taps), np.int32)
    firsts = np.zeros(size, np.int64)
    row = np.zeros(taps, np.float64)
    for place in range(size):
        centre = start + (place + 0.5) * scale
        first = max(0, int(centre - support + 0.5))
        last = min(inside, int(centre + support + 0.5))
        total = 0.0
        for tap in range(last - first):
            away = abs((tap + first - centre + 0.5) * (1.0 / stretch))
            weight = 0.0
            if away < 1.0:
                weight = (1.5 * away - 2.5) * away * away + 1.0
            elif away < 2.0:
                weight = (((away - 5.0) * away + 8.0) * away - 4.0) * -0.5
            row[tap] = weight
            total += weight
        for tap in range(last - first):
            share = (row[tap] * (1.0 / total) if total != 0.0 else row[tap]) * (1 << BITS)
            weights[place, tap] = int(share - 0.5) if share < 0 else int(share + 0.5)
        firsts[place] = first
    return weights, firsts


@compiled
def _along(lines: np.ndarray, weights: np.ndarray, firsts: np.ndarray, step: int, offset: int, out: np.ndarray) -> None:
    """out[i] = weighted mean of lines[(firsts[i] + tap) * step + offset], for each i: (size, width) from (lines, width)."""
    width = lines.shape[1]
    sums = np.empty(width, np.int32)
    for place in range(len(weights)):
        taps = weights.shape[1]
        while taps > 1 and weights[place, taps - 1] == 0:
            taps -= 1
        at = firsts[place] * step + offset
        sums[:] = 1 << (BITS - 1)
        tap = 0
        while tap + 4 <= taps:
            a, b = weights[place, tap], weights[place, tap + 1]
            c, d = weights[place, tap + 2], weights[place, tap + 3]
            first, second = lines[at + tap * step], lines[at + (tap + 1) * step]
            third, fourth = lines[at + (tap + 2) * step], lines[at + (tap + 3) * step]
            for x in range(width):
                sums[x] += (
                    np.int32(first[x]) * a + np.int32(second[x]) * b + np.int32(third[x]) * c + np.int32(fourth[x]) * d
                )
            tap += 4
        while tap < taps:
            a = weights[place, tap]
            first = lines[at + tap * step]
            for x in range(width):
                sums[x] += np.int32(first[x]) * a
            tap += 1
        line = out[place]
        for x in range(width):
            line[x] = min(max(sums[x] >> BITS, 0), 255)
