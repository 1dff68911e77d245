"""Hugging Face's ViTForImageClassification and ViTModel to our words and back (transformers 5: ViTConfig, ViTImageProcessor).

Tensor names are those of its files; in memory transformers 5 calls some of them otherwise. A ViTModel names no classes, as the
ViTs pre-trained on ImageNet-21k come; its pooler (a layer and tanh over the class token) is our representation.
ViTForImageClassification has none, so a model with a representation goes there as a ViTModel, without its head of classes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm
from training.foreign.fields import activation_of, as_squares, name_of, number, picture_form, triple, usual_mlp
from training.foreign.links import Link, both, leading, link, rows
from training.foreign.tensor_names import tensor_names
from training.specs.towers import ImageTower
from training.specs.vit import HALF, VitSpec

if TYPE_CHECKING:
    from torch import Tensor

    from training.saving.meanings import Meanings

BILINEAR = 2
NAMELESS = "LABEL_"
WITH_CLASSES, BARE = "ViTForImageClassification", "ViTModel"
POOLER = "pooler.dense"


def read(folder: str, config: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[VitSpec, PixelForm]:
    """The spec, and how pictures are cut. Raises DataError naming the key that does not fit."""
    where = f"{folder}/config.json"
    kinds = config.get("architectures") or [WITH_CLASSES]
    if kinds not in ([WITH_CLASSES], [BARE]):
        raise DataError(f"{where}: architectures {kinds} is not known here; {WITH_CLASSES} and {BARE} are")
    act = config.get("hidden_act", "gelu")
    if act not in ("gelu", "quick_gelu") or not config.get("qkv_bias", True):
        raise DataError(f"{where}: hidden_act {act!r} with qkv_bias {config.get('qkv_bias', True)} is not known here")
    width = number(where, "hidden_size", config.get("hidden_size", 768))
    size = number(where, "image_size", config.get("image_size", 224))
    tower = ImageTower(
        size,
        number(where, "patch_size", config.get("patch_size", 16)),
        width,
        number(where, "num_hidden_layers", config.get("num_hidden_layers", 12)),
        number(where, "num_attention_heads", config.get("num_attention_heads", 12)),
        mlp=usual_mlp(width, number(where, "intermediate_size", config.get("intermediate_size", 3072))),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        first_norm=False,
        patch_bias=True,
        pixel_mean=triple(where, extra.get("image_mean", HALF)),
        pixel_std=triple(where, extra.get("image_std", HALF)),
    )
    spec = VitSpec(name_of(folder), tower, classes=0, activation=activation_of(act == "quick_gelu"))
    if kinds == [BARE]:
        spec = replace(spec, representation=_pooler(folder, config, width))
    else:
        spec = spec.with_classes(
            len(config.get("id2label") or {}) or number(where, "num_labels", config.get("num_labels", 2))
        )
    return spec, picture_form(f"{folder}/preprocessor_config.json", size, as_squares(size, BILINEAR, extra))


def _pooler(folder: str, config: Mapping[str, Any], width: int) -> int:
    """Its width; 0 where the weights have none, which no configuration tells. Raises DataError for one that is not a tanh."""
    if f"{POOLER}.weight" not in tensor_names(folder):
        return 0
    where = f"{folder}/config.json"
    if config.get("pooler_act", "tanh") != "tanh":
        raise DataError(f"{where}: pooler_act {config['pooler_act']!r} is not known here; 'tanh' is")
    return number(where, "pooler_output_size", config.get("pooler_output_size") or width)


def classes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes; () where there are only the numbers that transformers puts for want of names."""
    labels = {} if config.get("architectures") == [BARE] else config.get("id2label") or {}
    names = tuple(str(labels.get(str(number), "")) for number in range(len(labels)))
    return () if all(name in ("", f"{NAMELESS}{number}") for number, name in enumerate(names)) else names


def refusal(spec: VitSpec) -> str | None:
    """Why transformers has no such model."""
    tower = spec.image
    if spec.pool != "token":
        return "pools its tokens otherwise than by a class token before the classes"
    if tower.stem != "patch" or tower.first_norm or not tower.patch_bias:
        return "has another tower than the paper's"
    return None


def is_bare(spec: VitSpec) -> bool:
    """Whether it is a ViTModel there."""
    return spec.classes == 0 or spec.representation > 0


def left_out(spec: VitSpec) -> tuple[str, ...]:
    """Tensors of ours that have no place there: the head of classes behind a representation."""
    return ("head.weight", "head.bias") if spec.classes and is_bare(spec) else ()


def links(spec: VitSpec) -> list[Link]:
    """For a ViTForImageClassification or ViTModel."""
    vit = "" if is_bare(spec) else "vit."
    found = [
        link("visual.class_embedding", f"{vit}embeddings.cls_token", leading(2)),
        link("visual.positional_embedding", f"{vit}embeddings.position_embeddings", leading(1)),
        *both("visual.conv1", f"{vit}embeddings.patch_embeddings.projection"),
        *both("visual.ln_post", f"{vit}layernorm"),
    ]
    if not is_bare(spec):
        found += both("head", "classifier")
    elif spec.representation:
        found += both("representation", POOLER)
    for layer in range(spec.image.layers):
        ours, theirs = f"visual.transformer.blocks.{layer}", f"{vit}encoder.layer.{layer}"
        for part in ("weight", "bias"):
            three = tuple(f"{theirs}.attention.attention.{kind}.{part}" for kind in ("query", "key", "value"))
            found.append(Link((f"{ours}.attn.in_proj.{part}",), three, rows(3)))
        found += both(f"{ours}.attn.out_proj", f"{theirs}.attention.output.dense")
        found += both(f"{ours}.c_fc", f"{theirs}.intermediate.dense") + both(f"{ours}.c_proj", f"{theirs}.output.dense")
        found += both(f"{ours}.ln_1", f"{theirs}.layernorm_before") + both(f"{ours}.ln_2", f"{theirs}.layernorm_after")
    return found


def configs(spec: VitSpec, weights: Mapping[str, "Tensor"], meanings: "Meanings") -> dict[str, Any]:
    """config.json and preprocessor_config.json."""
    tower = spec.image
    named = meanings.classes
    names = [named[number] if number < len(named) else f"{NAMELESS}{number}" for number in range(spec.classes)]
    named_classes = {
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }
    pooler = {"pooler_output_size": spec.representation or tower.width, "pooler_act": "tanh"}
    return {
        "config.json": {
            "architectures": [BARE if is_bare(spec) else WITH_CLASSES],
            "model_type": "vit",
            "hidden_size": tower.width,
            "intermediate_size": tower.hidden,
            "num_hidden_layers": tower.layers,
            "num_attention_heads": tower.heads,
            "image_size": tower.size,
            "patch_size": tower.patch,
            "layer_norm_eps": tower.epsilon,
            "hidden_act": spec.activation,
            **(pooler if is_bare(spec) else named_classes),
        },
        "preprocessor_config.json": {
            "image_processor_type": "ViTImageProcessor",
            "size": {"height": tower.size, "width": tower.size},
            "resample": BILINEAR,
            "image_mean": list(tower.pixel_mean),
            "image_std": list(tower.pixel_std),
        },
    }
