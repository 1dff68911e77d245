"""What the configuration files of open_clip and Hugging Face say of a CLIP, in our words.

Keys and defaults are those of open_clip 3.3 (model.py: CLIPVisionCfg, CLIPTextCfg; transform.py) and transformers 5
(CLIPConfig, CLIPImageProcessor). A key that is not known here and holds anything but nothing is refused: a model that is
almost the right one gives scores that are almost right.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm
from training.specs.base import Activation
from training.specs.clip import ClipSpec
from training.specs.towers import PIXEL_MEAN, PIXEL_STD, ImageTower, TextTower

Layout = Literal["open_clip", "huggingface"]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Details:
    """A ClipSpec and what it has no words for."""

    spec: ClipSpec
    layout: Layout
    form: PixelForm
    mean: Triple
    std: Triple
    image_hidden: int
    text_hidden: int
    image_epsilon: float = 1e-5
    text_epsilon: float = 1e-5


def open_clip(folder: str, config: Mapping[str, Any], extra: Mapping[str, Any]) -> Details:
    """From open_clip_config.json."""
    model = dict(config.get("model_cfg") or {})
    image, text = dict(model.pop("vision_cfg", {})), dict(model.pop("text_cfg", {}))
    where = f"{folder}/open_clip_config.json"
    embedding = _number(where, "embed_dim", model.pop("embed_dim", None))
    activation: Activation = "quick_gelu" if model.pop("quick_gelu", False) else "gelu"
    model.pop("custom_text", None)  # names its tensors text.*, and changes nothing else
    _nothing_else(where, "model_cfg", model)
    width = _number(where, "vision_cfg.width", image.pop("width", 768))
    size = _number(where, "vision_cfg.image_size", image.pop("image_size", 224))
    tower = ImageTower(
        size,
        _number(where, "vision_cfg.patch_size", image.pop("patch_size", 16)),
        width,
        _number(where, "vision_cfg.layers", image.pop("layers", 12)),
        width // _number(where, "vision_cfg.head_width", image.pop("head_width", 64)),
    )
    image_hidden = int(width * image.pop("mlp_ratio", 4.0))
    image.pop("patch_dropout", None)  # while training only
    _nothing_else(where, "vision_cfg", image, {"pool_type": "tok", "pos_embed_type": "learnable"})
    text_width = _number(where, "text_cfg.width", text.pop("width", 512))
    text_tower = TextTower(
        text_width,
        _number(where, "text_cfg.layers", text.pop("layers", 12)),
        _number(where, "text_cfg.heads", text.pop("heads", 8)),
        _number(where, "text_cfg.context_length", text.pop("context_length", 77)),
        _number(where, "text_cfg.vocab_size", text.pop("vocab_size", 49_408)),
    )
    text_hidden = int(text_width * text.pop("mlp_ratio", 4.0))
    text.pop("hf_tokenizer_name", None)  # which tokenizer: it must lie in the folder
    text.pop("tokenizer_kwargs", None)
    _nothing_else(where, "text_cfg", text, {"pool_type": "argmax"})
    prepared = dict(config.get("preprocess_cfg") or {})
    cuts = {"shortest": "round", "squash": "squash"}
    mode = prepared.get("resize_mode", "shortest")
    if mode not in cuts:
        raise DataError(f"{where}: preprocess_cfg.resize_mode {mode!r} is not known here; shortest and squash are")
    form = PixelForm(size, cuts[mode], _filter(where, prepared.get("interpolation", "bicubic")))  # type: ignore[arg-type]
    spec = ClipSpec(_name(folder), embedding, tower, text_tower, activation)
    return Details(
        spec,
        "open_clip",
        form,
        _triple(where, prepared.get("mean", PIXEL_MEAN)),
        _triple(where, prepared.get("std", PIXEL_STD)),
        image_hidden,
        text_hidden,
    )


def huggingface(folder: str, config: Mapping[str, Any], extra: Mapping[str, Any]) -> Details:
    """From config.json of a CLIPModel and its preprocessor_config.json."""
    where = f"{folder}/config.json"
    if config.get("model_type") != "clip":
        raise DataError(f"{where}: model_type {config.get('model_type')!r} is no CLIP; give one of type clip")
    image, text = dict(config.get("vision_config") or {}), dict(config.get("text_config") or {})
    acts = {image.get("hidden_act", "quick_gelu"), text.get("hidden_act", "quick_gelu")}
    if len(acts) != 1 or not acts <= {"quick_gelu", "gelu"}:
        raise DataError(f"{where}: hidden_act {sorted(acts)} is not known here; quick_gelu or gelu in both towers is")
    size = _number(where, "vision_config.image_size", image.get("image_size", 224))
    tower = ImageTower(
        size,
        _number(where, "vision_config.patch_size", image.get("patch_size", 32)),
        _number(where, "vision_config.hidden_size", image.get("hidden_size", 768)),
        _number(where, "vision_config.num_hidden_layers", image.get("num_hidden_layers", 12)),
        _number(where, "vision_config.num_attention_heads", image.get("num_attention_heads", 12)),
    )
    text_tower = TextTower(
        _number(where, "text_config.hidden_size", text.get("hidden_size", 512)),
        _number(where, "text_config.num_hidden_layers", text.get("num_hidden_layers", 12)),
        _number(where, "text_config.num_attention_heads", text.get("num_attention_heads", 8)),
        _number(where, "text_config.max_position_embeddings", text.get("max_position_embeddings", 77)),
        _number(where, "text_config.vocab_size", text.get("vocab_size", 49_408)),
    )
    embedding = _number(where, "projection_dim", config.get("projection_dim", 512))
    spec = ClipSpec(_name(folder), embedding, tower, text_tower, acts.pop())
    details = Details(
        spec,
        "huggingface",
        PixelForm(size, "floor", "bicubic"),
        _triple(where, extra.get("image_mean", PIXEL_MEAN)),
        _triple(where, extra.get("image_std", PIXEL_STD)),
        _number(where, "vision_config.intermediate_size", image.get("intermediate_size", 4 * tower.width)),
        _number(where, "text_config.intermediate_size", text.get("intermediate_size", 4 * text_tower.width)),
        float(image.get("layer_norm_eps", 1e-5)),
        float(text.get("layer_norm_eps", 1e-5)),
    )
    return replace(details, form=_huggingface_form(f"{folder}/preprocessor_config.json", size, extra))


def _huggingface_form(where: str, size: int, extra: Mapping[str, Any]) -> PixelForm:
    names = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers
    chosen = extra.get("resample", 3)
    resize, crop = extra.get("size", size), extra.get("crop_size", size)
    short = resize.get("shortest_edge", resize.get("height")) if isinstance(resize, Mapping) else resize
    cut = crop.get("height") if isinstance(crop, Mapping) else crop
    if short != size or cut != size or chosen not in names:
        raise DataError(
            f"{where}: size {resize}, crop_size {crop}, resample {chosen} do not fit a model for {size} pixels"
        )
    if isinstance(resize, Mapping) and "shortest_edge" not in resize:
        return PixelForm(size, "squash", names[chosen])  # type: ignore[arg-type]
    return PixelForm(size, "floor", names[chosen])  # type: ignore[arg-type]


def _nothing_else(where: str, section: str, rest: Mapping[str, Any], harmless: Mapping[str, Any] | None = None) -> None:
    for key, value in rest.items():
        if value and value != (harmless or {}).get(key):
            raise DataError(f"{where}: {section}.{key} = {value!r} is not known here; use a CLIP with plain ViT towers")


def _number(where: str, key: str, value: Any) -> int:
    if isinstance(value, list | tuple) and len(set(value)) == 1 and len(value) == 2:
        value = value[0]  # image_size as [height, width]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DataError(f"{where}: {key} = {value!r} is no number; use a CLIP with plain ViT towers")
    return value


def _triple(where: str, value: Any) -> Triple:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise DataError(f"{where}: {value!r} is no mean or deviation of three channels")
    return float(value[0]), float(value[1]), float(value[2])


def _filter(where: str, name: str) -> str:
    if name not in ("bicubic", "bilinear"):
        raise DataError(f"{where}: preprocess_cfg.interpolation {name!r} is not known here; bicubic and bilinear are")
    return name


def _name(folder: str) -> str:
    return folder.rstrip("/").rsplit("/", 1)[-1]
