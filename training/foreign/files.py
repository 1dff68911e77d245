"""Files of weights as tables of tensors. Nothing is unpickled: safetensors; torch's archives under `weights_only`, which
refuses all but tensors and plain containers; TorchScript archives by their opcodes (training/foreign/torchscript.py).
"""

import io
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline import storage
from pipeline.errors import DataError
from training.foreign.openai_names import NO_WEIGHTS
from training.foreign.torchscript import is_torchscript, read_torchscript


def read_tensors(folder: str, names: Sequence[str]) -> dict[str, Tensor]:
    """All tensors of the files `names` in `folder`, floating ones in float32.

    Left out: counters and masks. Taken off: what training wraps around names ("module.", a compiler's "_orig_mod.").
    Raises DataError where a file cannot be read, or holds anything but tensors.
    """
    found: dict[str, Tensor] = {}
    for name in names:
        for each, tensor in _read(storage.join(folder, name)).items():
            plain = each.removeprefix("module.").removeprefix("_orig_mod.")
            if not re.fullmatch(NO_WEIGHTS, plain):
                found[plain] = tensor.float() if tensor.is_floating_point() else tensor
    return found


def _read(path: str) -> Mapping[str, Tensor]:
    data = storage.read_bytes(path)
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load

            return load(data)
        if zipfile.is_zipfile(io.BytesIO(data)) and is_torchscript(data):
            return read_torchscript(data)
        with warnings.catch_warnings():  # of a pickle's age: what cannot be read is said below, in one line
            warnings.simplefilter("ignore", UserWarning)
            value: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(
            f"{path}: cannot be read as weights ({type(error).__name__}); save it as safetensors"
        ) from error
    if isinstance(value, Mapping) and isinstance(value.get("state_dict"), Mapping):
        value = value["state_dict"]  # what open_clip's training writes
    if not isinstance(value, Mapping) or not all(isinstance(each, Tensor) for each in value.values()):
        raise DataError(f"{path}: holds no table of tensors; save the model's state_dict")
    return value
