"""Same weights, same outputs: each model with random weights, written for open_clip and transformers, run by their own code.

    make bench NAME=parity

Both directions: theirs opens what `training.foreign.write` wrote (outputs are compared), saves it with its own code, and
`training.foreign.read` reads that (tensors are compared: all must come back bit for bit). One model after the other, batch
2, float32, each peer in a process of its own. PARITY_MODELS=clip-rn50,clip-vit-b-32 runs some; a model larger than
PARITY_MILLIONS (450) is compared by its number of parameters alone. A run that broke off goes on from what it printed:
PARITY_DONE=FILE names a file with that.
"""

import gc
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from harness import peer, peer_python, write_facts
from parity_tokens import exported_compared, tokens_compared
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch_peers import TORCH_PEERS

from training.foreign import open_clip
from training.foreign.models import HUGGINGFACE
from training.foreign.read import Layout, read_foreign
from training.foreign.write import write_foreign
from training.models.base import Model
from training.saving.checkpoint import WEIGHTS, Checkpoint, checksums, write_model
from training.saving.meanings import TOKENIZER, Meanings
from training.spec import REGISTRY
from training.specs.base import ModelSpec
from training.specs.clip import ClipSpec
from training.specs.igpt import IgptSpec
from training.specs.vit import VitSpec
from training.tokens.tokenizer import Tokenizer

# Millions of parameters as published: CLIP's as measured on OpenAI's and open_clip's models (open_clip,
# docs/model_profile.csv); ViT's of arXiv:2010.11929, table 1, whole millions; iGPT's of the paper, section 3.1.
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
    "vit-b-16": 86,
    "vit-l-16": 307,
    "vit-h-14": 632,
    "igpt-s": 76.6,
    "igpt-m": 455.2,
    "igpt-l": 1362.3,
    "igpt-xl": 6801.4,
}


@dataclass(frozen=True)
class Case:
    """A model beside a peer. `layers` > 0 keeps so many, where the whole is too large for a small machine."""

    name: str
    layout: Layout
    peer: str
    layers: int = 0

    @property
    def heads(self) -> tuple[str, str]:
        """The first two cells of its row."""
        label = f"{self.name}, {self.layers} of its layers" if self.layers else self.name
        return label, f"{self.peer}, {self.layout}"

    @property
    def spec(self) -> ModelSpec:
        spec = REGISTRY[self.name]
        if isinstance(spec, VitSpec) and spec.representation:  # transformers' ViTModel: no classes behind it
            return spec.with_classes(0)
        return replace(spec, layers=self.layers) if self.layers and isinstance(spec, IgptSpec) else spec


RESNETS = tuple(f"clip-{name}" for name in ("rn50", "rn101", "rn50x4", "rn50x16", "rn50x64"))
VITS = tuple(f"clip-vit-{name}" for name in ("b-32", "b-16", "l-14", "l-14-336"))
LARGER = tuple(f"clip-vit-{name}" for name in ("h-14", "g-14", "bigg-14"))
SUPERVISED = tuple(
    f"vit-{name}" for name in ("ti-16", "s-32", "s-16", "b-32", "b-16", "b-14", "l-32", "l-16", "l-14", "h-14")
)
CASES = (
    *(Case(name, "open_clip", "open_clip") for name in (*RESNETS, *VITS, *LARGER)),
    *(Case(name, "openai", "open_clip") for name in ("clip-rn50", "clip-vit-b-32")),
    *(Case(name, "huggingface", "transformers") for name in (*VITS, *SUPERVISED, "vit-b-32-rep", "igpt-s")),
    Case("igpt-m", "huggingface", "plain reference", 6),
    Case("igpt-m", "huggingface", "transformers", 6),
    Case("igpt-l", "huggingface", "plain reference", 6),
    Case("igpt-l", "huggingface", "transformers", 6),
    Case("igpt-xl", "huggingface", "transformers"),
)
LIMIT_MILLIONS = float(os.environ.get("PARITY_MILLIONS", 450))
BATCH = 2
ASKED = """
import importlib.metadata, importlib.util, json
names = {"open_clip": "open_clip_torch", "transformers": "transformers"}
versions = {name: importlib.metadata.version(package) for name, package in names.items()}
print(json.dumps([importlib.util.find_spec("open_clip").submodule_search_locations[0], versions]))
"""
"""Of the peers' Python: where open_clip lies, and versions."""
HEADINGS = (
    "model",
    "peer, its format",
    "parameters, M",
    "published, M",
    "largest difference of outputs",
    "largest output",
    "tensors",
    "unequal when back",
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
        elif not tensor.any():  # heads that begin at zero
            tensor.normal_(std=0.02)


@torch.inference_mode()
def outputs_of(model: Model, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is compared: unit embeddings of CLIP, logits of the others."""
    if isinstance(model.spec, ClipSpec):
        image, text, *_ = model(given["pixels"], given["tokens"])
        return {"image": image, "text": text}
    found = model(given["pixels"])
    return {"logits": found[0] if isinstance(model.spec, IgptSpec) else found}


def inputs(spec: ModelSpec) -> dict[str, Tensor]:
    """Pictures of noise; texts of 5 and of all tokens."""
    torch.manual_seed(2)
    count = 1 if isinstance(spec, IgptSpec) else BATCH
    found = {"pixels": torch.randint(0, 256, (count, 3, spec.image_size, spec.image_size), dtype=torch.uint8)}
    if isinstance(spec, ClipSpec):
        tokens = torch.zeros(BATCH, spec.text.context, dtype=torch.long)
        last = spec.text.vocabulary - 1
        for row, length in enumerate((5, spec.text.context)):
            words = torch.randint(1, last - 1, (length - 2,)).tolist()
            tokens[row, :length] = torch.tensor([last - 1, *words, last])
        found["tokens"] = tokens
    return found


def for_peer(model: Model, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pictures as the peers want them: normalised, or as colours with the start before them."""
    if isinstance(model.spec, IgptSpec):
        colours = model.colours(given["pixels"])  # type: ignore[operator]  # an IGPT
        return {"ids": torch.cat([torch.full_like(colours[:, :1], model.spec.colours), colours[:, :-1]], dim=1)}
    tower: Any = model.spec.image  # type: ignore[attr-defined]  # a ClipSpec or VitSpec
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (tower.pixel_mean, tower.pixel_std))
    return {**given, "pixels": (given["pixels"] / 255 - mean) / std}


def counted(spec: ModelSpec, layout: Layout, folder: Path) -> float:
    """Millions of parameters of the peer's model without its numbers; ours are as many."""
    config = (
        open_clip.write(spec) if isinstance(spec, ClipSpec) else HUGGINGFACE[spec.family].configs(spec, {}, Meanings())
    )
    with peer("parity_torch", TORCH_PEERS, {"layout": layout, "config": config}, folder) as theirs:
        found = theirs.ask("count")["parameters"]
    assert found == spec.parameters(), (spec.name, found, spec.parameters())
    return round(found / 1e6, 2)


def compared(case: Case, folder: Path, vocabulary: str) -> list[Any]:
    """A row of the table."""
    spec = case.spec
    millions = round((spec if case.name.endswith("-rep") else REGISTRY[case.name]).parameters() / 1e6, 2)
    told = [*case.heads, millions, PUBLISHED.get(case.name, "")]
    if spec.parameters() / 1e6 > LIMIT_MILLIONS:
        if spec.family != "igpt":
            told[2] = counted(spec, case.layout, folder)
        return [*told, "counted only", "", "", ""]
    torch.manual_seed(0)
    model = spec.build().eval().requires_grad_(False)
    randomise(model)
    if case.layout == "openai":  # whose loader halves the precision, as the released weights have it
        model.load_state_dict({key: tensor.half().float() for key, tensor in model.state_dict().items()})
    given = inputs(spec)
    ours = outputs_of(model, given)
    save_file({name: each.contiguous() for name, each in for_peer(model, given).items()}, folder / "inputs.safetensors")
    weights = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    own, there, back = folder / "own", folder / "there", folder / "back"
    context = spec.text.context if isinstance(spec, ClipSpec) else 77
    write_model(str(own), weights, Meanings(Tokenizer.released(vocabulary, context)))
    write_foreign(Checkpoint(str(own), spec, 0, 0, "none", {}, 1, checksums(str(own))), case.layout, str(there))
    for each in (WEIGHTS, TOKENIZER):
        (own / each).unlink()
    gc.collect()
    job = {"family": spec.family, "layout": case.layout, "there": str(there), "back": str(back), "folder": str(folder)}
    job |= {
        "plain": case.peer == "plain reference",
        "heads": getattr(spec, "heads", 0),
        "threads": torch.get_num_threads(),
    }
    with peer("parity_torch", TORCH_PEERS, job, folder) as theirs:
        answer = theirs.ask("run")
    found = load_file(folder / "outputs.safetensors")
    difference = max(float((ours[key] - found[key]).abs().max()) for key in ours)
    largest = max(float(tensor.abs().max()) for tensor in ours.values())
    row = [*told, f"{difference:.1e}", f"{largest:.3g}"]
    if case.peer == "plain reference":
        return [*row, len(weights), ""]
    biases = 9 * spec.width * spec.layers if isinstance(spec, IgptSpec) else 0  # zero there, and not ours
    assert answer["parameters"] == spec.parameters() + biases, (answer, spec.parameters())
    returned = read_foreign(str(back / "model.pt") if case.layout == "openai" else str(back)).weights()
    assert set(returned) == set(weights)
    unequal = sum(not torch.equal(returned[key], weights[key]) for key in weights)
    return [*row, len(weights), unequal]


def printed() -> dict[tuple[str, str], list[Any]]:
    """Rows that a run before this one printed."""
    path = os.environ.get("PARITY_DONE")
    lines = Path(path).read_text("utf-8").splitlines() if path else []
    rows: list[list[Any]] = [json.loads(line) for line in lines if line.startswith("[")]
    return {(row[0], row[1]): row for row in rows}


def main() -> None:
    chosen = os.environ.get("PARITY_MODELS")
    torch.set_num_threads(int(os.environ.get("PARITY_THREADS", 2)))
    python = peer_python(TORCH_PEERS)
    package, versions = json.loads(subprocess.run([python, "-c", ASKED], capture_output=True, check=True).stdout)
    vocabulary = f"{package}/bpe_simple_vocab_16e6.txt.gz"
    rows: list[list[Any]] = []
    done = printed()
    for case in CASES:
        if chosen and case.name not in chosen.split(","):
            continue
        if case.heads in done:
            row = done[case.heads]
        else:
            with tempfile.TemporaryDirectory() as folder:
                row = compared(case, Path(folder), vocabulary)
        print(json.dumps(row), flush=True)
        rows.append(row)
    with tempfile.TemporaryDirectory() as folder:
        rows += [tokens_compared(vocabulary, Path(folder)), *exported_compared(Path(folder))]
    for row in rows[-3:]:
        print(json.dumps(row), flush=True)
    if not chosen:
        write_facts(
            "parity",
            "random weights, float32, two pictures and texts of noise (iGPT: one picture)",
            HEADINGS,
            rows,
            versions,
        )


if __name__ == "__main__":
    main()
