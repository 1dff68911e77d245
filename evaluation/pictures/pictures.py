"""Picture lists that benchmarks are made of, behind one small value, whether rendered, read from disk or fetched.

A loader is a function `split -> Pictures` of this file; a task's row names it. Nothing is decoded before `read`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from PIL import Image

from pipeline import storage
from pipeline.code_version import code_version
from pipeline.errors import DataError

Split = Literal["train", "test"]

SCENE_COUNTS: dict[Split, int] = {"train": 800, "test": 400}
SCENE_SEED = 0
SIDE_PIXELS = 64


class AbsentError(DataError):
    """Nothing of the dataset lies where it was looked for; the message says where that is."""


class BrokenError(DataError):
    """The dataset is there and is not what it should be: truncated, a class missing, a label outside the table, another size."""


@dataclass(frozen=True)
class Pictures:
    """`name` says which list ("digits/test"); `columns` hold one word per picture: labels, captions.

    `identity` is a hash of whatever decides the pictures' bytes and order; features are cached by it. `read` and `stored` are
    functions of a module, or functools.partial of one, so that a list can be sent to a worker.
    """

    name: str
    identity: str
    columns: Mapping[str, tuple[str, ...]]
    read: Callable[[int], Image.Image]
    count: int
    stored: Callable[[int], bytes] | None = None
    """The encoded file of one picture, where there is one: it is decoded faster than by `read`, to the same pixels."""

    def column(self, name: str) -> tuple[str, ...]:
        return self.columns[name]

    def subset(self, indices: Sequence[int]) -> "Pictures":
        """The pictures at `indices`, in that order."""
        chosen = [int(index) for index in indices]
        return replace(
            self,
            identity=_identity(self.identity, chosen),
            columns={name: tuple(values[index] for index in chosen) for name, values in self.columns.items()},
            read=functools.partial(_chosen, self.read, chosen),
            count=len(chosen),
            stored=None if self.stored is None else functools.partial(_chosen, self.stored, chosen),
        )


def _chosen(function: Callable[[int], Any], chosen: Sequence[int], position: int) -> Any:
    return function(chosen[position])


def _identity(*parts: object) -> str:
    return storage.sha256(storage.canonical_json(list(parts)))


@functools.cache
def digits(split: Split) -> Pictures:
    """scikit-learn's handwritten digits (UCI, Alpaydin and Kaynak 1998), photographed as on the demo web."""
    from pipeline.demo.digits import digit_labels

    labels = tuple(str(label) for label in digit_labels(split))
    return Pictures(
        f"digits/{split}",
        _identity("digits", split, SIDE_PIXELS, code_version("pipeline.demo.digits")),
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
        _identity("scenes", split, len(drawn), SCENE_SEED, SIDE_PIXELS, code_version("pipeline.demo.scenes")),
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


def load(loader: str, split: Split, expected: int | None = None) -> Pictures:
    """The pictures of `loader` and `split`. Raises DataError when their number is not the `expected` one."""
    pictures = LOADERS[loader](split)
    if expected is not None and pictures.count != expected:
        raise DataError(
            f"{pictures.name} has {pictures.count} pictures, its benchmark has {expected}; "
            "scores would not compare with anyone's, so get the right split or name a variant of the task"
        )
    return pictures
