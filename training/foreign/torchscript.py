"""Tensors out of a TorchScript archive, in which OpenAI published CLIP, without running anything that lies in it.

The archive is a zip: `data.pkl` names modules and tensors, `data/0`, `data/1` ... are the tensors' bytes, `code/` is a program.
Python's unpickler would call whatever data.pkl asks for. Here its opcodes are only read (`pickletools.genops`), by a machine
that knows the twenty that such files use and builds nothing but tuples, dictionaries and `Thing`s: the name of what the
file wanted to make, and what with. A file that wants anything else is refused by the opcode.
"""

import io
import pickletools
import zipfile
from collections.abc import Callable
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
    for opcode, argument, _ in pickletools.genops(program):
        name = opcode.name
        if name == "STOP":
            return stack[-1]
        if name in _VALUES:
            stack.append(argument)
        elif name in _FRESH:
            stack.append(_FRESH[name]())
        elif name == "GLOBAL":
            stack.append(Thing(str(argument)))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memory[int(argument or 0)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memory[int(argument or 0)])
        elif name in _STEPS:
            _STEPS[name](stack)
        elif name not in ("PROTO", "FRAME"):
            raise DataError(f"opcode {name} is not one that tensors need")
    raise DataError("the archive's table ends early")


def _to_mark(stack: list[Any]) -> list[Any]:
    """Take off all above the last mark, and the mark."""
    place = max(number for number, value in enumerate(stack) if isinstance(value, _Mark))
    taken = stack[place + 1 :]
    del stack[place:]
    return taken


def _join(stack: list[Any], count: int) -> None:
    stack[-count:] = [tuple(stack[-count:])]


def _append(stack: list[Any], items: list[Any]) -> None:
    stack[-1].extend(items)


def _set(stack: list[Any], items: list[Any]) -> None:
    stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _call(stack: list[Any]) -> None:
    """What would be called is only written down."""
    arguments = stack.pop()
    stack.append(Thing(stack.pop().name, arguments))


def _build(stack: list[Any]) -> None:
    state = stack.pop()
    stack[-1].state = state if isinstance(state, dict) else {}


_FRESH: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "MARK": _Mark,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
}
_STEPS: dict[str, Callable[[list[Any]], None]] = {
    "TUPLE": lambda stack: stack.append(tuple(_to_mark(stack))),
    "TUPLE1": lambda stack: _join(stack, 1),
    "TUPLE2": lambda stack: _join(stack, 2),
    "TUPLE3": lambda stack: _join(stack, 3),
    "APPEND": lambda stack: _append(stack, [stack.pop()]),
    "APPENDS": lambda stack: _append(stack, _to_mark(stack)),
    "SETITEM": lambda stack: _set(stack, [stack.pop(-2), stack.pop()]),
    "SETITEMS": lambda stack: _set(stack, _to_mark(stack)),
    "BINPERSID": lambda stack: stack.append(Thing("storage", stack.pop())),
    "REDUCE": _call,
    "NEWOBJ": _call,
    "BUILD": _build,
}
