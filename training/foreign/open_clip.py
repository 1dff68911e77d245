"""open_clip_config.json to our words and back.

Keys and defaults are those of open_clip 3.3 (model.py: CLIPVisionCfg, CLIPTextCfg; transform.py). A key that is not known
here and holds anything but nothing is refused: a model that is almost the right one gives scores that are almost right.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm
from training.foreign.fields import activation_of, name_of, nothing_else, number, triple, usual_mlp
from training.specs.clip import ClipSpec
from training.specs.towers import PIXEL_MEAN, PIXEL_STD, AnyImageTower, ImageTower, ResNetTower, TextTower

CONFIG = "open_clip_config.json"
_CUTS = {"shortest": "round", "squash": "squash"}


def read(folder: str, config: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[ClipSpec, PixelForm]:
    """The spec, and how pictures are cut. A `config` may be the model's alone, as in open_clip's model_configs/NAME.json.

    Raises DataError naming the key that does not fit.
    """
    where = f"{folder}/{CONFIG}"
    model = dict(config.get("model_cfg") or (config if "vision_cfg" in config else {}))
    image, text = dict(model.pop("vision_cfg", {})), dict(model.pop("text_cfg", {}))
    prepared = dict(config.get("preprocess_cfg") or {})
    mean = triple(where, prepared.get("mean", PIXEL_MEAN))
    std = triple(where, prepared.get("std", PIXEL_STD))
    embedding = number(where, "embed_dim", model.pop("embed_dim", None))
    quick = bool(model.pop("quick_gelu", False))
    biased = model.pop("init_logit_bias", None) is not None
    for harmless in ("custom_text", "init_logit_scale"):  # how tensors are called; where training began
        model.pop(harmless, None)
    nothing_else(where, "model_cfg", model)
    tower = _image(where, image, mean, std)
    spec = ClipSpec(name_of(folder), embedding, tower, _text(where, text), activation_of(quick), biased)
    mode, filtered = prepared.get("resize_mode", "shortest"), prepared.get("interpolation", "bicubic")
    if mode not in _CUTS:
        raise DataError(f"{where}: preprocess_cfg.resize_mode {mode!r} is not known here; shortest and squash are")
    if filtered not in ("bicubic", "bilinear"):
        raise DataError(
            f"{where}: preprocess_cfg.interpolation {filtered!r} is not known here; bicubic and bilinear are"
        )
    return spec, PixelForm(tower.size, _CUTS[mode], filtered)  # type: ignore[arg-type]  # looked up just above


def _image(
    where: str, image: dict[str, Any], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> AnyImageTower:
    layers = image.pop("layers", 12)
    width = number(where, "vision_cfg.width", image.pop("width", 768))
    size = number(where, "vision_cfg.image_size", image.pop("image_size", 224))
    head = number(where, "vision_cfg.head_width", image.pop("head_width", 64))
    ratio = float(image.pop("mlp_ratio", 4.0))
    image.pop("patch_dropout", None)  # while training only
    if isinstance(layers, list | tuple):
        image.pop("patch_size", None)  # its configurations carry one that a residual network does not read
        nothing_else(where, "vision_cfg", image)
        if len(layers) != 4 or not all(isinstance(each, int) for each in layers):
            raise DataError(f"{where}: vision_cfg.layers = {layers!r}; a residual network has four numbers of blocks")
        return ResNetTower(size, tuple(layers), width, mean, std)
    patch = number(where, "vision_cfg.patch_size", image.pop("patch_size", 16))
    nothing_else(where, "vision_cfg", image, {"pool_type": "tok", "pos_embed_type": "learnable"})
    layers = number(where, "vision_cfg.layers", layers)
    return ImageTower(
        size,
        patch,
        width,
        layers,
        width // head,
        mlp=usual_mlp(width, int(width * ratio)),
        pixel_mean=mean,
        pixel_std=std,
    )


def _text(where: str, text: dict[str, Any]) -> TextTower:
    width = number(where, "text_cfg.width", text.pop("width", 512))
    tower = TextTower(
        width,
        number(where, "text_cfg.layers", text.pop("layers", 12)),
        number(where, "text_cfg.heads", text.pop("heads", 8)),
        number(where, "text_cfg.context_length", text.pop("context_length", 77)),
        number(where, "text_cfg.vocab_size", text.pop("vocab_size", 49_408)),
        usual_mlp(width, int(width * float(text.pop("mlp_ratio", 4.0)))),
    )
    for harmless in ("hf_tokenizer_name", "tokenizer_kwargs"):  # which tokenizer: it must lie in the folder
        text.pop(harmless, None)
    nothing_else(where, "text_cfg", text, {"pool_type": "argmax"})
    return tower


def write(spec: ClipSpec, form: PixelForm | None = None, own_words: bool = False) -> dict[str, Any]:
    """The configuration of an exported model, which sees pictures cut as `form` or our own. The towers were looked at
    by training.foreign.write.

    `own_words`: the folder has a tokenizer of its own; open_clip takes any name here for that folder's.
    """
    image, text = spec.image, spec.text
    assert isinstance(text, TextTower)
    if isinstance(image, ResNetTower):
        vision: dict[str, Any] = {"image_size": image.size, "layers": list(image.blocks), "width": image.width}
    else:
        vision = {
            "image_size": image.size,
            "layers": image.layers,
            "width": image.width,
            "head_width": image.width // image.heads,
            "patch_size": image.patch,
        } | _ratio(image.width, image.hidden)
    words: dict[str, Any] = {
        "context_length": text.context,
        "vocab_size": text.vocabulary,
        "width": text.width,
        "heads": text.heads,
        "layers": text.layers,
    } | _ratio(text.width, text.hidden)
    if own_words:
        words["hf_tokenizer_name"] = spec.name
    model = {"embed_dim": spec.embedding, "vision_cfg": vision, "text_cfg": words}
    if spec.activation == "quick_gelu":
        model["quick_gelu"] = True
    if spec.logit_bias:
        model["init_logit_bias"] = -10
    form = form or PixelForm(image.size)
    mode = "squash" if form.cut == "squash" else "shortest"
    prepared = {"mean": list(image.pixel_mean), "std": list(image.pixel_std)}
    return {
        "model_cfg": model,
        "preprocess_cfg": prepared | {"interpolation": form.filter, "resize_mode": mode},
    }


def _ratio(width: int, hidden: int) -> dict[str, float]:
    """mlp_ratio where it is not 4: a number that gives `hidden` again when multiplied and cut off."""
    if hidden == 4 * width:
        return {}
    ratio = hidden / width
    return {"mlp_ratio": ratio if int(width * ratio) == hidden else (hidden + 0.5) / width}
