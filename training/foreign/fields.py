"""Values of other libraries' configuration files, each checked where it is read."""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm
from training.specs.base import Activation
from training.specs.towers import Triple

ALWAYS_DONE = ("do_resize", "do_rescale", "do_normalize")
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers


def number(where: str, key: str, value: Any) -> int:
    """A whole number of 1 or more; [n, n] counts as n."""
    if isinstance(value, list | tuple) and len(set(value)) == 1 and len(value) == 2:
        value = value[0]  # image_size as [height, width]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DataError(f"{where}: {key} = {value!r} is no number; use a model with plain towers")
    return value


def triple(where: str, value: Any) -> Triple:
    """Three numbers, one per channel."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise DataError(f"{where}: {value!r} is no mean or deviation of three channels")
    return float(value[0]), float(value[1]), float(value[2])


def activation_of(quick: bool) -> Activation:
    return "quick_gelu" if quick else "gelu"


def nothing_else(where: str, section: str, rest: Mapping[str, Any], harmless: Mapping[str, Any] | None = None) -> None:
    """Refuse what is left of a section, but for keys that say nothing or what is usual."""
    for key, value in rest.items():
        if value and value != (harmless or {}).get(key):
            raise DataError(f"{where}: {section}.{key} = {value!r} is not known here; use a model with plain towers")


def name_of(folder: str) -> str:
    """The last part of a path, without the ending of a file of weights."""
    name = folder.rstrip("/").rsplit("/", 1)[-1]
    for ending in (".safetensors", ".pt", ".bin", ".pth"):
        name = name.removesuffix(ending)
    return name


def as_squares(size: int, resample: int, extra: Mapping[str, Any]) -> dict[str, Any]:
    """`extra` as the processors of ViT and ImageGPT understand it: pictures are squashed, and a bare number, as many of their
    files have it, is both sides of a square. (To CLIP's it is the shorter side.)"""
    given = extra.get("size", size)
    sides = [given, given] if isinstance(given, int) else given
    if isinstance(sides, list | tuple) and len(sides) == 2:
        sides = {"height": sides[0], "width": sides[1]}
    return {"crop_size": size, "resample": resample, **extra, "size": sides}


def picture_form(where: str, size: int, extra: Mapping[str, Any]) -> PixelForm:
    """How an image processor of Hugging Face cuts. Raises DataError where that gives no normalised squares of `size` pixels."""
    chosen = extra.get("resample", 3)
    resize, crop = extra.get("size", size), extra.get("crop_size", size)
    short = resize.get("shortest_edge", resize.get("height")) if isinstance(resize, Mapping) else resize
    squashed = isinstance(resize, Mapping) and "shortest_edge" not in resize
    cut = crop.get("height") if isinstance(crop, Mapping) else crop
    if squashed and extra.get("do_center_crop") is False:
        cut = size
    wide = resize.get("width", short) if isinstance(resize, Mapping) else short
    if not short == wide == cut == size or chosen not in _FILTERS:
        raise DataError(
            f"{where}: size {resize}, crop_size {crop}, resample {chosen} do not fit a model for {size} pixels"
        )
    needed = ALWAYS_DONE if squashed else (*ALWAYS_DONE, "do_center_crop")
    if left_out := [key for key in needed if extra.get(key, True) is False]:
        raise DataError(
            f"{where}: {left_out[0]} = False; pictures are always cut to squares, scaled and normalised here"
        )
    return PixelForm(size, "squash" if squashed else "floor", _FILTERS[chosen])  # type: ignore[arg-type]


def cut_as(form: PixelForm, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The image processor `extra` told to cut as `form` does, as far as it can: those of ViT and ImageGPT always squash."""
    resample = next(number for number, name in _FILTERS.items() if name == form.filter)
    told = {**extra, "resample": resample}
    if form.cut == "squash" and "crop_size" in told:
        told |= {"size": {"height": form.side, "width": form.side}, "do_center_crop": False}
        del told["crop_size"]
    return told


def usual_mlp(width: int, hidden: int) -> int:
    """0 for the usual four widths, so that equal models have equal specs."""
    return 0 if hidden == 4 * width else hidden
