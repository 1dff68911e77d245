"""The peers of training in one environment: open_clip and transformers beside the torch that openwit pins.

torchvision's wheel does not fit torch's CPU build: its operators are missing, and importing it fails. `prepare` declares the
two that are asked for at import; nothing here calls them.
"""

TORCH_PEERS = (
    "torch==2.13.0",
    "open_clip_torch==3.3.0",
    "transformers==5.18.0",
    "webdataset==0.2.86",
    "safetensors",
)

PREPARE = """
import torch
_operators = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
"""To be run with `exec` at the top of a peer's script, before open_clip or timm is imported."""
