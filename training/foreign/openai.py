"""OpenAI's CLIP from its tensors alone: their shapes say the model's sizes, as in clip/model.py, build_model.

What shapes cannot say is OpenAI's: QuickGELU, 64 channels a head, MLPs of four widths, its pixel statistics.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.errors import DataError
from training.specs.clip import ClipSpec
from training.specs.towers import AnyImageTower, ImageTower, ResNetTower, TextTower

if TYPE_CHECKING:
    from torch import Tensor

HEAD = 64


def spec_of(weights: Mapping[str, "Tensor"], name: str, where: str) -> ClipSpec:
    """Raises DataError where the tensors are not OpenAI's CLIP."""
    try:
        context, width = weights["positional_embedding"].shape
        text = TextTower(
            width,
            _layers(weights, "transformer.resblocks"),
            width // HEAD,
            context,
            len(weights["token_embedding.weight"]),
        )
        image = _vit(weights) if "visual.proj" in weights else _resnet(weights)
        return ClipSpec(name, weights["text_projection"].shape[1], image, text)
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{where}: no state dict of OpenAI's CLIP ({error}); for open_clip and Hugging Face give the folder with"
            " the configuration"
        ) from error


def fits(spec: ClipSpec) -> bool:
    """Whether `spec_of` would read its tensors as what they are."""
    text, image = spec.text, spec.image
    if spec.activation != "quick_gelu" or spec.logit_bias or not isinstance(text, TextTower):
        return False
    if text.width % HEAD or (isinstance(image, ImageTower) and image.width % HEAD):
        return False
    if isinstance(image, ImageTower):
        usual: AnyImageTower = ImageTower(image.size, image.patch, image.width, image.layers, image.width // HEAD)
    else:
        usual = ResNetTower(image.size, image.blocks, image.width)
        if len(image.blocks) != 4:
            return False
    return image == usual and text == TextTower(
        text.width, text.layers, text.width // HEAD, text.context, text.vocabulary
    )


def _vit(weights: Mapping[str, "Tensor"]) -> ImageTower:
    width, _, patch, _ = weights["visual.conv1.weight"].shape
    side = round((len(weights["visual.positional_embedding"]) - 1) ** 0.5)
    return ImageTower(side * patch, patch, width, _layers(weights, "visual.transformer.resblocks"), width // HEAD)


def _resnet(weights: Mapping[str, "Tensor"]) -> ResNetTower:
    blocks = tuple(_layers(weights, f"visual.layer{stage}") for stage in (1, 2, 3, 4))
    side = round((len(weights["visual.attnpool.positional_embedding"]) - 1) ** 0.5)
    return ResNetTower(side * 32, blocks, len(weights["visual.layer1.0.conv1.weight"]))


def _layers(weights: Mapping[str, "Tensor"], prefix: str) -> int:
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.")
    return len({match[1] for match in map(pattern.match, weights) if match})
