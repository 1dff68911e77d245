"""The names of feature files: a hash of all that decides their content. No model is needed to know them."""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.corruptions.variant import Variant
from evaluation.features.wanted import Wanted
from evaluation.pictures.pictures import Pictures
from pipeline import storage
from pipeline.code_version import code_version
from pipeline.errors import DataError
from pipeline.streams import read_ranges

PART_PICTURES = 4096
HEAD_BYTES = 4096
"""In which the head of a feature file ends."""


class Names:
    """Of the features of one checkpoint below `folder`."""

    def __init__(self, folder: str, checkpoint_id: str, precision: str, seed: int) -> None:
        self.folder = folder
        self._seed = seed
        self._fixed = {
            "checkpoint": checkpoint_id,
            # Weights alone do not decide a feature: the code that runs them and prepares the pixels does too.
            "code": [code_version("evaluation.models.open"), code_version("evaluation.features.pixels")],
            "corruptions": code_version("evaluation.corruptions.variant"),
            "precision": precision,
        }

    @staticmethod
    def parts(pictures: Pictures) -> list[range]:
        starts = range(0, pictures.count, PART_PICTURES)
        return [range(start, min(start + PART_PICTURES, pictures.count)) for start in starts]

    def path(self, pictures: Pictures, want: Wanted, part: range) -> str:
        key: dict[str, Any] = {
            **self._fixed,
            "pictures": pictures.identity,
            "layer": want.layer,
            "variant": self._variant(want.variant),
            "part": [part.start, part.stop],
        }
        return storage.join(self.folder, f"{storage.sha256(storage.canonical_json(key))[:32]}.npy")

    def _variant(self, variant: Variant | None) -> list[Any] | None:
        return [variant.key, self._seed] if variant else None

    def whole(self, pictures: Pictures, want: Wanted) -> str:
        """The file of all parts together."""
        return self.path(pictures, want, range(pictures.count))

    def lacking(self, pictures: Pictures, wanted: Sequence[Wanted], part: range) -> list[Wanted]:
        """Those of the wanted that are not there for this part, on its own or in the whole."""
        return [
            want
            for want in wanted
            if not self.there(self.path(pictures, want, part)) and not self.there(self.whole(pictures, want))
        ]

    def there(self, path: str) -> bool:
        return storage.exists(path)

    def missing(
        self, pictures: Pictures, wanted: Sequence[Wanted], by_the_way: Sequence[str]
    ) -> list[tuple[range, list[Wanted]]]:
        """The parts that lack any of the wanted, with all that one pass would make of them."""
        every = every_layer(wanted, by_the_way)
        parts = [part for part in self.parts(pictures) if self.lacking(pictures, wanted, part)]
        return [(part, self.lacking(pictures, every, part)) for part in parts]


def every_layer(wanted: Sequence[Wanted], by_the_way: Sequence[str]) -> list[Wanted]:
    """And the layers that the same forward gives for nothing of unaltered pictures: what is asked tomorrow decodes none of them."""
    together = [Wanted(layer) for layer in by_the_way]
    return list(dict.fromkeys([*wanted, *(together if set(together) & set(wanted) else ())]))


class Foreseen(Names):
    """Names of which some count as there: what an earlier task of the same evaluation would have made. Without a checkpoint no
    other one is. A file that was cut off since is not there either, since an evaluation makes it again."""

    def __init__(self, folder: str, checkpoint_id: str | None, precision: str, seed: int) -> None:
        super().__init__(folder, checkpoint_id or "", precision, seed)
        self._known = checkpoint_id is not None
        self._made: set[str] = set()

    def there(self, path: str) -> bool:
        return path in self._made or (self._known and super().there(path) and whole(path))

    def make(self, pictures: Pictures, part: range, wanted: Sequence[Wanted]) -> None:
        self._made |= {self.path(pictures, want, part) for want in wanted}


def whole(path: str) -> bool:
    """Whether a feature file is as long as its head says: what an evaluation's reading would come to, by a few bytes."""
    try:
        size = storage.size(path)
        (head,) = read_ranges([path], [0], [min(size, HEAD_BYTES)])
        file = io.BytesIO(head)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
    except (DataError, OSError, ValueError):
        return False
    return file.tell() + math.prod(shape) * kind.itemsize == size
