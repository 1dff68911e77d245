"""One part of a picture list to feature files: threads decode the next pictures while the model runs on these (lanes.py).

A part's files are written whole under their names when all of its rows are there: a name that exists is complete.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.features.config import FeaturesConfig
from evaluation.features.lanes import Lanes
from evaluation.features.pixels import picture_pixels, square_of
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder, torch_threads
from evaluation.pictures.pictures import Pictures
from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.progress import Progress
from training.data.resize import Pixels

LOST = 0.01
"""Of a picture's largest feature: what rounding may take away. float16 keeps a two-thousandth of numbers from 6e-5 to 65,504."""


@dataclass(frozen=True)
class Part:
    """Rows of a picture list, and the file that each wanted feature of theirs goes to."""

    rows: range
    files: Mapping[Wanted, str]


@dataclass(frozen=True)
class Made:
    """What was done for a part: pictures decoded, and pictures that went through the model."""

    decoded: int
    encoded: int


def make_part(
    opener: Callable[[], Encoder],
    pictures: Pictures,
    seed: int,
    config: FeaturesConfig,
    progress: Progress,
    part: Part,
) -> Made:
    """Make and write the files of `part`. Raises DataError where a picture cannot be read or a feature is no number."""
    encoder = opener()
    variants = list(dict.fromkeys(want.variant for want in part.files))
    layers = {variant: [want.layer for want in part.files if want.variant == variant] for variant in variants}
    made: dict[Wanted, list[NDArray[np.float32]]] = {want: [] for want in part.files}

    def squares(index: int, out_V3SS: Pixels) -> None:
        clean = picture_pixels(pictures, index)
        for variant, out_3SS in zip(variants, out_V3SS, strict=True):
            pixels = clean if variant is None else variant.applied(clean, index, seed)
            square_of(pixels, encoder.form, out_3SS)

    def forward(squares_VU3SS: NDArray[np.uint8]) -> list[dict[str, NDArray[np.float32]]]:
        each = zip(variants, squares_VU3SS, strict=True)
        return [encoder.features(pixels_U3SS, layers[variant]) for variant, pixels_U3SS in each]

    size = encoder.unit
    units = [range(start, min(start + size, part.rows.stop)) for start in range(part.rows.start, part.rows.stop, size)]
    with torch_threads(1 if encoder.side_by_side else None) as threads:
        lanes = Lanes(squares, forward, config.decoders, threads if encoder.side_by_side else 1)
        for rows, found in lanes.through(units, len(variants), encoder.form.side):
            for variant, features in zip(variants, found, strict=True):
                for layer, values in features.items():
                    made[Wanted(layer, variant)].append(values)
            progress(rows.stop, pictures.count, pictures.name)
    for want, batches in made.items():
        _write(part.files[want], np.concatenate(batches), config, pictures.name)
    return Made(len(part.rows), len(part.rows) * len(variants))


def _write(path: str, rows: NDArray[np.float32], config: FeaturesConfig, name: str) -> None:
    if not np.isfinite(rows).all():
        wrong = int(np.flatnonzero(~np.isfinite(rows).all(axis=tuple(range(1, rows.ndim))))[0])
        raise DataError(f"{name}: the model gives NaN for picture {wrong}; its weights or its precision are broken")
    file = io.BytesIO()
    kept = rows if config.precision == "float32" else _rounded(rows, config.precision, name)
    np.save(file, kept, allow_pickle=False)
    storage.write_bytes(path, file.getvalue())


def _rounded(rows: NDArray[np.float32], precision: str, name: str) -> NDArray[np.floating]:
    """Raises DataError for rows that are too large or too small for it."""
    with np.errstate(over="ignore", under="ignore"):
        kept = rows.astype(precision)
    largest_N = np.abs(rows).reshape(len(rows), -1).max(axis=1)
    lost_N = np.abs(kept - rows).reshape(len(rows), -1).max(axis=1) > LOST * largest_N
    if lost_N.any():
        first = int(lost_N.argmax())
        raise DataError(
            f"{name}: features of picture {first} do not fit into {precision} (the largest of them is {largest_N[first]:.3g});"
            " set evaluate.features.precision=float32"
        )
    return kept
