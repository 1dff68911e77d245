"""The weights that a run begins with: fresh ones, or those of a trained model, ours or another's (fine-tuning, LiT, LoRA).

Parts that both have must fit wholly, but for classes and the picture's size (training/models/adapt.py); others stay as they
are. An image tower goes from one family to another with the way it is wired: a classifier's into CLIP (LiT, arXiv:2111.07991),
CLIP's under a classifier's head. Its patches, widths, heads and blocks must be those of the model that is trained. What lies
outside the tower (projections, a layer before the classes) stays behind; one that is read through an attention pool stays in its
family. A head of classes goes over by the classes' names: in another order row by row; others begin at zero.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.models.adapt import adapted
from training.models.base import Model
from training.saving import folder as folders
from training.saving.checkpoint import Checkpoint
from training.saving.meanings import TOKENIZER
from training.saving.opening import open_model
from training.spec import REGISTRY, read_spec
from training.specs.base import ModelSpec
from training.specs.clip import ClipSpec
from training.tokens.tokenizer import Tokenizer, released

TAKEN_OVER = ("activation", "epsilon", "pixel_mean", "pixel_std", "first_norm", "patch_bias")
"""How a tower is wired, which its weights were made for: a run goes on with the trained model's."""
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


NAMED = 6


class _MisfitError(Exception):
    """A setting, the trained model's value, and that of the model to train."""


def starting_spec(spec: ModelSpec, config: TrainConfig) -> ModelSpec:
    """`spec` with those settings of the model to start from that only its weights know about.

    Raises ConfigError naming the first setting that makes it another model, and the models that fit.
    """
    if config.start_from is None:
        return spec
    theirs = open_model(config.start_from).spec.to_json()
    try:
        merged = _merged(spec.to_json(), theirs)
    except _MisfitError as misfit:
        key, given, own = misfit.args
        fit = [each.name for each in REGISTRY.values() if each.family == spec.family and _fits(each, theirs)]
        more = ", ..." if len(fit) > NAMED else ""
        way = f"models that fit it: {', '.join(fit[:NAMED])}{more}" if fit else f"no {spec.family} model fits it"
        raise ConfigError(
            f"train.start_from {config.start_from}: its {key} is {given}, that of {config.model} is {own}; it is of another"
            f" model ({way})"
        ) from None
    _require_texts(spec.to_json(), theirs, config.start_from)
    return read_spec(merged)


def _require_texts(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError where texts are of a table, or of a length, that the trained text tower does not have. Of
    shorter texts the positions are the first of the trained ones; a bag of words has none."""
    own, given = ours.get("text"), theirs.get("text")
    if ours["family"] != theirs["family"] or not isinstance(own, Mapping) or not isinstance(given, Mapping):
        return
    rows, most = given["vocabulary"], given["context"]
    if own["vocabulary"] != rows:
        raise ConfigError(
            f"train.vocabulary_size {own['vocabulary']:,}: the token table of train.start_from {where} has {rows:,} rows; set it"
            " to that"
        )
    if given.get("kind") == "transformer" and own["context"] > most:
        raise ConfigError(
            f"train.context_length {own['context']}: train.start_from {where} knows texts of {most} tokens at most; set it to"
            " that, or less"
        )


def _fits(spec: ModelSpec, theirs: Mapping[str, Any]) -> bool:
    try:
        _merged(spec.to_json(), theirs)
    except _MisfitError:
        return False
    return True


def _merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    same_family = ours["family"] == theirs["family"]
    if same_family or "image" not in ours or "image" not in theirs:
        return _taken(ours, theirs, same_family, TAKEN_OVER)
    # Families other than ViT's pool by a class token, or the mean where there is none: as the tower was made.
    if theirs.get("pool") == "attention":
        raise _MisfitError("pool", "attention", ours.get("pool", "a class token or the mean"))
    taken = TAKEN_OVER if "pool" in ours else (*TAKEN_OVER, "class_token")
    return _taken(ours, theirs, False, taken)


def _taken(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], strict: bool, taken: tuple[str, ...], above: str = ""
) -> dict[str, Any]:
    """`ours` with what is `taken` over; all else must be equal in a model of the same family, and in an image tower."""
    out = dict(ours)
    for key, own in sorted(ours.items(), key=lambda item: item[0] != "kind"):  # which kind of tower is said first
        if key not in theirs:
            continue
        given = theirs[key]
        if isinstance(own, Mapping) and isinstance(given, Mapping):
            out[key] = _taken(own, given, strict or key == "image", taken, f"{above}{key}.")
        elif key in taken:
            out[key] = given
        elif strict and key not in FREE and own != given:
            raise _MisfitError(f"{above}{key}", given, own)
    return out


def start_from(
    model: Model, config: TrainConfig, classes: Sequence[str] = ()
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Give `model` all weights of `train.start_from` that it has too; positions are brought to its picture size, and a head to
    `classes`. Returns the names of the parameters that begin anew beside them, and a line where a trained head does; nothing
    without `train.start_from`.

    Raises ConfigError naming the first tensor that does not fit, and where not one does.
    """
    if config.start_from is None:
        return frozenset(), ()
    source, where = open_model(config.start_from), f"train.start_from {config.start_from}"
    head = "class_head" if model.spec.family == "igpt" else "head"
    rows: dict[str, list[int]] = {}
    lines: tuple[str, ...] = ()
    if classes and source.spec.family == model.spec.family and _classes(source.spec):
        named = source.classes()
        if _read_by_head(source.spec) != _read_by_head(model.spec):
            rows[head] = []
            lines = (
                f"{where}: its classes are read from {_read_by_head(source.spec)}, and this model's from"
                f" {_read_by_head(model.spec)}; the head begins anew",
            )
        elif sorted(named) == sorted(classes) and len(set(named)) == len(named):
            rows[head] = [named.index(name) for name in classes]
        else:
            rows[head] = []
            lines = (f"{where}: {_others(named, source.spec)}; the head begins anew",)
    taken = adapted(source.weights(), model.state_dict(), where, rows)
    model.load_state_dict(taken, strict=False)
    return frozenset(name for name, _ in model.named_parameters() if name not in taken), lines


def _classes(spec: ModelSpec) -> int:
    count: int = getattr(spec, "classes", 0)
    return count


def _read_by_head(spec: ModelSpec) -> str:
    """What a head of classes reads: one made for something else would judge by numbers that mean nothing to it."""
    if getattr(spec, "representation", 0):
        return "a layer before them"
    return {"attention": "an attention pool", "mean": "the mean of the patches"}.get(
        getattr(spec, "pool", ""), "the features"
    )


def _others(named: Sequence[str], spec: ModelSpec) -> str:
    count = _classes(spec)
    if not named:
        return f"its {count:,} classes have no names, so nobody knows whether they are the data's"
    shown = ", ".join(named[:3]) + (", ..." if count > 3 else "")
    return f"its {count:,} classes ({shown}) are others than the data's"


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


def resumed_tokenizer(folder: str) -> Tokenizer | None:
    """That of the run's newest checkpoint in `folder` with an undamaged one. Its token table is of no use with another, and another
    version of the library may learn other merges of the same texts; to learn them again takes minutes besides."""
    for each in reversed(folders.sealed(Path(folder) / "checkpoints")):
        try:
            found = Checkpoint.load(str(each), verify=False)
            folders.require_intact(each, [TOKENIZER], found.files)
            return found.tokenizer()
        except (DataError, OSError, KeyError):
            continue
    return None
