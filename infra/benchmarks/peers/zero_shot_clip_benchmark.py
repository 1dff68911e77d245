"""CLIP_benchmark's zero-shot evaluation of a model on a WebDataset, as its command line does it; see ../zero_shot.py."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from torch_peers import PREPARE

exec(PREPARE)

import clip_benchmark.metrics.zeroshot_classification as zeroshot  # noqa: E402
import open_clip  # noqa: E402
import torch  # noqa: E402
from clip_benchmark.datasets.builder import build_dataset  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
torch.set_num_threads(job["threads"])
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"


def make(case):
    """Random weights in open_clip's folder layout, which openwit reads as they are."""
    torch.manual_seed(0)
    folder = Path(job["folder"]) / case
    folder.mkdir(exist_ok=True)
    model = open_clip.model.CLIP(**job["models"][case])
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items() if k != "attn_mask"},
        folder / "open_clip_model.safetensors",
    )
    configuration = {
        "model_cfg": job["models"][case],
        "preprocess_cfg": {
            "mean": list(open_clip.OPENAI_DATASET_MEAN),
            "std": list(open_clip.OPENAI_DATASET_STD),
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(configuration))
    (folder / VOCABULARY).write_bytes((Path(open_clip.__file__).parent / VOCABULARY).read_bytes())
    return {}


def run(case, workers):
    """Seconds from opening the model's folder to the figures."""
    start = time.perf_counter()
    folder = Path(job["folder"]) / case
    model = open_clip.model.CLIP(**json.loads((folder / "open_clip_config.json").read_text())["model_cfg"])
    open_clip.load_checkpoint(model, str(folder / "open_clip_model.safetensors"))
    model.eval()
    transform = open_clip.image_transform(224, is_train=False)
    dataset = build_dataset(
        "wds/photos", root=job["data"], transform=transform, split="test", task="zeroshot_classification"
    )
    loader = torch.utils.data.DataLoader(
        dataset.batched(job["batch"]), batch_size=None, shuffle=False, num_workers=int(workers)
    )
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    with torch.inference_mode():
        found = zeroshot.evaluate(model, loader, tokenizer, dataset.classes, dataset.templates, "cpu", amp=False)
    return {"seconds": time.perf_counter() - start, "acc1": float(found["acc1"])}


for line in sys.stdin:
    word, *rest = line.split()
    print(json.dumps({"make": make, "run": run}[word](*rest)), flush=True)
