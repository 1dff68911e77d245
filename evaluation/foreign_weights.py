"""Tensor names of open_clip and Hugging Face, brought to those of training's CLIP.

Never unpickles: safetensors, or torch's archive under `weights_only`, which refuses everything but tensors and plain
containers. OpenAI's own .pt files are TorchScript programs: open_clip and Hugging Face have the same weights as data.
"""

import io
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from evaluation.foreign_config import Details, Layout
from pipeline import storage
from pipeline.errors import DataError
from training.models.blocks import Transformer
from training.models.clip import CLIP
from training.models.linear import Linear

_SKIPPED = re.compile(r"(.*\.)?(attn_mask|position_ids)")
_OPEN_CLIP = (
    (r"text_projection(\.weight)?", "text_projection.weight"),
    (r"visual\.proj", "image_projection.weight"),
    (r"(visual\.)?transformer\.resblocks\.(\d+)\.", r"\1transformer.blocks.\2."),
    (r"attn\.in_proj_", "attn.in_proj."),
    (r"mlp\.(c_fc|c_proj)\.", r"\1."),
)
_HUGGING_FACE = (
    (r"visual_projection\.", "image_projection."),
    (r"vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
    (r"vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"vision_model\.embeddings\.position_embedding\.weight", "visual.positional_embedding"),
    (r"vision_model\.pre_layrnorm\.", "visual.ln_pre."),  # misspelt there
    (r"vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"text_model\.embeddings\.token_embedding\.", "text.token_embedding."),
    (r"text_model\.embeddings\.position_embedding\.weight", "text.positional_embedding"),
    (r"text_model\.final_layer_norm\.", "text.ln_final."),
    (r"vision_model\.encoder\.layers\.", "visual.transformer.blocks."),
    (r"text_model\.encoder\.layers\.", "text.transformer.blocks."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".c_fc."),
    (r"\.mlp\.fc2\.", ".c_proj."),
)


def read_weights(path: str, layout: Layout) -> dict[str, Tensor]:
    """Float32 tensors by our names. Raises DataError where the file is no weights or holds a name nobody knows."""
    raw = _read(path)
    named: dict[str, Tensor] = {}
    for name, tensor in raw.items():
        if not _SKIPPED.fullmatch(name):
            named[name.removeprefix("module.")] = tensor.float()
    return _from_open_clip(named) if layout == "open_clip" else _from_huggingface(named)


def _read(path: str) -> Mapping[str, Tensor]:
    data = storage.read_bytes(path)
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load

            return load(data)
        value: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(
            f"{path}: cannot be read as weights ({type(error).__name__}); save it as safetensors"
        ) from error
    if isinstance(value, Mapping) and isinstance(value.get("state_dict"), Mapping):
        value = value["state_dict"]  # what open_clip's training writes
    if not isinstance(value, Mapping) or not all(isinstance(each, Tensor) for each in value.values()):
        raise DataError(f"{path}: holds no table of tensors; save the model's state_dict")
    return value


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, ours in rules:
        name = re.sub(f"^{pattern}" if not pattern.startswith((r"\.", "attn", "mlp")) else pattern, ours, name)
    return name


def _from_open_clip(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for theirs, tensor in raw.items():
        bare = theirs.removeprefix("text.")
        name = _renamed(bare, _OPEN_CLIP)
        if name == "logit_scale":
            tensor = tensor.reshape(1)
        elif bare in ("visual.proj", "text_projection"):  # (W, D) there, a linear layer's (D, W) here
            tensor = tensor.T.contiguous()
        elif not name.startswith(("visual.", "text_projection.", "image_projection.")):
            name = f"text.{name}"
        out[name] = tensor
    return out


def _from_huggingface(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for theirs, tensor in raw.items():
        name = _renamed(theirs, _HUGGING_FACE)
        if name == "logit_scale":
            tensor = tensor.reshape(1)
        part = re.fullmatch(r"(.*)\.self_attn\.q_proj\.(weight|bias)", name)
        if part:  # queries, keys and values are one projection here
            each = [raw.get(theirs.replace(".q_proj.", f".{kind}_proj.")) for kind in "qkv"]
            if any(one is None for one in each):
                raise DataError(f"{theirs} has no k_proj and v_proj beside it; the weights are not complete")
            out[f"{part[1]}.attn.in_proj.{part[2]}"] = torch.cat([one for one in each if one is not None])
        elif not re.search(r"\.self_attn\.[kv]_proj\.", name):
            out[name] = tensor
    return out


def set_details(model: CLIP, details: Details) -> None:
    """MLP widths and epsilons that ModelSpec has no words for."""
    towers = (
        (model.visual.transformer, details.image_hidden, details.image_epsilon),
        (model.text.transformer, details.text_hidden, details.text_epsilon),
    )
    for transformer, hidden, epsilon in towers:
        _set_blocks(transformer, hidden, epsilon)
    for norm, epsilon in (
        (model.visual.ln_pre, details.image_epsilon),
        (model.visual.ln_post, details.image_epsilon),
        (model.text.ln_final, details.text_epsilon),
    ):
        norm.eps = epsilon


def _set_blocks(transformer: Transformer, hidden: int, epsilon: float) -> None:
    for block in transformer.blocks:
        width = block.c_proj.out_features  # type: ignore[union-attr]
        if hidden != block.c_fc.out_features:  # type: ignore[union-attr]
            block.c_fc, block.c_proj = Linear(int(width), hidden), Linear(hidden, int(width))  # type: ignore[arg-type]
        block.ln_1.eps = block.ln_2.eps = epsilon  # type: ignore[union-attr]
