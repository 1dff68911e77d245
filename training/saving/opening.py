"""The model at a place, whoever made it: a checkpoint of ours (finished, resumable, or the newest of a run's folder), or a
model of others (training/foreign/)."""

from pathlib import Path

from pipeline import storage
from pipeline.errors import DataError
from training.foreign.read import CONFIGS, FILES, ForeignModel, read_foreign
from training.saving.checkpoint import FINAL, NAME, Checkpoint

AnyModel = Checkpoint | ForeignModel


def open_model(place: str) -> AnyModel:
    """Raises DataError where there is none, or one that cannot be used."""
    if place.endswith(FILES):
        return read_foreign(place)
    names = storage.list_names(place)
    if NAME in names:
        return Checkpoint.load(place)
    if FINAL in names and storage.exists(storage.join(place, FINAL, NAME)):
        return Checkpoint.load(storage.join(place, FINAL))
    if (newest := _newest_of_run(place)) is not None:
        return newest
    if any(name in names for name in CONFIGS):
        return read_foreign(place)
    raise DataError(
        f"{place}: holds no {', '.join((NAME, *CONFIGS))}; give the folder of a run, of a checkpoint, or of an open_clip or"
        " Hugging Face model, or the file of one of OpenAI's"
    )


def _newest_of_run(place: str) -> Checkpoint | None:
    from training.saving.folder import sealed

    if not storage.is_local(place):
        return None
    for folder in reversed(sealed(Path(place) / "checkpoints")):
        try:
            return Checkpoint.load(str(folder))
        except (DataError, OSError):
            continue  # damaged: the one before it
    return None
