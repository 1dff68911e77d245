"""`openwit profile RECIPE`: some steps of the recipe's training, as it would be launched, and what bounds them."""

import os
import shutil
from collections.abc import Mapping
from typing import Any

from orchestration import flow, show
from orchestration.recipe import Recipe
from pipeline import storage
from pipeline.errors import ConfigError
from training.watching.profile import SUMMARY, TRACE

FOLDER = "profile"


def profile_recipe(recipe: Recipe, root: str, steps: int) -> dict[str, Any]:
    """What <root>/profile/<recipe>/profile.json then says, and where the trace lies. Raises ConfigError without a dataset."""
    from orchestration.cluster import connected
    from orchestration.launch import profile_on_ray

    if recipe.train is None:
        raise ConfigError(f"recipe {recipe.name}: has no train section; name a recipe that trains")
    dataset = flow.finished_dataset(recipe, root)
    folder = os.path.join(root, FOLDER, recipe.name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with connected():
        profile_on_ray(recipe.train, dataset, folder, steps)
    found: dict[str, Any] = storage.read_json(os.path.join(folder, SUMMARY))
    return found | {"recipe": recipe.name, "trace": os.path.join(folder, TRACE)}


def print_profile(found: Mapping[str, Any]) -> None:
    parts = sorted(found["seconds"].items(), key=lambda item: -item[1])
    lines = [(part, f"{1000 * spent:.1f}", f"{found['shares'][part]:.1%}") for part, spent in parts]
    show.rows(("part of a step", "ms", "share"), lines)
    print()
    measured = {name: f"{value:g}" for name, value in found["measured"].items()}
    show.facts({"verdict": found["verdict"], "advice": found["advice"], "trace": found["trace"], **measured})
