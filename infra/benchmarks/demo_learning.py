"""How soon the demo's CLIP reaches its bars: the demo's train section with variants, several seeds, on one dataset.

    DATASET=runs/pack-.. VARIANTS="steps=2000;steps=1300 learning_rate=0.002" make bench NAME=demo_learning

DATASET is a finished one of `openwit curate demo`; without it the benchmark curates one. Each variant is a list of keys of
`train`, separated by blanks. CPU seconds are of one process with one thread, loader included; the demo's two ranks share them.
Bars: zero-shot 90 % on digits and on scenes, linear probe 95 % on digits. A run takes 2 to 4 minutes of one quiet core.
"""

import os
import sys
import tempfile
import time

import harness

from evaluation.config import EvaluateConfig
from evaluation.run import evaluate
from orchestration import flow
from orchestration.recipe import load
from training.train import train

LIGHTER = "data.min_crop_side_fraction=0.85 data.max_rotation_degrees=8 data.max_stretch=0.1"
"""Pictures that are changed less are learned sooner, and by heart sooner."""
PRESENT = "steps=2000"
"""What the demo has: 2,000 steps of 128, learning rate 1e-3, linear."""
SHORTER = f"steps=1300 learning_rate=0.002 schedule=cosine {LIGHTER}"
VARIANTS = [each.strip() for each in os.environ.get("VARIANTS", f"{PRESENT};{SHORTER}").split(";")]
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
            for place, variant in enumerate(VARIANTS)
            for seed in range(SEEDS)
        ]
    headings = ("train", "seed", "CPU seconds", "digits zero-shot", "scenes zero-shot", "digits probe")
    harness.write_facts("demo_learning", "the demo's dataset, 3,531 pairs", headings, rows)


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
