"""Picture lists that benchmarks are made of, behind one small value, whether rendered, read from disk or fetched.

What is on disk is opened by `open.py` through a reader of its layout; what is drawn, by a loader `split -> Pictures` of
this file. Nothing is decoded before `read`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from PIL import Image

from pipeline import storage
from pipeline.code_version import code_version
from pipeline.errors import DataError

Split = Literal["train", "test"]

SCENE_COUNTS: dict[Split, int] = {"train": 800, "test": 400}
SCENE_SEED = 0
SIDE_PIXELS = 64


class Absent(DataError):  # noqa: N818 (a name for users, who read it in rows of a report)
    """There is no such dataset, or no such part of it, where it was looked for."""


class Broken(DataError):  # noqa: N818
    """The dataset is there, but not whole or not what it claims: truncated, a class missing, a label outside the table."""


Word = str | tuple[str, ...]
"""What a column holds per picture: a word, or several (the labels of one picture, its captions)."""


@dataclass(frozen=True)
class Pictures:
    """`name` says which list ("digits/test"); `columns` hold one word, or one tuple of words, per picture: labels, captions.

    `identity` is a hash of whatever decides the pictures' bytes and order; features are cached by it. `stored` gives the
    encoded file of a picture that has one: for fast decoding, and for hashes. `read` raises Broken for one that cannot
    be decoded.
    """

    name: str
    identity: str
    columns: Mapping[str, Sequence[Any]]
    read: Callable[[int], Image.Image]
    count: int
    stored: Callable[[int], bytes] | None = None
    classes: tuple[str, ...] | None = None
    """Names by number, where the labels are numbers into a list that the dataset brings along."""

    def column(self, name: str) -> tuple[str, ...]:
        """One word per picture."""
        return tuple(self.columns[name])

    def words(self, name: str) -> tuple[tuple[str, ...], ...]:
        """Any number of words per picture; a column of single words gives one each."""
        return tuple((value,) if isinstance(value, str) else tuple(value) for value in self.columns[name])

    def subset(self, indices: Sequence[int]) -> "Pictures":
        """The pictures at `indices`, in that order."""
        chosen = [int(index) for index in indices]
        stored = self.stored
        return replace(
            self,
            identity=identity_of(self.identity, chosen),
            columns={name: tuple(values[index] for index in chosen) for name, values in self.columns.items()},
            read=lambda position: self.read(chosen[position]),
            count=len(chosen),
            stored=None if stored is None else lambda position: stored(chosen[position]),
        )

    def followed_by(self, other: "Pictures", name: str) -> "Pictures":
        """These and then those, with the columns that both have."""
        parts, first = (self, other), self.count

        def place(index: int) -> tuple["Pictures", int]:
            return (self, index) if index < first else (other, index - first)

        def read(index: int) -> Image.Image:
            part, at = place(index)
            return part.read(at)

        def stored(index: int) -> bytes:
            part, at = place(index)
            assert part.stored is not None
            return part.stored(at)

        return Pictures(
            name,
            identity_of("joined", *(part.identity for part in parts)),
            {key: (*self.columns[key], *other.columns[key]) for key in self.columns if key in other.columns},
            read,
            self.count + other.count,
            stored if all(part.stored for part in parts) else None,
            self.classes,
        )


def identity_of(*parts: object) -> str:
    return storage.sha256(storage.canonical_json(list(parts)))


@functools.cache
def digits(split: Split) -> Pictures:
    """scikit-learn's handwritten digits (UCI, Alpaydin and Kaynak 1998), photographed as on the demo web."""
    from pipeline.demo.digits import digit_labels, render_digit

    labels = tuple(str(label) for label in digit_labels(split))
    return Pictures(
        f"digits/{split}",
        identity_of("digits", split, SIDE_PIXELS, code_version("pipeline.demo.digits")),
        {"label": labels},
        lambda index: render_digit(split, index, side=SIDE_PIXELS).image,
        len(labels),
    )


@functools.cache
def scenes(split: Split) -> Pictures:
    """Rendered scenes: one shape in one colour and texture at one place, with a caption each."""
    from pipeline.demo.scenes import caption, render, scene_list

    drawn = scene_list(split, SCENE_COUNTS[split], SCENE_SEED)
    return Pictures(
        f"scenes/{split}",
        identity_of("scenes", split, len(drawn), SCENE_SEED, SIDE_PIXELS, code_version("pipeline.demo.scenes")),
        {
            "shape": tuple(scene.shape for scene in drawn),
            "colour": tuple(scene.colour for scene in drawn),
            "texture": tuple(scene.texture for scene in drawn),
            "place": tuple(scene.place for scene in drawn),
            "caption": tuple(caption(scene, 0) for scene in drawn),
        },
        lambda index: render(drawn[index], SIDE_PIXELS),
        len(drawn),
    )


LOADERS: dict[str, Callable[[Split], Pictures]] = {"digits": digits, "scenes": scenes}


def load(loader: str, split: str, expected: int | None = None) -> Pictures:
    """The pictures of `loader` and `split`. Raises DataError when their number is not the `expected` one."""
    if split not in get_args(Split):
        raise Absent(f"{loader}: has no split '{split}'; it has {', '.join(get_args(Split))}")
    pictures = LOADERS[loader](cast(Split, split))
    if expected is not None and pictures.count != expected:
        raise DataError(
            f"{pictures.name} has {pictures.count} pictures, its benchmark has {expected}; "
            "scores would not compare with anyone's, so get the right split or name a variant of the task"
        )
    return pictures
