"""Whether CLIP's search may leave gaps: the penalty chosen with fits to `search_gap`, beside the one with every fit to 1e-7.

    make bench NAME=search_gap      # two cores, two minutes

Most sets are made (probe.py's `clip_like`, variances that fall flat to steeply, a tenth or three tenths of the labels wrong, three
seeds), `steep` over seven orders as iGPT's layers; digits and pictures of clothes are real.
"""

import numpy as np
import torch
from harness import write_facts
from probe import CLOTHES, accuracy, clip_like, clothes, relu_digits

from evaluation.probe.linear_probe import How, Probe, probe

Features = tuple[np.ndarray, np.ndarray]


def steep(count: int, width: int, classes: int, apart: float) -> Features:
    random = np.random.default_rng(5)
    labels = np.arange(count) % classes
    rows = apart * random.normal(size=(classes, width))[labels] + random.normal(size=(count, width))
    return (rows * np.logspace(0, -3.5, width) + 2).astype(np.float32), wrong(labels, classes)


def wrong(labels: np.ndarray, classes: int) -> np.ndarray:
    """A tenth of them."""
    return np.where(np.random.default_rng(1).random(len(labels)) < 0.1, (labels + 1) % classes, labels)


def sets() -> dict[str, Features]:
    found = {
        f"CLIP-like 1,200 x 128 x 10, fall {fall}, {share:.0%} wrong, seed {seed}": clip_like(
            1200, 128, 10, seed, fall, share
        )
        for fall in (0.4, 0.75, 1.5)
        for share in (0.1, 0.3)
        for seed in range(3)
    }
    for shape in ((900, 16, 5, 0.5), (1500, 64, 20, 0.4), (2000, 128, 10, 0.3)):
        found[f"seven orders, {shape[0]:,} x {shape[1]} x {shape[2]}, 10% wrong"] = steep(*shape)
    rows, labels = relu_digits()
    found["digits, ReLU features, 10% wrong"] = rows, wrong(labels, 10)
    if CLOTHES.exists():
        found["clothing pictures, untrained clip-tiny"] = clothes()
    return found


def main() -> None:
    table = []
    for name, (rows, labels) in sets().items():

        def search(how: How, rows: np.ndarray = rows, labels: np.ndarray = labels) -> Probe:
            return probe(rows, labels, rows[:10], accuracy, 0, how)

        near = search(How())
        tight = search(How(search_gap=1e-7, precision=torch.float64))
        same = "the same" if near.fit.penalty == tight.fit.penalty else "another"
        counts = [sum(each.iterations for each in found.search) for found in (near, tight)]
        table.append([name, f"{near.fit.penalty:.3g}", f"{tight.fit.penalty:.3g}", same, *map(str, counts)])
        print(table[-1], flush=True)
    headings = ["features", "penalty", "every fit to 1e-7", "", "evaluations", "every fit to 1e-7"]
    write_facts("search_gap", f"{len(table)} sets of features", headings, table, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
