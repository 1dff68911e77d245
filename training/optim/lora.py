"""LoRA (Hu et al. 2021, arXiv:2106.09685): y = W x + alpha / r * B A x, where W stands still and A, B learn.

Ours, and not peft: that library needs transformers to be imported, and renames a model's parameters. Here the factors are two
parameters more of the same linear layer (`lora_down`, `lora_up`), added by a hook, so that checkpoints, ZeRO and exports find
every weight under the name it always had.

What the trained model did not bring learns in full, and so does a head of classes (peft's `modules_to_save`): a new head
begins at zero, and through a zero that stands still no gradient ever comes.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from training.optim.config import LoraConfig

DOWN, UP = "lora_down", "lora_up"
CLASS_HEADS = {"vit": "head", "igpt": "class_head"}
"""By family, the layer that tells classes apart."""


@dataclass(frozen=True)
class Factors:
    """Of one layer: its weight is W + scale * up @ down."""

    down: nn.Parameter
    up: nn.Parameter
    scale: float


def add_factors(model: nn.Module, config: LoraConfig, anew: Collection[str] = ()) -> None:
    """Freeze the model and give its linear layers named in `config.layers` their factors: A random, B zero, so that the model
    starts as it was. Parameters that begin `anew` learn in full, as does a head of classes without factors.

    Raises ConfigError where no layer has such a name, or each that has one begins anew.
    """
    named = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear) and _last(name) in config.layers}
    if not named:
        raise ConfigError(
            f"train.optimizer.lora.layers: this model has no linear layer called {' or '.join(config.layers)};"
            f" there are {', '.join(_names_of_linear_layers(model))}"
        )
    layers = {name: layer for name, layer in named.items() if f"{name}.weight" not in anew}
    if not layers:
        raise ConfigError(
            f"train.optimizer.lora.layers: train.start_from brings no weight of {' or '.join(config.layers)}, so there is"
            " nothing to adapt; set train.optimizer.lora.rank to 0"
        )
    adapted = tuple(f"{name}." for name in layers)
    head = f"{CLASS_HEADS.get(getattr(getattr(model, 'spec', None), 'family', ''), ' none')}."
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in anew or (name.startswith(head) and not name.startswith(adapted)))
    for layer in layers.values():
        down = torch.empty(config.rank, layer.in_features, device=layer.weight.device)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))  # as the authors' loralib, for a linear layer
        layer.register_parameter(DOWN, nn.Parameter(down))
        layer.register_parameter(UP, nn.Parameter(torch.zeros(layer.out_features, config.rank, device=down.device)))
        layer.register_forward_hook(_add_product(config.alpha / config.rank))


def factors(model: nn.Module, config: LoraConfig) -> dict[str, Factors]:
    """What `add_factors` added, by the name of the weight that it adds to."""
    found = dict(model.named_parameters())
    return {
        name.removesuffix(DOWN) + "weight": Factors(
            down, found[name.removesuffix(DOWN) + UP], config.alpha / config.rank
        )
        for name, down in found.items()
        if _last(name) == DOWN
    }


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _names_of_linear_layers(model: nn.Module) -> list[str]:
    return sorted({_last(name) for name, module in model.named_modules() if isinstance(module, nn.Linear)})


def _add_product(scale: float) -> Any:
    def hook(layer: Any, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
        down_x = nn.functional.linear(inputs[0], layer.lora_down)
        return y + scale * nn.functional.linear(down_x, layer.lora_up)

    return hook


def is_factor(name: str) -> bool:
    return _last(name) in (DOWN, UP)


def merged(weights: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """The weights of the model without factors that computes the same: W + alpha / r * B A."""
    out = {name: weight for name, weight in weights.items() if not is_factor(name)}
    for name in weights:
        if _last(name) == DOWN:
            layer = name.removesuffix(DOWN)
            product = weights[f"{layer}{UP}"] @ weights[name]
            out[f"{layer}weight"] = out[f"{layer}weight"] + config.alpha / config.rank * product
    return out
