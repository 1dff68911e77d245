"""Does ViT learn? The recipe vit-digits on scikit-learn's digits, one process, one thread; 360 test pictures.

Class token and attention pool, at equal settings, three seeds each. The bar is 97 %. `SEEDS=1 make bench NAME=vit_digits`
"""

import os
import tempfile
import time
from pathlib import Path

import torch
from digit_folders import TEST, digits, digits_recipe, write_folders
from harness import write_facts
from PIL import Image

from training.checkpoint import Checkpoint
from training.data.transforms import evaluation_pixels
from training.train import train

SEEDS = int(os.environ.get("SEEDS", "3"))
MODELS = ("vit-tiny-8", "vit-tiny-8-map")


def test_accuracy(folder: Path) -> float:
    """Share of the 360 test pictures whose likeliest class is theirs."""
    done = Checkpoint.load(str(folder / "checkpoint"))
    model = done.model()
    images, classes = digits()
    pixels = torch.stack([evaluation_pixels(Image.fromarray(image), done.spec) for image in images[-TEST:]])
    with torch.no_grad():
        found = model(pixels).argmax(dim=1)
    return float((found == torch.from_numpy(classes[-TEST:])).float().mean())


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        data = write_folders(Path(scratch) / "digits")
        for model in MODELS:
            for seed in range(SEEDS):
                out = Path(scratch) / f"{model}-{seed}"
                config = digits_recipe("vit-digits", [f"train.model={model}", f"train.seed={seed}"])
                began = time.monotonic()
                for result in train(config, str(data), str(out)):
                    last = result
                seconds = time.monotonic() - began
                accuracy = test_accuracy(out)
                print(f"{model} seed {seed}: {accuracy:.2%}, last loss {last.loss:.3f}, {seconds:.0f} s", flush=True)
                rows.append([model, seed, f"{accuracy:.2%}", last.total_steps, f"{seconds:.0f}"])
    write_facts(
        "vit_digits",
        "scikit-learn's digits: 1,437 pictures to learn from, 360 to test with; one process, one thread",
        ["Model", "Seed", "Right of 360", "Steps", "Seconds"],
        rows,
        {"torch": torch.__version__},
    )
    assert all(float(row[2].rstrip("%")) >= 97 for row in rows), rows


if __name__ == "__main__":
    main()
