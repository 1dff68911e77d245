"""`openwit models` and `openwit tasks`: the names a recipe can use, from the tables that training and evaluation own."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.catalog import task_table
from orchestration import show
from training.spec import model_table

_MODEL_COLUMNS = {
    "model": "model",
    "pixels": "image_pixels",
    "patch": "patch_pixels",
    "image tower": "image_tower",
    "text tower": "text_tower",
    "M parameters": "parameters_millions",
    "GFLOPs/picture": "image_gflops",
}
_TASK_COLUMNS = {
    "task": "task",
    "kind": "kind",
    "metric": "metric",
    "pictures": "pictures",
    "classes": "classes",
    "chance": "chance",
    "licence": "licence",
}


def models() -> list[dict[str, Any]]:
    """One row per named model: sizes, parameters, cost. Towers are layers x width x heads."""
    return model_table()


def tasks() -> list[dict[str, Any]]:
    """One row per benchmark."""
    return task_table()


def print_models(table: Sequence[Mapping[str, Any]]) -> None:
    _print(table, _MODEL_COLUMNS)


def print_tasks(table: Sequence[Mapping[str, Any]]) -> None:
    _print(table, _TASK_COLUMNS)


def _print(table: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    show.rows(list(columns), [[row[name] for name in columns.values()] for row in table])
