"""The peer of train_step: open_clip's CLIP with our weights; `load` makes the tokens of both kinds of texts, `natural` and `full`
each do a step on theirs and answer its loss, seconds and CPU seconds."""

import json
import os
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

_operators = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

NAMES = {"clip-vit-b-32": "ViT-B-32-quickgelu"}


def main():
    import open_clip
    from open_clip.loss import ClipLoss

    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(job["threads"])
    folder = Path(job["folder"])
    # open_clip's own model with its own defaults; the names of its weights are OpenAI's.
    model = open_clip.create_model(NAMES[job["model"]], output_dict=True)
    weights = load_file(folder / "weights.safetensors")
    missing, unknown = model.load_state_dict(weights, strict=False)
    assert set(missing) <= {"attn_mask"}, missing
    assert not unknown, unknown
    model.train()
    loss = ClipLoss()
    # main.py of open_clip_train: no decay on gains, biases and logit_scale.
    small = [
        p
        for n, p in model.named_parameters()
        if p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n
    ]
    known = {id(p) for p in small}
    rest = [p for p in model.parameters() if id(p) not in known]
    optimizer = torch.optim.AdamW(
        [{"params": small, "weight_decay": 0.0}, {"params": rest, "weight_decay": 0.2}],
        lr=1e-6,
        betas=(0.9, 0.98),
        eps=1e-6,
    )
    pixels = load_file(folder / "pixels.safetensors")["pixels"]
    mean, std = (
        torch.tensor(each).view(3, 1, 1) for each in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    images = (pixels.float() / 255 - mean) / std
    texts = {}
    for line in sys.stdin:
        word, answer = line.strip(), {}
        if word == "load":
            tokenizer = open_clip.get_tokenizer("ViT-B-32")
            answer["tokens"] = {}
            for kind in ("natural", "full"):
                texts[kind] = tokenizer(job[kind])
                save_file({"tokens": texts[kind].contiguous()}, folder / f"{kind}.safetensors")
                lengths = (texts[kind].argmax(dim=1) + 1).float()
                answer["tokens"][kind] = {"mean": float(lengths.mean()), "longest": int(lengths.max())}
        else:
            start, cpu = time.perf_counter(), time.process_time()
            optimizer.zero_grad()
            total = loss(**model(images, texts[word]))
            total.backward()
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, 4.6052)
            answer["loss"] = float(total.detach())
            answer["seconds"] = time.perf_counter() - start
            answer["cpu"] = time.process_time() - cpu
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    main()
