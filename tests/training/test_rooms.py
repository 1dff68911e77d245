"""Memory of batches is used again when, and only when, nothing holds it."""

import numpy as np
import torch

from training.data.rooms import Rooms


def test_a_room_is_free_when_the_last_tensor_over_it_is_gone() -> None:
    memory = np.zeros((2, 3, 4), np.uint8)
    rooms = Rooms(list(memory))
    first = rooms.take()
    assert first is not None
    part = torch.from_numpy(first)[1:].flatten()
    first[:] = 7
    del first
    second = rooms.take()
    assert second is not None
    assert rooms.take() is None
    assert rooms.held == 2
    second[:] = 9
    assert part.eq(7).all()
    assert memory[0].min() == 7
    assert memory[1].min() == 9
    del part
    again = rooms.take()
    assert again is not None
    assert np.shares_memory(again, memory[0])
    assert rooms.held == 2
