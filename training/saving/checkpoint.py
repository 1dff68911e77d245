"""Checkpoint: a finished model on disk, and the folder form that resumable ones share with it.

    model.safetensors   weights by name, float32
    average.safetensors the moving average of the weights, where one was kept (train.optimizer.ema_decay)
    tokenizer.json      the tokenizer they were trained with
    classes.json        the names of the classes that the model tells apart (training/saving/meanings.py)
    checkpoint.json     the spec, step, samples seen, manifest id, config, and the sha256 of every other file; written
                        last, so where it exists the checkpoint is complete

A resumable one (training/saving/parts.py) has the state of weights and optimizer, a file per rank, in place of
model.safetensors; it can be opened as a model too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm
from training.saving.meanings import CLASSES, TOKENIZER, Meanings, read_classes
from training.spec import build, read_spec
from training.specs.base import ModelSpec
from training.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from training.models.base import Model

FINAL = "checkpoint"
"""The folder of the finished one in that of its run."""
NAME = "checkpoint.json"
WEIGHTS = "model.safetensors"
AVERAGED = "average.safetensors"
PIXELS = "pixels"
"""In the config of an imported model: how others cut its pictures."""


@dataclass(frozen=True)
class Checkpoint:
    """`files` maps each file beside checkpoint.json to its sha256; `config` is the TrainConfig as JSON."""

    folder: str
    spec: ModelSpec
    step: int
    samples_seen: int
    manifest_id: str
    config: Mapping[str, Any]
    ranks: int
    files: Mapping[str, str]

    @property
    def id(self) -> str:
        """SHA-256 over weights, tokenizer and all that checkpoint.json says: equal training, equal id."""
        return storage.sha256(storage.canonical_json(self._content()))

    @property
    def form(self) -> PixelForm | None:
        """How pictures are cut for a model of others that was imported; None for ours, which take the middle square."""
        said = self.config.get(PIXELS)
        return None if said is None else PixelForm(**said)

    def _content(self) -> dict[str, Any]:
        return {
            "spec": self.spec.to_json(),
            "step": self.step,
            "samples_seen": self.samples_seen,
            "manifest_id": self.manifest_id,
            "config": dict(self.config),
            "ranks": self.ranks,
            "files": dict(self.files),
        }

    def save(self) -> None:
        """Write checkpoint.json; every file it names must be there already."""
        storage.write_json(storage.join(self.folder, NAME), self._content() | {"id": self.id})

    @staticmethod
    def load(folder: str, verify: bool = True) -> "Checkpoint":
        """Read, and compare all files with their checksums unless told not to.

        Raises DataError when the folder holds no finished checkpoint or a file was changed.
        """
        path = storage.join(folder, NAME)
        if not storage.exists(path):
            raise DataError(f"{folder}: no {NAME}, so no finished checkpoint; run the training to its end")
        value = _read(path)
        checkpoint = Checkpoint(
            folder,
            read_spec(value["spec"]),
            value["step"],
            value["samples_seen"],
            value["manifest_id"],
            value["config"],
            value["ranks"],
            value["files"],
        )
        if checkpoint.id != value["id"]:
            raise DataError(f"{path}: its id does not fit its content, so it was changed by hand; train again")
        for name, wanted in checkpoint.files.items() if verify else ():
            file = storage.join(folder, name)
            if not storage.exists(file) or storage.sha256_file(file) != wanted:
                raise DataError(f"{file}: missing or changed since it was written; train again")
        return checkpoint

    def model(self) -> "Model":
        """The model in evaluation mode, on the CPU."""
        from training.models.shapes import shapes_alone

        with shapes_alone():
            model = build(self.spec)
        model.load_state_dict(self.weights(), assign=True)
        model.reset_constants()
        model.learned_by(self.config.get("objective") or {})
        return model.eval().requires_grad_(False)

    def weights(self, averaged: bool = False) -> "dict[str, Tensor]":
        """Parameters and buffers by name; with `averaged`, parameters as their moving average has them.

        Raises DataError where no average was kept.
        """
        from safetensors.torch import load

        from training.saving.blocks import AVERAGE
        from training.saving.parts import State

        if WEIGHTS not in self.files:
            state = State(self.folder, self.ranks)
            weights = self._without_factors(state.weights())
            average = state.weights(AVERAGE) if averaged else {}
        else:
            weights = load(storage.read_bytes(storage.join(self.folder, WEIGHTS)))
            path = storage.join(self.folder, AVERAGED)
            average = load(storage.read_bytes(path)) if averaged and AVERAGED in self.files else {}
        if averaged and not average:
            raise DataError(f"{self.folder}: no average of the weights was kept; set train.optimizer.ema_decay")
        return weights | average if averaged else weights

    def _without_factors(self, weights: "dict[str, Tensor]") -> "dict[str, Tensor]":
        """Those of a run with LoRA as a model without computes them."""
        lora = (self.config.get("optimizer") or {}).get("lora") or {}
        if not lora.get("rank"):
            return weights
        from training.optim.config import LoraConfig
        from training.optim.lora import merged

        return merged(weights, LoraConfig(**lora))

    def palette(self) -> "NDArray[np.float32] | None":
        """The colours that an iGPT reads; None of other families."""
        if self.spec.family != "igpt":
            return None
        from training.saving.blocks import BUFFER
        from training.saving.parts import State

        if WEIGHTS in self.files:
            from safetensors import safe_open

            with safe_open(storage.join(self.folder, WEIGHTS), "np") as file:
                found: NDArray[np.float32] = file.get_tensor("palette")
                return found
        return State(self.folder, self.ranks).read(BUFFER, "palette").numpy().reshape(-1, 3)

    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(storage.join(self.folder, TOKENIZER))

    def meanings(self) -> Meanings:
        return Meanings.load(self.folder, list(self.files))

    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the model tells apart; () where it tells none or they have no names."""
        return read_classes(storage.join(self.folder, CLASSES)) if CLASSES in self.files else ()


def _read(path: str) -> Any:
    """What `save` wrote. Raises DataError where a byte of it was changed, before anything in it is believed."""
    try:
        value = storage.read_json(path)
        content = {name: each for name, each in value.items() if name != "id"}
        whole = storage.sha256(storage.canonical_json(content)) == value["id"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise DataError(f"{path}: damaged or changed since it was written; train again")
    return value


def write_model(
    folder: str,
    weights: "Mapping[str, Tensor]",
    meanings: Meanings,
    averages: "Mapping[str, Tensor] | None" = None,
) -> None:
    """model.safetensors, average.safetensors and what its numbers mean; the same values give the same bytes."""
    from safetensors.torch import save

    storage.write_bytes(storage.join(folder, WEIGHTS), save(dict(weights)))
    if averages:
        storage.write_bytes(storage.join(folder, AVERAGED), save(dict(averages)))
    meanings.save(folder)


def checksums(folder: str) -> dict[str, str]:
    """sha256 of every file in `folder` but checkpoint.json."""
    return {
        name: storage.sha256_file(storage.join(folder, name)) for name in storage.list_names(folder) if name != NAME
    }
