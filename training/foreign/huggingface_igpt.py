"""Hugging Face's ImageGPTForCausalImageModeling to our words and back (transformers 5: ImageGPTConfig, ImageGPTImageProcessor).

Its matrices multiply from the other side; its projections have biases, which the released models lack: they are zero, and
must be. The start vector is the last row of its embeddings; the palette lies in preprocessor_config.json as `clusters`.

transformers 5.18 divides attention by the whole part of sqrt(head width): right for iGPT-S (64 a head), 2.8 and 8.9 % off for
iGPT-M (128) and iGPT-L (96); transformers#47468. Exported M and L are right, and computed wrongly there.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm
from training.foreign.fields import as_squares, name_of, number, picture_form
from training.foreign.links import TRANSPOSED, Form, Link, Tensors, link, zeros
from training.specs.igpt import IgptSpec

if TYPE_CHECKING:
    from torch import Tensor

    from training.saving.meanings import Meanings

BILINEAR = 2
_MUST: Mapping[str, Any] = {
    "activation_function": "quick_gelu",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "tie_word_embeddings": False,
    "layer_norm_epsilon": 1e-5,
}


def read(folder: str, config: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[IgptSpec, PixelForm]:
    """The spec, and how pictures are cut. Raises DataError naming the key that does not fit."""
    where = f"{folder}/config.json"
    for key, value in _MUST.items():
        if config.get(key, value) != value:
            raise DataError(f"{where}: {key} = {config[key]!r} is not known here; {value!r} is")
    width = number(where, "n_embd", config.get("n_embd", 512))
    if config.get("n_inner") not in (None, 4 * width):
        raise DataError(f"{where}: n_inner = {config['n_inner']!r} is not known here; {4 * width} is")
    places = number(where, "n_positions", config.get("n_positions", 1024))
    size = int(places**0.5)
    if size**2 != places:
        raise DataError(f"{where}: n_positions = {places} is no square, so no picture")
    colours = number(where, "vocab_size", config.get("vocab_size", 513)) - 1
    if len(extra.get("clusters") or ()) != colours:
        raise DataError(
            f"{folder}/preprocessor_config.json: clusters is not a palette of {colours} colours; put it there"
        )
    layers = number(where, "n_layer", config.get("n_layer", 24))
    spec = IgptSpec(name_of(folder), size, width, layers, number(where, "n_head", config.get("n_head", 8)), colours)
    cut = {key: extra[key] for key in ("size", "resample") if key in extra}
    return spec, picture_form(f"{folder}/preprocessor_config.json", size, as_squares(size, BILINEAR, cut))


def refusal(spec: IgptSpec) -> str | None:
    """Why transformers has no such model: its ImageGPTForImageClassification reads the picture itself, where ours (as OpenAI's
    code) reads the start vector and all pixels but the last, and it has no place for the head of colours."""
    if not spec.classes:
        return None
    return "names classes from pixels that come one place later, behind a start vector, beside its head of colours"


def links(spec: IgptSpec) -> list[Link]:
    """For an ImageGPTForCausalImageModeling; the palette is no tensor there."""
    w = spec.width
    found = [
        Link(("token_embedding.weight", "start"), ("transformer.wte.weight",), _START_LAST),
        link("positional_embedding", "transformer.wpe.weight"),
        link("ln_final.weight", "transformer.ln_f.weight"),
        link("head.weight", "lm_head.weight"),
    ]
    for layer in range(spec.layers):
        ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
        found += [link(f"{ours}.ln_{number}.weight", f"{theirs}.ln_{number}.weight") for number in (1, 2)]
        for mine, other, out in (
            ("attn.in_proj", "attn.c_attn", 3 * w),
            ("attn.out_proj", "attn.c_proj", w),
            ("c_fc", "mlp.c_fc", 4 * w),
            ("c_proj", "mlp.c_proj", w),
        ):
            found.append(link(f"{ours}.{mine}.weight", f"{theirs}.{other}.weight", TRANSPOSED))
            found.append(Link((), (f"{theirs}.{other}.bias",), zeros(out)))
    return found


def _cut_start(theirs: Tensors) -> list["Tensor"]:
    return [theirs[0][:-1].clone(), theirs[0][-1].clone()]


def _join_start(ours: Tensors) -> list["Tensor"]:
    import torch

    return [torch.cat([ours[0], ours[1][None]])]


_START_LAST = Form(_cut_start, _join_start)


def tensors_of_configs(extra: Mapping[str, Any]) -> dict[str, "Tensor"]:
    """The palette (C, 3), 0 to 255, from colours between -1 and 1."""
    import torch

    return {"palette": ((torch.tensor(extra["clusters"], dtype=torch.float64) + 1) * 127.5).float()}


def configs(spec: IgptSpec, weights: Mapping[str, "Tensor"], meanings: "Meanings") -> dict[str, Any]:
    """config.json and preprocessor_config.json."""
    return {
        "config.json": {
            "architectures": ["ImageGPTForCausalImageModeling"],
            "model_type": "imagegpt",
            "vocab_size": spec.colours + 1,
            "n_positions": spec.tokens,
            "n_embd": spec.width,
            "n_layer": spec.layers,
            "n_head": spec.heads,
            **_MUST,
        },
        "preprocessor_config.json": {
            "image_processor_type": "ImageGPTImageProcessor",
            "size": {"height": spec.size, "width": spec.size},
            "resample": BILINEAR,
            "do_color_quantize": True,
            "clusters": (weights["palette"].double() / 127.5 - 1).tolist(),
        },
    }
