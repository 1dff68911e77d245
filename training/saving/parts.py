"""One rank's part of a checkpoint as files, and reading any piece of any parameter from the parts of all ranks.

    state-00003.safetensors    tensors `exp_avg/visual.proj`: this rank's piece, flattened
    state-00003.json           where each piece starts in its whole, counts and settings of the optimizer, and the checksum of
                               the file beside it; written last

The safetensors format (https://github.com/huggingface/safetensors: 8 bytes of length, a JSON header, raw little-endian
numbers) is written here by hand: in one pass, with the checksum, and without a second copy of all numbers in memory.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.errors import DataError
from training.saving.blocks import AVERAGE, BUFFER, WEIGHT

if TYPE_CHECKING:
    from torch import Tensor

NO_MOMENTS = (WEIGHT, BUFFER, AVERAGE)
FORMAT = "openwit-state-1"
CHUNK_BYTES = 16 << 20
DTYPES = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
}


@dataclass(frozen=True)
class Piece:
    """Numbers `start` .. of the flattened whole of `shape`, on the host."""

    name: str
    key: str
    shape: tuple[int, ...]
    start: int
    values: "Tensor"

    @property
    def label(self) -> str:
        return f"{self.key}/{self.name}"


@dataclass
class Part:
    """What one rank saves. `scalars` by parameter; `groups` are (names of parameters, settings);
    `counts` those of the loss scale."""

    pieces: list[Piece] = field(default_factory=list)
    scalars: dict[str, dict[str, float]] = field(default_factory=dict)
    groups: list[tuple[list[str], dict[str, Any]]] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=dict)


def file_names(rank: int) -> tuple[str, str]:
    return f"state-{rank:05d}.safetensors", f"state-{rank:05d}.json"


def write_tensors(path: Path, tensors: Sequence[tuple[str, "Tensor"]]) -> str:
    """A safetensors file of host tensors, on the disk when this returns; its sha256. Raises OSError."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, values in tensors:
        end = place + values.numel() * values.element_size()
        header[name] = {
            "dtype": DTYPES[str(values.dtype)],
            "shape": list(values.shape),
            "data_offsets": [place, end],
        }
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in (len(text).to_bytes(8, "little"), text):
            file.write(piece)
            digest.update(piece)
        for _, values in tensors:
            raw = _bytes_of(values)
            for start in range(0, len(raw), CHUNK_BYTES):
                file.write(raw[start : start + CHUNK_BYTES])
                digest.update(raw[start : start + CHUNK_BYTES])
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _bytes_of(values: "Tensor") -> memoryview:
    import torch

    flat = values.detach().contiguous().reshape(-1).view(torch.uint8)
    return memoryview(flat.numpy())  # type: ignore[arg-type]  # numpy arrays are buffers


def write_part(folder: Path, rank: int, part: Part) -> None:
    """Both files of a rank; the JSON last. Raises OSError, or DataError for the JSON."""
    tensors, description = file_names(rank)
    checksum = write_tensors(folder / tensors, [(piece.label, piece.values) for piece in part.pieces])
    value = {
        "format": FORMAT,
        "file": tensors,
        "sha256": checksum,
        "pieces": {piece.label: {"shape": list(piece.shape), "start": piece.start} for piece in part.pieces},
        "scalars": part.scalars,
        "groups": [{"parameters": names, "settings": settings} for names, settings in part.groups],
        "counts": part.counts,
    }
    storage.write_json(str(folder / description), value)


def checksums_of_parts(folder: Path, ranks: int) -> dict[str, str]:
    """sha256 of every file in the folder; those of the large ones as their writers found them."""
    large = {}
    for rank in range(ranks):
        tensors, description = file_names(rank)
        large[tensors] = storage.read_json(str(folder / description))["sha256"]
    others = [name for name in storage.list_names(str(folder)) if name not in large]
    return large | {name: storage.sha256_file(str(folder / name)) for name in others}


class State:
    """The parts of all ranks in a sealed folder, read by parameter name."""

    def __init__(self, folder: str, ranks: int) -> None:
        self.folder = Path(folder)
        self._pieces: dict[tuple[str, str], list[tuple[int, str, str]]] = {}
        self.shapes: dict[tuple[str, str], tuple[int, ...]] = {}
        self.scalars: dict[str, dict[str, float]] = {}
        self.settings: dict[str, Mapping[str, Any]] = {}
        self.counts: dict[str, float] = {}
        self._files: dict[str, Any] = {}
        self._optimized: set[str] = set()
        for rank in range(ranks):
            self._add(storage.read_json(str(self.folder / file_names(rank)[1])))

    def _add(self, part: Mapping[str, Any]) -> None:
        if part.get("format") != FORMAT:
            raise DataError(f"{self.folder}: a state of form {part.get('format')!r}; this openwit reads {FORMAT}")
        for label, piece in part["pieces"].items():
            key, name = label.split("/", 1)
            if key not in NO_MOMENTS:
                self._optimized.add(name)
            self.shapes[key, name] = tuple(piece["shape"])
            self._pieces.setdefault((key, name), []).append((piece["start"], label, part["file"]))
        self.scalars.update(part["scalars"])
        for group in part["groups"]:
            self.settings.update(dict.fromkeys(group["parameters"], group["settings"]))
        self.counts.update(part["counts"])

    def names(self, key: str) -> list[str]:
        return sorted(name for each, name in self.shapes if each == key)

    def is_optimized(self, names: Iterable[str]) -> bool:
        """Whether the optimizer had made a step for any of these parameters."""
        return any(self.scalars.get(name) for name in names) or not self._optimized.isdisjoint(names)

    def read(self, key: str, name: str, start: int = 0, numel: int | None = None) -> "Tensor":
        """(numel,) of the flattened whole. Raises DataError where the parts do not cover it."""
        import torch

        whole = math.prod(self.shapes.get((key, name), (0,)))
        stop = start + (whole if numel is None else numel)
        found, done = [], start
        for begin, label, file in sorted(self._pieces.get((key, name), [])):
            view = self._open(file).get_slice(label)
            size = math.prod(view.get_shape())
            if begin <= done < begin + size and done < stop:
                last = min(stop, begin + size)
                found.append(view[done - begin : last - begin])
                done = last
        if done != stop:
            raise DataError(f"{self.folder}: holds no {key} of {name} (numbers {done:,} to {stop:,}); it is not whole")
        return found[0] if len(found) == 1 else torch.cat(found)

    def _open(self, file: str) -> Any:
        from safetensors import safe_open

        if file not in self._files:
            self._files[file] = safe_open(str(self.folder / file), "pt")
        return self._files[file]

    def weights(self, key: str = WEIGHT) -> dict[str, "Tensor"]:
        """Everything of one key, whole; of WEIGHT with the model's buffers: a state dict."""
        keys = (key, BUFFER) if key == WEIGHT else (key,)
        return {
            name: self.read(each, name).reshape(self.shapes[each, name]) for each in keys for name in self.names(each)
        }
