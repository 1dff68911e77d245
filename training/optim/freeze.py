"""Parts that do not learn. LiT (Zhai et al. 2021, arXiv:2111.07991) locks a trained image tower and lets texts learn to
read it out.
"""

from collections.abc import Sequence

from torch import nn

from pipeline.errors import ConfigError
from training.optim.groups import TOWERS


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Parameters whose names begin with a part stand still; `image` and `text` are the towers before their projections.

    Modules that stand still as a whole compute as in evaluation: no dropped patches, no moving batch statistics.
    Raises ConfigError for a part that no parameter belongs to, and where nothing would be left to learn.
    """
    for part in parts:
        starts = tuple(f"{tower}." for tower in TOWERS.get(part, (part,)))
        found = [p for name, p in model.named_parameters() if name.startswith(starts) or name == part]
        if not found:
            known = dict.fromkeys(name.split(".")[0] for name, _ in model.named_parameters())
            raise ConfigError(f"train.freeze: no parameter is in {part!r}; there are image, text, {', '.join(known)}")
        for parameter in found:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            f"train.freeze: {', '.join(parts)} is all of the model and nothing would learn; leave some out"
        )
    if not all(parameter.requires_grad for parameter in model.parameters()):  # LoRA has locked some too
        _hold(model)


def _hold(module: nn.Module) -> None:
    """Evaluation mode for good, for the largest modules without any parameter that learns."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        module.train = lambda mode=True: module  # type: ignore[method-assign]
        return
    for child in module.children():
        _hold(child)
