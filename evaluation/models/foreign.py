"""The checkpoint in a folder, whoever made it: ours, or one that training/foreign/ reads."""

from pipeline import storage
from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm
from training.foreign.read import CONFIGS, FILES, ForeignModel, read_foreign
from training.saving.checkpoint import NAME as OURS
from training.saving.checkpoint import WEIGHTS, Checkpoint

AnyCheckpoint = Checkpoint | ForeignModel


def is_own(place: str) -> bool:
    """Whether `place` is file.py:function, a model of the user's own (own.py)."""
    file, _, function = place.rpartition(":")
    return file.endswith(".py") and function.isidentifier()


def open_checkpoint(folder: str) -> AnyCheckpoint:
    """Ours where there is one, else theirs. Raises DataError where there is none, or one that cannot be used."""
    if folder.endswith(FILES):
        return read_foreign(folder)
    names = storage.list_names(folder)
    if OURS in names:
        return Checkpoint.load(folder)
    if not any(name in names for name in CONFIGS):
        raise DataError(
            f"{folder}: holds no {', '.join((OURS, *CONFIGS))}; give the folder of an openwit, open_clip or Hugging Face"
            " checkpoint"
        )
    return read_foreign(folder)


def pixel_form(checkpoint: AnyCheckpoint) -> PixelForm:
    """How its pictures are cut: ours as `training.data.transforms.evaluation_pixels` does, others' as they say, imported or not."""
    return checkpoint.form or PixelForm(checkpoint.spec.image_size)


def weight_bytes(checkpoint: AnyCheckpoint) -> int:
    names = checkpoint.weight_files if isinstance(checkpoint, ForeignModel) else (WEIGHTS,)
    return sum(storage.size(storage.join(checkpoint.folder, name)) for name in names)
