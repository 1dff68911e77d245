"""A checkpoint as functions: pictures to features, sentences to embeddings. The one place here that runs the model.

B = batch, S = side in pixels, D = width of the shared embedding space, W = width of the image tower's penultimate layer.
"""

import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.models.abilities import layers_by_the_way, probe_layers_of, reads_text
from evaluation.models.layers import CLASSES, EMBEDDING, LAYER, PENULTIMATE, TOKENS
from evaluation.models.own_classes import class_logits, tells_classes
from pipeline.scoring.scorers import PixelForm

CPU_UNIT = 16
"""Larger ones are slower: see features/lanes.py."""


class Model(Protocol):
    """What an image-text model must offer to be evaluated; training.models.clip.CLIP does."""

    def image_features(self, pixels_B3SS: torch.Tensor) -> torch.Tensor: ...
    def image_projection(self, features_BW: torch.Tensor) -> torch.Tensor: ...
    def encode_text(self, tokens_BL: torch.Tensor) -> torch.Tensor: ...


class Checkpoint(Protocol):
    """training.saving.checkpoint.Checkpoint, as far as evaluation needs it; training.foreign.read.ForeignModel is one too."""

    @property
    def id(self) -> str: ...
    @property
    def spec(self) -> Any: ...
    def model(self) -> Any: ...
    def tokenizer(self) -> Any: ...
    def classes(self) -> tuple[str, ...]: ...


class Encoder:
    """Runs a checkpoint's model in inference mode, on the GPU where there is one."""

    def __init__(self, checkpoint: Checkpoint, batch_size: int) -> None:
        self.checkpoint_id = checkpoint.id
        self.batch_size = batch_size
        self.spec = checkpoint.spec
        self.form = getattr(checkpoint, "form", None) or PixelForm(checkpoint.spec.image_size)
        """How its pictures are cut: ours take the middle square, others' as their configuration says."""
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = checkpoint.model().eval().to(self._device)
        self._read_tokenizer = checkpoint.tokenizer
        self.reads_text = reads_text(self._model)
        self.class_names = checkpoint.classes() if tells_classes(self._model) else ()
        """Of the classes that it tells apart by itself; () where it tells none or they have no names."""
        self._config = getattr(checkpoint, "config", {})
        self.probe_layers = probe_layers_of(self._model, self.spec)

    @property
    def side_by_side(self) -> bool:
        """Whether several threads may ask for features at a time: on CPUs, where that is faster than threads within one."""
        return self._device == "cpu"

    @property
    def unit(self) -> int:
        """Pictures of one forward where many are made: the batch, on CPUs no more than fit the caches."""
        return min(self.batch_size, CPU_UNIT) if self.side_by_side else self.batch_size

    @property
    def by_the_way(self) -> tuple[str, ...]:
        return layers_by_the_way(self.reads_text)

    @property
    def name(self) -> str:
        return str(self.spec.name)

    @property
    def model(self) -> Any:
        """The network itself, for those who look inside."""
        return self._model

    @functools.cached_property
    def logit_scale(self) -> float:
        """What the model's cosines are multiplied by to become logits; 100, CLIP's bound, where a model says nothing."""
        scale = getattr(self._model, "logit_scale", None)
        return 100.0 if scale is None else float(scale.detach().float().exp())

    @functools.cached_property
    def _tokenizer(self) -> Any:
        return self._read_tokenizer()

    @torch.inference_mode()
    def features(self, pixels_B3SS: NDArray[np.uint8], layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Features of a batch of squares by layer: EMBEDDING (B, D), PENULTIMATE (B, W), ...; none is normalised."""
        pixels = torch.from_numpy(pixels_B3SS).to(self._device)
        if CLASSES in layers:
            logits = {CLASSES: _rows(class_logits(self._model, self._config, pixels))}
            others = [layer for layer in layers if layer != CLASSES]
            return logits | (self.features(pixels_B3SS, others) if others else {})
        if any(layer.startswith(LAYER) for layer in layers):
            every_LBW = self._model.features_of_all_layers(pixels)
            return {layer: _rows(every_LBW[int(layer.removeprefix(LAYER))]) for layer in layers}
        with self._tokens(TOKENS in layers) as tokens:
            features_BW = self._model.image_features(pixels)
        made = {PENULTIMATE: features_BW}
        if TOKENS in layers:
            made[TOKENS] = tokens[0]
        if EMBEDDING in layers:  # encode_image by its two halves, so that the tower runs once for both layers
            made[EMBEDDING] = self._model.image_projection(features_BW)
        return {layer: _rows(made[layer]) for layer in layers}

    @contextmanager
    def _tokens(self, wanted: bool) -> Iterator[list[torch.Tensor]]:
        """Gathers the mean over the patches of the image transformer's normed output, (B, W), while a picture goes through."""
        seen: list[torch.Tensor] = []
        mine = threading.get_ident()
        if not wanted:
            yield seen
            return
        tower = self._model.visual
        first = int(tower.class_embedding is not None)

        def look(_: Any, __: Any, x_BTW: torch.Tensor) -> None:
            if threading.get_ident() == mine:  # and not of another lane's pictures
                seen.append(tower.ln_post(x_BTW[:, first:]).mean(dim=1))

        hook = tower.transformer.register_forward_hook(look)
        try:
            yield seen
        finally:
            hook.remove()

    @torch.inference_mode()
    def texts(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of any number of sentences, shape (len, D), not normalised."""
        batches = [sentences[start : start + self.batch_size] for start in range(0, len(sentences), self.batch_size)]
        tokens = (self._tokenizer.encode(list(batch)).to(self._device) for batch in batches)
        return np.concatenate([_rows(self._model.encode_text(tokens_BL)) for tokens_BL in tokens])


def _rows(features: torch.Tensor) -> NDArray[np.float32]:
    return features.float().cpu().numpy()


@contextmanager
def torch_threads(count: int | None) -> Iterator[int]:
    """Run with `count` CPU threads and put torch's setting back, which is given; `None` changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
