"""Any model of the user's, in ten lines: a file with a function that gives an object with these members.

    class Mine:
        name = "mine-v1"                 # what reports call it
        side = 224                       # pictures come as squares of so many pixels

        def images(self, pixels):        # uint8 (B, 3, side, side) -> (B, D) float
            ...

        def texts(self, sentences):      # optional: list of B strings -> (B, D) float
            ...

        class_names = ["cat", "dog"]     # optional, with `classes`: pixels -> (B, len(class_names)) logits

    def load():
        return Mine()

The recipe says `checkpoint: mine.py:load`. The file is the user's own program and is run as such: it may import what lies beside
it. Weights that came from elsewhere should be read from safetensors in it.

Which model it is, is told by what it computes of two pictures and two sentences too: weights that it reads from a file can change
while the program stays as it is.
"""

import contextlib
import importlib.util
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.models.encoder import Encoder
from evaluation.models.layers import CLASSES, EMBEDDING, PENULTIMATE
from pipeline import storage
from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm

MOST_SIDE = 16_384
"""Pixels of a side; more is a mistake."""
SENTENCES = ("a photo of a dog.", "a drawing of two red houses.")
MODULE = "own_model"
STEADY = 1e-2
"""Of its largest number: what two answers to the same may differ by. Kernels on GPUs that add in any order differ by far less."""


@dataclass(frozen=True)
class _Name:
    """Stands where a checkpoint has its spec."""

    name: str


class _Own(Encoder):
    """The user's object behind the interface of Encoder; its one layer serves zero-shot and probes alike."""

    def __init__(self, model: Any, identity: str, batch_size: int) -> None:
        self.checkpoint_id = identity
        self.batch_size = batch_size
        self.spec = _Name(str(model.name))
        self.form = getattr(model, "form", None) or PixelForm(int(model.side), "round")
        self._model = model
        self.reads_text = hasattr(model, "texts")
        self.logit_scale = float(getattr(model, "logit_scale", 100.0))
        self.probe_layers = [PENULTIMATE]
        self.class_names = tuple(getattr(model, "class_names", ())) if hasattr(model, "classes") else ()
        self._width = 0

    @property
    def side_by_side(self) -> bool:
        """The user's code gets whole batches, one after the other: it need not bear threads."""
        return False

    def features(self, pixels_B3SS: NDArray[np.uint8], layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        made = {}
        if CLASSES in layers:
            made[CLASSES] = _called(self._model.classes, pixels_B3SS, "classes")
        wanted = [layer for layer in layers if layer in (EMBEDDING, PENULTIMATE)]
        if wanted:
            rows = _called(self._model.images, pixels_B3SS, "images")
            if self._width and rows.shape[1] != self._width:
                raise DataError(
                    f"checkpoint: images gave {self._width} numbers per picture, then {rows.shape[1]}; give as many"
                )
            self._width = rows.shape[1]
            made |= dict.fromkeys(wanted, rows)
        return made

    def texts(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        starts = range(0, len(sentences), self.batch_size)
        batches = [list(sentences[start : start + self.batch_size]) for start in starts]
        rows = np.concatenate([_called(self._model.texts, batch, "texts") for batch in batches])
        if self._width and rows.shape[1] != self._width:
            raise DataError(f"checkpoint: texts are {rows.shape[1]} wide and images {self._width}; both must be equal")
        return rows


def own_encoder(place: str, batch_size: int) -> Encoder:
    """Run the file and call the function. Raises DataError where that fails or gives no model."""
    file, _, function = place.rpartition(":")
    if not os.path.isfile(file):
        raise DataError(f"checkpoint: {file} is no file; give FILE.py:FUNCTION")
    code = importlib.util.spec_from_file_location(MODULE, file)
    assert code is not None
    assert code.loader is not None
    module = importlib.util.module_from_spec(code)
    sys.modules[MODULE] = module  # where dataclasses look up what their annotations say
    beside = os.path.dirname(os.path.abspath(file))
    if beside not in sys.path:
        sys.path.append(beside)  # last, so that nothing of ours is hidden by it
    try:
        code.loader.exec_module(module)
        model = getattr(module, function)()
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise DataError(f"checkpoint: {place} gives no model ({type(error).__name__}: {error}); mend it") from error
    missing = [name for name in ("name", "side", "images") if not hasattr(model, name)]
    if missing:
        raise DataError(f"checkpoint: what {place} gives has no {missing[0]}; evaluation/models/own.py shows ten lines")
    _check_members(place, model)
    return _Own(model, _identity(file, function, model), batch_size)


def _identity(file: str, function: str, model: Any) -> str:
    """A hash of the program, of what the model says of itself, and of the numbers that it gives. What fails here is told where it
    is measured. Raises DataError for a model that gives other numbers when it is asked the same again."""
    said = {key: getattr(model, key, None) for key in ("name", "side", "logit_scale", "class_names", "form")}
    pixels_23SS = np.random.default_rng(0).integers(0, 256, (2, 3, model.side, model.side), np.uint8)
    given = []
    for what, asked in (("images", pixels_23SS), ("classes", pixels_23SS), ("texts", list(SENTENCES))):
        each = []
        if hasattr(model, what):
            with contextlib.suppress(DataError):
                each = [_called(getattr(model, what), asked, what) for _ in range(2)]
        _check_steady(file, what, each)
        given.append(storage.sha256(each[0].tobytes() if len(each) == 2 else b""))
    words = storage.canonical_json([function, repr(sorted(said.items())), *given])
    return storage.sha256(storage.read_bytes(file) + words)


def _check_steady(file: str, what: str, each: Sequence[NDArray[np.float32]]) -> None:
    if len(each) < 2 or not all(np.isfinite(rows).all() for rows in each):
        return
    first, again = each
    if first.shape == again.shape and np.abs(first - again).max(initial=0) <= STEADY * np.abs(first).max(initial=0):
        return
    raise DataError(
        f"checkpoint: {what} of {file} gives other numbers when it is asked the same again; put the model into evaluation mode"
        " (model.eval(): without it dropout is at work), or give its random numbers a seed in every call"
    )


def _check_members(place: str, model: Any) -> None:
    """Raises DataError for a member that is not what the head of this file says."""
    wanted = {
        "name": (isinstance(model.name, str) and bool(model.name), "a word"),
        "side": (isinstance(model.side, int) and 1 <= model.side <= MOST_SIDE, f"pixels from 1 to {MOST_SIDE:,}"),
        "logit_scale": (_is_number(getattr(model, "logit_scale", 1.0)), "a finite number above 0"),
        "class_names": (_are_words(getattr(model, "class_names", ())), "a list of words"),
    }
    for name, (fits, what) in wanted.items():
        if not fits:
            raise DataError(f"checkpoint: {name} of what {place} gives is {getattr(model, name)!r:.80}; give {what}")


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value)) and float(value) > 0
    except (TypeError, ValueError):
        return False


def _are_words(names: Any) -> bool:
    return isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)


def _called(function: Any, batch: Any, what: str) -> NDArray[np.float32]:
    """What the user's own code gives. Raises DataError where it fails, or gives no row per input."""
    try:
        rows = function(batch)
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise DataError(f"checkpoint: {what} failed ({type(error).__name__}: {error}); mend it") from error
    return _checked(rows, len(batch), what)


def _checked(rows: Any, count: int, what: str) -> NDArray[np.float32]:
    if hasattr(rows, "detach"):
        rows = rows.detach().float().cpu().numpy()
    try:
        found = np.asarray(rows)
        found = found if np.iscomplexobj(found) else found.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"checkpoint: {what} gave no array of numbers ({str(error)[:80]}); give rows of floats"
        ) from error
    if np.iscomplexobj(found):
        raise DataError(f"checkpoint: {what} gave complex numbers; give real ones")
    if found.ndim == 2 and not found.shape[1]:
        raise DataError(f"checkpoint: {what} gave rows without a number; give ({count}, width)")
    if found.ndim != 2 or len(found) != count:
        raise DataError(f"checkpoint: {what} gave shape {found.shape} for {count} inputs; give ({count}, width)")
    return found
