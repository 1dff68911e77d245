"""Pictures that an iGPT draws, on one sheet (Chen et al. 2020, figures 1 and 3): new ones, or the rest of given ones.

new         a grid of pictures
completed   a row per given picture: itself as the palette has it, the rows that the model was given, what it draws below
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from training.data.decode import BrokenPictureError, decode
from training.data.resize import cut
from training.data.transforms import middle_square
from training.models.igpt import IGPT
from training.models.igpt_sampling import complete, sample
from training.saving.opening import open_model

EDGE = 1
GREY = 128


def open_igpt(place: str) -> IGPT:
    """The iGPT at a place, in evaluation mode, on the GPU where there is one. Raises ConfigError for another family's model,
    and for one that never learned to draw."""
    model = open_model(place).model()
    if not isinstance(model, IGPT):
        raise ConfigError(f"{place}: {model.spec.name} is of family {model.spec.family}; only an iGPT draws pictures")
    if model.masked:
        raise ConfigError(
            f"{place}: learned masked pixels, and never the next one; train objective.kind next_pixel to draw"
        )
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def read_pictures(paths: Sequence[str], size: int) -> Tensor:
    """(N, 3, size, size) uint8: the middle squares, resized. Raises DataError for a file that is no picture."""
    pixels_N3SS = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)
    for path, out_3SS in zip(paths, pixels_N3SS.numpy(), strict=True):
        try:
            picture = decode(storage.read_bytes(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error}); give a picture") from error
        except BrokenPictureError as error:
            raise DataError(f"{path}: {error}; give a picture") from error
        cut(picture, middle_square(picture.shape[1], picture.shape[0]), size, out_3SS)
    return pixels_N3SS


def new_pictures(model: IGPT, count: int, temperature: float, top_k: int, seed: int) -> Image.Image:
    """`count` pictures in a grid that is about square."""
    nothing = torch.empty(count, 0, dtype=torch.long, device=model.start.device)
    drawn = _framed(model.pictures(sample(model, nothing, temperature, top_k, seed)))
    columns = math.ceil(math.sqrt(count))
    blank = torch.full((-count % columns, *drawn.shape[1:]), GREY, dtype=torch.uint8, device=drawn.device)
    return _sheet(torch.cat([drawn, blank]).unflatten(0, (-1, columns)))


def completed_pictures(
    model: IGPT, pixels_N3SS: Tensor, rows: int, draws: int, temperature: float, top_k: int, seed: int
) -> Image.Image:
    """A line per picture with `draws` completions below its first `rows` rows."""
    pixels_N3SS = pixels_N3SS.to(model.start.device)
    truth = model.pictures(model.colours(pixels_N3SS))
    given = truth.clone()
    given[:, :, rows:] = GREY
    each = pixels_N3SS.repeat_interleave(draws, dim=0)
    drawn = complete(model, each, rows, temperature, top_k, seed).unflatten(0, (-1, draws))
    line = torch.cat([truth[:, None], given[:, None], drawn], dim=1)
    return _sheet(_framed(line.flatten(0, 1)).unflatten(0, (len(truth), -1)))


def _framed(pictures_N3SS: Tensor) -> Tensor:
    return functional.pad(pictures_N3SS, (EDGE, EDGE, EDGE, EDGE), value=GREY)


def _sheet(pictures_RC3SS: Tensor) -> Image.Image:
    """R lines of C pictures; each pixel is drawn several times as large where pictures are small."""
    sheet = torch.cat([torch.cat(list(line), dim=2) for line in pictures_RC3SS], dim=1)
    array = sheet.permute(1, 2, 0).cpu().numpy()
    larger = max(1, 96 // pictures_RC3SS.shape[-1])
    return Image.fromarray(np.ascontiguousarray(array.repeat(larger, axis=0).repeat(larger, axis=1)))
