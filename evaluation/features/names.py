"""The names of feature files: a hash of all that decides their content. No model is needed to know them."""

from collections.abc import Sequence
from typing import Any

from evaluation.corruptions.variant import Variant
from evaluation.features.wanted import Wanted
from evaluation.pictures.pictures import Pictures
from pipeline import storage
from pipeline.code_version import code_version

PART_PICTURES = 4096


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
            if not storage.exists(self.path(pictures, want, part)) and not storage.exists(self.whole(pictures, want))
        ]

    def has(self, pictures: Pictures, wanted: Sequence[Wanted]) -> bool:
        """Whether all of these are there, so that no picture would be decoded."""
        return not any(self.lacking(pictures, wanted, part) for part in self.parts(pictures))
