"""Which language a caption is in, by py3langid (Lui & Baldwin 2012, langid.py; its model ships in the package).

The package's naive Bayes model is walked by a compiled loop, which gives the package's own answers some thirty times as
fast (tests/pipeline/test_language.py compares them).

Captions are short, and short texts are where language identification is weakest: "number zero" looks German. So the rule
is one-sided: a text falls only when another language is likelier than every wanted one and its probability is high.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.compiled import compiled, frozen, text_buffers
from pipeline.errors import ConfigError

CANDIDATES = (
    *("ar", "bn", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id"),
    *("it", "ja", "ko", "nl", "no", "pl", "pt", "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh"),
)
"""Languages told apart; fewer candidates make short texts surer. A wanted language outside the list is added."""


@dataclass(frozen=True)
class Model:
    """py3langid's arrays: an automaton over bytes whose states tell of features, and each feature's weight by language."""

    languages: tuple[str, ...]
    next_move: np.ndarray
    row_base: np.ndarray
    output: np.ndarray
    weights: np.ndarray  # features x languages, float32
    prior: np.ndarray
    first: np.ndarray  # language i is the same as language first[i] (one language in two scripts)


@functools.cache
def _package() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def known_languages() -> frozenset[str]:
    """ISO 639-1 codes that the model tells apart."""
    return frozenset(_package().nb_classes)


@functools.cache
def model(wanted: tuple[str, ...]) -> Model:
    """The model for CANDIDATES and `wanted`. Raises ConfigError for a code that it does not know."""
    if unknown := sorted(set(wanted) - known_languages()):
        raise ConfigError(
            f"curate.select.text.languages: {unknown[0]!r} is no language that can be told; use ISO 639-1 codes of these:"
            f" {' '.join(sorted(known_languages()))}"
        )
    package = _package()
    kept = [i for i, name in enumerate(package.nb_classes) if name in {*CANDIDATES, *wanted}]
    names = tuple(package.nb_classes[i] for i in kept)
    return Model(
        names,
        frozen(np.asarray(package.tk_nextmove)),
        frozen(np.asarray(package.tk_row, np.int64) << 8),
        frozen(np.asarray(package.tk_output, np.int32)),
        frozen(np.ascontiguousarray(package.nb_ptc[:, kept], np.float32)),
        frozen(np.asarray(package.nb_pc[kept], np.float32)),
        frozen(np.array([names.index(name) for name in names], np.int64)),
    )


def identify(texts: pa.Array, wanted: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(language as its number in model(wanted).languages, its probability) of each text of a column in NFC."""
    shouted = pc.utf8_is_upper(texts)
    if pc.any(shouted).as_py():
        texts = pc.replace_with_mask(texts, shouted, pc.utf8_lower(texts.filter(shouted)))
    data, offsets = text_buffers(texts)
    m = model(wanted)
    best, probability = _classify(data, offsets, m.next_move, m.row_base, m.output, m.weights, m.prior, m.first)
    return np.asarray(best), np.asarray(probability)


def foreign(
    texts: pa.Array, wanted: tuple[str, ...], minimum_probability: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(is it surely in none of the `wanted` languages, number of its language, probability) of each text."""
    best, probability = identify(texts, wanted)
    ours = np.array([name in wanted for name in model(wanted).languages])
    return ~ours[best] & (probability >= minimum_probability), best, probability


@compiled
def _classify(data, offsets, next_move, row_base, output, weights, prior, first):  # type: ignore[no-untyped-def]
    """Naive Bayes with log(1 + count) of each feature, tempered by the square root of the length, as py3langid does."""
    languages = len(prior)
    count = np.zeros(len(weights), np.int32)
    touched = np.empty(len(weights), np.int64)
    score = np.empty(languages, np.float64)
    best, probability = np.empty(len(offsets) - 1, np.int64), np.empty(len(offsets) - 1, np.float64)
    for i in range(len(offsets) - 1):
        state, features = 0, 0
        for at in range(offsets[i], offsets[i + 1]):
            state = next_move[row_base[state] + data[at]]
            feature = output[state]
            if feature >= 0:
                if count[feature] == 0:
                    touched[features] = feature
                    features += 1
                count[feature] += 1
        for k in range(languages):
            score[k] = prior[k] if features else 0.0
        for f in range(features):
            feature = touched[f]
            weight = np.log1p(float(count[feature]))
            count[feature] = 0
            for k in range(languages):
                score[k] += weight * weights[feature, k]
        temper = 1.0 / np.sqrt(float(max(1, offsets[i + 1] - offsets[i])))
        highest = score.max()
        total = 0.0
        for k in range(languages):
            score[k] = np.exp((score[k] - highest) * temper)
            total += score[k]
        for k in range(languages):
            if first[k] != k:
                score[first[k]] += score[k]
                score[k] = 0.0
        best[i] = score.argmax()
        probability[i] = score[best[i]] / total
    return best, probability
