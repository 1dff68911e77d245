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
from pipeline.scoring.scorers import PixelForm
from training.foreign import open_clip, openai
from training.foreign.fields import cut_as
from training.foreign.huggingface_clip import tokenizer_config
from training.foreign.links import to_theirs
from training.foreign.models import HUGGINGFACE
from training.foreign.openai_names import openai_links
from training.foreign.read import EXTRA, Layout
from training.saving.checkpoint import WEIGHTS, Checkpoint
from training.saving.meanings import Meanings
from training.specs.base import ModelSpec
from training.specs.clip import ClipSpec
from training.specs.towers import ImageTower, ResNetTower, TextTower


def write_foreign(checkpoint: Checkpoint, layout: Layout, folder: str) -> tuple[str, ...]:
    """Write the checkpoint's model for another library into `folder`; gives the names of the files.

    Raises ConfigError where that library has no such model, before anything is written.
    """
    from safetensors.torch import load

    spec = checkpoint.spec
    fits(spec, layout)
    weights = load(storage.read_bytes(storage.join(checkpoint.folder, WEIGHTS)))
    form = checkpoint.form or PixelForm(spec.image_size)
    files = _files(spec, layout, weights, checkpoint.meanings(), form)
    for name, data in files.items():
        storage.write_bytes(storage.join(folder, name), data)
    return tuple(files)


def fits(spec: ModelSpec, layout: Layout) -> None:
    """Raises ConfigError, one line, where a model like `spec` cannot be written as `layout`."""
    why = _clip_refusal(spec, layout) if isinstance(spec, ClipSpec) else None
    if why is None and layout == "huggingface" and spec.family in HUGGINGFACE:
        why = HUGGINGFACE[spec.family].refusal(spec)
    elif why is None and not isinstance(spec, ClipSpec):
        why = f"is of family {spec.family}"
    if why:
        raise ConfigError(f"{spec.name} {why}, which {layout} cannot express; keep our own format for it")


def left_out(spec: ModelSpec, layout: Layout) -> tuple[str, ...]:
    """Our tensors that have no place in `layout`."""
    return HUGGINGFACE[spec.family].left_out(spec) if layout == "huggingface" else ()


def _clip_refusal(spec: ClipSpec, layout: Layout) -> str | None:
    image, text = spec.image, spec.text
    if not isinstance(text, TextTower):
        return "has a bag of words as text tower"
    if isinstance(image, ImageTower) and image.stem != "patch":
        return "makes its patches by a stem of convolutions"
    if isinstance(image, ImageTower) and (image.patch_bias or not image.class_token or not image.first_norm):
        return "has another vision transformer than CLIP's"
    if layout == "open_clip" and not _open_clip_norms(spec):
        return "has norms with an epsilon other than 1e-5, or not four stages"
    if layout == "openai" and not openai.fits(spec):
        return "differs from OpenAI's in what a state dict does not say (activation, heads, MLPs, pixel statistics)"
    return None


def _open_clip_norms(spec: ClipSpec) -> bool:
    towers = [tower for tower in (spec.image, spec.text) if isinstance(tower, ImageTower | TextTower)]
    stages = len(spec.image.blocks) if isinstance(spec.image, ResNetTower) else 4
    return stages == 4 and all(tower.epsilon == 1e-5 for tower in towers)


def _files(
    spec: ModelSpec, layout: Layout, weights: dict[str, Any], meanings: Meanings, form: PixelForm
) -> dict[str, bytes]:
    from safetensors.torch import save

    tokenizer = meanings.tokenizer
    words = {"tokenizer.json": tokenizer.for_others()} if tokenizer else {}
    if layout == "huggingface":
        family = HUGGINGFACE[spec.family]
        configs = family.configs(spec, weights, meanings)
        configs[EXTRA] = cut_as(form, configs[EXTRA])
        tensors = to_theirs(family.links(spec), weights)
        # transformers reads no file that does not say its format.
        made = {"model.safetensors": save(tensors, metadata={"format": "pt"})}
        return made | {name: storage.canonical_json(value) for name, value in configs.items()} | words
    assert isinstance(spec, ClipSpec)
    tensors = to_theirs(openai_links(spec), weights)
    if layout == "open_clip":
        assert tokenizer is not None
        configs = {
            open_clip.CONFIG: open_clip.write(spec, form, own_words=not tokenizer.is_released),
            "tokenizer_config.json": tokenizer_config(tokenizer),
        }
        made = {"open_clip_model.safetensors": save(tensors)}
        return made | {name: storage.canonical_json(value) for name, value in configs.items()} | words
    import torch

    file = io.BytesIO()
    torch.save(tensors, file)
    return {"model.pt": file.getvalue()} | words
