"""Our models as those of others, in folders that their own code opens.

    write_foreign(checkpoint, "open_clip", folder)     open_clip.create_model_from_pretrained("local-dir:FOLDER")
    write_foreign(checkpoint, "huggingface", folder)   transformers' CLIPModel.from_pretrained("FOLDER"), and the like
    write_foreign(checkpoint, "openai", folder)        clip.load("FOLDER/model.pt"): a state dict

A model that the other library would compute otherwise is refused by what does not fit.
"""

import io
from typing import Any

from pipeline import storage
from pipeline.errors import ConfigError
from training.checkpoint import WEIGHTS, Checkpoint
from training.foreign import huggingface_clip, open_clip, openai
from training.foreign.clip_names import huggingface_links, openai_links
from training.foreign.links import to_theirs
from training.foreign.read import EXTRA, Layout
from training.specs.base import ModelSpec
from training.specs.clip import ClipSpec
from training.specs.towers import ImageTower, ResNetTower, TextTower
from training.tokenizer import Tokenizer


def write_foreign(checkpoint: Checkpoint, layout: Layout, folder: str) -> tuple[str, ...]:
    """Write the checkpoint's model for another library into `folder`; gives the names of the files.

    Raises ConfigError where that library has no such model, before anything is written.
    """
    from safetensors.torch import load

    spec = checkpoint.spec
    fits(spec, layout)
    weights = load(storage.read_bytes(storage.join(checkpoint.folder, WEIGHTS)))
    tokenizer = checkpoint.tokenizer() if isinstance(spec, ClipSpec) else None
    files = _files(spec, layout, weights, tokenizer)
    for name, data in files.items():
        storage.write_bytes(storage.join(folder, name), data)
    return tuple(files)


def fits(spec: ModelSpec, layout: Layout) -> None:
    """Raises ConfigError, one line, where a model like `spec` cannot be written as `layout`."""
    if not isinstance(spec, ClipSpec):
        raise ConfigError(f"{spec.name} is of family {spec.family}, which cannot be written as {layout}")
    image, text = spec.image, spec.text
    why = None
    if not isinstance(text, TextTower):
        why = "has a bag of words as text tower"
    elif isinstance(image, ImageTower) and (image.stem != "patch" or image.patch_bias or not image.class_token):
        why = (
            "makes its patches by a stem of convolutions"
            if image.stem != "patch"
            else "has no CLIP's vision transformer"
        )
    elif layout == "huggingface" and isinstance(image, ResNetTower):
        why = "has a residual network as image tower"
    elif layout == "huggingface" and spec.logit_bias:
        why = "has a logit_bias"
    elif layout == "open_clip" and not _open_clip_norms(spec):
        why = "has norms with an epsilon other than 1e-5"
    elif layout == "openai" and not openai.fits(spec):
        why = (
            "differs from OpenAI's models in what a state dict does not say (activation, heads, MLPs, pixel statistics)"
        )
    if why:
        raise ConfigError(f"{spec.name} {why}, which {layout} cannot express; keep our own format for it")


def _open_clip_norms(spec: ClipSpec) -> bool:
    towers = [tower for tower in (spec.image, spec.text) if isinstance(tower, ImageTower | TextTower)]
    stages = len(spec.image.blocks) if isinstance(spec.image, ResNetTower) else 4
    return stages == 4 and all(tower.epsilon == 1e-5 for tower in towers)


def _files(spec: ModelSpec, layout: Layout, weights: dict[str, Any], tokenizer: Tokenizer | None) -> dict[str, bytes]:
    from safetensors.torch import save

    assert isinstance(spec, ClipSpec)
    assert tokenizer is not None
    words = {"tokenizer.json": tokenizer.for_others()}
    if layout == "openai":
        import torch

        file = io.BytesIO()
        torch.save(to_theirs(openai_links(spec), weights), file)
        return {"model.pt": file.getvalue()} | words
    if layout == "open_clip":
        tensors = to_theirs(openai_links(spec), weights)
        config = storage.canonical_json(open_clip.write(spec))
        return {"open_clip_model.safetensors": save(tensors), open_clip.CONFIG: config} | words
    tensors = to_theirs(huggingface_links(spec), weights)
    config_json, prepared = huggingface_clip.write(spec, tokenizer.end)
    return {
        "model.safetensors": save(tensors, metadata={"format": "pt"}),  # transformers reads no file without it
        "config.json": storage.canonical_json(config_json),
        EXTRA: storage.canonical_json(prepared),
        "tokenizer_config.json": storage.canonical_json(huggingface_clip.tokenizer_config(tokenizer.context)),
    } | words
