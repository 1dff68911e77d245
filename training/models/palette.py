"""The colours that iGPT reads and writes: k-means on the RGB values of the user's pictures, or a file.

Chen et al. 2020, "Generative pretraining from pixels", section 3.2: k-means with 512 clusters over pixels. Centres are kept in
eighths of a grey level: then every distance, sum and mean below is exact in float64, so the palette is the same on every machine
and BLAS, and finding a pixel's colour (training/models/quantise.py) is exact in float32.
"""

import io
import json
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.errors import ConfigError
from training.data.order import step_seed

Array = np.ndarray[Any, Any]

PART = 8
"""Parts of a grey level."""
ITERATIONS = 50
ROWS_AT_ONCE = 1 << 14


def fit_palette(pixels_N3: Array, colours: int, seed: int) -> Array:
    """(C, 3) float32 in 0..255, dark to light: the centres of `colours` clusters of uint8 RGB values.

    Fewer different colours than asked for are all taken as they are; the rest of the palette repeats the last one, and no
    pixel ever gets such a number.
    """
    found, counts = np.unique(pixels_N3.reshape(-1, 3), axis=0, return_counts=True)
    points, weights = found.astype(np.float64), counts.astype(np.float64)
    if len(points) <= colours:
        centres = points
    else:
        centres = _lloyd(points, weights, _spread(points, weights, colours, seed))
        centres = np.unique(centres, axis=0)  # two may have met
    order = np.lexsort((*centres.T[::-1], centres @ (299.0, 587.0, 114.0)))
    centres = centres[order]
    filler = np.repeat(centres[-1:], colours - len(centres), axis=0)
    return np.concatenate([centres, filler]).astype(np.float32)


def _spread(points_N3: Array, weights_N: Array, colours: int, seed: int) -> Array:
    """First centres (k-means++, Arthur and Vassilvitskii 2007): each drawn by its weighted squared distance to those before."""
    words = np.random.Philox(key=step_seed(seed, 0, 0)).random_raw(colours)
    draws = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    chance = weights_N.copy()
    nearest = np.full(len(points_N3), np.inf)
    chosen = []
    for draw in draws:
        upto = np.cumsum(chance)
        which = int(np.searchsorted(upto, draw * upto[-1], side="right"))
        chosen.append(which)
        nearest = np.minimum(nearest, ((points_N3 - points_N3[which]) ** 2).sum(axis=1))
        chance = weights_N * nearest
    return points_N3[chosen]


def _lloyd(points_N3: Array, weights_N: Array, centres_C3: Array) -> Array:
    """Means of the points nearest to each centre, again and again (Lloyd 1982); a centre without points stays."""
    owner = np.full(len(points_N3), -1)
    for _ in range(ITERATIONS):
        now = _owners(points_N3, centres_C3)
        if np.array_equal(now, owner):
            break
        owner = now
        mass = np.bincount(owner, weights_N, len(centres_C3))
        sums = np.stack([np.bincount(owner, weights_N * each, len(centres_C3)) for each in points_N3.T], axis=1)
        held = mass > 0
        centres_C3 = centres_C3.copy()
        centres_C3[held] = np.rint(sums[held] / mass[held, None] * PART) / PART
    return centres_C3


def _owners(points_N3: Array, centres_C3: Array) -> Array:
    squares = (centres_C3**2).sum(axis=1)
    parts = (points_N3[start : start + ROWS_AT_ONCE] for start in range(0, len(points_N3), ROWS_AT_ONCE))
    return np.concatenate([(squares - 2 * part @ centres_C3.T).argmin(axis=1) for part in parts])


def read_palette(path: str, colours: int) -> Array:
    """(C, 3) float32 in 0..255 from a .npy array or a JSON list of rows, in 0..255 or, as OpenAI released theirs, -1..1.

    JSON may be an object with the rows under "clusters" (Hugging Face's preprocessor_config.json). Raises ConfigError where the
    file is something else, or of another number of colours, and for values in 0..1, which would be read as half of -1..1.
    """
    try:
        content = storage.read_bytes(path)
        if path.endswith(".npy"):
            rows = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            value = json.loads(content)
            rows = np.asarray(value["clusters"] if isinstance(value, dict) else value)
        rows = rows.astype(np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"train.objective.palette: {path} is no palette ({str(error) or type(error).__name__}); give a .npy or .json file of"
            f" {colours} rows of red, green and blue, or take the key out: then one is made from the data"
        ) from error
    if rows.shape != (colours, 3):
        shape = " x ".join(map(str, rows.shape)) or "one number"
        raise ConfigError(f"train.objective.palette: {path} holds {shape}; this model reads {colours} x 3")
    if rows.min() >= 0 and rows.max() <= 1:
        raise ConfigError(
            f"train.objective.palette: {path} has values from {rows.min():g} to {rows.max():g}: those of 0..255 go higher, and of"
            " -1..1 some are below 0; multiply values of 0..1 by 255"
        )
    if rows.min() >= -1 and rows.max() <= 1:
        rows = (rows + 1) * 127.5
    if not (np.isfinite(rows).all() and rows.min() >= 0 and rows.max() <= 255):
        raise ConfigError(f"train.objective.palette: {path} has values outside 0..255 (or -1..1); correct the file")
    return rows.astype(np.float32)
