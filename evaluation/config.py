"""The `evaluate` section of a recipe."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from evaluation.catalog import benchmarks as catalog
from evaluation.catalog.suites import SUITES
from evaluation.corruptions.config import RobustnessConfig
from evaluation.features.config import FeaturesConfig
from evaluation.inside.config import InsideConfig
from evaluation.probe.config import ProbeConfig, require_once
from evaluation.protocols.zero_shot_config import RetrievalConfig, ZeroShotConfig
from evaluation.published.tables import published
from pipeline.errors import ConfigError
from pipeline.settings import Settings

Protocol = Literal[
    "zero_shot",
    "own_classes",
    "linear_probe",
    "layers",
    "few_shot",
    "few_shot_lsr",
    "knn",
    "robustness",
    "retrieval",
    "occlusion",
    "stored_corruptions",
    "natural_shift",
    "shape_bias",
    "bias",
    "inside",
]
PROBES: tuple[Protocol, ...] = ("linear_probe", "layers", "few_shot", "few_shot_lsr", "knn", "inside")
"""Those that any model can be asked, whether or not it reads text or names classes."""
ANSWERS: tuple[Protocol, ...] = (
    "own_classes",
    "robustness",
    "occlusion",
    "stored_corruptions",
    "natural_shift",
    "shape_bias",
)
"""Those that a model can be asked which reads no text and has a head of classes."""
PICTURES_ALONE = (*PROBES, *ANSWERS)
DEFAULT_PROTOCOLS: tuple[Protocol, ...] = ("zero_shot", "own_classes", "linear_probe", "robustness", "retrieval")
Corruption = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "speckle_noise",
    "gaussian_blur",
    "spatter",
    "saturate",
]
DEFAULT_CORRUPTIONS: tuple[Corruption, ...] = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "motion_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
)
"""Nine that cost little; the benchmark has fifteen."""


class EvaluateConfig(Settings):
    """What to measure a checkpoint on, and how."""

    tasks: tuple[str, ...] = SUITES["small"]
    """Benchmarks and suites, by the names that `openwit tasks` lists, a variant as in eurosat@clip-paper, or paths of one's
    own cards (my.yaml)."""
    datasets: str | None = None
    """Folder (or URL) below which downloaded benchmarks lie, each under its card's `folder`."""
    protocols: tuple[Protocol, ...] = Field(DEFAULT_PROTOCOLS, min_length=1)
    """Ways of measuring; each runs on the tasks that it fits."""
    batch_size: int = Field(128, ge=1)
    """Pictures or prompts per forward pass, of pictures at most 16 on a CPU, where as many passes run side by side as there are
    threads; changes speed and memory, and features by rounding only."""
    corruptions: tuple[Corruption, ...] = Field(DEFAULT_CORRUPTIONS, min_length=1)
    """Corruptions of the robustness protocol, each at five severities."""
    robustness_pictures: int = Field(100, ge=1)
    """At most so many pictures per dataset are corrupted, drawn once by seed; the cost is this times 5 x corruptions."""
    inside: InsideConfig = InsideConfig()
    """How much the protocol `inside` looks at."""
    robustness: RobustnessConfig = RobustnessConfig()
    """How pictures are corrupted and occluded."""
    bootstrap_resamples: int = Field(2000, ge=100)
    """Resamples behind intervals that have no closed form."""
    seed: int = Field(0, ge=0)
    """Decides the corrupted pictures, their noise, the probe's validation part and the bootstrap."""
    probe: ProbeConfig = ProbeConfig()
    """Classifiers on frozen features: linear probe, few-shot, neighbours."""
    features: FeaturesConfig = FeaturesConfig()
    """How features are made and kept."""
    zero_shot: ZeroShotConfig = ZeroShotConfig()
    """How classes are put into words."""
    retrieval: RetrievalConfig = RetrievalConfig()
    """How captions are asked for."""
    published: str | None = None
    """Whose published figures the scores are set beside: open_clip's name and tag, as in 'ViT-B-32 openai'."""
    threads: int | None = Field(None, ge=1)
    """CPU threads for the model; null leaves torch's own choice."""

    @field_validator("published")
    @classmethod
    def _has_figures(cls, model: str | None) -> str | None:
        if model is not None:
            published(model)
        return model

    @field_validator("protocols", "corruptions")
    @classmethod
    def _once(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        require_once(f"evaluate.{info.field_name}", names)
        return names

    @field_validator("tasks")
    @classmethod
    def _known(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        if not tasks:
            raise ConfigError("evaluate.tasks: is empty; `openwit tasks` lists those there are")
        repeated = [name for name in tasks if tasks.count(name) > 1]
        if repeated:
            raise ConfigError(f"evaluate.tasks: '{repeated[0]}' is named twice; name it once")
        tasks = catalog.expand(tasks)
        found = [catalog.find(name).name for name in tasks]
        twice = [name for name in found if found.count(name) > 1]
        if twice:
            raise ConfigError(f"evaluate.tasks: two are called '{twice[0]}'; write another `name:` into your card")
        return tasks
