"""LoRA (Hu et al. 2021, arXiv:2106.09685): y = W x + alpha / r * B A x, where W stands still and A, B learn.

Ours, and not peft: that library needs transformers to be imported, and renames a model's parameters. Here the factors are two
parameters more of the same linear layer (`lora_down`, `lora_up`), added by a hook, so that checkpoints, ZeRO and exports find
every weight under the name it always had.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from training.optim.config import LoraConfig

DOWN, UP = "lora_down", "lora_up"


def add_factors(model: nn.Module, config: LoraConfig) -> None:
    """Freeze all of the model and give its linear layers named in `config.layers` their factors: A random, B zero, so that
    the model starts as it was. Raises ConfigError where no layer has such a name.
    """
    layers = [
        m for name, m in model.named_modules() if isinstance(m, nn.Linear) and name.split(".")[-1] in config.layers
    ]
    if not layers:
        raise ConfigError(
            f"train.optimizer.lora.layers: this model has no linear layer called {' or '.join(config.layers)};"
            f" there are {', '.join(_names_of_linear_layers(model))}"
        )
    model.requires_grad_(False)
    for layer in layers:
        down = torch.empty(config.rank, layer.in_features, device=layer.weight.device)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))  # as the authors' loralib, for a linear layer
        layer.register_parameter(DOWN, nn.Parameter(down))
        layer.register_parameter(UP, nn.Parameter(torch.zeros(layer.out_features, config.rank, device=down.device)))
        layer.register_forward_hook(_add_product(config.alpha / config.rank))


def _names_of_linear_layers(model: nn.Module) -> list[str]:
    return sorted({name.split(".")[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)})


def _add_product(scale: float) -> Any:
    def hook(layer: Any, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
        down_x = nn.functional.linear(inputs[0], layer.lora_down)
        return y + scale * nn.functional.linear(down_x, layer.lora_up)

    return hook


def merged(weights: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """The weights of the model without factors that computes the same: W + alpha / r * B A."""
    out = {name: weight for name, weight in weights.items() if not name.endswith((f".{DOWN}", f".{UP}"))}
    for name in weights:
        if name.endswith(f".{DOWN}"):
            layer = name.removesuffix(DOWN)
            product = weights[f"{layer}{UP}"] @ weights[name]
            out[f"{layer}weight"] = out[f"{layer}weight"] + config.alpha / config.rank * product
    return out
