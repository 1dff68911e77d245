"""CLIP checkpoints of others as ours: open_clip folders and Hugging Face CLIPModel folders with vision transformer towers.

    open_clip      open_clip_config.json, open_clip_model.safetensors (or open_clip_pytorch_model.bin)
    Hugging Face   config.json, preprocessor_config.json, model.safetensors (or pytorch_model.bin)
    both           tokenizer.json, or vocab.json and merges.txt, or open_clip's bpe_simple_vocab_16e6.txt.gz

The weights go into training's CLIP: the towers are the same mathematics, down to QuickGELU. Whatever a configuration asks
that this CLIP does not do (a ResNet tower, SigLIP, pooling by attention) is refused by its key, never ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.foreign_config import Details, huggingface, open_clip
from evaluation.foreign_tokenizer import TOKENIZER_FILES, ForeignTokenizer
from pipeline import storage
from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm
from training.checkpoint import NAME as OURS
from training.checkpoint import Checkpoint
from training.specs.clip import ClipSpec

if TYPE_CHECKING:
    from training.models.clip import CLIP

LAYOUTS = {
    "open_clip_config.json": (open_clip, ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")),
    "config.json": (huggingface, ("model.safetensors", "pytorch_model.bin")),
}
EXTRA = "preprocessor_config.json"


@dataclass(frozen=True)
class ForeignCheckpoint:
    """`files` maps what was read, weights and tokenizer among it, to its sha256."""

    folder: str
    details: Details
    weights: str
    files: Mapping[str, str]

    @property
    def id(self) -> str:
        """SHA-256 over the files' checksums: equal weights, tokenizer and configuration, equal id."""
        return storage.sha256(storage.canonical_json(dict(self.files)))

    @property
    def spec(self) -> ClipSpec:
        return self.details.spec

    def tokenizer(self) -> ForeignTokenizer:
        return ForeignTokenizer.load(self.folder, self.spec.text.context)

    def model(self) -> "CLIP":
        """The model in evaluation mode, float32, on the CPU."""
        import torch

        from evaluation.foreign_weights import read_weights, set_details

        with torch.device("meta"):
            model = self.spec.build()
            set_details(model, self.details)
        path = storage.join(self.folder, self.weights)
        found = read_weights(path, self.details.layout)
        wanted = model.state_dict()
        for name in sorted({*found} ^ {*wanted}):
            raise DataError(f"{path}: tensor {name} is {'missing' if name in wanted else 'not of this model'}")
        for name, tensor in sorted(found.items()):
            if tensor.shape != wanted[name].shape:
                raise DataError(
                    f"{path}: {name} has shape {tuple(tensor.shape)}, its configuration says {tuple(wanted[name].shape)}"
                )
        model.load_state_dict(found, assign=True)
        mean, std = (torch.tensor(each).view(3, 1, 1) * 255 for each in (self.details.mean, self.details.std))
        model.visual.pixel_mean, model.visual.pixel_std = mean, std
        return model.eval().requires_grad_(False)


AnyCheckpoint = Checkpoint | ForeignCheckpoint


def open_checkpoint(folder: str) -> AnyCheckpoint:
    """The checkpoint in `folder`, whoever made it. Raises DataError where there is none, or one that cannot be used."""
    if storage.exists(storage.join(folder, OURS)):
        return Checkpoint.load(folder)
    for name, (read, weight_names) in LAYOUTS.items():
        if not storage.exists(storage.join(folder, name)):
            continue
        names = storage.list_names(folder)
        weights = next((each for each in weight_names if each in names), None)
        if weights is None:
            raise DataError(f"{folder}: has {name} and no weights; put {weight_names[0]} beside it")
        extra = storage.read_json(storage.join(folder, EXTRA)) if EXTRA in names else {}
        details = read(folder, storage.read_json(storage.join(folder, name)), extra)
        used = [each for each in (name, EXTRA, weights, *TOKENIZER_FILES) if each in names]
        files = {each: storage.sha256_file(storage.join(folder, each)) for each in used}
        return ForeignCheckpoint(folder, details, weights, files)
    raise DataError(
        f"{folder}: holds no {OURS}, open_clip_config.json or config.json; give the folder of an openwit, open_clip or"
        " Hugging Face CLIP checkpoint"
    )


def pixel_form(checkpoint: AnyCheckpoint) -> PixelForm:
    """How its pictures are cut: ours as `training.data.transforms.evaluation_pixels` does, others' as they say."""
    if isinstance(checkpoint, ForeignCheckpoint):
        return checkpoint.details.form
    return PixelForm(checkpoint.spec.image_size)


def weight_bytes(checkpoint: AnyCheckpoint) -> int:
    name = checkpoint.weights if isinstance(checkpoint, ForeignCheckpoint) else "model.safetensors"
    return storage.size(storage.join(checkpoint.folder, name))
