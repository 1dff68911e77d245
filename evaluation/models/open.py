"""The model that a recipe names, ready to encode: a folder or file with a checkpoint, or a function of the user's own.

    evaluate: {...}            checkpoint: runs/clip              ours, open_clip's, Hugging Face's
                               checkpoint: ViT-B-32.pt            OpenAI's
                               checkpoint: mine.py:load           your own (models/own.py)

Worker processes keep what they have opened.
"""

import functools

from evaluation.models.encoder import Encoder
from evaluation.models.foreign import is_own, open_checkpoint
from evaluation.models.own import own_encoder


def open_encoder(place: str, batch_size: int) -> Encoder:
    """The encoder of `place`. Raises DataError where there is no usable model."""
    return own_encoder(place, batch_size) if is_own(place) else Encoder(open_checkpoint(place), batch_size)


@functools.lru_cache(maxsize=1)
def worker_encoder(place: str, identity: str, batch_size: int, threads: int | None) -> Encoder:
    """The encoder of a worker process, kept from part to part; `identity` is the checkpoint's, so a changed one is opened anew."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    return open_encoder(place, batch_size)


def identity_of(place: str) -> str:
    """The id of the model in `place`, whoever made it. Raises DataError where there is no usable model."""
    return own_encoder(place, 1).checkpoint_id if is_own(place) else open_checkpoint(place).id
