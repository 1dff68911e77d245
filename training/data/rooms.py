"""Memory for batches that is used again when nobody holds what was made of it: new memory costs a page fault per 4 KiB, which takes
as long as copying into it."""

import weakref
from collections.abc import Sequence

from training.data.resize import Pixels


class Rooms:
    """For one thread; tensors over what it gives may live in any."""

    def __init__(self, arrays: Sequence[Pixels]) -> None:
        self._arrays = list(arrays)
        self._lent: list[weakref.ref[Pixels] | None] = [None] * len(self._arrays)

    def take(self) -> Pixels | None:
        """One that nobody holds, None where all are held. It is held while an array or a tensor over it lives."""
        for number, lent in enumerate(self._lent):
            if lent is None or lent() is None:
                view = self._arrays[
                    number
                ].view()  # an object of its own: torch.from_numpy keeps it as long as its storage
                self._lent[number] = weakref.ref(view)
                return view
        return None

    @property
    def held(self) -> int:
        return sum(lent is not None and lent() is not None for lent in self._lent)
