"""open_clip 3.3.0's training loader on webdataset 0.2.86, built by its own `get_wds_dataset` and `image_transform`.

    {"shards": pattern, "size": S, "batch": B, "workers": W, "samples": N}

Asked "epoch" it reads N samples and answers seconds of the clock, CPU seconds (own process, workers) and memory along the way;
asked {"crop": file, "box": [top, left, height, width]} the pixels of torchvision's crop and resize, as open_clip calls them.
"""
# ruff: noqa: E402

import base64
import json
import os
import sys
import time
import types
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from torch_peers import PREPARE

exec(PREPARE)

import numpy as np
import open_clip
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as change

sys.modules["pandas"] = types.ModuleType("pandas")  # imported for reading CSV, which is not asked for here
from open_clip_train.data import get_wds_dataset

del sys.modules["pandas"]

torch.set_num_threads(1)
PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


def workers() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / TICK


def memory() -> float:
    """GiB of this process and its workers that is theirs alone or shared in parts (PSS)."""
    total = 0
    for pid in [os.getpid(), *workers()]:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(text.split("Pss:")[1].split()[0])
    return total / 2**20


def build(job):
    transform = open_clip.image_transform(job["size"], is_train=True)  # scale (0.9, 1.0), bicubic
    arguments = SimpleNamespace(
        train_data=job["shards"],
        train_num_samples=job["samples"],
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        batch_size=job["batch"],
        workers=job["workers"],
        world_size=1,
    )
    return get_wds_dataset(arguments, transform, True, tokenizer=open_clip.get_tokenizer("ViT-B-32"))


def epoch(info) -> dict:
    own, others = cpu(os.getpid()), {pid: cpu(pid) for pid in workers()}
    start, seen, curve = time.monotonic(), 0, []
    for number, (images, _texts) in enumerate(info.dataloader):
        seen += len(images)
        if number % 8 == 0:
            curve.append([seen, memory()])
    return {
        "seconds": time.monotonic() - start,
        "own_cpu": cpu(os.getpid()) - own,
        "workers_cpu": sum(cpu(pid) - others.get(pid, 0.0) for pid in workers()),
        "samples": seen,
        "memory": curve,
    }


def crop(ask) -> dict:
    picture = Image.open(ask["crop"]).convert("RGB")
    size = [ask["size"], ask["size"]]
    cut = change.resized_crop(picture, *ask["box"], size, InterpolationMode.BICUBIC)
    return {"pixels": base64.b64encode(np.asarray(cut).tobytes()).decode()}


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    info = build(job)
    for line in sys.stdin:
        answer = epoch(info) if line.strip() == "epoch" else crop(json.loads(line))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
