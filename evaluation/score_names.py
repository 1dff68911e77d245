"""The names of the scores that an evaluation's headline can have, before anything is measured: those to choose by, as in
`train.checkpoints.best_metric`. Imports no torch."""

from collections.abc import Iterable

from evaluation.catalog import benchmarks as catalog
from evaluation.report import HEADLINE

_CLASSES = ("classification", "multilabel")


def headline_names(tasks: Iterable[str], protocols: Iterable[str]) -> list[str]:
    """`task/protocol/metric/variant` of classifying protocols (zero_shot, linear_probe), in the order of a report.

    Raises ConfigError for a task that is not known.
    """
    found = [catalog.find(name) for name in catalog.expand(tuple(tasks))]
    protocols = tuple(protocols)
    return [
        f"{task.name}/{protocol}/{task.metric}/{variant}"
        for task in found
        if task.kind in _CLASSES
        for protocol in protocols
        if protocol != "linear_probe" or task.train is not None
        for variant in HEADLINE[protocol]
    ]
