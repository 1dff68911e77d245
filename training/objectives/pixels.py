"""What iGPT learns: the next pixel, masked pixels, or either beside classes (Chen et al. 2020, sections 2.1 and 2.3).

All losses are in nats per pixel, a pixel being one colour of the palette; `bits_per_pixel` is the same number / ln 2. So they
compare with the paper's 2.0895 nats (iGPT-S, 512 colours) and not with bits per dimension of raw RGB.

B = this rank's rows, T = pixels of a picture, C = colours, K = classes.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.models import draws
from training.models.base import Model
from training.models.igpt import IGPT
from training.models.palette import fit_palette, read_palette
from training.objectives.classify import label_shares, names_a_label
from training.objectives.objective import Objective
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from training.data.batch import Batch

Outputs = tuple[Tensor, Tensor, Tensor]

PALETTE_PIXELS = 1 << 18
"""Pixels that k-means sees: 512 for each of 512 colours."""


class Pixels(Objective):
    """next_pixel; with a mask, masked_pixels."""

    needs: ClassVar[frozenset[Literal["text", "label"]]] = frozenset()

    def __init__(self, config: TrainConfig, masked: bool) -> None:
        self._config = config
        self._chosen = config.objective
        self._masked = masked

    def prepare(self, model: Model, pictures: Callable[[int], Tensor]) -> None:
        """The palette: from a file, or from the first pictures of the stream, as training sees them; one comes with weights."""
        assert isinstance(model, IGPT)
        if self._config.start_from is not None:
            return
        colours, size = model.spec.colours, model.spec.size
        if self._chosen.palette is not None:
            palette = read_palette(self._chosen.palette, colours)
        else:
            pixels_N3SS = pictures(math.ceil(PALETTE_PIXELS / size**2))
            palette = fit_palette(pixels_N3SS.permute(0, 2, 3, 1).reshape(-1, 3).numpy(), colours, self._config.seed)
        model.set_palette(torch.from_numpy(palette))

    def inputs(self, batch: "Batch") -> tuple[Tensor, ...]:
        if not self._masked:
            return (batch.pixels,)
        return batch.pixels, self._keep(batch)

    def _keep(self, batch: "Batch") -> Tensor:
        """(B, T) bool: each pixel is masked by a draw of its own, a function of (seed, place in the stream)."""
        B, _, S, _ = batch.pixels.shape
        return draws.uniform(B, S * S, batch.pixels.device, draws.MASK) >= self._chosen.mask_probability

    def loss(self, outputs: Outputs, batch: "Batch") -> tuple[Tensor, dict[str, Tensor]]:
        logits_BTC, colours_BT, _ = outputs
        each_BT = functional.cross_entropy(logits_BTC.float().flatten(0, 1), colours_BT.flatten(), reduction="none")
        each_BT = each_BT.view(colours_BT.shape)
        if self._masked:
            loss = masked_mean(each_BT, ~self._keep(batch).to(each_BT.device))
        else:
            loss = each_BT.mean()
        nats = loss.detach()
        return loss, {"nats_per_pixel": nats, "bits_per_pixel": nats / math.log(2)}


class Joint(Pixels):
    """Fine-tuning: generative_weight x the pixels' loss + cross-entropy of the class (section 2.3: both helped)."""

    needs: ClassVar[frozenset[Literal["text", "label"]]] = frozenset({"label"})

    def loss(self, outputs: Outputs, batch: "Batch") -> tuple[Tensor, dict[str, Tensor]]:
        pixels_loss, metrics = super().loss(outputs, batch)
        logits_BK = outputs[2].float()
        shares_BK, given_B = label_shares(batch.labels, logits_BK.shape[1], logits_BK.device)
        class_loss = -(shares_BK * logits_BK.log_softmax(dim=1)).sum(dim=1).mean()
        right_B = names_a_label(logits_BK, shares_BK) * given_B
        metrics["class_loss"] = class_loss.detach()
        metrics["accuracy"] = (right_B.sum() / given_B.sum().clamp(min=1)).detach()
        return self._chosen.generative_weight * pixels_loss + class_loss, metrics


def masked_mean(each_BT: Tensor, masked_BT: Tensor) -> Tensor:
    """The mean over each picture's masked pixels, then over pictures; one without any masked pixel counts as zero."""
    masked_BT = masked_BT.to(each_BT.dtype)
    return ((each_BT * masked_BT).sum(dim=1) / masked_BT.sum(dim=1).clamp(min=1)).mean()


def make(kind: str, config: TrainConfig, spec: ModelSpec) -> Objective:
    """What `config.objective` asks for. Raises ConfigError for joint learning without classes, and for two palettes."""
    chosen = config.objective
    if chosen.palette is not None and config.start_from is not None:
        raise ConfigError(
            f"train.objective.palette: {chosen.palette} would put other colours under weights that know those of"
            " train.start_from; take one of the two out"
        )
    if kind != "joint":
        return Pixels(config, masked=kind == "masked_pixels")
    if not getattr(spec, "classes", 0):
        raise ConfigError(
            "train.objective.kind is joint and the data has no labels, so the model has no classes; name their column in"
            " train.data.sources label_column, or sort the pictures into a folder per class"
        )
    return Joint(config, masked=chosen.generative == "masked_pixels")
