"""Reads the one form of pickle in which CIFAR is published, and executes nothing.

A pickle is a program that may call anything. CIFAR's (protocol 2, written by Python 2; or a copy that Python 3 saved again
at protocol 2 to 4) need only dictionaries, lists, numbers, strings, and numpy arrays of bytes. `pickletools` names the
instructions without running them; here a small stack keeps the values. A name to import is kept as a word, and a call is
accepted for numpy's array and dtype alone, which become a place in the file, not an object. At protocol 2 Python 3 writes
bytes as letters and a call of `_codecs.encode(letters, "latin1")`: for exactly that, the letters' numbers are the bytes.
Anything else is refused by name.
"""

import pickletools
from dataclasses import dataclass
from typing import Any

from evaluation.pictures.pictures import Broken

_ARRAY = "numpy.core.multiarray _reconstruct"
_ENCODE = "_codecs encode"
_ALLOWED = (_ARRAY, "numpy._core.multiarray _reconstruct", "numpy ndarray", "numpy dtype", _ENCODE)
_LENGTH_BYTES = {"BINSTRING": 4, "SHORT_BINSTRING": 1, "BINBYTES": 4, "SHORT_BINBYTES": 1, "BINBYTES8": 8}
_NUMBERS = {"BININT", "BININT1", "BININT2", "INT", "LONG1", "BINFLOAT"}
_EMPTY: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


@dataclass
class Bytes:
    """A string of bytes or of letters: where it lies in the file, None where it is not stored a byte a letter."""

    text: str
    offset: int | None
    letters: bool = False

    @property
    def length(self) -> int:
        return len(self.text)


@dataclass
class Array:
    """An array of unsigned bytes: its shape, and where its values lie in the file, row by row, or the values."""

    shape: tuple[int, ...] = ()
    offset: int = 0
    held: bytes | None = None


@dataclass
class _Name:
    word: str


@dataclass
class _Call:
    word: str
    kind: str


class _Mark: ...


def load(data: bytes, path: str) -> dict[str, Any]:
    """The dictionary in the pickle: words as `str`, arrays as `Array`. Raises Broken for whatever else it holds."""
    try:
        value = _Machine(path).run(data)
    except Broken:
        raise
    except Exception as error:  # hostile instructions make the stack machine fail anywhere
        raise Broken(f"{path}: is no whole pickle of CIFAR's form ({str(error)[:80]}); get it anew") from error
    if not isinstance(value, dict):
        raise Broken(f"{path}: holds no dictionary, so it is no part of CIFAR")
    return {_plain(key): _plain(each) for key, each in value.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Bytes):
        return value.text
    return [_plain(each) for each in value] if isinstance(value, list) else value


class _Machine:
    """The stack, and what was put aside."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for instruction, argument, position in pickletools.genops(data):
            name = instruction.name
            if name == "STOP":
                return self.stack.pop()
            if name in _LENGTH_BYTES:
                text = argument.decode("latin-1") if isinstance(argument, bytes) else str(argument)
                self.stack.append(Bytes(text, (position or 0) + 1 + _LENGTH_BYTES[name]))
            elif name in ("BINUNICODE", "SHORT_BINUNICODE"):
                self.stack.append(Bytes(str(argument), None, letters=True))
            elif name in _NUMBERS:
                self.stack.append(argument)
            elif name in _EMPTY:
                self.stack.append(_EMPTY[name]())
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name not in ("PROTO", "FRAME"):
                self._act(name, argument)
        raise ValueError("it ends without an end")

    def _act(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name == "MARK":
            stack.append(_Mark())
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("TUPLE", "LIST", "DICT", "APPENDS", "SETITEMS"):
            self._gather(name)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "APPEND":
            last = stack.pop()
            stack[-1].append(last)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][_plain(key)] = value
        elif name == "GLOBAL":
            stack.append(self._imported(argument))
        elif name == "STACK_GLOBAL":
            word, module = _plain(stack.pop()), _plain(stack.pop())
            stack.append(self._imported(f"{module} {word}"))
        elif name == "REDUCE":
            stack.append(self._called(stack.pop(), stack.pop()))
        elif name == "BUILD":
            state = stack.pop()
            self._built(stack[-1], state)
        else:
            raise Broken(f"{self.path}: holds the pickle instruction {name}, which no file of CIFAR's has; refused")

    def _gather(self, name: str) -> None:
        start = max(at for at, value in enumerate(self.stack) if isinstance(value, _Mark))
        values = self.stack[start + 1 :]
        del self.stack[start:]
        if name == "TUPLE":
            self.stack.append(tuple(values))
        elif name == "LIST":
            self.stack.append(values)
        elif name == "APPENDS":
            self.stack[-1].extend(values)
        else:
            if name == "DICT":
                self.stack.append({})
            self.stack[-1].update((_plain(key), value) for key, value in zip(values[::2], values[1::2], strict=True))

    def _imported(self, word: str) -> _Name:
        if word not in _ALLOWED:
            called = word.replace(" ", ".")[:80]
            raise Broken(f"{self.path}: asks to call {called}; it is no file of CIFAR's, refused")
        return _Name(word)

    def _called(self, arguments: tuple[Any, ...], what: Any) -> Any:
        if isinstance(what, _Name) and what.word.endswith("_reconstruct"):
            return Array()
        if isinstance(what, _Name) and what.word == "numpy dtype":
            return _Call("dtype", _plain(arguments[0]))
        if isinstance(what, _Name) and what.word == _ENCODE:
            text, codec = arguments
            if isinstance(text, Bytes) and text.letters and _plain(codec) == "latin1":
                return Bytes(text.text, None)
        raise Broken(f"{self.path}: asks to call something that is no array; refused")

    def _built(self, target: Any, state: Any) -> None:
        """numpy's state of an array: version, shape, dtype, column first or not, bytes."""
        if isinstance(target, _Call):
            return
        _, shape, kind, column_first, values = state
        size = 1
        for side in shape:
            size *= side
        if (
            not isinstance(target, Array)
            or kind.kind != "u1"
            or column_first
            or values.letters
            or values.length != size
        ):
            raise Broken(f"{self.path}: holds an array that is no list of pictures; get it anew")
        target.shape = tuple(shape)
        if values.offset is None:
            target.held = values.text.encode("latin-1")
        else:
            target.offset = values.offset
