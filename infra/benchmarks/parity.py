"""Same weights, same outputs: each model with random weights, written for open_clip and transformers, run by their own code.

    make bench NAME=parity

Both directions: theirs opens what `training.foreign.write` wrote (outputs are compared), saves it with its own code, and
`training.foreign.read` reads that (tensors are compared: all must come back bit for bit). One model after the other, batch
2, float32, each peer in a process of its own. PARITY_MODELS=clip-rn50,clip-vit-b-32 runs some; a model larger than
PARITY_MILLIONS (450) is compared by its number of parameters alone.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from harness import peer, peer_python, write_facts
from parity_tokens import tokens_compared
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch_peers import TORCH_PEERS

from training.checkpoint import TOKENIZER, WEIGHTS, Checkpoint, checksums, write_model
from training.foreign.read import Layout, read_foreign
from training.foreign.write import write_foreign
from training.models.base import Model
from training.spec import REGISTRY
from training.specs.clip import ClipSpec
from training.tokenizer import Tokenizer

# Millions of parameters as published: CLIP's measured on OpenAI's and open_clip's models (open_clip docs/model_profile.csv).
PUBLISHED: Mapping[str, float] = {
    "clip-rn50": 102.01,
    "clip-rn101": 119.69,
    "clip-rn50x4": 178.30,
    "clip-rn50x16": 290.98,
    "clip-rn50x64": 623.26,
    "clip-vit-b-32": 151.28,
    "clip-vit-b-16": 149.62,
    "clip-vit-l-14": 427.62,
    "clip-vit-l-14-336": 427.94,
    "clip-vit-h-14": 986.11,
    "clip-vit-g-14": 1366.68,
    "clip-vit-bigg-14": 2539.57,
}
CASES: tuple[tuple[str, Layout], ...] = (
    ("clip-rn50", "open_clip"),
    ("clip-rn50", "openai"),
    ("clip-rn101", "open_clip"),
    ("clip-rn50x4", "open_clip"),
    ("clip-rn50x16", "open_clip"),
    ("clip-rn50x64", "open_clip"),
    ("clip-vit-b-32", "open_clip"),
    ("clip-vit-b-32", "openai"),
    ("clip-vit-b-32", "huggingface"),
    ("clip-vit-b-16", "open_clip"),
    ("clip-vit-b-16", "huggingface"),
    ("clip-vit-l-14", "open_clip"),
    ("clip-vit-l-14", "huggingface"),
    ("clip-vit-l-14-336", "open_clip"),
    ("clip-vit-l-14-336", "huggingface"),
    ("clip-vit-h-14", "open_clip"),
    ("clip-vit-g-14", "open_clip"),
    ("clip-vit-bigg-14", "open_clip"),
)
PEERS: Mapping[str, str] = {"open_clip": "open_clip", "openai": "open_clip", "huggingface": "transformers"}
LIMIT_MILLIONS = float(os.environ.get("PARITY_MILLIONS", 450))
BATCH = 2
HEADINGS = (
    "model",
    "peer, its format",
    "parameters, M",
    "published, M",
    "largest difference of outputs",
    "largest output",
    "tensors out",
    "tensors back unequal",
)


def randomise(model: Model) -> None:
    """No tensor at a value that hides it: gains around 1, biases and running means around 0, all different."""
    torch.manual_seed(1)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            tensor.normal_(std=0.1)
        elif tensor.ndim <= 1 and "logit" not in name:
            tensor.add_(torch.randn_like(tensor), alpha=0.1)


@torch.inference_mode()
def outputs_of(model: Model, pixels: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """What is compared: unit embeddings of CLIP."""
    image, text, *_ = model(pixels, tokens)
    return {"image": image, "text": text}


def inputs(spec: ClipSpec) -> tuple[Tensor, Tensor]:
    """Pictures of noise, and texts of 5 and of all tokens."""
    torch.manual_seed(2)
    pixels = torch.randint(0, 256, (BATCH, 3, spec.image_size, spec.image_size), dtype=torch.uint8)
    tokens = torch.zeros(BATCH, spec.text.context, dtype=torch.long)
    last = spec.text.vocabulary - 1
    for row, length in enumerate((5, spec.text.context)):
        tokens[row, :length] = torch.tensor([last - 1, *torch.randint(1, last - 1, (length - 2,)).tolist(), last])
    return pixels, tokens


def compared(name: str, layout: Layout, folder: Path, vocabulary: str) -> tuple[list[Any], dict[str, str]]:
    """A row of the table, and the peers' versions."""
    spec = REGISTRY[name]
    assert isinstance(spec, ClipSpec)
    told = [name, f"{PEERS[layout]}, {layout}", round(spec.parameters() / 1e6, 2), PUBLISHED[name]]
    if spec.parameters() / 1e6 > LIMIT_MILLIONS:
        return [*told, "not run", "", "", ""], {}
    torch.manual_seed(0)
    model = spec.build().eval()
    randomise(model)
    if layout == "openai":  # whose loader halves the precision, as the released weights have it
        model.load_state_dict({key: tensor.half().float() for key, tensor in model.state_dict().items()})
    pixels, tokens = inputs(spec)
    ours = outputs_of(model, pixels, tokens)
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    del model
    own, given, back = folder / "own", folder / "given", folder / "back"
    write_model(str(own), weights, Tokenizer.released(vocabulary, spec.text.context))
    checkpoint = Checkpoint(str(own), spec, 0, 0, "none", {}, 1, checksums(str(own)))
    write_foreign(checkpoint, layout, str(given))
    for each in (WEIGHTS, TOKENIZER):
        (own / each).unlink()
    pixels = (pixels / 255 - torch.tensor(spec.image.pixel_mean).view(3, 1, 1)) / torch.tensor(
        spec.image.pixel_std
    ).view(3, 1, 1)
    save_file({"pixels": pixels, "tokens": tokens}, folder / "inputs.safetensors")
    job = {"family": spec.family, "layout": layout, "given": str(given), "back": str(back), "folder": str(folder)}
    with peer("parity_torch", TORCH_PEERS, job, folder) as theirs:
        answer = theirs.ask("run")
    assert answer["parameters"] == spec.parameters(), (name, answer["parameters"], spec.parameters())
    found = load_file(folder / "outputs.safetensors")
    difference = max(float((ours[key] - found[key]).abs().max()) for key in ours)
    largest = max(float(tensor.abs().max()) for tensor in ours.values())
    returned = read_foreign(str(back / "model.pt") if layout == "openai" else str(back)).weights()
    assert set(returned) == set(weights)
    unequal = sum(not torch.equal(returned[key], weights[key]) for key in weights)
    return [*told, f"{difference:.1e}", f"{largest:.3f}", len(weights), unequal], answer["versions"]


def main() -> None:
    chosen = os.environ.get("PARITY_MODELS")
    torch.set_num_threads(int(os.environ.get("PARITY_THREADS", 2)))
    python = peer_python(TORCH_PEERS)
    code = "import importlib.util as u; print(u.find_spec('open_clip').submodule_search_locations[0])"
    package = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    vocabulary = f"{package}/bpe_simple_vocab_16e6.txt.gz"
    rows: list[list[Any]] = []
    versions: dict[str, str] = {}
    for name, layout in CASES:
        if chosen and name not in chosen.split(","):
            continue
        with tempfile.TemporaryDirectory() as folder:
            row, told = compared(name, layout, Path(folder), vocabulary)
        print(json.dumps(row), flush=True)
        rows.append(row)
        versions |= told
    with tempfile.TemporaryDirectory() as folder:
        rows.append(tokens_compared(vocabulary, Path(folder)))
    print(json.dumps(rows[-1]), flush=True)
    if not chosen:
        write_facts("parity", "random weights, float32, batch 2", HEADINGS, rows, versions)


if __name__ == "__main__":
    main()
