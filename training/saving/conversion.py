"""Finished models out to other libraries and in from them, each checked by what it computes before it is handed over."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, cast

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from training.foreign.read import ForeignModel, Layout, read_foreign
from training.foreign.write import fits, left_out, write_foreign
from training.objectives.config import learned_masked
from training.saving.checkpoint import PIXELS, Checkpoint, checksums, write_model
from training.saving.meanings import Meanings
from training.saving.opening import open_model
from training.spec import build
from training.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from training.models.base import Model

MOST_DIFFERENCE = 1e-4
"""Of outputs of the same weights by the same code: rounding, and the order of sums."""
TOKENS, PICTURES = 9, 2
ASSUMED = (
    "quick_gelu and heads of 64 channels, as in OpenAI's: no tensor says so; one of open_clip needs its configuration"
)


def export_model(place: str, folder: str, layout: str, averaged: bool = False) -> dict[str, Any]:
    """Write the model at `place` to `folder` as `layout` (openwit: one file of weights), read it again and compare outputs.

    `left_out` in the answer names what has no place there. Raises ConfigError where that library has no such model, before anything
    is written.
    """
    source = open_model(place)
    if isinstance(source, ForeignModel):
        raise ConfigError(f"{place}: is a model of {source.layout}; make it a checkpoint first: openwit import")
    if layout == "openwit":
        made = consolidate(source, folder, averaged)
        files: tuple[str, ...] = ("checkpoint.json", *made.files)
        again: Model = made.model()
    else:
        fits(source.spec, cast(Layout, layout))
        if learned_masked(source.config.get("objective") or {}):
            raise ConfigError(
                f"{place}: learned masked pixels, every place looking at all others, and {layout}'s ImageGPT looks back only; keep"
                " our own format for it"
            )
        plain = storage.join(folder, ".openwit")
        try:
            files = write_foreign(consolidate(source, plain, averaged), cast(Layout, layout), folder)
        finally:
            storage.remove_tree(plain)
        again = _read_again(folder, layout, files).model()
    ours = _model(source, averaged)
    gone = () if layout == "openwit" else left_out(source.spec, cast(Layout, layout))
    if gone:  # the same without its head of classes
        weights = {name: value for name, value in ours.state_dict().items() if name not in gone}
        ours = build(source.spec.with_classes(0)).eval()
        ours.load_state_dict(weights)
    difference = largest_difference(ours, again)
    if not difference <= MOST_DIFFERENCE:
        raise DataError(
            f"{folder}: what was written computes otherwise (outputs differ by {difference:g}); do not use it"
        )
    return {
        "folder": folder,
        "layout": layout,
        "model": source.spec.name,
        "step": source.step,
        "files": list(files),
        **({"left_out": list(gone)} if gone else {}),
        "bytes": sum(storage.size(storage.join(folder, name)) for name in files),
        "largest_output_difference": difference,
        "compared": "the checkpoint, and what was written read again, both by openwit's code",
    }


def _read_again(folder: str, layout: str, files: tuple[str, ...]) -> ForeignModel:
    return read_foreign(storage.join(folder, files[0]) if layout == "openai" else folder)


def _model(source: Checkpoint, averaged: bool) -> "Model":
    model = source.model()
    if averaged:
        model.load_state_dict(source.weights(averaged=True))
    return model


def consolidate(source: Checkpoint, folder: str, averaged: bool = False) -> Checkpoint:
    """A finished checkpoint in `folder` from any of ours, such as one to resume from."""
    write_model(folder, source.weights(averaged), source.meanings())
    made = replace(source, folder=folder, files=checksums(folder))
    made.save()
    return made


def import_model(place: str, folder: str, tokenizer: str | None = None) -> dict[str, Any]:
    """A checkpoint in `folder` of the model of others at `place`, compared with what they read it as.

    Raises DataError where there is none, or no tokenizer for a model that reads text.
    """
    source = read_foreign(place)
    words = _tokenizer(source, tokenizer)
    write_model(folder, source.weights(), Meanings(words, source.classes()))
    origin = {"imported_from": source.layout, "imported_id": source.id, PIXELS: asdict(source.form)}
    made = Checkpoint(folder, source.spec, 0, 0, source.id, origin, 1, checksums(folder))
    made.save()
    difference = largest_difference(source.model(), Checkpoint.load(folder).model())
    if difference != 0:
        raise DataError(
            f"{folder}: what was written computes otherwise (outputs differ by {difference:g}); do not use it"
        )
    return {
        "folder": folder,
        "layout": source.layout,
        "model": source.spec.name,
        "family": source.spec.family,
        "parameters_millions": round(source.spec.parameters() / 1e6, 2),
        "id": made.id,
        "largest_output_difference": difference,
        "compared": "the model as read here, and the checkpoint that was written, both by openwit's code",
        **({"assumed": ASSUMED} if source.layout == "openai" else {}),
    }


def _tokenizer(source: ForeignModel, given: str | None) -> Tokenizer | None:
    text: Mapping[str, Any] | None = source.spec.to_json().get("text")
    if text is None:
        return None
    if given is not None:
        return Tokenizer.released(given, int(text["context"]))
    try:
        return source.tokenizer()
    except DataError as error:
        raise DataError(f"{error}; or name CLIP's vocabulary with --tokenizer") from error


def largest_difference(one: "Model", other: "Model") -> float:
    """Of all outputs of two models on the same random pictures and texts."""
    import torch

    inputs = random_inputs(one)
    with torch.no_grad():
        pairs = zip(_tensors(one(*inputs)), _tensors(other(*inputs)), strict=True)
        found = [float((a.float() - b.float()).abs().max()) for a, b in pairs if a.numel()]
    return math.nan if any(math.isnan(each) for each in found) else max(found)


def random_inputs(model: "Model") -> "tuple[Tensor, ...]":
    """Pictures, and texts where the model reads them: the same for every model of the same sizes."""
    import torch

    generator = torch.Generator().manual_seed(0)
    side = model.spec.image_size
    pixels = torch.randint(0, 256, (PICTURES, 3, side, side), generator=generator, dtype=torch.uint8)
    text = model.spec.to_json().get("text")
    if text is None:
        return (pixels,)
    length = min(TOKENS, int(text["context"]))
    tokens = torch.randint(1, int(text["vocabulary"]) - 2, (PICTURES, length), generator=generator)
    tokens[:, -1] = int(text["vocabulary"]) - 1
    return pixels, tokens


def _tensors(outputs: Any) -> "list[Tensor]":
    import torch

    if isinstance(outputs, torch.Tensor):
        return [outputs]
    values = outputs.values() if isinstance(outputs, Mapping) else outputs
    return [tensor for value in values for tensor in _tensors(value)]
