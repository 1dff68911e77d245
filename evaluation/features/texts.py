"""Embeddings of sentences, made once per checkpoint and prompt set, kept beside the features of pictures.

ImageNet's 80,000 prompts cost a text tower more than all pictures of a small benchmark; every protocol asks for the same.
"""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.models.encoder import Encoder
from pipeline import storage
from pipeline.code_version import code_version


def stored_texts(folder: str, encoder: Encoder, sentences: Sequence[str]) -> tuple[NDArray[np.float32], bool]:
    """(len, D), not normalised, in the sentences' order, and whether they were there and damaged, and so made again.

    The file's name is a hash of checkpoint, code and sentences.
    """
    key = {
        "checkpoint": encoder.checkpoint_id,
        "code": [code_version("training.saving.checkpoint"), code_version("training.tokens.tokenizer")],
        "sentences": list(sentences),
    }
    path = storage.join(folder, f"texts-{storage.sha256(storage.canonical_json(key))[:32]}.npy")
    there = storage.exists(path)
    if there:
        with contextlib.suppress(ValueError, EOFError, TypeError):
            kept: NDArray[np.float32] = np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
            if len(kept) == len(sentences):
                return kept, False
    made = encoder.texts(sentences)
    file = io.BytesIO()
    np.save(file, made, allow_pickle=False)
    storage.write_bytes(path, file.getvalue())
    return made, there
