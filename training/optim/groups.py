"""Parameter groups: which weights decay, and at what share of the learning rate each of them moves.

No decay on gains, biases, class tokens and logit_scale (CLIP, arXiv:2103.00020, section 2.5); a head may decay more than the
body (Scaling ViT, arXiv:2106.04560, section 3.2); blocks far from the output may move less (layer-wise decay; BEiT,
arXiv:2106.08254, appendix). All is decided by a parameter's name and shape, so it holds for every family.
"""

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from training.config import TrainConfig

TOWERS = {"image": ("visual", "image"), "text": ("text", "token", "decoder")}
"""How the names of a tower's parameters begin."""
HEADS = ("head", "class_head")
_BLOCK = re.compile(r"^((?:.*?\.)?(?:blocks|stages|layers))\.(\d+)\.")


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """For a torch optimizer: `params` that learn, their `names`, `weight_decay`, and `rate`, the share of the learning rate.

    Groups come in the order in which the model names their first parameters.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    depths = depth_shares([name for name, _ in model.named_parameters()], config.optimizer.layer_decay)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in named:
        of_head = config.optimizer.head_weight_decay if _begins(name, HEADS) else None
        decay = config.weight_decay if of_head is None else of_head  # 0 is a wish too
        decay = 0.0 if parameter.ndim < 2 else decay
        rate = depths[name] * _tower_rate(name, config)
        group = groups.setdefault(
            (decay, rate),
            {"params": [], "names": [], "weight_decay": decay, "rate": rate, "lr": config.learning_rate * rate},
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def _begins(name: str, words: Sequence[str]) -> bool:
    """Whether the name's first part is one of the words, or goes on from one with an underscore (image_projection)."""
    first = name.split(".")[0]
    return any(first == word or first.startswith(f"{word}_") for word in words)


def _tower_rate(name: str, config: TrainConfig) -> float:
    if _begins(name, HEADS):
        return config.optimizer.head_rate
    if _begins(name, TOWERS["image"]):
        return config.optimizer.image_rate
    if _begins(name, TOWERS["text"]):
        return config.optimizer.text_rate
    return 1.0


def depth_shares(names: Sequence[str], decay: float) -> dict[str, float]:
    """decay ** (steps from the output) for each parameter: 0 steps for what comes after a tower's blocks, 1 for its last
    block, and one more than the first block for what comes before them.

    `names` are in the order of the model's definition, which is that of the computation within a tower.
    """
    blocks = {name: match.groups() for name in names if (match := _BLOCK.match(name))}
    towers = {
        stack.split(".")[0] if "." in stack else "" for stack, _ in blocks.values()
    }  # "": blocks of the model itself
    shares = dict.fromkeys(names, 1.0)
    for tower in towers:
        inside = [name for name in names if tower in ("", name.split(".")[0])]
        order = list(dict.fromkeys(blocks[name] for name in inside if name in blocks))
        place = {block: number for number, block in enumerate(order)}
        first = next(number for number, name in enumerate(inside) if name in blocks)
        for number, name in enumerate(inside):
            if name in blocks:
                shares[name] = decay ** (len(order) - place[blocks[name]])
            elif number < first:
                shares[name] = decay ** (len(order) + 1)
    return shares
