"""The pilot of `openwit plan --pilot N`: a small part of the recipe, done for real, to say what the whole will give.

    sources    what the real run has finished is used as it is; others are read in part: N pages of a site, N-th of files
    select     as in the recipe, t brought down to the part that was read
    the rest   on N pairs of each source, drawn by the hash of their uid, so that the same pilot gives the same forecast

Everything is written below <root>/pilot: the real run finds nothing of it. Pages and pictures are asked for with the very
same code, limits and politeness. Forecasts are made of the counts in orchestration/forecast.py.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestration.advice import advice_for
from orchestration.forecast import Forecast, Range, Seen, forecast_stages, total
from orchestration.journal import local_root
from orchestration.pilot_sample import Sample, draw, weighed
from orchestration.pilot_sources import part_of, scaled_balance
from orchestration.progress import say
from orchestration.recipe import Recipe
from orchestration.step import Step, StepRecord
from orchestration.steps import build_steps
from orchestration.work import Work, only_one
from pipeline import storage
from pipeline.errors import ConfigError, DataError
from pipeline.execution.ledger import PhaseResult
from pipeline.execution.progress import Progress, silent
from pipeline.manifest import Manifest
from pipeline.web.urls import canonical, host_of

FOLDER = "pilot"
MOSTLY = 0.5
Records = dict[str, StepRecord]


def pilot(recipe: Recipe, root: str, pictures: int, workers: int, progress: Progress = silent) -> Forecast:
    """Run the pilot and forecast. Raises ConfigError without a curate section, and whatever a run would raise."""
    if recipe.curate is None:
        raise ConfigError(f"plan --pilot: recipe {recipe.name} has no curate section, so there is nothing to forecast")
    real = str(local_root(root))
    below = storage.join(real, FOLDER)
    os.makedirs(below, exist_ok=True)
    with contextlib.ExitStack() as stack:
        return _Pilot(recipe, real, below, pictures, progress, stack).forecast(workers)


class _Pilot:
    def __init__(
        self, recipe: Recipe, real: str, below: str, pictures: int, progress: Progress, stack: contextlib.ExitStack
    ) -> None:
        self.recipe, self.real, self.below, self.pictures, self.progress = recipe, real, below, pictures, progress
        self.work = Work(recipe, below, progress, None, "pilot", None, "in-process", stack)
        self.records: Records = self.work.records

    def forecast(self, workers: int) -> Forecast:
        sources, at_least = self._read_sources()
        scale = _overall_scale(sources)
        selected, exact = self._select(scale)
        select_seconds = self._seconds("select")
        sampled = self._sample(selected, list(sources))
        seen, notes = self._rest(sampled.weights)
        fraction = len(sampled.weights) / max(1, selected.fates["pairs"].kept) / scale
        candidates = sum(facts["expected"] for facts in sources.values())
        slow = one_host(sampled.phase)
        notes += slow
        if slow:
            seen = [replace(each, alone=each.name == "fetch") for each in seen]
        first = Seen("select", "pairs", selected.fates["pairs"], _bytes(selected), select_seconds, exact)
        rows = Range(candidates, candidates, candidates)
        stages, leaving = forecast_stages([first, *seen], rows, {"deduplicate": min(1.0, fraction)}, workers)
        stored = [stage.bytes for stage in stages]
        size, packed = self._packed(leaving)
        read = [
            Range(*(3 * [facts["worker_seconds"] / min(max(1, workers), self._at_once(name)) / 3600]))
            for name, facts in sources.items()
        ]
        advice = [line for each in seen for line in advice_for(each.name, each.fate.rows_in, each.fate.reasons)]
        return Forecast(
            self.recipe.name,
            workers,
            len(sampled.weights),
            sources,
            at_least,
            (*stages, *packed),
            self._balance(selected, scale),
            leaving,
            total([*stored, size]),
            total([*read, *(stage.hours for stage in stages)]),
            tuple(advice),
            tuple(notes),
        )

    def _at_once(self, name: str) -> int:
        """Workers that a source can use: the pages of a host are asked for by one at a time."""
        assert self.recipe.curate is not None
        source = self.recipe.curate.sources.get(name)
        if source is None or source.kind != "site" or source.domains:
            return 1 << 30
        return len({host_of(canonical(seed)) for seed in source.seeds})

    # --- what the run reads ---------------------------------------------------------------------------------------------

    def _read_sources(self) -> tuple[dict[str, Mapping[str, Any]], bool]:
        """Facts per source; and whether a whole may be larger than what could be seen of it."""
        assert self.recipe.curate is not None
        plain = {step.name: step for step in build_steps(self.recipe)}
        select = plain["select"]
        part = part_of(self.recipe, self.pictures)
        shortened = {step.name: step for step in build_steps(part.recipe)}
        facts: dict[str, Mapping[str, Any]] = {}
        at_least = False
        for name in _needed(plain, select):
            record = self._finished(plain[name])
            is_whole = record is not None
            self.records[name] = record or self._do(shortened[name])
            if not storage.exists(storage.join(self.records[name].path, "phase.json")):
                continue
            result = PhaseResult.load(self.records[name].path)
            share, surely = (1.0, True) if is_whole else part.share_read(name, result)
            at_least |= not surely
            seconds = self._seconds(name) / share
            kept = result.fates["pairs"].kept
            facts[name] = {
                "read": kept,
                "share_read": round(share, 6),
                "expected": round(kept / share),
                "exact": surely and share == 1.0,
                "worker_seconds": round(seconds, 1),
            }
        return facts, at_least

    def _select(self, scale: float) -> tuple[PhaseResult, bool]:
        """The selection of what was read, and whether that is the whole run's."""
        recipe = self.recipe if scale == 1 else scaled_balance(self.recipe, scale)
        step = next(step for step in build_steps(recipe) if step.name == "select")
        self.records["select"] = (self._finished(step) if scale == 1 else None) or self._do(step)
        return PhaseResult.load(self.records["select"].path), scale == 1

    def _sample(self, selected: PhaseResult, sources: Sequence[str]) -> Sample:
        """The drawn pairs stand in for all selected ones: the steps that follow read them as select's."""
        pools = {name: PhaseResult.load(self.records[name].path) for name in sources}
        folder = storage.join(self.below, f"sample-{selected.id[:12]}-{self.pictures}")
        sampled = draw(selected, pools, self.pictures, folder)
        self.records["select"] = replace(self.records["select"], path=folder, output_id=sampled.phase.id)
        return sampled

    def _rest(self, weights: Mapping[str, float]) -> tuple[list[Seen], list[str]]:
        """Every step behind select as far as pack, on the sample."""
        seen: list[Seen] = []
        names = [step.name for step in build_steps(self.recipe)]
        for step in build_steps(self.recipe)[names.index("select") + 1 :]:
            for name in step.inputs:  # what only later steps need (references) is made like in a run
                if name not in self.records:
                    needed = next(each for each in build_steps(self.recipe) if each.name == name)
                    self.records[name] = self._finished(needed) or self._do(needed)
            try:
                self.records[step.name] = step.finished(self.below, self.records) or self._do(step)
            except DataError as error:
                return seen, [f"{step.name}: {error}"]
            if step.name == "pack":
                return seen, []
            result = PhaseResult.load(self.records[step.name].path)
            fate = weighed(result, weights)
            seen.append(Seen(step.name, "pairs", fate, _bytes(result), self._seconds(step.name)))
        return seen, []

    def _packed(self, leaving: Range) -> tuple[Range, tuple[Any, ...]]:
        if "pack" not in self.records:
            return Range(0.0, 0.0, 0.0), ()
        manifest = Manifest.load(self.records["pack"].path)
        return leaving.scaled(manifest.bytes / max(1, manifest.rows)), ()

    def _balance(self, selected: PhaseResult, scale: float) -> dict[str, Any]:
        """What the recipe's t is, or comes to, and how far the queries fill it."""
        facts: dict[str, Any] = {}
        if "t" in selected.extra:
            facts["t"] = round(float(selected.extra["t"]) * (1 if self._explicit_t else scale))
            if self._explicit_t and scale != 1:
                assert self.recipe.curate is not None
                facts["t"] = self.recipe.curate.select.balance.t
        path = storage.join(selected.folder, "queries.parquet")
        if storage.exists(path):
            table = storage.read_table(path, ["query", "before", "after"])
            before = table.column("before").to_numpy() * scale
            after = table.column("after").to_numpy() * scale
            facts["queries"] = table.num_rows
            facts["queries_with_pairs"] = int((before > 0).sum())
            facts["queries_cut"] = int((before > facts.get("t", float("inf"))).sum())
            order = before.argsort(kind="stable")[::-1][:5]
            facts["largest"] = [
                {"query": table.column("query")[int(i)].as_py(), "before": round(before[i]), "after": round(after[i])}
                for i in order
                if before[i]
            ]
        return facts

    # --- steps ----------------------------------------------------------------------------------------------------------

    @property
    def _explicit_t(self) -> bool:
        assert self.recipe.curate is not None
        return self.recipe.curate.select.balance.t is not None

    def _finished(self, step: Step) -> StepRecord | None:
        """The real run's step, where it is done and all before it are the real run's too."""
        records = {name: self.records[name] for name in step.inputs if name in self.records}
        ready = all(name in records for name in step.inputs)
        return step.finished(self.real, records) if ready else None

    def _do(self, step: Step) -> StepRecord:
        record = step.finished(self.below, self.records)
        if record is None:
            say(self.progress, f"pilot: {step.name}, {step.about}")
            with only_one(self.below, step.path(self.below, self.records)):
                record = step.run(self.work, self.below)
        return record

    def _seconds(self, name: str) -> float:
        """Of one worker: the pilot's own steps had one, the real run's items tell how long each took."""
        record = self.records[name]
        return record.seconds if record.path.startswith(self.below) else worker_seconds(record.path)


def _needed(steps: Mapping[str, Step], step: Step) -> list[str]:
    """The steps that `step` stands on, in the order of the chain."""
    wanted: set[str] = set()
    waiting = list(step.inputs)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting.extend(steps[name].inputs)
    return [name for name in steps if name in wanted]


def _overall_scale(sources: Mapping[str, Mapping[str, Any]]) -> float:
    """Rows of the whole run for each one that was read."""
    read = sum(facts["read"] for facts in sources.values())
    return sum(facts["expected"] for facts in sources.values()) / read if read else 1.0


def one_host(sampled: PhaseResult) -> list[str]:
    """A line where one host has most of the pictures: what it allows is the pace then."""
    urls = sampled.read_kept(["url"]).column("url").to_pylist()
    hosts = Counter(host_of(url) for url in urls)
    if not hosts:
        return []
    host, n = min(hosts.items(), key=lambda item: (-item[1], item[0]))
    if n < MOSTLY * len(urls):
        return []
    return [f"{n / len(urls):.0%} of the pictures lie on {host}: the pace it allows bounds the fetch, not the workers"]


def _bytes(result: PhaseResult) -> int:
    return sum(file.bytes for file in (*result.kept, *result.dropped))


def worker_seconds(folder: str) -> float:
    """The sum of `seconds` over every work item recorded below a local folder."""
    found = 0.0
    for path, _, names in os.walk(folder):
        if os.path.basename(path) == "items":
            for name in names:
                if name.endswith(".json"):
                    found += float(storage.read_json(os.path.join(path, name)).get("seconds", 0.0))
    return found
