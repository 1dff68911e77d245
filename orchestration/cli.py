"""The command line: parse, call, show. Imports nothing but click here, so that `openwit --help` answers at once.

Exit codes: 0 done; 1 a bug of ours; 2 a mistake the user can mend (one line on stderr, the traceback with --debug);
130 stopped with Ctrl-C; 141 whoever read stdout went away; 143 stopped with SIGTERM.
"""

import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from orchestration.cli_checkpoints import checkpoint_commands
from orchestration.cli_compare import compare
from orchestration.cli_dataset import dataset_commands
from orchestration.cli_failures import fail, failed, wrong_command_line
from orchestration.cli_jobs import jobs, submit
from orchestration.cli_options import (
    CONTEXT,
    Session,
    debug_option,
    example,
    json_option,
    recipe_options,
    root_option,
)
from orchestration.cli_queries import queries
from orchestration.cli_tasks import tasks
from orchestration.cli_training import models, profile


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from importlib import metadata

        try:
            print("openwit", metadata.version("openwit"))
        except metadata.PackageNotFoundError:
            print("openwit, not installed (run from its source tree)")
        context.exit()


@click.group(context_settings=CONTEXT, epilog=example("openwit run demo", "openwit plan demo --set train.steps=500"))
@click.option(
    "-V", "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version."
)
@debug_option
def cli() -> None:
    """From raw web pages to a measured vision-language model: one recipe, one command."""


@cli.command(epilog=example("openwit run demo", "openwit run my.yaml --set train.learning_rate=0.001"))
@recipe_options
def run(recipe: str, sets: tuple[str, ...], root: str, as_json: bool) -> None:
    """Do every step that is not up to date, and report."""
    _work(recipe, sets, root, as_json, until=None)


@cli.command(epilog=example("openwit curate demo", "openwit curate openstax --root /data/runs"))
@recipe_options
def curate(recipe: str, sets: tuple[str, ...], root: str, as_json: bool) -> None:
    """Run a recipe as far as its finished dataset."""
    _work(recipe, sets, root, as_json, until="pack")


@cli.command(epilog=example("openwit train demo --set train.learning_rate=0.001"))
@recipe_options
def train(recipe: str, sets: tuple[str, ...], root: str, as_json: bool) -> None:
    """Run a recipe as far as its trained model."""
    _work(recipe, sets, root, as_json, until="train")


@cli.command(epilog=example("openwit evaluate demo"))
@recipe_options
def evaluate(recipe: str, sets: tuple[str, ...], root: str, as_json: bool) -> None:
    """Run a recipe as far as its scores, and draw their page."""
    _work(recipe, sets, root, as_json, until="evaluate")


def _work(recipe: str, sets: Sequence[str], root: str, as_json: bool, until: str | None) -> None:
    from orchestration.recipe import load
    from orchestration.root import require_writable

    # Before the heavy imports, so that a mistake is told at once.
    loaded = load(recipe, sets)
    require_writable(root)

    from orchestration import flow, show
    from orchestration.progress import progress_shown

    with show.stdout_kept_clean(as_json), progress_shown(silent=as_json) as progress:
        result = flow.run(loaded, root, until=until, progress=progress)
    if as_json:
        show.print_json(result)
    else:
        show.run_result(result, root)
    if result.nothing_measured:
        from pipeline.errors import DataError

        raise DataError(f"evaluate: {result.nothing_measured}")


@cli.command(epilog=example("openwit plan demo", "openwit plan demo --pilot 200 --workers 16"))
@recipe_options
@click.option(
    "--pilot",
    type=click.IntRange(1),
    is_flag=False,
    flag_value=200,
    metavar="[N]",
    help="Try N (200) pages and N pairs of each source, and forecast the rest.",
)
@click.option(
    "--workers", type=click.IntRange(1), metavar="W", help="Workers to forecast for; default: this machine's."
)
def plan(recipe: str, sets: tuple[str, ...], root: str, as_json: bool, pilot: int | None, workers: int | None) -> None:
    """Show what a run would do, and why; with --pilot, what it would give.

    Without --pilot nothing is written. With it, a small part is done for real below ROOT/pilot.
    """
    from orchestration.recipe import load

    loaded = load(recipe, sets)
    if pilot is not None:
        _pilot(loaded, root, as_json, pilot, workers or os.cpu_count() or 1)
        return

    from orchestration import flow, show
    from orchestration.evaluation_estimate import evaluation_rows, print_evaluation
    from orchestration.snapshot_estimate import print_snapshots
    from orchestration.trainable import start_found, training_rows_found
    from orchestration.training_estimate import estimate_of, print_estimate

    with show.stdout_kept_clean(as_json):
        steps = flow.plan(loaded, root)
        estimate = estimate_of(loaded, steps, training_rows_found(loaded, steps), start_found(loaded))
        evaluation = evaluation_rows(loaded, steps, root)
    if as_json:
        show.print_json(
            {"recipe": loaded.name, "root": root, "steps": steps, "training": estimate, "evaluation": evaluation}
        )
        return
    show.plan_table(steps)
    if estimate is not None:
        print()
        print_estimate(estimate)
        if estimate["snapshots"] is not None:
            print_snapshots(estimate["snapshots"])
    if evaluation is not None:
        print()
        print_evaluation(evaluation)


def _pilot(recipe: Any, root: str, as_json: bool, pictures: int, workers: int) -> None:
    from orchestration.root import require_writable

    require_writable(root)

    from orchestration import show
    from orchestration.pilot import pilot
    from orchestration.progress import progress_shown
    from orchestration.show_forecast import print_forecast

    with show.stdout_kept_clean(as_json), progress_shown(silent=as_json) as progress:
        found = pilot(recipe, root, pictures, workers, progress)
    if as_json:
        show.print_json(found)
    else:
        print_forecast(found)


@cli.command(epilog=example("openwit inspect runs/pack-0123456789ab", "openwit inspect runs --json"))
@click.argument("path")
@click.option(
    "--sheet",
    metavar="FILE",
    help="Where to write the contact sheet; default: inspect/NAME.png beside the dataset. Folders are made.",
)
@json_option
@debug_option
def inspect(path: str, sheet: str | None, as_json: bool) -> None:
    """Describe a dataset, step or run, with a contact sheet."""
    from orchestration import inspection, show
    from orchestration.show_inspection import print_inspection

    with show.stdout_kept_clean(as_json):
        found = inspection.inspect(path, sheet)
    if as_json:
        show.print_json(found)
    else:
        print_inspection(found)


@cli.command(epilog=example("openwit ui", "openwit ui --root /data/runs --port 5050"))
@root_option
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="Port on 127.0.0.1.")
@debug_option
def ui(root: str, port: int) -> None:
    """Serve the MLflow pages of the runs, until Ctrl-C."""
    from orchestration.ui import serve_ui

    serve_ui(root, port)


@cli.command(epilog=example("openwit doctor", "openwit doctor --root /data/runs"))
@root_option
@json_option
@debug_option
def doctor(root: str, as_json: bool) -> None:
    """Check this machine and say what is missing."""
    from orchestration import doctor as checks
    from orchestration import show

    with show.stdout_kept_clean(as_json):
        found = checks.check_all(root)
    if as_json:
        show.print_json({"ok": not checks.failed(found), "checks": found})
    else:
        checks.print_checks(found)
    if checks.failed(found):
        raise SystemExit(2)


@cli.command(epilog=example("openwit deliver runs/runs/20250101-120000-demo"))
@click.argument("run_folder", metavar="RUN")
@json_option
@debug_option
def deliver(run_folder: str, as_json: bool) -> None:
    """Hand a run's waiting events to MLflow."""
    from orchestration import handover, show

    with show.stdout_kept_clean(as_json):
        outcomes = handover.hand_over(run_folder)
    if as_json:
        show.print_json(outcomes)
    else:
        handover.print_outcomes(outcomes)


cli.add_command(models)
cli.add_command(tasks)
cli.add_command(profile)
cli.add_command(compare)
cli.add_command(submit)
cli.add_command(jobs)
for command in (*dataset_commands, *checkpoint_commands):
    cli.add_command(command)
cli.add_command(queries)


class _Terminated(SystemExit):
    """SIGTERM (a scheduler, `docker stop`): unwinds like Ctrl-C, so servers and workers we started end with us."""


def _on_terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every way to fail ends here, in one line."""
    session = Session()
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Text from the web may hold what no encoding takes; showing it escaped beats ending in an exception.
            stream.reconfigure(errors="backslashreplace")
    if shell := os.environ.get("_OPENWIT_COMPLETE"):
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "openwit", "_OPENWIT_COMPLETE", shell)
    try:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_terminate)
        # Not cli.main: it takes any broken pipe or end of file for the user's own, a dead worker's too.
        with cli.make_context("openwit", words or ["--help"], obj=session) as context:
            outcome: Any = cli.invoke(context)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        return wrong_command_line(error)
    except KeyboardInterrupt:
        return fail("stopped; the same command goes on where this one ended", 130)
    except _Terminated:
        return fail("stopped by SIGTERM; the same command goes on where this one ended", 143)
    except SystemExit as end:
        return fail(end.code, 1) if isinstance(end.code, str) else end.code or 0
    except Exception as error:
        return failed(error, session.debug)


def entry() -> NoReturn:
    """The `openwit` command: main, and out."""
    code = main()
    from pipeline.execution.leave import leave

    leave(code)


if __name__ == "__main__":
    entry()
