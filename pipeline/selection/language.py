"""Which language a caption is in, by py3langid (Lui & Baldwin 2012, langid.py; its model ships in the package).

The package's naive Bayes model is walked by a compiled loop, which gives the package's own answers some twenty times as
fast: 340,000 captions a second on a core beside 13,000 (tests/pipeline/selection/test_language.py compares the answers).

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


TOGETHER = 16
"""Texts that walk through the automaton side by side."""


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
    if pc.any(shouted).as_py():  # Arrow and Python differ about a few letters; the package asks Python
        spoken = [text.lower() if text.isupper() else text for text in texts.filter(shouted).to_pylist()]
        texts = pc.replace_with_mask(texts, shouted, pa.array(spoken, texts.type))
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
    texts, languages = len(offsets) - 1, len(prior)
    longest = 1
    for i in range(texts):
        longest = max(longest, offsets[i + 1] - offsets[i])
    features = np.empty((TOGETHER, longest), np.int32)
    found = np.zeros(TOGETHER, np.int64)
    count = np.zeros(len(weights), np.int32)
    score = np.empty(languages, np.float64)
    best, probability = np.empty(texts, np.int64), np.empty(texts, np.float64)
    for begin in range(0, texts, TOGETHER):
        end = min(begin + TOGETHER, texts)
        _walk(data, offsets, begin, end, next_move, row_base, output, features, found)
        for i in range(begin, end):
            own, seen = features[i - begin], found[i - begin]
            for f in range(seen):
                count[own[f]] += 1
            for k in range(languages):
                score[k] = prior[k] if seen else 0.0
            for f in range(seen):
                times = count[own[f]]
                if times:
                    count[own[f]] = 0
                    weight = np.log1p(float(times))
                    for k in range(languages):
                        score[k] += weight * weights[own[f], k]
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


@compiled
def _walk(data, offsets, begin, end, next_move, row_base, output, features, found):  # type: ignore[no-untyped-def]
    """The features of texts begin:end, byte by byte in all of them: the automaton is 39 MB, and each step waits for memory."""
    state = np.zeros(TOGETHER, np.int64)
    longest = 0
    for i in range(begin, end):
        longest = max(longest, offsets[i + 1] - offsets[i])
        found[i - begin] = 0
    for place in range(longest):
        for i in range(begin, end):
            at = offsets[i] + place
            if at < offsets[i + 1]:
                k = i - begin
                now = np.int64(next_move[row_base[state[k]] + data[at]])
                state[k] = now
                feature = output[now]
                features[k, found[k]] = feature
                found[k] += feature >= 0
