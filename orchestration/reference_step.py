"""The step `references`: the pictures of all evaluation sets as hashes, and as embeddings where a recipe compares them."""

from collections.abc import Sequence
from typing import Any

from orchestration.recipe import Recipe
from orchestration.step import Context, Made, Step
from pipeline import storage
from pipeline.code_version import code_version
from pipeline.config import CurateConfig
from pipeline.overlap.overlap_lists import FOLDER
from pipeline.overlap.reference_sets import ReferenceSet, given_sets
from pipeline.scoring.scorers import Scorer


def given_evaluation_sets(recipe: Recipe, curate: CurateConfig) -> list[ReferenceSet]:
    """The sets of `curate.decontaminate.against`. Raises ConfigError for one that cannot be read."""
    return given_sets(curate.decontaminate.against, recipe.evaluate.tasks if recipe.evaluate else ())


def reference_step(recipe: Recipe, curate: CurateConfig, given: list[ReferenceSet]) -> Step | None:
    """None where there is no evaluation picture. Raises ConfigError where no scorer keeps the embeddings asked for."""
    tasks, config = _tasks(recipe), curate.decontaminate
    scorer = _scorer(curate) if config.embeddings else None
    if not tasks and not given:
        return None
    datasets = recipe.evaluate.datasets if recipe.evaluate else None
    planted = config.calibration_pictures if config.thresholds == "auto" else 0

    def work(context: Context, folder: str) -> Made:
        from evaluation.catalog.references import IDENTITIES, reference_sets
        from pipeline.overlap.changes import chosen_variants
        from pipeline.overlap.references import Indexing, build_index

        sets = [*reference_sets(tasks, datasets), *given]
        embedded = chosen_variants(config.embedded, "embedded") if scorer else ()
        variants = chosen_variants([*config.variants, *embedded])
        indexing = Indexing(variants, planted, config.seed, scorer, embedded)
        made = build_index(sets, indexing, folder, context.executor(), context.progress)
        storage.write_json(storage.join(folder, IDENTITIES), {one.name: one.identity for one in sets})
        return Made(made.id, {"tasks": len(sets), "pictures": sum(made.index.extra["pictures"].values())})

    what: dict[str, Any] = {
        "tasks": tasks,
        "there": _contents(tasks, datasets),
        "against": [[one.name, one.identity] for one in given],
        "seed": config.seed,
    }
    what |= {
        "variants": list(config.variants),
        "planted": planted,
        "pictures": code_version("evaluation.catalog.references"),
    }
    if scorer:
        from orchestration import scorer_table

        code = code_version(scorer_table.__name__)
        what |= {"embedded": list(config.embedded), "scorer": [scorer.identity, code]}
    return Step("references", what, "pipeline.overlap.references", (), work, "describes the evaluation pictures")


def carry_identities(references: str, folder: str) -> None:
    """Beside a dataset's overlap lists, of which pictures they are: evaluation/overlap.py asks it."""
    from evaluation.catalog.references import IDENTITIES

    path = storage.join(references, IDENTITIES)
    if storage.exists(path):
        storage.write_bytes(storage.join(folder, FOLDER, IDENTITIES), storage.read_bytes(path))


def _contents(tasks: Sequence[str], datasets: str | None) -> list[Any]:
    """What of each benchmark is there, by content: another copy of it is described anew."""
    from evaluation.catalog.benchmarks import find
    from evaluation.catalog.presence import identity

    seen: dict[str, str | None] = {}
    return [identity(find(name), datasets, seen)["there"] for name in tasks]


def _tasks(recipe: Recipe) -> list[str]:
    """The benchmarks whose pictures are there: those that are absent are not measured either."""
    if recipe.evaluate is None:
        return []
    from evaluation.catalog.references import there

    return there(recipe.evaluate.tasks, recipe.evaluate.datasets)


def _scorer(curate: CurateConfig) -> Scorer:
    from orchestration.scorers import embedding_scorer

    return embedding_scorer(curate)
