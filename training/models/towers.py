"""From a tower's spec to its module."""

from torch import nn

from training.models.bag_of_words import BagOfWords
from training.models.image_encoder import ImageEncoder
from training.models.resnet import ResNet
from training.models.text import TextTransformer
from training.models.vit import VisionTransformer
from training.specs.base import Activation
from training.specs.towers import AnyImageTower, AnyTextTower, ResNetTower, WordsTower


def image_tower(tower: AnyImageTower, activation: Activation) -> ImageEncoder:
    """Gives (B, tower.features) from uint8 pixels; residual networks have ReLU whatever `activation` says."""
    return ResNet(tower) if isinstance(tower, ResNetTower) else VisionTransformer(tower, activation)


def text_tower(tower: AnyTextTower, activation: Activation) -> nn.Module:
    """Gives (B, tower.width) from token ids."""
    return BagOfWords(tower) if isinstance(tower, WordsTower) else TextTransformer(tower, activation)
