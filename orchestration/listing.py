"""`openwit models` and `openwit tasks`: the names a recipe can use, from the tables that training and evaluation own."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.catalog.benchmarks import task_table
from evaluation.catalog.suites import SUITES
from orchestration import show
from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.engine.memory_estimate import estimate
from training.spec import FAMILIES, get_spec, model_table

_MODEL_COLUMNS = {
    "model": "model",
    "family": "family",
    "pixels": "image_pixels",
    "patch": "patch_pixels",
    "image tower": "image_tower",
    "text tower": "text_tower",
    "M parameters": "parameters_millions",
    "GFLOPs/picture": "image_gflops",
}
_STAGES = (0, 1, 2, 3)
_TASK_COLUMNS = {
    "task": "task",
    "kind": "kind",
    "metric": "metric",
    "train": "train",
    "test": "pictures",
    "classes": "classes",
    "chance": "chance",
    "variant": "variant",
    "to get": "get",
    "licence": "licence",
}


def models(family: str | None = None, workers: int = 1, batch_per_worker: int = 32) -> list[dict[str, Any]]:
    """One row per named model: sizes, parameters, cost. Towers are layers x width x heads.

    `memory_gib` maps a ZeRO stage to what each of `workers` ranks holds while it trains `batch_per_worker` samples at once,
    with AdamW in bfloat16. Raises ConfigError for a family that there is not.
    """
    if family is not None and family not in FAMILIES:
        raise ConfigError(f"--family {family}: there is none; the families are {', '.join(FAMILIES)}")
    rows = [row for row in model_table() if family in (None, row["family"])]
    return [row | {"memory_gib": _memory(row["model"], workers, batch_per_worker)} for row in rows]


def _memory(model: str, workers: int, batch_per_worker: int) -> dict[str, float]:
    found = {}
    batch = max(2, workers * batch_per_worker)
    for stage in _STAGES:
        values = {"model": model, "global_batch_size": batch, "workers": workers, "zero_stage": stage}
        config = TrainConfig.model_validate(values | {"precision": "bfloat16"})
        found[str(stage)] = round(estimate(get_spec(model), config, workers).device / 2**30, 2)
    return found


def tasks(suite: str | None = None) -> list[dict[str, Any]]:
    """One row per benchmark, of all or of one suite. Raises ConfigError for a suite that there is not."""
    if suite is not None and suite not in SUITES:
        raise ConfigError(f"--suite {suite}: there is none; the suites are {', '.join(SUITES)}")
    return task_table(None if suite is None else [suite])


def print_models(table: Sequence[Mapping[str, Any]]) -> None:
    """Columns that no row fills are left out."""
    columns = {title: key for title, key in _MODEL_COLUMNS.items() if any(key in row for row in table)}
    memory = [f"ZeRO {stage} GiB" for stage in _STAGES]
    lines = [[*(row.get(key) for key in columns.values()), *row["memory_gib"].values()] for row in table]
    show.rows([*columns, *memory], lines)


def print_tasks(table: Sequence[Mapping[str, Any]]) -> None:
    """The table, then the suites, and where more is said."""
    show.rows(list(_TASK_COLUMNS), [[row[name] for name in _TASK_COLUMNS.values()] for row in table])
    suites = [suite for suite in SUITES if any(suite in row["suites"] for row in table)]
    print(f"\nsuites: {', '.join(suites)}\n--json tells variants, prompts, sources and differences from the paper")
