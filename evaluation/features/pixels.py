"""A picture as a model wants it: decoded, cut and resized to the very pixels of the model's own preprocessing, only faster.

Encoded files go through the loader's decoder and its compiled bicubic resize, which give Pillow's pixels bit for bit; they
leave Python's lock meanwhile, so that threads make pictures while the model runs. Other filters go through Pillow.
"""

import numpy as np
from PIL import Image

from evaluation.pictures.pictures import Pictures
from pipeline.errors import DataError
from pipeline.scoring.score_pixels import cut_square, shorter_side
from pipeline.scoring.scorers import PixelForm
from training.data.decode import BrokenPictureError, as_rgb, decode
from training.data.resize import Pixels, cut, resize_and_crop
from training.data.transforms import middle_square


def picture_pixels(pictures: Pictures, index: int) -> Pixels:
    """(H, W, 3) RGB uint8 of one picture of a list. Raises DataError where it is no picture, naming it."""
    try:
        if pictures.stored is not None:
            return decode(pictures.stored(index))
        return np.asarray(as_rgb(pictures.read(index)))
    except (BrokenPictureError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        ids = pictures.columns.get("id")
        which = f"{index} ({ids[index]})" if ids else str(index)
        raise DataError(f"{pictures.name}: picture {which} cannot be read ({error}); mend or remove it") from error


def square_of(pixels: Pixels, form: PixelForm, out: Pixels) -> None:
    """`pixels` (H, W, 3) as the square that `form` says, into the planes `out` (3, side, side)."""
    height, width = pixels.shape[:2]
    if form.filter != "bicubic" or form.cut == "squash":
        out[:] = np.asarray(cut_square(Image.fromarray(pixels), form)).transpose(2, 0, 1)
    elif form.cut == "box":
        cut(pixels, middle_square(width, height), form.side, out)
    else:
        whole, corner = shorter_side(width, height, form)
        resize_and_crop(pixels, whole, corner, form.side, out)
