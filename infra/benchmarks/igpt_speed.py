"""A training step of iGPT-S beside transformers' ImageGPT: same random weights, same pixels, forward, loss, backward, AdamW.

One thread each and CPU time, in turns. Losses of all steps must be equal, so both do the same work. At 32x32 pixels, the paper's
raster, there is one picture in a batch; at 16x16 (the same model, shorter positions) there are four.

About 2 minutes on a quiet machine; IGPT_REPEATS (3).
"""

import itertools
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from harness import Row, paired, peer, write
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torch_peers import TORCH_PEERS

from training.models.igpt import IGPT
from training.spec import build, get_spec
from training.specs.igpt import IgptSpec

CASES = ((16, 4), (32, 1))
"""Side in pixels, pictures per batch."""
REPEATS = int(os.environ.get("IGPT_REPEATS", "3"))
PEER = "transformers"


def hugging_face_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Ours under the peer's names; its matrices are (in, out), and its start vector is one more row of the table."""
    found = {
        "transformer.wte.weight": torch.cat([weights["token_embedding.weight"], weights["start"][None]]),
        "transformer.wpe.weight": weights["positional_embedding"],
        "transformer.ln_f.weight": weights["ln_final.weight"],
        "lm_head.weight": weights["head.weight"],
    }
    places = {
        "attn.in_proj": "attn.c_attn",
        "attn.out_proj": "attn.c_proj",
        "c_fc": "mlp.c_fc",
        "c_proj": "mlp.c_proj",
        "ln_1": "ln_1",
        "ln_2": "ln_2",
    }
    for name, value in weights.items():
        if name.startswith("blocks."):
            _, layer, rest = name.split(".", 2)
            theirs = f"transformer.h.{layer}.{places[rest.removesuffix('.weight')]}"
            found[f"{theirs}.weight"] = value if value.ndim == 1 else value.T
            if value.ndim == 2:
                found[f"{theirs}.bias"] = torch.zeros(len(value))  # it adds biases where the release has none
    return {name: value.contiguous() for name, value in found.items()}


def case(size: int, pictures: int, folder: Path) -> Row:
    spec = replace(get_spec("igpt-s"), size=size)
    assert isinstance(spec, IgptSpec)
    torch.manual_seed(0)
    model = build(spec)
    assert isinstance(model, IGPT)
    torch.nn.init.normal_(model.head.weight, std=0.02)
    weights = folder / f"{size}.safetensors"
    save_file(hugging_face_names({name: value.detach() for name, value in model.state_dict().items()}), weights)
    pixels = torch.randint(0, 256, (pictures, 3, size, size), dtype=torch.uint8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    losses: dict[str, list[float]] = {"ours": [], "peer": []}

    def ours() -> float:
        began = time.process_time()
        logits_BTC, colours_BT, _ = model(pixels)
        loss = functional.cross_entropy(logits_BTC.flatten(0, 1), colours_BT.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses["ours"].append(loss.item())
        return time.process_time() - began

    job = {
        "colours": spec.colours,
        "places": spec.tokens,
        "width": spec.width,
        "layers": spec.layers,
        "heads": spec.heads,
        "weights": str(weights),
        "pixels": model.colours(pixels).tolist(),
    }
    with peer("igpt_transformers", TORCH_PEERS, job, folder) as other:

        def theirs() -> float:
            answer = other.ask("step")
            losses["peer"].append(answer["loss"])
            return float(answer["seconds"])

        ours(), theirs()  # warm
        seconds, peer_seconds = paired(ours, theirs, REPEATS)
    apart = max(abs(a - b) for a, b in itertools.zip_longest(*losses.values(), fillvalue=float("nan")))
    print(f"{size}x{size}: losses {losses['ours'][0]:.5f} to {losses['ours'][-1]:.5f}, at most {apart:.1e} apart")
    # Some steps of Adam later: rounding is all that differs.
    assert apart < 1e-3, losses
    assert abs(losses["ours"][0] - losses["peer"][0]) < 1e-5, losses
    tokens = pictures * spec.tokens
    return Row(
        f"iGPT-S, {size}x{size} pixels, batch {pictures}",
        "training speed, one thread",
        "tokens/s",
        tokens / seconds,
        tokens / peer_seconds,
        PEER,
    )


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [case(size, pictures, Path(folder)) for size, pictures in CASES]
    write(
        "igpt_speed",
        "iGPT-S (24 x 512 x 8, 512 colours) with equal random weights on random pixels; float32, forward, loss, backward, AdamW",
        rows,
        {"transformers": "5.18.0", "torch": torch.__version__},
    )


if __name__ == "__main__":
    main()
