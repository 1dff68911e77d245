"""Tensors out of a TorchScript archive, in which OpenAI published CLIP, without running anything that lies in it.

The archive is a zip: `data.pkl` names modules and tensors, `data/0`, `data/1` ... are the tensors' bytes, `code/` is a program.
Python's unpickler would call whatever data.pkl asks for. Here its opcodes are only read (`pickletools.genops`), by a machine
that knows the twenty that such files use and builds nothing but tuples, dictionaries and `Thing`s: the name of what the
file wanted to make, and what with. A file that wants anything else is refused by the opcode.
"""

import io
import pickletools
import zipfile
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import DataError

_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
}
_TENSOR = "torch._utils _rebuild_tensor_v2"
_VALUES = ("BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


@dataclass
class Thing:
    """What a file asked for by name: a class, a module of one, a storage, a tensor. It can do nothing."""

    name: str
    arguments: Any = None
    state: dict[str, Any] = field(default_factory=dict)


class _Mark:
    pass


def is_torchscript(archive: bytes) -> bool:
    """A zip with a program beside its data."""
    names = zipfile.ZipFile(io.BytesIO(archive)).namelist()
    return any(name.endswith("/data.pkl") for name in names) and any("/code/" in name for name in names)


def read_torchscript(archive: bytes) -> dict[str, Tensor]:
    """Parameters and buffers of the module by dotted names."""
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        root = next(name for name in files.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        module = _things(files.read(f"{root}data.pkl"))
        found: dict[str, Tensor] = {}
        _collect(module, "", found, files, root)
    return found


def _collect(value: Any, name: str, found: dict[str, Tensor], files: zipfile.ZipFile, root: str) -> None:
    if not isinstance(value, Thing):
        return
    if value.name == _TENSOR:
        found[name] = _tensor(value.arguments, files, root)
        return
    for key, each in value.state.items():
        _collect(each, f"{name}.{key}" if name else str(key), found, files, root)


def _tensor(arguments: Any, files: zipfile.ZipFile, root: str) -> Tensor:
    stored, offset, shape, strides = arguments[:4]
    _, kind, key, _, count = stored.arguments
    flat = torch.frombuffer(bytearray(files.read(f"{root}data/{key}")), dtype=_DTYPES[kind.name.split()[-1]])
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if len(flat) < count or last >= len(flat) or min((offset, *shape, *strides), default=0) < 0:
        raise DataError(f"a tensor of shape {tuple(shape)} reads past the end of its bytes")
    return flat.as_strided(tuple(shape), tuple(strides), offset).clone()


def _things(program: bytes) -> Any:
    """What the opcodes build, as inert values."""
    stack: list[Any] = []
    memory: dict[int, Any] = {}

    def to_mark() -> list[Any]:
        place = max(number for number, value in enumerate(stack) if isinstance(value, _Mark))
        taken = stack[place + 1 :]
        del stack[place:]
        return taken

    for opcode, argument, _ in pickletools.genops(program):
        name = opcode.name
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "GLOBAL":
            stack.append(Thing(str(argument)))
        elif name == "MARK":
            stack.append(_Mark())
        elif name in ("BINPUT", "LONG_BINPUT"):
            memory[int(argument or 0)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memory[int(argument or 0)])
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "TUPLE":
            stack.append(tuple(to_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "APPENDS":
            taken = to_mark()
            stack[-1].extend(taken)
        elif name == "APPEND":
            last = stack.pop()
            stack[-1].append(last)
        elif name == "SETITEMS":
            taken = to_mark()
            stack[-1].update(zip(taken[::2], taken[1::2], strict=True))
        elif name == "SETITEM":
            key, value = stack[-2:]
            del stack[-2:]
            stack[-1][key] = value
        elif name == "BINPERSID":
            stack.append(Thing("storage", stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments = stack.pop()
            stack.append(Thing(stack.pop().name, arguments))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].state = state if isinstance(state, dict) else {}
        elif name == "STOP":
            return stack[-1]
        elif name not in ("PROTO", "FRAME"):
            raise DataError(f"opcode {name} is not one that tensors need")
    raise DataError("the archive's table ends early")
