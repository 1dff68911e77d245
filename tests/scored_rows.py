"""Rows as they leave fetch, and a scorer that needs no model: brightness."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from pipeline.sample import pair_uid
from pipeline.scoring.scorers import PixelForm, Resources, ScorerConfig, Scores


def jpeg(picture: Image.Image) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=92)
    return sink.getvalue()


def fetched_rows(count: int) -> pa.Table:
    """Grey pictures, each a little brighter than the one before."""
    rows = [
        {
            "uid": pair_uid(f"http://a.example/{i}.jpg", f"text {i}"),
            "url": f"http://a.example/{i}.jpg",
            "text": f"text {i}",
            "image": jpeg(Image.new("RGB", (20, 30), (i * 255 // count,) * 3)),
            "thumbnail": b"",
        }
        for i in range(count)
    ]
    kinds = [("uid", pa.string()), ("url", pa.string()), ("text", pa.string()), ("image", pa.binary())]
    return pa.Table.from_pylist(rows, schema=pa.schema([*kinds, ("thumbnail", pa.binary())]))


NEEDS, FORM = Resources(batch_size=8), PixelForm(4)


@dataclass(frozen=True)
class Brightness:
    """The mean of a picture's pixels, 0 to 1; NaN for the text "text 7"."""

    resources: Resources = NEEDS
    pixels: PixelForm = FORM
    higher_is_better: bool = True
    embedding_width: int = 3
    identity: Any = field(default="brightness")

    def __call__(self, pixels_BSS3: NDArray[np.uint8], texts: Sequence[str]) -> Scores:
        means = pixels_BSS3.reshape(len(texts), -1).mean(1).astype(np.float32) / np.float32(255)
        means[[text == "text 7" for text in texts]] = np.nan
        return Scores(means, np.stack([means, means, means], 1))


def brightness(config: ScorerConfig) -> Brightness:
    """What `scorer: scored_rows:brightness` names."""
    return Brightness(higher_is_better=not config.options.get("darkest", False))
