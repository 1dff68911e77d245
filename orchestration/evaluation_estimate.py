"""The evaluation's part of `openwit plan`: a row per benchmark, and what to do about those that are not there."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.models.abilities import Abilities, abilities_of
from evaluation.models.foreign import AnyCheckpoint, is_own, open_checkpoint
from evaluation.plan import plan_evaluation
from orchestration import show
from orchestration.recipe import Recipe
from orchestration.show import PlannedStep
from orchestration.step import read_record
from pipeline import storage
from pipeline.errors import UserError
from training.saving.checkpoint import NAME, Checkpoint
from training.spec import get_spec


def evaluation_rows(recipe: Recipe, steps: Sequence[PlannedStep], root: str) -> list[dict[str, Any]] | None:
    """None where the recipe evaluates nothing."""
    if recipe.evaluate is None:
        return None
    model, flops = _model(recipe, steps)
    return plan_evaluation(recipe.evaluate, os.path.join(root, "features"), model, flops)


def _model(recipe: Recipe, steps: Sequence[PlannedStep]) -> tuple[Abilities, float | None]:
    """What the model can, as far as it is known before the run, and its forward FLOPs. Raises UserError for a given checkpoint
    that no run could evaluate."""
    if recipe.checkpoint:
        if is_own(recipe.checkpoint):  # a plan runs nobody's code: its id is known once it was run
            given = next(step for step in steps if step.name == "checkpoint")
            record = read_record(given.path) if given.done else None
            return Abilities("", record.output_id if record else None), None
        return _of(open_checkpoint(recipe.checkpoint))
    try:
        for step in steps:
            folder = storage.join(step.path, "checkpoint") if step.name == "train" and step.done else ""
            if folder and storage.exists(storage.join(folder, NAME)):
                return _of(Checkpoint.load(folder, verify=False))
        if recipe.train:
            spec = get_spec(recipe.train.model)
            learns = recipe.train.objective.kind_for(spec.family) in ("classify", "joint")
            return abilities_of(spec, learns_classes=learns), spec.image_flops()
    except UserError:  # the run will say it; a plan shows what it can
        pass
    return Abilities(""), None


def _of(checkpoint: AnyCheckpoint) -> tuple[Abilities, float]:
    return abilities_of(checkpoint.spec, checkpoint.id, checkpoint.classes()), checkpoint.spec.image_flops()


def print_evaluation(found: Sequence[Mapping[str, Any]]) -> None:
    """A table of the benchmarks; below it the total, and what those want that are not there."""
    lines = [
        (
            row["task"],
            row["status"],
            row["pictures"],
            row["to_decode"],
            row["to_read"],
            {True: "made already", False: "", None: ""}[row["cached"]],
            "" if row["minutes"] is None else f"{row['minutes']:.1f}",
        )
        for row in found
    ]
    show.rows(("benchmark", "state", "test pictures", "to decode", "through the model", "features", "minutes"), lines)
    minutes = [row["minutes"] for row in found if row["minutes"] is not None]
    # What is broken is a surprise, what is absent often is known: those first.
    broken, absent = ([row for row in found if row["status"] == status] for status in ("broken", "absent"))
    missing = [*broken, *absent]
    there = len(found) - len(missing)
    known = f"about {sum(minutes):,.1f} minutes for {len(minutes)} of {there} benchmarks"
    unknown = f"{there} benchmarks; how long is not known before such a model was run here"
    print(f"\n{known if minutes or not there else unknown}; {len(broken)} broken, {len(absent)} absent")
    for row in missing[:5]:
        print(f"  {row['task']}: {row['reason']}")
    if len(missing) > 5:
        print(f"  and {len(missing) - 5} more: --json has all reasons")
    lacks = [{"task": row["task"], **lack} for row in found for lack in row["lacks"]]
    if lacks:
        print("\nwould not be measured:")
        show.not_measured(lacks)
