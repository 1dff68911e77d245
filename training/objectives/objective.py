"""Objective: what a model learns from a batch, as one value; the step (training/step.py) asks nothing else.

A new one is a file here with `make(kind, config, spec)`, its kind in config.py's table and in `MODULES`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor

from training.config import TrainConfig
from training.specs.base import ModelSpec
from training.specs.clip import ClipSpec

if TYPE_CHECKING:
    from training.data.batch import Batch
    from training.models.base import Model

MODULES: Mapping[str, str] = {
    "contrastive": "contrastive",
    "sigmoid": "sigmoid",
    "classify": "classify",
    "next_pixel": "pixels",
    "masked_pixels": "pixels",
    "joint": "pixels",
    "caption": "caption",
    "words": "words",
}
"""The file in training/objectives where a kind is."""


class Objective(ABC):
    """A loss over one rank's rows, whose mean over ranks is the loss of the global batch."""

    needs: ClassVar[frozenset[Literal["text", "label"]]]
    """What samples must have beside their picture."""

    pairs: ClassVar[bool] = False
    """Whether the loss couples the samples of the global batch. If so, `loss` wants the outputs of all this rank's rows at
    once, and chunks go through the gradient cache; if not, chunks are plain accumulation."""

    row_outputs: ClassVar[int] = 1
    """For `pairs`: so many of the model's outputs, the first ones, have a row per sample; the others (a temperature, a
    bias) are the same for all."""

    def prepare(self, model: "Model", pictures: Callable[[int], Tensor]) -> None:  # noqa: B027  # most need nothing
        """Once, on a model with fresh weights, on every rank alike; `pictures(n)` are the first n of the stream, uint8."""

    @abstractmethod
    def inputs(self, batch: "Batch") -> tuple[Tensor, ...]:
        """What the model's `forward` takes, a row per sample in each."""

    @abstractmethod
    def loss(self, outputs: Any, batch: "Batch") -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over this rank's rows, in float32, and one-element tensors to watch, without gradient."""


def make_objective(config: TrainConfig, spec: ModelSpec) -> Objective:
    """What `config` asks for. Raises ConfigError where this model lacks what the loss needs."""
    kind = config.objective.kind_for(spec.family)
    module = import_module(f"training.objectives.{MODULES[kind]}")
    made: Objective = module.make(kind, config, spec)
    return made


def fit_spec(config: TrainConfig, spec: ModelSpec) -> ModelSpec:
    """The spec with what the objective needs: the sigmoid loss gives CLIP its bias (and the temperature it starts with)."""
    if config.objective.kind_for(spec.family) == "sigmoid" and isinstance(spec, ClipSpec):
        return replace(spec, logit_bias=True)
    return spec
