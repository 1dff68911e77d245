"""What a training's data says to its recipe while it is only planned: what `openwit train` would refuse at once, said now."""

from collections.abc import Sequence

from orchestration.recipe import Recipe
from orchestration.show import PlannedStep
from pipeline import storage
from pipeline.manifest import NAME as MANIFEST


def training_rows_found(recipe: Recipe, steps: Sequence[PlannedStep]) -> int | None:
    """Samples that the recipe would train on; None where its data is not there yet, or lies far away without a manifest, where
    looking would fetch all of it. Raises the ConfigError or DataError that the training would raise before work.
    """
    if recipe.train is None or any(step.name == "train" and step.done for step in steps):
        return None
    folder = recipe.data or next((step.path for step in steps if step.name == "pack" and step.done), "")
    places = [source.path or folder for source in recipe.train.data.sources] or [folder]
    if not all(
        place and (storage.is_local(place) or storage.exists(storage.join(place, MANIFEST))) for place in places
    ):
        return None
    from training.fitting import opened, require_start

    data = opened(recipe.train, folder)
    require_start(recipe.train, data)  # the training could begin now, so what it begins with must be there
    return data.rows


def start_found(recipe: Recipe) -> bool | None:
    """Whether the model of `train.start_from` is there; None without one. Raises the ConfigError or DataError that the training
    would raise of one that is there and does not fit."""
    if recipe.train is None or recipe.train.start_from is None:
        return None
    place = recipe.train.start_from
    if not storage.exists(place):
        return False
    from training.fitting import require_start

    require_start(recipe.train, None)
    return True
