"""Files of weights as tables of tensors. Nothing is unpickled: safetensors; torch's archives under `weights_only`, which
refuses all but tensors and plain containers; TorchScript archives by their opcodes (training/foreign/torchscript.py).
"""

import io
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline import storage
from pipeline.errors import DataError
from training.foreign.openai_names import NO_WEIGHTS
from training.foreign.torchscript import is_torchscript, read_torchscript

WRAPPED = ("state_dict", "epoch", "optimizer", "scaler")
"""Keys of the table that open_clip's training writes around the weights."""
PREFIXES = ("module.", "_orig_mod.")
"""What training in several processes and a compiler put before names."""


def read_tensors(folder: str, names: Sequence[str]) -> dict[str, Tensor]:
    """All tensors of the files `names` in `folder`, floating ones in float32.

    Left out: counters and masks. Taken off: what training wraps around them, and around their names.
    Raises DataError where a file cannot be read, or holds anything but tensors.
    """
    return _plain(_read(storage.join(folder, name)) for name in names)


def read_bare_tensors(folder: str, name: str) -> tuple[dict[str, Tensor], list[str]]:
    """As `read_tensors`, and what a training wrapped around them: keys of a table, beginnings of names."""
    value = _read(storage.join(folder, name))
    signs = [key for key in WRAPPED if key in value and not isinstance(value[key], Tensor)]
    names = value["state_dict"] if "state_dict" in signs else value
    signs += [prefix + "*" for prefix in PREFIXES if any(each.startswith(prefix) for each in names)]
    return _plain([value]), signs


def _plain(tables: Iterable[Mapping[str, Any]]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for table in tables:
        inner = table.get("state_dict")
        for each, tensor in (inner if isinstance(inner, Mapping) else table).items():
            plain = each
            for prefix in PREFIXES:
                plain = plain.removeprefix(prefix)
            if not re.fullmatch(NO_WEIGHTS, plain):
                found[plain] = tensor.float() if tensor.is_floating_point() else tensor
    return found


def _read(path: str) -> Mapping[str, Any]:
    """A table of tensors by name, or one with such a table as "state_dict"."""
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
    inner = value.get("state_dict", value) if isinstance(value, Mapping) else None
    if not isinstance(inner, Mapping) or not all(isinstance(each, Tensor) for each in inner.values()):
        raise DataError(f"{path}: holds no table of tensors; save the model's state_dict")
    found: Mapping[str, Any] = value
    return found
