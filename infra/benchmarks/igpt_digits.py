"""Does iGPT learn? The recipe igpt-digits on scikit-learn's digits, 8x8, each at nine places in an ink of five; 360 are held out.

In the paper (Chen et al. 2020, section 4.1, figure 2) probes are best in the middle: the first half makes what the second turns
into the next pixel. Digits as they come leave neither half its work. They lie alike, so the first layer, which has seen no
neighbours, is 89 % right: hence the places. And the next pixel is some grey, which takes little room: hence the inks.

Bits per pixel of held-out digits beside tables that need no network, counted on the same pictures: how often each colour stands at
a place; and beside its neighbours to the left and above. Linear probes (logistic regression on standardised features) of all
layers: the layer and the probe's strength are chosen by cross-validation over the digits to learn from, copies of a digit
together, and never on the test set. Standard errors are over digits, of differences between layers on the same digits. A picture
of completions: the upper half is given. About 3 minutes a seed on one quiet core (SEEDS, 3); the file is written after each seed.
"""

import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from digit_folders import PLACES, TEST, digits, digits_recipe, inked, write_folders
from harness import RESULTS, write_facts
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from training.models.igpt import IGPT
from training.models.igpt_sampling import complete
from training.saving.checkpoint import Checkpoint
from training.train import train

SEEDS = int(os.environ.get("SEEDS", "3"))
STRENGTHS = (0.03, 0.3)
FOLDS = 4
SHOWN = 10
DRAWS = 4
HEADINGS = (
    ["Seed", "Bits/pixel", "Table: place, left, above", "Table: place", "Best layer", "Probe there, validation"]
    + ["Probe there, test", "Layer 0, test", "Last layer, test", "Steps", "CPU seconds"]
)  # fmt: skip


def table_bits(known_NSS: Tensor, test_NSS: Tensor, colours: int) -> tuple[float, float]:
    """(place; place, left and above) bits per pixel of the test pictures. Counts lean on the coarser table's shares."""
    places_TT = torch.arange(known_NSS[0].numel()).view_as(known_NSS[0])

    def contexts(pictures_NSS: Tensor) -> list[Tensor]:
        left, above = (
            functional.pad(pictures_NSS, (1, 0))[:, :, :-1],
            functional.pad(pictures_NSS, (0, 0, 1, 0))[:, :-1],
        )
        place = places_TT.expand_as(pictures_NSS)
        beside = place * colours + left
        return [each.flatten() for each in (place, beside, beside * colours + above)]

    bits = []
    shares_KC = torch.full((1, colours), 1 / colours, dtype=torch.float64)
    for level, (seen, asked) in enumerate(zip(contexts(known_NSS), contexts(test_NSS), strict=True)):
        finer = places_TT.numel() if level == 0 else colours
        counts = 4 * shares_KC.repeat_interleave(finer, dim=0)
        counts.index_put_((seen, known_NSS.flatten()), torch.ones(len(seen), dtype=torch.float64), accumulate=True)
        shares_KC = counts / counts.sum(dim=1, keepdim=True)
        bits.append(float(-shares_KC[asked, test_NSS.flatten()].log2().mean()))
    return bits[0], bits[2]


def features(model: IGPT, pictures_NPSS3: Any) -> Any:
    """(layers + 1, N, P, width) float64 of N digits at P places."""
    with torch.no_grad():
        found = [model.features_of_all_layers(as_pixels(part)) for part in pictures_NPSS3]
    return torch.stack(found, dim=1).double().numpy()


def as_pixels(pictures_NSS3: Any) -> Tensor:
    """(N, 3, S, S) uint8."""
    return torch.from_numpy(pictures_NSS3).permute(0, 3, 1, 2).contiguous()


def right(known: Any, known_classes: Any, asked: Any, asked_classes: Any, strength: float) -> Any:
    """(N,) share of the places where the probe knows each asked digit; features (N, P, width), standardised by the known."""
    middle, spread = known.mean(axis=(0, 1)), known.std(axis=(0, 1)) + 1e-9
    fitted = LogisticRegression(C=strength, max_iter=500).fit(
        ((known - middle) / spread).reshape(-1, known.shape[2]), known_classes.repeat(known.shape[1])
    )
    said = fitted.predict(((asked - middle) / spread).reshape(-1, asked.shape[2])).reshape(asked.shape[:2])
    return (said == asked_classes[:, None]).mean(axis=1)


def probes(known: Any, known_classes: Any, test: Any, test_classes: Any) -> tuple[Any, Any]:
    """((layers, N) by cross-validation, (layers, M) on the test set): how often each digit is known by each layer's probe."""
    folds = np.arange(len(known_classes)) % FOLDS
    chosen, asked = [], []
    for layer, layer_test in zip(known, test, strict=True):
        tried = []
        for strength in STRENGTHS:
            own = np.zeros(len(known_classes))
            for fold in range(FOLDS):
                out = folds == fold
                own[out] = right(layer[~out], known_classes[~out], layer[out], known_classes[out], strength)
            tried.append(own)
        best = int(np.argmax([each.mean() for each in tried]))
        chosen.append(tried[best])
        asked.append(right(layer, known_classes, layer_test, test_classes, STRENGTHS[best]))
    return np.stack(chosen), np.stack(asked)


def completions(model: IGPT, test: Tensor) -> Image.Image:
    """A row per picture: itself, its upper half, what the model draws below it."""
    some = test[:SHOWN]
    truth = model.pictures(model.colours(some))
    given = truth.clone()
    given[:, :, given.shape[2] // 2 :] = 255
    drawn = [complete(model, some, rows=model.spec.size // 2, temperature=0.9, seed=seed) for seed in range(DRAWS)]
    edge = lambda pictures: functional.pad(pictures, (1, 1, 1, 1), value=128)  # noqa: E731
    sheet = torch.cat([torch.cat(list(edge(column)), dim=1) for column in (truth, given, *drawn)], dim=2)
    array = sheet.permute(1, 2, 0).numpy().repeat(8, axis=0).repeat(8, axis=1)
    return Image.fromarray(array)


def told(validated_RLN: Any, tested_RLM: Any) -> str:
    """What the mean curve over seeds says: every layer, and the best of the middle third against the best outside it."""
    curve_L = validated_RLN.mean(axis=(0, 2))
    last = len(curve_L) - 1
    middle_L = (np.arange(last + 1) >= last / 3) & (np.arange(last + 1) <= 2 * last / 3)
    inside, outside = (int(np.where(part, curve_L, -1).argmax()) for part in (middle_L, ~middle_L))

    def against(first: int, second: int, right_RLN: Any) -> str:
        each_N = 100 * (right_RLN[:, first] - right_RLN[:, second]).mean(axis=0)
        return f"{each_N.mean():+.1f} points (standard error {each_N.std(ddof=1) / math.sqrt(len(each_N)):.1f})"

    means = [" ".join(f"{each:.1%}" for each in part.mean(axis=(0, 2))) for part in (validated_RLN, tested_RLM)]
    return (
        f"Mean probe over seeds ({len(validated_RLN)}), layers 0 to {last}: by cross-validation {means[0]}; on the test set"
        f" {means[1]}. By cross-validation layer {inside} is the best of the middle third and layer {outside} of the others;"
        f" {inside} against {outside}: {against(inside, outside, validated_RLN)}, on the test set"
        f" {against(inside, outside, tested_RLM)}; against the last layer {against(inside, last, validated_RLN)} and"
        f" {against(inside, last, tested_RLM)}"
    )


def main() -> None:
    torch.set_num_threads(1)
    images, classes = digits()
    places = inked(images)
    known, test = places[:-TEST], places[-TEST:]
    turns = (
        np.arange(len(known))[:, None] + 3 * np.arange(3)
    ) % PLACES  # three of the nine places per digit, for the probes
    taught = np.take_along_axis(known, turns[:, :, None, None, None], axis=1)
    rows, validated, tested = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        data = write_folders(Path(scratch) / "digits", places=True)
        for seed in range(SEEDS):
            out = Path(scratch) / f"run-{seed}"
            began = time.process_time()
            for result in train(digits_recipe("igpt-digits", [f"train.seed={seed}"]), str(data), str(out)):
                last = result
            seconds = time.process_time() - began
            model = Checkpoint.load(str(out / "checkpoint")).model()
            assert isinstance(model, IGPT)
            with torch.no_grad():
                parts = [model(as_pixels(part))[:2] for part in test]
            logits_BTC, colours_BT = (torch.cat(each) for each in zip(*parts, strict=True))
            bits = float(functional.cross_entropy(logits_BTC.flatten(0, 1), colours_BT.flatten())) / math.log(2)
            raster = (-1, *images.shape[1:])
            seen = model.colours(as_pixels(known.reshape(*raster, 3))).view(raster)
            alone, table = table_bits(seen, colours_BT.view(raster), model.spec.colours)
            chosen, asked = probes(features(model, taught), classes[:-TEST], features(model, test), classes[-TEST:])
            best = int(chosen.mean(axis=1).argmax())
            shown = [f"{each.mean():.1%}" for each in (chosen[best], asked[best], asked[0], asked[-1])]
            rows.append(
                [seed, f"{bits:.3f}", f"{table:.3f}", f"{alone:.3f}", best, *shown, last.total_steps, f"{seconds:.0f}"]
            )
            validated.append(chosen)
            tested.append(asked)
            print(rows[-1], " ".join(f"{100 * each:.1f}" for each in chosen.mean(axis=1)), flush=True)
            if seed == 0:
                RESULTS.mkdir(exist_ok=True)
                completions(model, as_pixels(test[:, PLACES // 2])).save(RESULTS / "igpt_digits.png")
            write_facts(
                "igpt_digits",
                f"scikit-learn's digits, 8x8, {model.spec.colours} colours, at nine places each in one of five inks:"
                f" {known[:, :, 0, 0, 0].size:,} pictures of {len(known):,} digits to learn from, {TEST} digits held out."
                f" {told(np.stack(validated), np.stack(tested))}",
                HEADINGS,
                rows,
                {"torch": torch.__version__},
            )
    assert all(float(row[1]) < float(row[2]) for row in rows), rows


if __name__ == "__main__":
    main()
