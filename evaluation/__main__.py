"""`python -m evaluation --checkpoint FOLDER --out FOLDER`: measure one checkpoint, without recipe, Ray or tracker."""

import argparse
import sys

from evaluation.config import EvaluateConfig
from evaluation.report import headline
from evaluation.run import evaluate
from pipeline import storage
from pipeline.errors import ConfigError, UserError
from pipeline.execution.leave import leave
from pipeline.settings_errors import read_section


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m evaluation", description=__doc__)
    parser.add_argument("--checkpoint", required=True, help="folder of a finished checkpoint")
    parser.add_argument("--out", required=True, help="folder for report.json, outcomes.parquet and features/")
    parser.add_argument("--config", help="JSON file with the fields of a recipe's evaluate section")
    parser.add_argument("--tasks", nargs="+", help="benchmarks to run; all when not given")
    options = parser.parse_args(arguments)
    try:
        report = evaluate(_config(options), options.checkpoint, storage.join(options.out, "features"), _say)
        report.save(options.out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for score in headline(report):
        print(f"{score.name:48} {score.value:7.2%}  [{score.low:.2%}, {score.high:.2%}]  n={score.n}")
    for row in report.absent:
        print(f"{row['task']}{row['protocol'] and '/' + row['protocol']} {row['status']}: {row['reason']}")
    print(f"report {report.id[:12]} in {options.out}")
    if report.nothing:
        print(f"evaluate: {report.nothing}", file=sys.stderr)
        return 2
    return 0


def _config(options: argparse.Namespace) -> EvaluateConfig:
    value = {}
    if options.config:
        if not storage.exists(options.config):
            raise ConfigError(f"{options.config}: there is no such file; give a JSON file or leave --config out")
        value = storage.read_json(options.config)
    if options.tasks and isinstance(value, dict):
        value["tasks"] = options.tasks
    return read_section(EvaluateConfig, "evaluate", value, options.config or "--tasks")


def _say(done: int, total: int, what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{done}/{total} {what}", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    leave(main())
