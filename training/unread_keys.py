"""Settings that somebody changed and that the training would never read. What was asked for and is skipped is a mistake.

Each row: the key, when it is read, and what it belongs to. A key at its default is no wish, so recipes may share sections.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from training.spec import REGISTRY

if TYPE_CHECKING:
    from training.config import TrainConfig

Read = Callable[["TrainConfig"], bool]


def _learns(*kinds: str) -> Read:
    return lambda config: config.objective.kind_for(_family(config)) in kinds


def _is(*families: str) -> Read:
    return lambda config: _family(config) in families


def _family(config: "TrainConfig") -> str:
    return REGISTRY[config.model].family


def _masks(config: "TrainConfig") -> bool:
    kind = config.objective.kind_for(_family(config))
    return kind == "masked_pixels" or (kind == "joint" and config.objective.generative == "masked_pixels")


def _has_patches(config: "TrainConfig") -> bool:
    return getattr(getattr(REGISTRY[config.model], "image", None), "kind", None) == "vit"


ROWS: tuple[tuple[str, Read, str], ...] = (
    ("vocabulary", _is("clip", "captioner", "words"), "models that read text"),
    ("patch_dropout", _has_patches, "image towers of patches"),
    ("rsqrt_timescale_steps", lambda config: config.schedule == "rsqrt", "schedule rsqrt"),
    (
        "objective.label_smoothing",
        lambda config: _learns("classify")(config) and not config.objective.independent_classes,
        "objective.kind classify with one softmax",
    ),
    ("objective.mixup_alpha", _learns("classify"), "objective.kind classify"),
    ("objective.independent_classes", _learns("classify"), "objective.kind classify"),
    ("objective.palette", _is("igpt"), "iGPT"),
    ("objective.mask_probability", _masks, "masked pixels (objective.kind or .generative)"),
    ("objective.generative", _learns("joint"), "objective.kind joint"),
    ("objective.generative_weight", _learns("joint"), "objective.kind joint"),
    ("optimizer.image_rate", _is("clip", "vit", "captioner", "words"), "models with an image tower"),
    ("optimizer.text_rate", _is("clip", "captioner"), "models with a text tower"),
    ("optimizer.head_rate", _is("vit", "igpt"), "models with a head"),
    ("optimizer.head_weight_decay", _is("vit", "igpt"), "models with a head"),
    ("optimizer.lora.alpha", lambda config: config.optimizer.lora.rank > 0, "optimizer.lora.rank above 0"),
    ("optimizer.lora.layers", lambda config: config.optimizer.lora.rank > 0, "optimizer.lora.rank above 0"),
    (
        "memory.nvme_path",
        lambda config: "nvme" in (config.memory.offload_optimizer, config.memory.offload_parameters),
        "an offload to nvme",
    ),
    ("data.min_crop_side_fraction", lambda config: config.data.augmentation == "square", "data.augmentation square"),
    ("data.min_crop_area", lambda config: config.data.augmentation == "inception", "data.augmentation inception"),
    (
        "data.randaugment_magnitude",
        lambda config: config.data.randaugment_layers > 0,
        "data.randaugment_layers above 0",
    ),
    ("data.threads", lambda config: config.data.processes == 0, "data.processes 0"),
    ("checkpoints.best_metric", lambda config: config.checkpoints.keep_best > 0, "checkpoints.keep_best above 0"),
    (
        "watch.evaluate_tasks",
        lambda config: config.watch.evaluate_every_steps > 0,
        "watch.evaluate_every_steps above 0",
    ),
)


def unread(config: "TrainConfig") -> Iterator[str]:
    """A line for each setting that was changed for nothing."""
    for key, read, belongs in ROWS:
        value, default = _value(config, key)
        if value != default and not read(config):
            shown = list(value) if isinstance(value, tuple) else value
            yield f"{key} is {shown}, which only {belongs} would read; {config.model} would train as if it were not there: unset it"


def _value(config: "TrainConfig", key: str) -> tuple[Any, Any]:
    """What `key` is, and what it is by default."""
    *sections, name = key.split(".")
    section: Any = config
    for each in sections:
        section = getattr(section, each)
    return getattr(section, name), type(section).model_fields[name].get_default(call_default_factory=True)
