"""CLIP's figure 2 at the size of a laptop: zero-shot accuracy by pictures and by compute, for four things to learn from a text.

    captions            the text, token by token                       captioner-tiny, objective caption
    bag of words        which words it has                             words-tiny, objective words
    contrastive, bag    which text of the batch it is; words' mean     clip-tiny-bow, objective contrastive
    contrastive         the same with a text transformer               clip-tiny, objective contrastive

(Radford et al. 2021, arXiv:2103.00020, section 2.3: 3x fewer pictures from the first to the second, a further 4x to the third,
ResNet-50 on 400 million pairs, ImageNet.) Here: the demo's digits and scenes, the same image tower with the same first weights,
without a class token (captions are read from the patches anyway; a class token learns later than their mean), the same order,
crops, batch and rule. Each learns at the best of RATES, found first at a quarter of the pictures with a seed that is not used
again; then the seeds that count. Accuracy is the mean over two tests, ten digits and eight shapes, whose prompts are those of
`openwit evaluate`. Compute is CPU seconds of training (forward, backward, update; of the mean step, so that pictures and seconds
differ by a factor), and beside it FLOPs in closed form.

About 5 minutes on two quiet cores; OBJECTIVES_LOG2_PICTURES (15; each step more doubles the time), OBJECTIVES_SEEDS (2).
"""

import csv
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import RESULTS, write_facts
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from evaluation.catalog.benchmarks import Prompts, prompts_of
from evaluation.protocols.likelihood import class_scores
from evaluation.protocols.zero_shot_classifier import classifier, cosines
from orchestration.plot import SERIES, Plot
from pipeline.demo.digits import digit_caption, digit_pictures
from pipeline.demo.scenes import caption, render, scene_list
from training.config import TrainConfig
from training.data.batch import Batch
from training.data.order import epoch_order, row_keys
from training.models.draws import row_draws
from training.objectives.objective import make_objective
from training.spec import build, get_spec
from training.tokens.tokenizer import Tokenizer

BATCH = 128
PICTURES = 2 ** int(os.environ.get("OBJECTIVES_LOG2_PICTURES", "15"))
SEEDS = range(int(os.environ.get("OBJECTIVES_SEEDS", "2")))
SIDE, SPARE = 32, 4  # pixels; a crop leaves 4 of 36 out
SCENES = 2000
RATES = (5e-4, 1e-3, 2e-3)
MODELS = {
    "captions": "captioner-tiny",
    "bag of words": "words-tiny",
    "contrastive, bag": "clip-tiny-bow",
    "contrastive": "clip-tiny",
}
TESTS = {"digits": "digits", "shapes": "scenes-shape"}
Run = list[tuple[int, float, float]]
"""(pictures processed, accuracy, CPU seconds of training until then), at powers of two."""
SPOKEN = 2
"""Templates of each test: a captioner reads each prompt for each picture."""


def make_data(path: Path) -> None:
    """Training pictures (N, 3, 36, 36), their captions' tokens, and both tests, as one file."""
    digits, scenes = digit_pictures("train", SIDE + SPARE), scene_list("train", SCENES)
    pictures = [digit.image for digit in digits] + [render(scene, SIDE + SPARE) for scene in scenes]
    texts = [digit_caption(digit.label, digit.index, digit.paper, digit.ink) for digit in digits]
    texts += [caption(scene, 0) for scene in scenes]
    tokenizer = Tokenizer.train(texts, 512, 32)
    tokenizer.save(str(path.with_suffix(".json")))
    tested = digit_pictures("test", SIDE + SPARE)
    shapes = scene_list("test", 400)
    names = {name: list(prompts_of(file).classes) for name, file in TESTS.items()}
    data = {
        "pixels": stacked(pictures),
        "tokens": tokenizer.encode(texts),
        "digits": stacked([digit.image for digit in tested])[:, :, 2:-2, 2:-2],
        "digits answers": torch.tensor([names["digits"].index(str(digit.label)) for digit in tested]),
        "shapes": stacked([render(scene, SIDE + SPARE) for scene in shapes])[:, :, 2:-2, 2:-2],
        "shapes answers": torch.tensor([names["shapes"].index(scene.shape) for scene in shapes]),
    }
    torch.save({name: value.contiguous() for name, value in data.items()}, path)


def stacked(pictures: list[Any]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)


def crops(pixels: Tensor, step: int, seed: int) -> Tensor:
    """A square of 32 x 32 from each picture, where (seed, step) say."""
    random = np.random.default_rng([seed, step, 7])
    corners = random.integers(0, SPARE + 1, (len(pixels), 2))
    return torch.stack([p[:, y : y + SIDE, x : x + SIDE] for p, (y, x) in zip(pixels, corners.tolist(), strict=True)])


def prompts(test: str) -> Prompts:
    whole = prompts_of(TESTS[test])
    return Prompts(whole.classes, whole.templates[:SPOKEN], whole.version)


def accuracy(model: Any, tokenizer: Tokenizer, data: dict[str, Tensor]) -> float:
    """Zero-shot, mean over the two tests."""
    model.eval()
    right = []
    with torch.no_grad():
        for test in TESTS:
            pixels, said = data[test], prompts(test)
            if model.spec.family == "clip":
                words = classifier(lambda texts: model.encode_text(tokenizer.encode(texts)).numpy(), said)
                scores = cosines(model.encode_image(pixels).numpy(), words.weights)
            else:
                if model.spec.family == "words":  # a template's words say nothing of the class
                    said = Prompts(said.classes, ("{}",), said.version)
                scores = class_scores(
                    lambda texts, pixels=pixels: model.text_scores(pixels, tokenizer.encode(texts)).numpy(), said
                )
            right.append(float((scores.argmax(axis=1) == data[f"{test} answers"].numpy()).mean()))
    model.train()
    return sum(right) / len(right)


def spec_of(name: str, vocabulary: int, context: int) -> Any:
    """The model of MODELS with the mean of the patches in place of the class token."""
    spec: Any = get_spec(MODELS[name]).with_text(vocabulary, context)
    return replace(spec, image=replace(spec.image, class_token=False))


def curve(job: tuple[str, float, int, int, str]) -> Run:
    name, rate, seed, pictures, path = job
    torch.set_num_threads(1)
    data, tokenizer = torch.load(path, weights_only=True), Tokenizer.load(str(Path(path).with_suffix(".json")))
    config = TrainConfig(model=MODELS[name])
    spec = spec_of(name, tokenizer.size, tokenizer.context)
    torch.manual_seed(seed)
    model, objective = build(spec), make_objective(config, spec)
    matrices = [each for each in model.parameters() if each.ndim > 1]
    rest = [each for each in model.parameters() if each.ndim < 2]
    groups: Any = [{"params": matrices, "weight_decay": 0.2}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
    steps, warmup = pictures // BATCH, 50
    order = np.concatenate(
        [epoch_order(len(data["pixels"]), seed, epoch, "demo") for epoch in range(pictures // 3000 + 1)]
    )
    found, seconds = [], 0.0
    for step in range(1, steps + 1):
        rows = torch.from_numpy(order[(step - 1) * BATCH : step * BATCH])
        batch = Batch(crops(data["pixels"][rows], step, seed), data["tokens"][rows])
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, step / warmup)
        began = time.process_time()
        with row_draws(torch.from_numpy(row_keys(seed, step * BATCH, BATCH))):
            loss, _ = objective.loss(model(*objective.inputs(batch)), batch)
            optimizer.zero_grad()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds += time.process_time() - began
        if step >= 8 and step & (step - 1) == 0:
            found.append((step * BATCH, accuracy(model, tokenizer, data), seconds))
    return found


def in_turns(jobs: list[tuple[str, float, int, int, str]]) -> list[Run]:
    """Two processes of one thread each, on two cores."""
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        return pool.map(curve, jobs, chunksize=1)


def pictures_until(points: Run, wanted: float) -> float:
    """Where the curve first reaches `wanted`, between its points in a line over log2 of the pictures; inf where never."""
    for (before, low, _), (_, high, _) in itertools.pairwise([(points[0][0] // 2, 0.0, 0.0), *points]):
        if high >= wanted:
            return float(2 ** (np.log2(before) + (wanted - low) / (high - low)))
    return float("inf")


def flops(name: str, tokens: float) -> float:
    """Forward and backward, a picture with its text: three times forward."""
    return 3.0 * spec_of(name, 512, 32).sample_flops(round(tokens))


def seconds_a_pair(runs: list[Run]) -> float:
    """CPU seconds, of the run that was disturbed least."""
    return min(run[-1][2] / run[-1][0] for run in runs)


def at_equal_compute(curves: dict[str, list[Run]], cost: dict[str, float], unit: str) -> str:
    """The mean accuracies at the most compute that every objective spent, on lines over its logarithm, the best first."""
    most = min(runs[0][-1][0] * cost[name] for name, runs in curves.items())
    found = {}
    for name, runs in curves.items():
        x = np.log2([images * cost[name] for images, *_ in runs[0]])
        mean = np.mean([[right for _, right, _ in run] for run in runs], axis=0)
        found[name] = float(np.interp(np.log2(most), x, mean))
    best_first = sorted(found, key=lambda name: -found[name])
    return f"At {most:.3g} {unit} each: " + ", ".join(f"{name} {found[name]:.1%}" for name in best_first)


def drawn(curves: dict[str, list[Run]]) -> Plot:
    alt = "Zero-shot accuracy against pictures processed and against compute, for four objectives on one image tower"

    def draw(figure: Any) -> None:
        for place, axis in enumerate(("pictures processed", "training compute, CPU seconds"), 1):
            axes = figure.add_subplot(1, 2, place)
            for colour, (name, runs) in zip(SERIES, curves.items(), strict=False):
                x = np.array([images for images, *_ in runs[0]]) * (1.0 if place == 1 else seconds_a_pair(runs))
                y = np.array([[100 * right for _, right, _ in run] for run in runs])
                axes.fill_between(x, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.15, linewidth=0)
                axes.plot(x, y.mean(axis=0), color=colour, marker="o", markersize=3, label=name)
            axes.set_xscale("log", base=2 if place == 1 else 10)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")  # the report's plots set no formulas
            axes.xaxis.set_minor_formatter(lambda value, _: "")
            axes.set_xlabel(axis)
            axes.set_ylim(0, 100)
            if place == 1:
                axes.set_ylabel("zero-shot accuracy, %")
                axes.legend()

    return Plot("objectives", alt, 8.6, 3.2, draw)


def best_rates(path: str) -> dict[str, float]:
    """For each objective the rate of RATES with the highest mean accuracy over the points up to a quarter of PICTURES."""
    jobs = [(name, rate, 100, PICTURES // 4, path) for name in MODELS for rate in RATES]
    best: dict[str, tuple[float, float]] = {}
    for (name, rate, *_), points in zip(jobs, in_turns(jobs), strict=True):
        mean = float(np.mean([right for _, right, _ in points]))
        print(f"{name}: rate {rate:g}: {mean:.3f}", file=sys.stderr)
        best[name] = max(best.get(name, (0.0, 0.0)), (mean, rate))
    return {name: rate for name, (_, rate) in best.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.pt"
        make_data(path)
        tokens = float((torch.load(path, weights_only=True)["tokens"].argmax(dim=1) + 1).float().mean())
        rates = best_rates(str(path))
        jobs = [(name, rates[name], seed, PICTURES, str(path)) for seed in SEEDS for name in MODELS]
        found = dict(zip(jobs, in_turns(jobs), strict=True))
    curves: dict[str, list[Run]] = {name: [found[job] for job in jobs if job[0] == name] for name in MODELS}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "objectives.svg").write_bytes(drawn(curves).svg())
    rows: list[list[Any]] = []
    for name, runs in curves.items():
        accuracies = [round(100 * float(np.mean([run[place][1] for run in runs])), 1) for place in range(len(runs[0]))]
        reached = [[pictures_until(run, wanted) for run in runs] for wanted in (0.5, 0.8)]
        shown = ["-" if not np.isfinite(each).all() else f"{np.mean(each):,.0f}" for each in reached]
        cost = [f"{flops(name, tokens) / 1e9:.3f}", f"{1000 * seconds_a_pair(runs):.2f}"]
        rows.append([name, f"{rates[name]:g}", *cost, *accuracies, *shown])
    headings = [
        "learned",
        "rate",
        "GFLOP a pair",
        "CPU ms a pair",
        *(f"{images:,}" for images, *_ in runs[0]),
        "until 50 %",
        "until 80 %",
    ]
    data = (
        f"1,437 digits and {SCENES:,} scenes with one caption each ({tokens:.1f} tokens), batch {BATCH}, {len(SEEDS)} seeds;"
        " accuracy in per cent, mean of digits and shapes, after so many pictures; then pictures until an accuracy."
        f" {at_equal_compute(curves, {name: seconds_a_pair(runs) for name, runs in curves.items()}, 'CPU seconds')}."
        f" {at_equal_compute(curves, {name: flops(name, tokens) for name in curves}, 'FLOPs')}"
    )
    write_facts("objectives", data, headings, rows)
    with open(RESULTS / "objectives.csv", "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["objective", "seed", "pictures", "accuracy", "cpu_seconds"])
        for name, runs in curves.items():
            for seed, run in enumerate(runs):
                out.writerows([name, seed, images, f"{right:.4f}", f"{seconds:.2f}"] for images, right, seconds in run)


if __name__ == "__main__":
    main()
