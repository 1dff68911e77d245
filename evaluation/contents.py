"""What an evaluation reads besides its benchmarks' own folders, by content: what a number depends on is no path.

Overlays of the frost corruption and files of descriptions are named in the config by where they lie, and the benchmark that
another one is a shift of by its own card. Keys of findings (results.py), steps of recipes and reports hold what is in them.
"""

from collections.abc import Sequence
from typing import Any

from evaluation.catalog import benchmarks as catalog
from evaluation.config import EvaluateConfig
from evaluation.corruptions.overlays import read_overlays
from evaluation.protocols.spoken import content_of
from pipeline import storage

OF_REFERENCES = ("natural_shift", "stored_corruptions")
"""Protocols that look at the pictures of a task's reference too."""


def by_content(config: EvaluateConfig, **dumped: Any) -> dict[str, Any]:
    """The config as JSON values, with a hash of the overlays in place of their folder. Raises ConfigError where there are none."""
    value = config.model_dump(mode="json", **dumped)
    value["robustness"]["frost"] = overlays_of(config)
    return value


def overlays_of(config: EvaluateConfig) -> str | None:
    """A hash of the user's overlays of frost, None where they are not asked for."""
    folder = config.robustness.frost
    asked = folder and "robustness" in config.protocols and "frost" in config.corruptions
    return read_overlays(folder).identity if folder and asked else None


def descriptions_of(config: EvaluateConfig) -> dict[str, str | None]:
    """Task -> a hash of the sentences that a language model gave it, None where there is no such file."""
    files = config.zero_shot.descriptions
    return {task: content_of(files, task) if storage.exists(path) else None for task, path in files.items()}


def references_of(config: EvaluateConfig) -> Sequence[str]:
    """The benchmarks whose pictures are looked at too, since a task that is asked for is a shift of them."""
    if not set(OF_REFERENCES) & set(config.protocols):
        return ()
    known = [catalog.find(name).reference for name in config.tasks]
    return tuple(sorted({name for name in known if name is not None}))
