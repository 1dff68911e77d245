"""Profile: a few steps of a real training, timed by phase and traced, and what bounds the step in words.

    folder/profile.json   seconds and shares by part, and the verdict
    folder/trace.json     torch.profiler's trace in Chrome's format (chrome://tracing, ui.perfetto.dev)

Twice the same steps: once timed by phase (training/watching/watch.py), each phase ending when the device has done its work; once
under torch.profiler, which slows a step down, and is only asked which part of a phase was backward, and which was ranks
exchanging tensors. Times are the first rank's; the others walk in step with it.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from pipeline import storage
from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.train import StepResult, train
from training.watching.watch import timed_precisely

TRACE, SUMMARY = "trace.json", "profile.json"
WARM_UP_STEPS = 3
COMMUNICATION = ("nccl", "gloo:", "c10d::")
BACKWARD = "autograd::engine::evaluate_function"
COMPUTE = "forward and backward"

ADVICE: Mapping[str, str] = {
    "data wait": "the device waits for samples: raise train.data.threads or train.data.processes, set train.data.decode=fast,"
    " store pictures no larger than the model needs, or keep them decoded (train.data.decoded_cache_mib)",
    "forward": "the model's own arithmetic bounds the step, as it should: train.precision=bfloat16, train.memory.compile=true and"
    " train.patch_dropout make it cheaper; more workers share it",
    "backward": "the model's own arithmetic bounds the step, as it should: train.precision=bfloat16, train.memory.compile=true and"
    " train.patch_dropout make it cheaper; without train.memory.activation_checkpointing nothing is computed twice",
    "update": "the optimizer bounds the step: a larger train.global_batch_size has fewer updates, train.zero_stage=1 shares them"
    " over the ranks, and offload (train.memory.offload_optimizer) makes them slow",
    "communication": "ranks exchanging tensors bound the step: give each more samples (larger train.global_batch_size, fewer"
    " train.workers), a lower train.zero_stage, or a faster network between the nodes",
    "other": "time goes to neither data, model nor optimizer: writing checkpoints or results, or starting many small operations;"
    " look into the trace",
}
"""What helps when a part of the step takes the most time."""


@dataclass(frozen=True)
class Profile:
    """Seconds per step by part; they sum to `step_seconds`. `measured` is the pace of these same steps (MFU, memory, ...); what
    they waited for data stands in `seconds` alone."""

    steps: int
    step_seconds: float
    seconds: Mapping[str, float]
    measured: Mapping[str, float]
    trace: str

    @property
    def shares(self) -> dict[str, float]:
        return {part: seconds / self.step_seconds for part, seconds in self.seconds.items()}

    @property
    def bound_by(self) -> str:
        """The part with most of the time; forward and backward are one there."""
        shares = self.shares
        model = shares.pop("forward") + shares.pop("backward")
        part = max(shares, key=lambda name: shares[name])
        return part if shares[part] > model else "backward"

    def to_json(self) -> dict[str, Any]:
        found = asdict(self) | {"shares": self.shares, "bound_by": self.bound_by}
        return found | {"verdict": verdict(self), "advice": ADVICE[self.bound_by]}


def profile(config: TrainConfig, manifest_folder: str, folder: str, steps: int) -> Profile | None:
    """Train some steps in every rank; the first one leaves folder/profile.json and returns it, the others None.

    Raises what `train` raises, and ConfigError where the training is shorter than the profile.
    """
    wanted = WARM_UP_STEPS + 2 * steps
    quiet = {
        "checkpoints": config.checkpoints.model_copy(update={"every_steps": 10**9}),
        "watch": config.watch.model_copy(update={"evaluate_every_steps": 0}),
    }
    running = train(config.model_copy(update=quiet), manifest_folder, folder, resume=False)
    try:
        _take(running, WARM_UP_STEPS, wanted)
        with timed_precisely() as phases:
            started = time.perf_counter()
            last = _take(running, steps, wanted)
            seconds = (time.perf_counter() - started) / steps
        traced = _traced(running, steps, wanted, os.path.join(folder, TRACE) if _is_first() else None)
    finally:
        running.close()  # type: ignore[attr-defined]  # train is a generator
    if traced is None:
        return None
    parts = split({name: spent / steps for name, spent in phases.items()}, seconds, traced)
    measured = {name: value for name, value in last.measured.items() if name != "data_wait_share"}
    found = Profile(steps, seconds, parts, measured, TRACE)
    storage.write_json(os.path.join(folder, SUMMARY), found.to_json())
    return found


def _is_first() -> bool:
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def _take(running: Iterator[StepResult], steps: int, wanted: int) -> StepResult:
    for _ in range(steps):
        result = next(running, None)
        if result is None:
            raise ConfigError(
                f"train.steps: the training ends before the profile's {wanted} steps; set {wanted + 1} or more"
            )
    assert result is not None
    return result


def _traced(running: Iterator[StepResult], steps: int, wanted: int, path: str | None) -> dict[str, float] | None:
    """Seconds of some kinds of events under the profiler; None in ranks that only walk along."""
    if path is None:
        _take(running, steps, wanted)
        return None
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as profiler:
        _take(running, steps, wanted)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    profiler.export_chrome_trace(path)
    spans: dict[str, list[tuple[float, float]]] = {"communication": [], "backward": [], COMPUTE: [], "update": []}
    for event in profiler.events() or ():
        span = (event.time_range.start / 1e6, event.time_range.end / 1e6)
        if event.name.lower().startswith(COMMUNICATION):
            spans["communication"].append(span)
        elif event.name.startswith(BACKWARD):
            spans["backward"].append(span)
        elif event.name in spans:
            spans[event.name].append(span)
    found = {name: covered(each) for name, each in spans.items()}
    for name in (COMPUTE, "update"):
        found[f"communication in {name}"] = overlap(spans["communication"], spans[name])
    found["communication in backward"] = overlap(spans["communication"], spans["backward"])
    return found


def split(phases: Mapping[str, float], step_seconds: float, traced: Mapping[str, float]) -> dict[str, float]:
    """Seconds per step by part, from phases as they were timed and their inner shares as they were traced."""
    compute, update = phases.get(COMPUTE, 0.0), phases.get("update", 0.0)
    talk_c = compute * _share(traced["communication in " + COMPUTE], traced[COMPUTE])
    talk_u = update * _share(traced["communication in update"], traced["update"])
    back = compute * _share(traced["backward"] - traced["communication in backward"], traced[COMPUTE])
    parts = {
        "data wait": phases.get("data wait", 0.0),
        "forward": max(0.0, compute - talk_c - back),
        "backward": back,
        "update": update - talk_u,
        "communication": talk_c + talk_u,
    }
    parts["other"] = max(0.0, step_seconds - sum(parts.values()))
    return parts


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    return sum(end - start for start, end in _union(spans))


def overlap(one: Iterable[tuple[float, float]], other: Iterable[tuple[float, float]]) -> float:
    """Length of what both unions have."""
    a, b, i, j, total = _union(one), _union(other), 0, 0, 0.0
    while i < len(a) and j < len(b):
        total += max(0.0, min(a[i][1], b[j][1]) - max(a[i][0], b[j][0]))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return total


def _union(spans: Iterable[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def verdict(found: Profile) -> str:
    """`a step takes 128 ms: forward 31%, backward 58%, ...; the model's arithmetic bounds it`."""
    ordered = sorted(found.shares.items(), key=lambda item: -item[1])
    said = ", ".join(f"{part} {share:.0%}" for part, share in ordered if share >= 0.005)
    bound = {"backward": "the model's arithmetic", "data wait": "waiting for data", "update": "the optimizer"}
    name = bound.get(found.bound_by, found.bound_by)
    return f"a step takes {1000 * found.step_seconds:,.1f} ms: {said}; {name} bounds it"
