"""config.json and preprocessor_config.json of Hugging Face's CLIPModel to our words and back (transformers 5: CLIPConfig,
CLIPImageProcessor).
"""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm
from training.clip_vocabulary import END, START
from training.foreign.fields import activation_of, name_of, number, triple
from training.specs.clip import ClipSpec
from training.specs.towers import PIXEL_MEAN, PIXEL_STD, ImageTower, TextTower

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers


def read(folder: str, config: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[ClipSpec, PixelForm]:
    """The spec, and how pictures are cut. Raises DataError naming the key that does not fit."""
    where = f"{folder}/config.json"
    image, text = dict(config.get("vision_config") or {}), dict(config.get("text_config") or {})
    acts = {image.get("hidden_act", "quick_gelu"), text.get("hidden_act", "quick_gelu")}
    if len(acts) != 1 or not acts <= {"quick_gelu", "gelu"}:
        raise DataError(f"{where}: hidden_act {sorted(acts)} is not known here; quick_gelu or gelu in both towers is")
    width = number(where, "vision_config.hidden_size", image.get("hidden_size", 768))
    tower = ImageTower(
        number(where, "vision_config.image_size", image.get("image_size", 224)),
        number(where, "vision_config.patch_size", image.get("patch_size", 32)),
        width,
        number(where, "vision_config.num_hidden_layers", image.get("num_hidden_layers", 12)),
        number(where, "vision_config.num_attention_heads", image.get("num_attention_heads", 12)),
        mlp=_mlp(width, number(where, "vision_config.intermediate_size", image.get("intermediate_size", 3072))),
        epsilon=float(image.get("layer_norm_eps", 1e-5)),
        pixel_mean=triple(where, extra.get("image_mean", PIXEL_MEAN)),
        pixel_std=triple(where, extra.get("image_std", PIXEL_STD)),
    )
    text_width = number(where, "text_config.hidden_size", text.get("hidden_size", 512))
    text_tower = TextTower(
        text_width,
        number(where, "text_config.num_hidden_layers", text.get("num_hidden_layers", 12)),
        number(where, "text_config.num_attention_heads", text.get("num_attention_heads", 8)),
        number(where, "text_config.max_position_embeddings", text.get("max_position_embeddings", 77)),
        number(where, "text_config.vocab_size", text.get("vocab_size", 49_408)),
        _mlp(text_width, number(where, "text_config.intermediate_size", text.get("intermediate_size", 2048))),
        float(text.get("layer_norm_eps", 1e-5)),
    )
    embedding = number(where, "projection_dim", config.get("projection_dim", 512))
    spec = ClipSpec(name_of(folder), embedding, tower, text_tower, activation_of(acts == {"quick_gelu"}))
    return spec, form(f"{folder}/preprocessor_config.json", tower.size, extra)


def form(where: str, size: int, extra: Mapping[str, Any]) -> PixelForm:
    """How CLIPImageProcessor cuts. Raises DataError where that gives no squares of `size` pixels."""
    chosen = extra.get("resample", 3)
    resize, crop = extra.get("size", size), extra.get("crop_size", size)
    short = resize.get("shortest_edge", resize.get("height")) if isinstance(resize, Mapping) else resize
    cut = crop.get("height") if isinstance(crop, Mapping) else crop
    if short != size or cut != size or chosen not in _FILTERS:
        raise DataError(
            f"{where}: size {resize}, crop_size {crop}, resample {chosen} do not fit a model for {size} pixels"
        )
    squashed = isinstance(resize, Mapping) and "shortest_edge" not in resize
    return PixelForm(size, "squash" if squashed else "floor", _FILTERS[chosen])  # type: ignore[arg-type]


def _mlp(width: int, hidden: int) -> int:
    return 0 if hidden == 4 * width else hidden


def write(spec: ClipSpec, end: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """config.json and preprocessor_config.json; `end` is the id of the token that texts are read at."""
    image, text = spec.image, spec.text
    assert isinstance(image, ImageTower)
    assert isinstance(text, TextTower)
    shared = {"hidden_act": spec.activation, "projection_dim": spec.embedding}
    vision = shared | {
        "model_type": "clip_vision_model",
        "hidden_size": image.width,
        "intermediate_size": image.hidden,
        "num_hidden_layers": image.layers,
        "num_attention_heads": image.heads,
        "image_size": image.size,
        "patch_size": image.patch,
        "layer_norm_eps": image.epsilon,
    }
    words = shared | {
        "model_type": "clip_text_model",
        "hidden_size": text.width,
        "intermediate_size": text.hidden,
        "num_hidden_layers": text.layers,
        "num_attention_heads": text.heads,
        "max_position_embeddings": text.context,
        "vocab_size": text.vocabulary,
        "layer_norm_eps": text.epsilon,
        "bos_token_id": end - 1,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    config = {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": spec.embedding,
        "text_config": words,
        "vision_config": vision,
    }
    prepared = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": image.size},
        "crop_size": {"height": image.size, "width": image.size},
        "resample": 3,
        "image_mean": list(image.pixel_mean),
        "image_std": list(image.pixel_std),
    }
    return config, prepared


def tokenizer_config(context: int) -> dict[str, Any]:
    """tokenizer_config.json beside a tokenizer.json."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
    }
