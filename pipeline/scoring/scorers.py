"""What a scorer is: it declares what it needs and gives each picture-text pair one number.

A scorer is a small picklable value: making one reads configuration files and checksums, never weights, so that the driver
can ask it for its resources. Weights are loaded at the first call, in the worker. It is named by a word of
orchestration's table or by "module:function", where the function takes a ScorerConfig and returns the scorer.
"""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from pipeline.errors import ConfigError
from pipeline.settings import Settings

_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class ScorerConfig(Settings):
    """One scorer, and which pairs stay by its number; without a bound the number is only written down."""

    scorer: str = Field(min_length=1)
    """clip_similarity, aesthetics, nsfw, watermark, or "module:function" of one's own."""
    name: str = Field("", pattern=r"^([a-z][a-z0-9_]{0,40})?$")
    """What its column score_<name> is called; empty: the scorer's own word."""
    checkpoint: str | None = None
    """Folder of an openwit, open_clip or Hugging Face CLIP checkpoint, on this machine or any fsspec URL."""
    head: str | None = None
    """Safetensors file of the head on top of the picture's embedding (aesthetics, nsfw, watermark)."""
    minimum: float | None = None
    """Pairs below fall (LAION-5B: CLIP similarity 0.28 with ViT-B/32)."""
    maximum: float | None = None
    """Pairs above fall (DataComp: NSFW 0.1; LAION: watermark 0.8)."""
    keep_fraction: float | None = Field(None, gt=0, le=1)
    """The best so many of all pairs stay (DataComp: 0.3 by ViT-L/14), by one exact threshold."""
    store_embedding: bool = False
    """Keep the picture's unit embedding (float16) in column `embedding`, for deduplication and decontamination."""
    batch_size: int = Field(64, ge=1)
    """Pairs in one forward pass."""
    cpus: float = Field(1.0, gt=0)
    """CPUs that one work item is given."""
    gpus: float = Field(0.0, ge=0)
    """GPUs that one work item is given; 0.25 lets four share one."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What a scorer of one's own reads besides."""

    @field_validator("scorer")
    @classmethod
    def _word_or_target(cls, scorer: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", scorer) and not _TARGET.fullmatch(scorer):
            raise ValueError(f"{scorer!r} is neither a scorer's word nor module:function")
        return scorer

    @model_validator(mode="after")
    def _bounds_fit(self) -> "ScorerConfig":
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}, so nothing could stay")
        return self

    @property
    def label(self) -> str:
        return self.name or self.scorer.rpartition(":")[2]

    @property
    def column(self) -> str:
        return f"score_{self.label}"


def distinct(config: Sequence[ScorerConfig]) -> None:
    """Raises ConfigError where two scorers would write one column."""
    labels = [each.label for each in config]
    for place, label in enumerate(labels):
        if label in labels[:place]:
            raise ConfigError(
                f"curate.score.{place}.name: there is a scorer {label!r} already; give one of them another"
            )
    stored = [place for place, each in enumerate(config) if each.store_embedding]
    if len(stored) > 1:
        raise ConfigError(f"curate.score.{stored[1]}.store_embedding: scorer {stored[0]} stores it already; keep one")


@dataclass(frozen=True)
class Resources:
    """What one work item of a scorer needs; Ray places it by that."""

    cpus: float = 1.0
    gpus: float = 0.0
    batch_size: int = 64
    memory_bytes: int = 0


@dataclass(frozen=True)
class PixelForm:
    """The squares a scorer wants, `side` pixels each.

    `cut` says how the middle is found: by one resize of the middle square ("box", as our own evaluation does), or after
    the shorter side was brought to `side`, with the odd pixel left out on the right ("floor", Hugging Face) or where
    rounding puts it ("round", torchvision, so open_clip); "squash" ignores the aspect.
    """

    side: int
    cut: Literal["box", "floor", "round", "squash"] = "box"
    filter: Literal["bicubic", "bilinear", "lanczos", "nearest"] = "bicubic"


@dataclass(frozen=True)
class Scores:
    """`values` (B,) float32, NaN where there is none; `embeddings` (B, D) of unit length, of the pictures."""

    values: NDArray[np.float32]
    embeddings: NDArray[np.float32] | None = None


class Scorer(Protocol):
    """Called with decoded pictures, uint8 (B, side, side, 3), and their texts."""

    @property
    def resources(self) -> Resources: ...
    @property
    def pixels(self) -> PixelForm: ...
    @property
    def higher_is_better(self) -> bool: ...
    @property
    def embedding_width(self) -> int:
        """D, or 0 where it has no embedding."""
        ...

    @property
    def identity(self) -> Any:
        """What its numbers depend on besides pairs and code: ids of checkpoint and head, as JSON."""
        ...

    def __call__(self, pixels_BSS3: NDArray[np.uint8], texts: Sequence[str]) -> Scores: ...


def make_scorer(place: int, config: ScorerConfig, target: str) -> Scorer:
    """The scorer that the function `target` ("module:function") makes. Raises ConfigError where it is not there."""
    module, _, function = target.partition(":")
    try:
        maker = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"curate.score.{place}.scorer: {target} cannot be loaded ({error}); check its path"
        ) from error
    try:
        scorer: Scorer = maker(config)
    except ConfigError as error:
        raise ConfigError(f"curate.score.{place}.{error}") from error
    except Exception as error:
        raise ConfigError(
            f"curate.score.{place}.scorer: {target} makes no scorer ({type(error).__name__}: {error});"
            " give a function that takes a ScorerConfig"
        ) from error
    if not (callable(scorer) and hasattr(scorer, "embedding_width")):
        raise ConfigError(f"curate.score.{place}.scorer: {target} made a {type(scorer).__name__}, which is no scorer")
    if config.store_embedding and not scorer.embedding_width:
        raise ConfigError(f"curate.score.{place}.store_embedding: {config.label} has no embedding; leave it out")
    return scorer
