"""Picture lists that benchmarks are made of, behind one small value, whether rendered, read from disk or fetched.

What is on disk is opened by `open.py` through a reader of its layout; what is drawn, by a loader `split -> Pictures` of
this file. Nothing is decoded before `read`.
"""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

from PIL import Image

from pipeline import storage
from pipeline.code_version import code_version
from pipeline.errors import DataError

Split = Literal["train", "test"]

SCENE_COUNTS: dict[Split, int] = {"train": 800, "test": 400}
SCENE_SEED = 0
SIDE_PIXELS = 64


EMPTY_CLASS = "class_without_pictures"
"""Among the reasons of `Pictures.lacking`: counts classes, not pictures."""


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
    `read` and `stored` are functions of a module, or functools.partial of one, so that a list can be sent to a worker.
    """

    name: str
    identity: str
    columns: Mapping[str, Sequence[Any]]
    read: Callable[[int], Image.Image]
    count: int
    stored: Callable[[int], bytes] | None = None
    """The encoded file of one picture, where there is one: it is decoded faster than by `read`, to the same pixels."""
    classes: tuple[str, ...] | None = None
    """Names by number, where the labels are numbers into a list that the dataset brings along."""
    lacking: Mapping[str, int] = field(default_factory=dict)
    """How many of the dataset's own list are not there, by reason, where that is no mistake: what is on the web vanishes."""
    bare_cls: bool = False
    """Whether the labels are CLIP_benchmark's `cls` without their names: numbers of its own order."""

    def column(self, name: str) -> tuple[str, ...]:
        """One word per picture."""
        return tuple(self.columns[name])

    def words(self, name: str) -> tuple[tuple[str, ...], ...]:
        """Any number of words per picture; a column of single words gives one each."""
        return tuple((value,) if isinstance(value, str) else tuple(value) for value in self.columns[name])

    def subset(self, indices: Sequence[int]) -> "Pictures":
        """The pictures at `indices`, in that order."""
        chosen = [int(index) for index in indices]
        return replace(
            self,
            identity=identity_of(self.identity, chosen),
            columns={name: tuple(values[index] for index in chosen) for name, values in self.columns.items()},
            read=functools.partial(_chosen, self.read, chosen),
            count=len(chosen),
            stored=None if self.stored is None else functools.partial(_chosen, self.stored, chosen),
        )

    def followed_by(self, other: "Pictures", name: str) -> "Pictures":
        """These and then those, with the columns that both have."""
        both = None if self.stored is None or other.stored is None else (self.stored, other.stored)
        return Pictures(
            name,
            identity_of("joined", self.identity, other.identity),
            {key: (*self.columns[key], *other.columns[key]) for key in self.columns if key in other.columns},
            functools.partial(_first_or_second, self.read, other.read, self.count),
            self.count + other.count,
            None if both is None else functools.partial(_first_or_second, *both, self.count),
            self.classes,
            dict(sorted((Counter(self.lacking) + Counter(other.lacking)).items())),
            self.bare_cls,
        )


def _chosen(function: Callable[[int], Any], chosen: Sequence[int], position: int) -> Any:
    return function(chosen[position])


def _first_or_second(first: Callable[[int], Any], second: Callable[[int], Any], count: int, index: int) -> Any:
    return first(index) if index < count else second(index - count)


def readable(text: str) -> str:
    """Text that any file can hold: bytes of a file's name that are no UTF-8 are written \\xff."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def identity_of(*parts: object) -> str:
    return storage.sha256(storage.canonical_json(list(parts)))


@functools.cache
def digits(split: Split) -> Pictures:
    """scikit-learn's handwritten digits (UCI, Alpaydin and Kaynak 1998), photographed as on the demo web."""
    from pipeline.demo.digits import digit_labels

    labels = tuple(str(label) for label in digit_labels(split))
    return Pictures(
        f"digits/{split}",
        identity_of("digits", split, SIDE_PIXELS, code_version("pipeline.demo.digits")),
        {"label": labels},
        functools.partial(_digit, split),
        len(labels),
    )


def _digit(split: Split, index: int) -> Image.Image:
    from pipeline.demo.digits import render_digit

    return render_digit(split, index, side=SIDE_PIXELS).image


@functools.cache
def scenes(split: Split) -> Pictures:
    """Rendered scenes: one shape in one colour and texture at one place, with a caption each."""
    from pipeline.demo.scenes import caption, scene_list

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
        functools.partial(_scene, drawn),
        len(drawn),
    )


def _scene(drawn: Sequence[Any], index: int) -> Image.Image:
    from pipeline.demo.scenes import render

    return render(drawn[index], SIDE_PIXELS)


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
