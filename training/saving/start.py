"""The weights that a run begins with: fresh ones, or those of a trained model, ours or another's (fine-tuning, LiT, LoRA).

Parts that both have must fit wholly, but for classes and the picture's size (training/models/adapt.py); others stay as they
are: an image tower goes under a classifier's head, a classifier's tower into CLIP (LiT).
"""

from collections.abc import Mapping
from typing import Any

from pipeline import storage
from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.models.adapt import adapted
from training.models.base import Model
from training.saving.checkpoint import Checkpoint
from training.saving.meanings import TOKENIZER
from training.saving.opening import open_model
from training.spec import read_spec
from training.specs.base import ModelSpec
from training.specs.clip import ClipSpec
from training.tokens.tokenizer import Tokenizer, released

TAKEN_OVER = ("activation", "epsilon", "pixel_mean", "pixel_std")
"""What the tensors of a model do not show and its weights were made for: a run goes on with the trained model's."""
FREE = (
    "name",
    "family",
    "size",
    "classes",
    "representation",
    "vocabulary",
    "context",
    "logit_bias",
    "pool",
    "text",
    "embedding",
)
"""What may differ, or shows in the tensors."""


def starting_spec(spec: ModelSpec, config: TrainConfig) -> ModelSpec:
    """`spec` with those settings of the model to start from that only its weights know about.

    Raises ConfigError naming the first setting that makes it another model without another shape.
    """
    if config.start_from is None:
        return spec
    theirs = open_model(config.start_from).spec.to_json()
    ours = spec.to_json()
    same_family = theirs["family"] == ours["family"]
    made = _merged(ours, theirs, same_family, f"train.start_from {config.start_from}", config.model)
    return read_spec(made)


def _merged(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], strict: bool, where: str, model: str, above: str = ""
) -> dict[str, Any]:
    out = dict(ours)
    for key, own in ours.items():
        if key not in theirs:
            continue
        given = theirs[key]
        if isinstance(own, Mapping) and isinstance(given, Mapping):
            out[key] = _merged(own, given, strict, where, model, f"{above}{key}.")
        elif key in TAKEN_OVER:
            out[key] = given
        elif strict and key not in FREE and own != given:
            raise ConfigError(f"{where}: its {above}{key} is {given}, that of {model} is {own}; it is of another model")
    return out


def start_from(model: Model, config: TrainConfig) -> frozenset[str]:
    """Give `model` all weights of `train.start_from` that it has too; positions are brought to its picture size. Returns the names
    of the parameters that begin anew beside them; none without `train.start_from`.

    Raises ConfigError naming the first tensor that does not fit, and where not one does.
    """
    if config.start_from is None:
        return frozenset()
    taken = adapted(
        open_model(config.start_from).weights(), model.state_dict(), f"train.start_from {config.start_from}"
    )
    model.load_state_dict(taken, strict=False)
    return frozenset(name for name, _ in model.named_parameters() if name not in taken)


def starting_tokenizer(config: TrainConfig) -> Tokenizer | None:
    """That of the model to start from, where it reads text: its token table is of no use with another.

    Raises ConfigError where that has more entries than `train.vocabulary_size`, and where `train.vocabulary` names another.
    """
    if config.start_from is None:
        return None
    other = open_model(config.start_from)
    if isinstance(other, Checkpoint):
        if TOKENIZER not in other.files:
            return None
    elif not isinstance(other.spec, ClipSpec):
        return None
    tokenizer = other.tokenizer()
    if tokenizer.size > config.vocabulary_size:
        raise ConfigError(
            f"train.vocabulary_size {config.vocabulary_size:,}: the tokenizer of {storage.join(other.folder)} has"
            f" {tokenizer.size:,} entries; set it to that"
        )
    tokenizer.context = config.context_length
    named = released(config)
    if named is not None and named.to_bytes() != tokenizer.to_bytes():
        raise ConfigError(
            f"train.vocabulary: {config.vocabulary} is another one than that of train.start_from {config.start_from}, whose"
            " token table would be read with wrong words; unset train.vocabulary"
        )
    return tokenizer
