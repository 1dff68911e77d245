"""Train from a shell, without Ray: one process, torchrun, or srun.

    python -m training --config train.json --data DATASET --out FOLDER
    torchrun --nproc-per-node 2 -m training --config train.json --data DATASET --out FOLDER
    deepspeed --num_gpus 2 --module training --config train.json --data DATASET --out FOLDER

`train.json` is a TrainConfig as JSON. Rank 0 prints a line now and then and writes FOLDER/steps.jsonl; run it again after
a crash and it goes on. A user's mistake is one line and exit code 2; a run that was told to leave (SIGTERM) saves and ends
with exit code 75. What one rank alone meets it says itself, with its number.
"""

import argparse
import json
import os
import sys
import time

from pipeline.errors import ConfigError, UserError
from pipeline.execution.leave import leave
from pipeline.settings_errors import read_section
from training.config import TrainConfig
from training.saving.leaving import EXIT_CODE, PreemptedError

SECONDS_BETWEEN_LINES = 5.0
INTERRUPTED = 130
"""Of a program that Ctrl-C ended, as shells count."""


def read_config(path: str) -> TrainConfig:
    """Raises ConfigError naming the file and the first key that is wrong."""
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give --config a TrainConfig as JSON") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: not JSON (line {error.lineno}); give --config a TrainConfig as JSON") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON in UTF-8; give --config a TrainConfig as JSON") from error
    return read_section(TrainConfig, "train", value, path)


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Train a model on a finished dataset.")
    parser.add_argument("--config", required=True, help="a TrainConfig as JSON")
    parser.add_argument("--data", default="", help="folder of a dataset; not needed where data.sources has all paths")
    parser.add_argument("--out", required=True, help="folder for checkpoints and steps.jsonl")
    parser.add_argument(
        "--local_rank", help=argparse.SUPPRESS
    )  # DeepSpeed's launcher adds it; LOCAL_RANK says the same
    options = parser.parse_args(arguments)
    rank = os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))
    is_first = rank == "0"
    try:
        config = read_config(options.config)
        from training.run import run

        run(config, options.data, options.out, is_first, _Lines(), say=_note)
    except UserError as error:
        if is_first or _is_alone(error):
            print(error, file=sys.stderr, flush=True)
        return 2
    except RuntimeError as error:
        if not _is_of_another(error):
            raise
        reason = str(error).strip().splitlines()[0][-200:]
        print(
            f"rank {rank}: another rank has ended, and its own output says why ({reason}); the same command goes on from the"
            " newest checkpoint",
            file=sys.stderr,
            flush=True,
        )
        return 1
    except KeyboardInterrupt:
        if is_first:
            print("stopped; the same command goes on from the newest checkpoint", file=sys.stderr, flush=True)
        return INTERRUPTED
    except PreemptedError as error:
        if is_first:
            print(error, file=sys.stderr, flush=True)
        return EXIT_CODE
    return 0


def _is_alone(error: UserError) -> bool:
    from training.engine.ranks import OneRankError

    return isinstance(error, OneRankError)


def _is_of_another(error: RuntimeError) -> bool:
    from training.engine.ranks import is_of_another_rank

    return is_of_another_rank(error)


def _code() -> int:
    """A bug's traceback is told here, so that the process is left as ever and no library's thread turns its end into another."""
    try:
        return main()
    except Exception:
        sys.excepthook(*sys.exc_info())
        return 1


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Lines:
    """Prints the first step, the last, and one every few seconds."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, result: object) -> None:
        from training.train import StepResult

        assert isinstance(result, StepResult)
        now = time.monotonic()
        if now < self._next and result.step < result.total_steps:
            return
        self._next = now + SECONDS_BETWEEN_LINES
        scale = (
            "" if result.logit_scale is None else f"  scale {result.logit_scale:.1f}"
        )  # classes and pixels have none
        print(
            f"step {result.step:,}/{result.total_steps:,}  loss {result.loss:.4f}  lr {result.learning_rate:.2e}{scale}"
            f"  {result.samples_per_second:,.0f} samples/s  {result.seconds_left:,.0f} s left",
            flush=True,
        )


if __name__ == "__main__":
    leave(_code())
