"""The same numbers as CLIP_benchmark, open_clip, torchmetrics, scikit-learn, scipy and statsmodels on the same inputs.

    make bench NAME=evaluation_parity

A row per comparison: the largest difference found and the one allowed. A difference above it stops the benchmark. The model is
open_clip's ViT-S-32-alt with random weights, saved by open_clip and read by `training.foreign`; pictures are scikit-learn's
digits, enlarged. PARITY_IMAGES=5000 sets the size of the retrieval (five captions a picture).
"""

import csv
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from evaluation_peers import EVALUATION_PEERS
from harness import Peer, peer, write_facts
from numpy.typing import NDArray
from parity_retrieval import retrieval_rows
from parity_row import Row, row
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

from evaluation.catalog.benchmarks import Prompts, prompts_of
from evaluation.models.encoder import EMBEDDING, Encoder
from evaluation.models.foreign import open_checkpoint
from evaluation.probe.solver import Job, Solver
from evaluation.protocols.ranks import DEPTHS
from evaluation.protocols.zero_shot_classifier import classifier, cosines
from evaluation.published.tables import published
from evaluation.statistics.calibration import calibration_error, probabilities
from evaluation.statistics.intervals import clopper_pearson, wilson
from evaluation.statistics.metrics import METRICS, Answers
from evaluation.statistics.paired import exact_p, holm

HEADINGS = ("facts, G", "what", "peer", "ours", "peer's", "largest difference", "allowed")
PICTURES = 64
SIDE = 224
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def digits() -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Pictures (N, 3, SIDE, SIDE) uint8 with smooth edges, and their labels."""
    found = load_digits()
    small = torch.tensor(found.images[:PICTURES] / 16, dtype=torch.float32)[:, None]
    large = torch.nn.functional.interpolate(small, SIDE, mode="bilinear")
    return (large * 255).round().to(torch.uint8).repeat(1, 3, 1, 1), found.target[:PICTURES].astype(np.int64)


def zero_shot_rows(theirs: Peer, folder: Path, prompts: Prompts) -> list[Row]:
    pixels, labels = digits()
    save_file({"pixels": pixels, "labels": torch.tensor(labels)}, folder / "pictures.safetensors")
    told = theirs.ask("zero_shot")
    found = {name: each.numpy() for name, each in load_file(folder / "zero_shot.safetensors").items()}
    encoder = Encoder(open_checkpoint(str(folder / "model")), 32)
    weights = classifier(encoder.texts, prompts).weights
    parts = [
        encoder.features(pixels[start : start + 32].numpy(), [EMBEDDING])[EMBEDDING] for start in range(0, PICTURES, 32)
    ]
    logits = 100 * cosines(np.concatenate(parts), weights)
    answers = Answers.of(logits, labels)
    values = {name: METRICS[name](answers, 100, 0).value for name in ("top1", "top5", "mean_per_class")}
    same = answers.predictions == found["logits"].argmax(axis=1)
    assert same.all(), f"{(~same).sum()} answers differ"
    return [
        row(1, "zero-shot weights", "CLIP_benchmark", weights, found["weights"], 1e-6),
        row(1, "zero-shot weights", "open_clip", weights, found["open_clip"], 1e-6),
        row(2, "logits of pictures", "CLIP_benchmark", logits, found["logits"], 5e-5),
        row(2, "top-1", "CLIP_benchmark", values["top1"], told["acc1"], 1e-15),
        row(2, "top-5", "CLIP_benchmark", values["top5"], told["acc5"], 1e-15),
        row(2, "mean per class", "CLIP_benchmark", values["mean_per_class"], told["mean_per_class_recall"], 1e-15),
    ]


def multilabel_rows(theirs: Peer, folder: Path) -> list[Row]:
    random = np.random.default_rng(0)
    right = random.random((2000, 20)) < 0.1
    scores = (random.normal(size=(2000, 20)) + right).astype(np.float32)
    save_file({"scores": torch.tensor(scores), "right": torch.tensor(right)}, folder / "multilabel.safetensors")
    told = theirs.ask("multilabel")
    answers = Answers.of(scores, right.argmax(axis=1), right)
    value = METRICS["map"](answers, 100, 0).value
    first = Answers.of(np.stack([-scores[:, 0], scores[:, 0]], axis=1), right[:, 0].astype(np.int64))
    area = METRICS["roc_auc"](first, 100, 0).value
    names = ("CLIP_benchmark", "torchmetrics", "scikit-learn")
    return [
        *(row(3, "mean average precision, all thresholds", name, value, told[name], 1e-6) for name in names),
        row(3, "area under the ROC curve", "scikit-learn", area, told["area"], 1e-12),
    ]


def calibration_rows(theirs: Peer, folder: Path) -> list[Row]:
    random = np.random.default_rng(1)
    logits, labels = random.normal(size=(5000, 10)) * 2, random.integers(0, 10, 5000)
    logits[np.arange(5000), labels] += 2
    share = probabilities(logits)
    given = {"probabilities": torch.tensor(share), "labels": torch.tensor(labels)}
    save_file(given, folder / "calibration.safetensors")
    told = theirs.ask("calibration")
    answers = Answers.of(share, labels)
    values = {name: METRICS[name](answers, 100, 0).value for name in ("top1", "top5", "mean_per_class")}
    error = calibration_error(share.max(axis=1), answers.correct, 100, 0).value
    return [
        row(7, "calibration error, 15 bins", "torchmetrics", error, told["error"], 1e-6),
        row(7, "mean per class", "torchmetrics (its default, macro)", values["mean_per_class"], told["macro"], 1e-6),
        row(7, "mean per class", "scikit-learn", values["mean_per_class"], told["balanced"], 1e-12),
        row(7, "top-1", "torchmetrics (micro)", values["top1"], told["micro"], 1e-6),
        row(7, "top-5", "torchmetrics (micro)", values["top5"], told["top5"], 1e-6),
    ]


COUNTS = ((0, 50), (50, 50), (1, 360), (411, 711), (26_117, 50_000))
PAIRS = ((3, 9), (0, 4), (150, 199), (800, 700))
P_VALUES = (0.01, 0.04, 0.03, 0.005, 0.5, 0.2)


def interval_rows(theirs: Peer) -> list[Row]:
    told = theirs.ask("intervals")
    exact = [[*clopper_pearson(k, n, 0.995)[1:]] for k, n in COUNTS]
    theirs_at = np.array(told["intervals"])
    return [
        row(10, "Clopper-Pearson, 99.5 %", "scipy", exact, theirs_at[:, :2], 1e-10),
        row(10, "Clopper-Pearson, 99.5 %", "statsmodels", exact, theirs_at[:, 2:4], 1e-10),
        row(10, "Wilson, 95 %", "statsmodels", [[*wilson(k, n)[1:]] for k, n in COUNTS], theirs_at[:, 4:], 1e-10),
        row(10, "McNemar, exact", "statsmodels", [exact_p(b, c) for b, c in PAIRS], told["mcnemar"], 1e-10),
        row(10, "Holm's correction", "statsmodels", holm(P_VALUES), told["holm"], 1e-12),
    ]


SHOTS, RESAMPLES = 16, 5


def few_rows(theirs: Peer, folder: Path) -> list[Row]:
    """mteb's (MIEB's) linear probe: 16 pictures per class, five draws, a penalty of 1, mean accuracy."""
    found, random = load_digits(), np.random.default_rng(3)
    features, labels = found.data / 16, found.target.astype(np.int64)
    train, test = slice(0, 1400), slice(1400, None)
    chosen = np.stack(
        [
            np.concatenate([random.choice(np.flatnonzero(labels[train] == c), SHOTS, replace=False) for c in range(10)])
            for _ in range(RESAMPLES)
        ]
    )
    given = {"train": features[train], "taught": labels[train], "test": features[test], "asked": labels[test]}
    save_file(
        {name: torch.tensor(each) for name, each in (given | {"chosen": chosen}).items()}, folder / "few.safetensors"
    )
    told = theirs.ask("few")
    solver = Solver([features[train][each] for each in chosen], labels[train][chosen], 10)
    fits = solver.solve([Job(1.0, group) for group in range(RESAMPLES)])
    values = [float((fit.logits(features[test]).argmax(axis=1) == labels[test]).mean()) for fit in fits]
    mean, tight = float(np.mean(values)), told["tight"]
    return [
        row(13, "16 shots, accuracy of each of 5 draws", "scikit-learn, tolerance 1e-10", values, tight, 1e-12),
        row(13, "16 shots, mean accuracy", "scikit-learn, tolerance 1e-10", mean, np.mean(tight), 1e-12),
        # mteb stops at a tolerance of 1e-4, before the optimum: one picture more or less per draw.
        row(13, "16 shots, mean accuracy", "scikit-learn as mteb calls it", mean, np.mean(told["mteb"]), 2.6e-3),
    ]


def published_rows() -> list[Row]:
    """Our copy of open_clip's table against the file itself, where it is at hand (OPEN_CLIP_DOCS)."""
    place = Path(os.environ.get("OPEN_CLIP_DOCS", "../shared/data/reference/open_clip/docs"))
    if not place.exists():
        print(f"{place} is not here: the published table is not compared", file=sys.stderr)
        return []
    sys.path.insert(0, str(Path(__file__).parents[1] / "published"))
    from carry import TASKS

    columns = {task: column for column, task in TASKS.items()}
    mine, theirs = [], []
    with (place / "openclip_results.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            for score, figures in published(f"{line['name']} {line['pretrained']}").items():
                column = columns.get(score.split("/")[0])
                own = [figure.value for figure in figures if figure.table == "open-clip"]
                if column and own and line[column]:
                    mine.append(own[0])
                    theirs.append(float(line[column]))
    assert len(mine) > 3000
    return [row(14, "published scores carried over", "open_clip's openclip_results.csv", mine, theirs, 0)]


def compared(folder: Path) -> tuple[list[Row], Mapping[str, str]]:
    prompts = prompts_of("digits")
    one_name = Prompts({label: names[:1] for label, names in prompts.classes.items()}, prompts.templates, "")
    job = {
        "folder": str(folder),
        "model": str(folder / "model"),
        "names": [names[0] for names in one_name.classes.values()],
        "templates": list(one_name.templates),
        "mean": MEAN,
        "std": STD,
        "depths": DEPTHS,
        "counts": COUNTS,
        "pairs": PAIRS,
        "p_values": P_VALUES,
    }
    with peer("evaluation_parity", EVALUATION_PEERS, job, folder) as theirs:
        versions = theirs.ask("create")["versions"]
        rows = [
            *zero_shot_rows(theirs, folder, one_name),
            *multilabel_rows(theirs, folder),
            *calibration_rows(theirs, folder),
            *interval_rows(theirs),
            *few_rows(theirs, folder),
            *published_rows(),
        ]
    with peer("evaluation_parity", EVALUATION_PEERS, job, folder) as theirs:  # a fresh one, whose memory can be told
        rows += retrieval_rows(theirs, folder)
    return sorted(rows, key=lambda each: int(each[0])), versions


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows, versions = compared(Path(folder))
    data = f"random weights of ViT-S-32-alt, {PICTURES} enlarged digits; random scores; retrieval as said in its row"
    write_facts("evaluation_parity", data, HEADINGS, rows, versions)


if __name__ == "__main__":
    main()
