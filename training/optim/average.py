"""An average of the weights that forgets exponentially (Polyak and Juditsky 1992): average <- d average + (1 - d) weights.

Each rank keeps a part of every parameter, so that W ranks together keep the average once: under ZeRO 3 the part that it owns
anyway, otherwise the r-th of W even slices. By name, independent of the optimizer, exact under every stage.

Under LoRA it is the average of W + scale B A, the weights that leave: the average of factors would be another product.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch import distributed as dist

from training.engine.ranks import Ranks
from training.optim.config import OptimizerConfig
from training.optim.lora import Factors, factors, is_factor


class Average:
    """Of all of a model's parameters, factors merged. All but `parts` is collective."""

    @staticmethod
    def of(model: nn.Module, config: OptimizerConfig, ranks: Ranks) -> "Average":
        """That of a model as the engine holds it."""
        parameters = {name: parameter for name, parameter in model.named_parameters() if not is_factor(name)}
        return Average(parameters, config.ema_decay, ranks, factors(model, config.lora) if config.lora.rank else {})

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], decay: float, ranks: Ranks, adapted: Mapping[str, Factors]
    ) -> None:
        self._parameters, self._adapted = parameters, adapted
        self._decay = decay
        self._ranks = ranks
        self._parts = {name: part.clone() for name, part in self._current()}

    def _current(self) -> Iterator[tuple[str, Tensor]]:
        """This rank's part of each parameter as it is now: flat, the last ones padded with zeros or shorter."""
        for name, parameter in self._parameters.items():
            part = local_part(parameter, self._ranks)
            yield name, self._merged(part, self._adapted[name]) if name in self._adapted else part

    def _merged(self, part: Tensor, factors: Factors) -> Tensor:
        """With what the factors add to these numbers: whole rows of their product, then cut."""
        up_OR, down_RI = (whole_here(each, self._ranks).to(part.device) for each in (factors.up, factors.down))
        width, numbers = down_RI.shape[1], len(up_OR) * down_RI.shape[1]
        start = self._ranks.rank * part_length(numbers, self._ranks)
        stop = min(numbers, start + part.numel())
        out = part.clone()
        if start < stop:
            first = start // width
            rows = (up_OR[first : -(-stop // width)] @ down_RI).view(-1)
            out[: stop - start] += factors.scale * rows[start - first * width : stop - first * width]
        return out

    @torch.no_grad()
    def update(self) -> None:
        """After an optimizer step."""
        for name, now in self._current():
            self._parts[name].lerp_(now, 1 - self._decay)

    def parts(self) -> Iterator[tuple[str, tuple[int, ...], int, Tensor]]:
        """(name, shape of the whole, where this part starts in it flattened, the part without padding)."""
        for name, part in self._parts.items():
            shape = whole_shape(self._parameters[name])
            start = self._ranks.rank * part_length(shape.numel(), self._ranks)
            yield name, tuple(shape), start, part[: max(0, shape.numel() - start)]

    def whole(self) -> dict[str, Tensor]:
        """By name, on the CPU, for the first rank; empty on the others."""
        out = {}
        for name, part in self._parts.items():
            shape = whole_shape(self._parameters[name])
            flat = gather_parts(part, shape.numel(), self._ranks)
            if self._ranks.is_first:
                out[name] = flat.view(shape)
        return out

    def take(self, values: Mapping[str, Tensor]) -> None:
        """Go on from what `whole` gave, on every rank; at any world size."""
        for name, part in self._parts.items():
            flat = values[name].reshape(-1)
            start = self._ranks.rank * part_length(flat.numel(), self._ranks)
            mine = flat[start : start + part.numel()]
            part[: mine.numel()].copy_(mine)


def whole_shape(parameter: nn.Parameter) -> torch.Size:
    """Before ZeRO 3 cut it."""
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape


def part_length(numbers: int, ranks: Ranks) -> int:
    """Of each rank's part: even, the last one padded."""
    return -(-numbers // ranks.world_size)


def local_part(parameter: nn.Parameter, ranks: Ranks) -> Tensor:
    """This rank's numbers of a parameter, flat, without a copy. DeepSpeed's ZeRO 3 cuts in the same places."""
    owned: Tensor | None = getattr(parameter, "ds_tensor", None)
    if owned is not None:
        return owned.detach().view(-1)
    flat = parameter.detach().view(-1)
    length = part_length(flat.numel(), ranks)
    return flat[ranks.rank * length : (ranks.rank + 1) * length]


def whole_here(parameter: nn.Parameter, ranks: Ranks) -> Tensor:
    """All of it, on every rank. Collective."""
    if getattr(parameter, "ds_tensor", None) is None:
        return parameter.detach()
    shape = whole_shape(parameter)
    return joined_parts(local_part(parameter, ranks), shape.numel(), ranks).view(shape)


def gather_parts(part: Tensor, numbers: int, ranks: Ranks) -> Tensor:
    """`joined_parts` on the CPU, a copy."""
    whole = joined_parts(part, numbers, ranks).cpu()
    return whole.clone() if ranks.world_size == 1 else whole


def joined_parts(part: Tensor, numbers: int, ranks: Ranks) -> Tensor:
    """All ranks' parts in order, without the padding, on every rank."""
    if ranks.world_size == 1:
        return part[:numbers]
    padded = torch.zeros(part_length(numbers, ranks), device=ranks.device)
    padded[: part.numel()] = part[: padded.numel()]
    parts = [torch.empty_like(padded) for _ in range(ranks.world_size)]
    dist.all_gather(parts, padded)
    return torch.cat(parts)[:numbers]
