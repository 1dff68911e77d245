"""How soon the demo's CLIP reaches its bars: the demo's train section with variants, several seeds, on one dataset.

    DATASET=runs/pack-.. VARIANTS="steps=1300;steps=900 patch_dropout=0.25" make bench NAME=demo_learning

DATASET is a finished one of `openwit curate demo`; without it the benchmark curates one. Each variant is a list of keys of
`train`, separated by blanks. CPU seconds are of one process with one thread, loader included; the demo's two ranks share them.
Bars: zero-shot 90 % on digits and on scenes, linear probe 95 % on digits. A run takes 2 to 4 minutes of one quiet core.
"""

import os
import sys
import tempfile
import time

import harness
import numpy as np

from evaluation.config import EvaluateConfig
from evaluation.run import evaluate
from orchestration import flow
from orchestration.recipe import load
from training.train import train

BEFORE = "model=clip-tiny steps=2000 learning_rate=0.001 schedule=linear"
"""What the demo had: a class token, and 2,000 steps at half the rate."""
PRESENT = "model=clip-tiny-gap"
"""What the recipe says: the mean of the patches."""
SHARE = 2 / 3
"""Of the CPU seconds before, that the present may take."""
BARS = (0.9, 0.9, 0.95)
VARIANTS = [each.strip() for each in os.environ.get("VARIANTS", f"{BEFORE};{PRESENT}").split(";")]
SEEDS = int(os.environ.get("SEEDS", "3"))
ONE_PROCESS = ("workers=1", "threads_per_worker=1", "checkpoints.every_steps=1000000")
SCORES = ("digits/zero_shot/top1/ensemble", "scenes/zero_shot/top1/ensemble", "digits/linear_probe/top1/test")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        dataset = (
            os.environ.get("DATASET") or flow.run(load("demo"), os.path.join(folder, "runs"), until="pack").dataset
        )
        assert dataset is not None
        rows = [
            learned(dataset, variant, seed, os.path.join(folder, f"{place}-{seed}"))
            for seed in range(SEEDS)
            for place, variant in enumerate(VARIANTS)
        ]
    headings = ("train", "seed", "CPU seconds", "digits zero-shot", "scenes zero-shot", "digits probe")
    harness.write_facts("demo_learning", f"the demo's dataset, 3,531 pairs. {said(rows)}", headings, rows)
    if VARIANTS == [BEFORE, PRESENT]:
        before, present = means(rows)
        assert present[0] <= SHARE * before[0], (before, present)
        assert all(reached >= bar for reached, bar in zip(present[1:], BARS, strict=True)), present


def means(rows: list[tuple[object, ...]]) -> list[list[float]]:
    """For each variant the mean over seeds of CPU seconds and of the three scores."""
    return [np.mean([row[2:] for row in rows if row[0] == each], axis=0, dtype=float).tolist() for each in VARIANTS]


def said(rows: list[tuple[object, ...]]) -> str:
    """Seconds and scores of each variant, means over seeds, in a sentence."""
    found = zip(VARIANTS, means(rows), strict=True)
    each = [
        f"`{name}` {seconds:.0f} s, {' / '.join(f'{score:.1%}' for score in scores)}"
        for name, (seconds, *scores) in found
    ]
    return f"Means over {SEEDS} seeds: {'; '.join(each)}"


def learned(dataset: str, variant: str, seed: int, folder: str) -> tuple[object, ...]:
    sets = [f"train.{each}" for each in (*variant.split(), f"seed={seed}", *ONE_PROCESS)]
    config = load("demo", sets).train
    assert config is not None
    started = time.process_time()
    for _ in train(config, dataset, folder):
        pass
    seconds = time.process_time() - started
    asked = EvaluateConfig(tasks=("digits", "scenes"), protocols=("zero_shot", "linear_probe"), threads=1)
    report = evaluate(asked, os.path.join(folder, "checkpoint"), os.path.join(folder, "features"))
    row = (variant, seed, round(seconds, 1), *(round(report.score(name).value, 4) for name in SCORES))
    print(*row, sep="  ", file=sys.stderr, flush=True)
    return row


if __name__ == "__main__":
    main()
