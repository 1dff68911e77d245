"""transformers' ImageGPT, one training step per question: `step` answers {"loss", "seconds"} (CPU time of one thread)."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from torch_peers import PREPARE

exec(PREPARE)

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch.nn import functional  # noqa: E402
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling  # noqa: E402


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    config = ImageGPTConfig(
        vocab_size=job["colours"] + 1,
        n_positions=job["places"],
        n_embd=job["width"],
        n_layer=job["layers"],
        n_head=job["heads"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
    )
    model = ImageGPTForCausalImageModeling(config)
    missing = model.load_state_dict(load_file(job["weights"]), strict=False)
    assert not missing.unexpected_keys, missing
    assert not missing.missing_keys, missing
    model.train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.endswith(".bias"))  # the release has none: they are zero and stay so
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    pixels_BT = torch.tensor(job["pixels"])
    start_B1 = torch.full((len(pixels_BT), 1), job["colours"])
    inputs_BT = torch.cat([start_B1, pixels_BT[:, :-1]], dim=1)
    for _ in sys.stdin:
        began = time.process_time()
        logits_BTC = model(input_ids=inputs_BT).logits
        loss = functional.cross_entropy(logits_BTC.flatten(0, 1), pixels_BT.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(json.dumps({"loss": loss.item(), "seconds": time.process_time() - began}), flush=True)


main()
