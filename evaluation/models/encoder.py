"""A checkpoint as two functions: pictures to features, sentences to embeddings. The one place here that runs the model.

B = batch, H = pixels, D = width of the shared embedding space, W = width of the image tower's penultimate layer.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from training.data.transforms import evaluation_pixels

EMBEDDING = "embedding"
PENULTIMATE = "penultimate"
LAYER = "layer-"
"""Before the number of a layer, of models that give the features of all."""


class Model(Protocol):
    """What an image-text model must offer to be evaluated; training.models.clip.CLIP does."""

    def image_features(self, pixels_B3HH: torch.Tensor) -> torch.Tensor: ...
    def image_projection(self, features_BW: torch.Tensor) -> torch.Tensor: ...
    def encode_text(self, tokens_BL: torch.Tensor) -> torch.Tensor: ...


class Checkpoint(Protocol):
    """training.saving.checkpoint.Checkpoint, as far as evaluation needs it."""

    @property
    def id(self) -> str: ...
    @property
    def spec(self) -> Any: ...
    def model(self) -> Any: ...
    def tokenizer(self) -> Any: ...


class Encoder:
    """Runs a checkpoint's model in inference mode, on the GPU where there is one."""

    def __init__(self, checkpoint: Checkpoint, batch_size: int) -> None:
        self.checkpoint_id = checkpoint.id
        self.batch_size = batch_size
        self.spec = checkpoint.spec
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = checkpoint.model().eval().to(self._device)
        self._read_tokenizer = checkpoint.tokenizer
        self.reads_text = hasattr(self._model, "encode_text")
        """Whether it can be asked in words; a model of pictures alone has features for probes only."""
        every = hasattr(self._model, "features_of_all_layers")
        self.probe_layers = [f"{LAYER}{n}" for n in range(self.spec.layers + 1)] if every else [PENULTIMATE]
        """Where a linear probe may read: where the best features lie is not known before for models of pixels."""

    @functools.cached_property
    def logit_scale(self) -> float:
        """What the model's cosines are multiplied by to become logits; 100, CLIP's bound, where a model says nothing."""
        scale = getattr(self._model, "logit_scale", None)
        return 100.0 if scale is None else float(scale.detach().float().exp())

    @functools.cached_property
    def _tokenizer(self) -> Any:
        return self._read_tokenizer()

    @torch.inference_mode()
    def images(self, pictures: Sequence[Image.Image], layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Features of one batch of pictures by layer: EMBEDDING (B, D) and PENULTIMATE (B, W), not normalised."""
        return self.features(torch.stack([evaluation_pixels(picture, self.spec) for picture in pictures]), layers)

    @torch.inference_mode()
    def features(self, pixels_B3HH: torch.Tensor, layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """`images` of pictures that were cut to the model's size already, uint8."""
        pixels_B3HH = pixels_B3HH.to(self._device)
        if any(layer.startswith(LAYER) for layer in layers):
            every_LBW = self._model.features_of_all_layers(pixels_B3HH)
            return {layer: _rows(every_LBW[int(layer.removeprefix(LAYER))]) for layer in layers}
        features_BW = self._model.image_features(pixels_B3HH)
        made = {PENULTIMATE: features_BW}
        if EMBEDDING in layers:  # encode_image by its two halves, so that the tower runs once for both layers
            made[EMBEDDING] = self._model.image_projection(features_BW)
        return {layer: _rows(made[layer]) for layer in layers}

    @torch.inference_mode()
    def texts(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of any number of sentences, shape (len, D), not normalised."""
        batches = [sentences[start : start + self.batch_size] for start in range(0, len(sentences), self.batch_size)]
        tokens = (self._tokenizer.encode(list(batch)).to(self._device) for batch in batches)
        return np.concatenate([_rows(self._model.encode_text(tokens_BL)) for tokens_BL in tokens])


def _rows(features: torch.Tensor) -> NDArray[np.float32]:
    return features.float().cpu().numpy()


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Run with `count` CPU threads and put torch's setting back; `None` changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
