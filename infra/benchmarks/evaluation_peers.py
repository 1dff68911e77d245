"""The peers of evaluation in one environment: CLIP_benchmark, open_clip, torchmetrics, scikit-learn, statsmodels.

numpy stays below 2.4: CLIP_benchmark 1.6.2 takes `float()` of an array of one element, which newer ones refuse. A peer's
script begins with `exec(PREPARE)` of torch_peers.py, because torchvision's wheel does not fit torch's CPU build.
"""

EVALUATION_PEERS = (
    "torch==2.13.0",
    "numpy==2.3.5",
    "clip-benchmark==1.6.2",
    "open_clip_torch==3.3.0",
    "scikit-learn==1.9.1",
    "scipy==1.17.1",
    "statsmodels==0.15.0",
    "torchmetrics==1.9.0",
    "webdataset==0.2.86",
    "requests",
    "safetensors",
)
