"""Asking a scorer: what it gives must fit the pictures that it was given, and a mistake in one's own is told as such.

One number for a whole batch would otherwise stand for each of its pictures without a word.
"""

import traceback
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, UserError
from pipeline.scoring.scorers import Scorer, ScorerConfig, Scores


def ask(
    place: int, config: ScorerConfig, scorer: Scorer, pixels_BSS3: NDArray[np.uint8], texts: Sequence[str]
) -> Scores:
    """B float32 numbers, and (B, D) embeddings where they are to be stored. Raises ConfigError for anything else that the
    scorer gives, and where a scorer of one's own fails."""
    where = f"curate.score.{place}.scorer: {config.scorer}"
    try:
        given = scorer(pixels_BSS3, texts)
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        if ":" not in config.scorer:  # one of ours, and so our mistake
            raise
        at = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise ConfigError(f"{where} failed ({said}; {at.filename}, line {at.lineno}); correct it") from error
    if not isinstance(given, Scores):
        raise ConfigError(f"{where} gave a {type(given).__name__}; give a pipeline.scoring.scorers.Scores")
    values = _numbers(given.values, (len(texts),), f"{where} gave as values")
    if not config.store_embedding:
        return Scores(values)
    shape = (len(texts), scorer.embedding_width)
    return Scores(values, _numbers(given.embeddings, shape, f"{where} gave as embeddings"))


def _numbers(given: object, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
    wanted = f"give float32 numbers of shape {shape}, for {shape[0]} pictures"
    try:
        found = np.asarray(given, np.float32)
    except (ValueError, TypeError):
        raise ConfigError(f"{what} a {type(given).__name__} that is no array of numbers; {wanted}") from None
    if given is None or found.shape != shape:
        raise ConfigError(f"{what} {'nothing' if given is None else f'shape {found.shape}'}; {wanted}")
    return found
