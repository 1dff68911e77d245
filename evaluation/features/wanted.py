"""What a protocol asks of the feature store."""

from dataclasses import dataclass

from evaluation.corruptions.variant import Variant
from evaluation.models.layers import EMBEDDING


@dataclass(frozen=True)
class Wanted:
    """Features of one layer, of the pictures as they are or altered."""

    layer: str = EMBEDDING
    variant: Variant | None = None
