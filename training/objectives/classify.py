"""Supervised classes: cross-entropy with label smoothing and mixup, or a sigmoid per class.

Softmax: Szegedy et al. 2015 (arXiv:1512.00567, section 7, smoothing), Zhang et al. 2017 (arXiv:1710.09412, mixup). Sigmoid: a
yes or no per class, summed over classes (Beyer et al. 2020, arXiv:2006.07159, section 5), for several labels per picture or for
noisy ones. Under a softmax a picture's k labels have 1 / k each, so that it weighs as much as any other (Mahajan et al. 2018,
arXiv:1805.00932, section 2.2).

B = this rank's rows, K = classes.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from scipy import special
from torch import Tensor
from torch.nn import functional

from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.models import draws
from training.models.base import Model
from training.models.classifier import Classifier
from training.objectives.objective import Objective
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from training.data.batch import Batch


class Classify(Objective):
    """Takes labels (B,) int64, -1 where a picture has none, or (B, K) shares per class."""

    needs: ClassVar[frozenset[Literal["text", "label"]]] = frozenset({"label"})

    def __init__(self, classes: int, label_smoothing: float, mixup_alpha: float, independent: bool) -> None:
        self._classes = classes
        self._smoothing = label_smoothing
        self._alpha = mixup_alpha
        self._independent = independent

    def prepare(self, model: Model, pictures: Any) -> None:
        """A sigmoid per class starts from the chance of one class in K."""
        if self._independent:
            assert isinstance(model, Classifier)
            model.expect_one_class_in_many()

    def inputs(self, batch: "Batch") -> tuple[Tensor, ...]:
        if self._alpha == 0:
            return (batch.pixels,)
        share_B111 = self._shares(len(batch.pixels)).view(-1, 1, 1, 1)
        return (mixed(batch.pixels.float(), share_B111).round_().to(torch.uint8),)

    def loss(self, outputs: Tensor, batch: "Batch") -> tuple[Tensor, dict[str, Tensor]]:
        each_B, right_B, given_B = self.judged(outputs, batch)
        rows = given_B.sum().clamp(min=1e-9)
        return each_B.sum() / len(each_B), {"accuracy": ((right_B * given_B).sum() / rows).detach()}

    def judged(self, outputs: Tensor, batch: "Batch") -> tuple[Tensor, Tensor, Tensor]:
        """(B,) each: the row's loss, whether its likeliest class is one of its own, and how much of it has a label."""
        logits_BK = outputs.float()
        shares_BK, given_B = label_shares(batch.labels, self._classes, logits_BK.device, self._independent)
        if self._alpha:
            share_B1 = self._shares(len(shares_BK)).to(logits_BK.device)[:, None]
            shares_BK, given_B = mixed(shares_BK, share_B1), mixed(given_B, share_B1[:, 0])
        right_B = names_a_label(logits_BK, shares_BK)
        if self._independent:
            each_B = functional.binary_cross_entropy_with_logits(logits_BK, shares_BK, reduction="none").sum(dim=1)
        else:
            smooth_BK = shares_BK * (1 - self._smoothing) + given_B[:, None] * (self._smoothing / self._classes)
            each_B = -(smooth_BK * logits_BK.log_softmax(dim=1)).sum(dim=1)
        # Pictures without a label are rows of zeros: nothing in a softmax; a sigmoid per class must be told.
        return each_B * (given_B > 0), right_B, given_B

    def _shares(self, rows: int) -> Tensor:
        """(B,) float32 on the CPU: how much of itself each picture keeps, drawn from Beta(alpha, alpha) by its key."""
        if rows % 2:
            raise ConfigError(
                f"train.objective.mixup_alpha mixes neighbours in pairs and a chunk has {rows} rows; choose"
                " train.global_batch_size, train.workers and train.memory.chunks so that chunks are even"
            )
        drawn_B = draws.uniform(rows, 1, torch.device("cpu"), draws.MIXUP)[:, 0].double().clamp(1e-7, 1 - 1e-7)
        return torch.from_numpy(special.betaincinv(self._alpha, self._alpha, drawn_B.numpy())).float()


def mixed(rows: Tensor, share: Tensor) -> Tensor:
    """share x each row + (1 - share) x its neighbour: rows 0 and 1, 2 and 3 and so on are partners.

    Partners stay together however the global batch is cut into ranks and chunks of even length, so the mixture is the same.
    """
    return share * rows + (1 - share) * rows.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def names_a_label(logits_BK: Tensor, shares_BK: Tensor) -> Tensor:
    """(B,) float32: 1 where the likeliest class is one of the picture's labels (of the larger share, where two are mixed)."""
    named_B = shares_BK.gather(1, logits_BK.argmax(dim=1, keepdim=True))[:, 0]
    most_B = shares_BK.amax(dim=1)
    return ((named_B >= most_B) & (most_B > 0)).float()


def label_shares(
    labels: Tensor | None, classes: int, device: torch.device, independent: bool = False
) -> tuple[Tensor, Tensor]:
    """((B, K) float32 shares that sum to 1, (B,) float32: 1 where there is a label); (B, K) labels that are judged
    `independent`ly stay as they are, and a row of zeros says no to every class.

    Raises DataError for labels of other classes.
    """
    if labels is None:
        raise DataError("this dataset has no labels; name their column in train.data.sources[].label_column")
    if labels.ndim == 2:
        if labels.shape[1] != classes:
            raise DataError(f"labels have {labels.shape[1]:,} classes and the model {classes:,}; they must be equal")
        shares_BK = labels.to(device, torch.float32)
        if independent:
            return shares_BK, torch.ones(len(shares_BK), device=device)
        sum_B = shares_BK.sum(dim=1)
        return shares_BK / sum_B.clamp(min=1e-9)[:, None], (sum_B > 0).float()
    highest = int(labels.max())
    if highest >= classes:
        raise DataError(
            f"a label is {highest:,} and the model has classes 0 to {classes - 1:,}; train on the data that it was made for"
        )
    labels = labels.to(device)
    given_B = (labels >= 0).float()
    return functional.one_hot(labels.clamp(min=0), classes).float() * given_B[:, None], given_B


def make(kind: str, config: TrainConfig, spec: ModelSpec) -> Objective:
    """What `config.objective` asks for; the number of classes is the model's."""
    chosen = config.objective
    return Classify(getattr(spec, "classes", 0), chosen.label_smoothing, chosen.mixup_alpha, chosen.independent_classes)
