"""open_clip 3.3.0's training loader on webdataset 0.2.86, built by its own `get_wds_dataset` and `image_transform`.

    {"shards": pattern, "size": S, "batch": B, "workers": W, "samples": N, "ready": false, "warm": batches}

Asked "epoch" it reads N samples and answers seconds of the clock, CPU seconds (all processes), the same of the own process behind
the first `warm` batches, and memory along the way. With `ready` pictures are not decoded: each is the same tensor.
Asked {"crop": file, "box": [top, left, height, width]} the pixels of torchvision's crop and resize, as open_clip calls them.
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
from open_clip_train import data

del sys.modules["pandas"]

torch.set_num_threads(1)
PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


def workers() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / TICK


def memory() -> float:
    """GiB of this process and its workers, what they share in parts (PSS), without the programs' files."""
    total = 0
    for pid in [os.getpid(), *workers()]:
        lines = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
        total += sum(int(line[1]) for line in lines if line[0] in ("Pss_Anon:", "Pss_Shmem:"))
    return total / 2**20


def build(job):
    transform = open_clip.image_transform(job["size"], is_train=True)  # scale (0.9, 1.0), bicubic
    if job["ready"]:
        picture = torch.zeros(3, job["size"], job["size"])
        transform = lambda _: picture  # noqa: E731
        texts_only = data.wds.decode()
        data.wds.decode = lambda *_, **__: texts_only
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
    return data.get_wds_dataset(arguments, transform, True, tokenizer=open_clip.get_tokenizer("ViT-B-32"))


def epoch(info, warm) -> dict:
    own, others = cpu(os.getpid()), {pid: cpu(pid) for pid in workers()}
    start, seen, curve = time.monotonic(), 0, []
    steady = start, own, 0
    for number, (images, _texts) in enumerate(info.dataloader, 1):
        seen += len(images)
        if number == warm:
            steady = time.monotonic(), cpu(os.getpid()), seen
        if number % 8 == 0:
            curve.append([seen, memory()])
    end, used = time.monotonic(), cpu(os.getpid())
    return {
        "seconds": end - start,
        "cpu": used - own + sum(cpu(pid) - others.get(pid, 0.0) for pid in workers()),
        "steady_seconds": end - steady[0],
        "steady_cpu": used - steady[1],
        "steady_samples": seen - steady[2],
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
        answer = epoch(info, job["warm"]) if line.strip() == "epoch" else crop(json.loads(line))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
