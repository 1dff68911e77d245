"""Commands about training: `openwit models` and `openwit profile`. Heavy imports inside, because --help answers at once."""

import click

from orchestration.cli_options import debug_option, example, json_option, recipe_options


@click.command(epilog=example("openwit models", "openwit models --family clip --workers 64 --batch-per-worker 512"))
@click.option("--family", metavar="NAME", help="Only models of this family: clip, vit, igpt, ...")
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, metavar="W", help="Ranks that share the memory."
)
@click.option(
    "--batch-per-worker",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    metavar="B",
    help="Samples that a rank computes at once.",
)
@json_option
@debug_option
def models(family: str | None, workers: int, batch_per_worker: int, as_json: bool) -> None:
    """List the models that a recipe can name, with their cost.

    Memory is GiB per rank for each ZeRO stage, with AdamW, in bfloat16.
    """
    from orchestration import listing, show

    with show.stdout_kept_clean(as_json):
        found = listing.models(family, workers, batch_per_worker)
    if as_json:
        show.print_json(found)
    else:
        listing.print_models(found)


@click.command(epilog=example("openwit profile demo", "openwit profile clip-small --set data=/data/cc3m --steps 10"))
@recipe_options
@click.option(
    "--steps", type=click.IntRange(1), default=5, show_default=True, metavar="N", help="Steps to time, and to trace."
)
def profile(recipe: str, sets: tuple[str, ...], root: str, as_json: bool, steps: int) -> None:
    """Train a few steps and say what bounds them; leaves a trace.

    The recipe's dataset must be finished (`openwit curate RECIPE`) or given (--set data=FOLDER).
    """
    from orchestration.recipe import load
    from orchestration.root import require_writable

    loaded = load(recipe, sets)
    require_writable(root)

    from orchestration import profiling, show

    with show.stdout_kept_clean(as_json):
        found = profiling.profile_recipe(loaded, root, steps)
    if as_json:
        show.print_json(found)
    else:
        profiling.print_profile(found)
