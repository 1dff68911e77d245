"""Which language a caption is in, by py3langid (Lui & Baldwin 2012, langid.py; its model ships in the package).

The package's naive Bayes model is walked by a compiled loop, which gives the package's own answers some fifteen times as
fast (tests/pipeline/selection/test_language.py compares the answers). All of its languages take part, whatever is wanted: a
model that is cut to a few languages calls a text in any other one something at random, English for one.

Captions are short, and the likeliest language of a short text is often wrong: "number zero" looks Luxembourgish. So a text
falls where another language is `odds` times likelier than the wanted ones together. How sure the model is of the other
language says less, since close relatives share it: at the same English kept, odds drop half again as many foreign captions.
Where every wanted language is written in Latin letters, a text of other letters alone falls too.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.compiled import compiled, frozen, text_buffers
from pipeline.errors import ConfigError

_OTHERS = (
    "am ar arz as az be bg bn bs crh dz el fa grc gu hbo he hi hy ja ka kk km kn ko ku ky lo mk ml mn mr my "
    "ne or pa ps ru sa sd sdh si sr ta te tg th tk tt ug uk ur uz uzs wuu yi yue zh zxx"
)
_OTHER_LETTERS = frozenset(_OTHERS.split())
"""Languages of the model that are written, also or only, in other letters than Latin ones."""

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


def _package() -> Any:
    """Nearly 100 MB, of which a model takes over what it needs."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def check(wanted: tuple[str, ...]) -> None:
    """Raises ConfigError for a code that the model does not know; keeps nothing, since who asks is not who identifies."""
    _check(wanted, _package())


def _check(wanted: tuple[str, ...], package: Any) -> None:
    known = set(package.nb_classes)  # ISO 639-1
    if unknown := sorted(set(wanted) - known):
        raise ConfigError(
            f"curate.select.text.languages: {unknown[0]!r} is no language that can be told; use ISO 639-1 codes of these:"
            f" {' '.join(sorted(known))}"
        )


@functools.cache
def model(wanted: tuple[str, ...]) -> Model:
    """The model, once `wanted` has been looked at. Raises ConfigError for a code that it does not know."""
    package = _package()
    _check(wanted, package)
    names = tuple(package.nb_classes)
    return Model(
        names,
        frozen(np.asarray(package.tk_nextmove)),
        frozen(np.asarray(package.tk_row, np.int64) << 8),
        frozen(np.asarray(package.tk_output, np.int32)),
        frozen(np.ascontiguousarray(package.nb_ptc, np.float32)),
        frozen(np.asarray(package.nb_pc, np.float32)),
        frozen(np.array([names.index(name) for name in names], np.int64)),
    )


@dataclass(frozen=True)
class Told:
    """Of each text: its likeliest language (a number in Model.languages), that one's probability, and that of all wanted
    ones together. A text in which the model knows nothing has no likeliest language, -1."""

    best: np.ndarray
    probability: np.ndarray
    wanted: np.ndarray


def identify(texts: pa.Array, wanted: tuple[str, ...]) -> Told:
    """What the model says of each text of a column in NFC."""
    shouted = pc.utf8_is_upper(texts)
    if pc.any(shouted).as_py():  # Arrow and Python differ about a few letters; the package asks Python
        spoken = [text.lower() if text.isupper() else text for text in texts.filter(shouted).to_pylist()]
        texts = pc.replace_with_mask(texts, shouted, pa.array(spoken, texts.type))
    data, offsets = text_buffers(texts)
    m = model(wanted)
    ours = frozen(np.array([name in wanted for name in m.languages]))
    return Told(
        *map(np.asarray, _classify(data, offsets, m.next_move, m.row_base, m.output, m.weights, m.prior, m.first, ours))
    )


def foreign(texts: pa.Array, wanted: tuple[str, ...], odds: float, least: float = 0.0) -> tuple[np.ndarray, list[str]]:
    """(which texts fall as in none of the `wanted` languages, what was seen of each that does).

    A text falls where another language is more than `odds` times likelier than the wanted ones together (1: the likeliest
    must be wanted), or where those have a probability below `least`.
    """
    told, names = identify(texts, wanted), model(wanted).languages
    falls = (told.probability > odds * told.wanted) | (told.wanted < least)
    strange = np.zeros(len(texts), bool)
    if not _OTHER_LETTERS & set(wanted):
        strange = ~np.asarray(pc.match_substring_regex(texts, r"\p{Latin}|^\PL*$"))
    seen = [
        "no Latin letter" if strange[i] else f"{(*names, 'none')[told.best[i]]} {told.probability[i]:.2f}"
        for i in np.flatnonzero(falls | strange).tolist()
    ]
    return falls | strange, seen


@compiled
def _classify(data, offsets, next_move, row_base, output, weights, prior, first, ours):  # type: ignore[no-untyped-def]
    """Naive Bayes with log(1 + count) of each feature, tempered by the square root of the length, as py3langid does."""
    texts, languages = len(offsets) - 1, len(prior)
    longest = 1
    for i in range(texts):
        longest = max(longest, offsets[i + 1] - offsets[i])
    features = np.empty((TOGETHER, longest), np.int32)
    found = np.zeros(TOGETHER, np.int64)
    count = np.zeros(len(weights), np.int32)
    score, power = np.empty(languages, np.float32), np.empty(languages, np.float64)
    best, probability = np.empty(texts, np.int64), np.empty(texts, np.float64)
    wanted = np.zeros(texts, np.float64)
    for begin in range(0, texts, TOGETHER):
        end = min(begin + TOGETHER, texts)
        _walk(data, offsets, begin, end, next_move, row_base, output, features, found)
        for i in range(begin, end):
            own, seen = features[i - begin], found[i - begin]
            for f in range(seen):
                count[own[f]] += 1
            for k in range(languages):
                score[k] = prior[k] if seen else np.float32(0.0)
            for f in range(seen):
                times = count[own[f]]
                if times:
                    count[own[f]] = 0
                    weight, row = np.float32(np.log1p(float(times))), weights[own[f]]
                    for k in range(languages):
                        score[k] += weight * row[k]
            temper = 1.0 / np.sqrt(float(max(1, offsets[i + 1] - offsets[i])))
            highest = score.max()
            total = 0.0
            for k in range(languages):
                power[k] = np.exp((score[k] - highest) * temper)
                total += power[k]
                if ours[k]:
                    wanted[i] += power[k]
            for k in range(languages):
                if first[k] != k:
                    power[first[k]] += power[k]
                    power[k] = 0.0
            best[i] = power.argmax() if seen else -1
            probability[i] = power[best[i]] / total
            wanted[i] /= total
    return best, probability, wanted


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
