"""Does ViT learn? `vit-tiny-8` on scikit-learn's digits through `train`, one process, one thread; 360 test pictures.

Class token and attention pool, at equal settings, three seeds each. The bar is 97 %.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from digit_folders import TEST, digits, write_folders
from harness import write_facts
from PIL import Image

from training.checkpoint import Checkpoint
from training.config import TrainConfig
from training.data.transforms import evaluation_pixels
from training.train import train

SEEDS = 3
MODELS = ("vit-tiny-8", "vit-tiny-8-map")
RECIPE: dict[str, Any] = {
    "global_batch_size": 128,
    "steps": 600,
    "learning_rate": 1e-3,
    "warmup_steps": 60,
    "schedule": "cosine",
    "weight_decay": 0.05,
    "max_gradient_norm": 1.0,
    "objective": {"label_smoothing": 0.1},
    "data": {
        "min_crop_side_fraction": 0.85,
        "max_rotation_degrees": 12,
        "max_stretch": 0.15,
        "max_brightness_change": 0.1,
    },
    "threads_per_worker": 1,
}


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
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        data = write_folders(Path(scratch) / "digits")
        for model in MODELS:
            for seed in range(seeds):
                out = Path(scratch) / f"{model}-{seed}"
                sources = [{"path": str(data), "kind": "pictures"}]
                values = {**RECIPE, "model": model, "seed": seed, "data": {**RECIPE["data"], "sources": sources}}
                began = time.monotonic()
                for result in train(TrainConfig.model_validate(values), "", str(out)):
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
