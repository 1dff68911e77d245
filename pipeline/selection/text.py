"""Text rules: repair each caption, choose the first of a picture's texts that passes, drop the rows that have none.

All rules work on whole columns; a Python function is called only for the few texts that need one. Boilerplate patterns are
camera and export file names and the words that web editors leave in `alt` (OBELICS and COYO filter the same kinds by
lists). A pair whose text changes, by repair, mask or choice, gets the uid of its new text: uid = pair_uid(url, text).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.compiled import text_buffers
from pipeline.execution.batch import Batch
from pipeline.sample import TEXTS, pair_uid
from pipeline.selection import language, text_kernels
from pipeline.selection.repair import mask_all, normalise_all
from pipeline.selection.text_config import TextConfig

CHARACTER_WINDOW = 10
WORD_WINDOW = 3
OTHER_TEXTS = 8
"""How many other texts of a picture are tried."""

_EXTENSIONS = "jpe?g|png|gif|webp|bmp|tiff?|svg|avif|heic"
_FILE = re.compile(rf"^[\w\-. %()]*\.({_EXTENSIONS})$", re.IGNORECASE)
_CAMERA = re.compile(
    r"^(img|image|dsc[nf]?|pict?|photo|mvc|cimg|screenshot|scan|vid|wp|fb|pxl)[ _-]?\(?\d[\d _()-]*$", re.IGNORECASE
)
_LEFTOVER = frozenset(
    """image|img|picture|pic|photo|logo|icon|banner|thumbnail|thumb|spacer|untitled|placeholder|avatar|header|footer
    |button|arrow|bullet|loading|alt|caption|figure|null|none|undefined|n/a|no title|click here|click to enlarge
    |read more|alt text|no image|image not found|site logo|company logo|profile picture|featured image|loading...
    |default image""".replace("\n    ", "").split("|")
)
_SPECIAL = r"[^\pL\pN\pM\s]"
# What a text must look like for one of the three to hold; RE2 decides it for a column.
_MAY_BE_BOILERPLATE = rf"(?i)(^.{{0,40}}$|\.({_EXTENSIONS})$|^[a-z]+[ _(\d-]*$)"


def is_boilerplate(text: str) -> bool:
    """True for file names, camera names and words that editors leave behind."""
    return bool(_FILE.match(text) or _CAMERA.match(text)) or text.lower().strip(" .:-_") in _LEFTOVER


@dataclass(frozen=True)
class Verdicts:
    """For each text of a column the reason it falls for (None: it passes), and what was seen."""

    reasons: list[str | None]
    evidence: list[str | None]

    @property
    def fallen(self) -> np.ndarray:
        return np.array([reason is not None for reason in self.reasons], dtype=bool)


def judge(texts: pa.Array, config: TextConfig) -> Verdicts:
    """Each repaired text by the rules in turn; the first that it breaks is its reason."""
    verdicts = Verdicts([None] * len(texts), [None] * len(texts))
    data, offsets = text_buffers(texts)
    characters = np.asarray(pc.utf8_length(texts))
    words = np.where(characters > 0, np.asarray(pc.count_substring(texts, " ")) + 1, 0)

    def mark(mask: np.ndarray, reason: str, evidence: str, *numbers: np.ndarray) -> None:
        for i in np.flatnonzero(mask).tolist():
            if verdicts.reasons[i] is None:
                verdicts.reasons[i] = reason
                verdicts.evidence[i] = evidence.format(*(values[i] for values in numbers)) or None

    def share(limit: float | None, reason: str, measured: str, values: np.ndarray) -> None:
        if limit is not None:
            mark(values > limit, reason, measured, values)

    mark(characters == 0, "text_empty", "")
    if config.boilerplate:
        _mark_boilerplate(texts, verdicts)
    short = (characters < config.minimum_characters) | (words < config.minimum_words)
    mark(short, "text_too_short", "{} characters, {} words", characters, words)
    long = np.zeros(len(texts), bool)
    if config.maximum_characters is not None:
        long |= characters > config.maximum_characters
    if config.maximum_words is not None:
        long |= words > config.maximum_words
    mark(long, "text_too_long", "{} characters, {} words", characters, words)
    if config.maximum_character_repetition is not None:
        repeated = text_kernels.repetition(data, offsets, CHARACTER_WINDOW, False)
        share(config.maximum_character_repetition, "text_repetitive", "{:.2f} of its runs of 10 characters", repeated)
    if config.maximum_word_repetition is not None:
        repeated = text_kernels.repetition(data, offsets, WORD_WINDOW, True)
        share(config.maximum_word_repetition, "text_repetitive", "{:.2f} of its runs of 3 words", repeated)
    if config.maximum_special_characters is not None:
        specials = special_shares(texts, data, offsets, characters)
        share(config.maximum_special_characters, "text_special_characters", "{:.2f} of its characters", specials)
    if config.languages:
        _mark_language(texts, config, verdicts)
    return verdicts


def _mark_language(texts: pa.Array, config: TextConfig, verdicts: Verdicts) -> None:
    left = np.flatnonzero(~verdicts.fallen)
    foreign, seen = language.foreign(
        texts.take(pa.array(left)), config.languages, config.language_odds, config.minimum_language_probability
    )
    for place, evidence in zip(left[foreign].tolist(), seen, strict=True):
        verdicts.reasons[place], verdicts.evidence[place] = "text_language", evidence


def _mark_boilerplate(texts: pa.Array, verdicts: Verdicts) -> None:
    likely = np.flatnonzero(np.asarray(pc.match_substring_regex(texts, _MAY_BE_BOILERPLATE).fill_null(False)))
    for i, text in zip(likely.tolist(), texts.take(pa.array(likely)).to_pylist(), strict=True):
        if verdicts.reasons[i] is None and is_boilerplate(text):
            verdicts.reasons[i], verdicts.evidence[i] = "text_boilerplate", text[:80]


def special_shares(texts: pa.Array, data: np.ndarray, offsets: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """The share of characters that are neither letters (with their marks), digits nor white space."""
    counts = text_kernels.ascii_specials(data, offsets)
    strange = ~text_kernels.is_ascii(data, offsets)
    counts[strange] = np.asarray(pc.count_substring_regex(texts.filter(pa.array(strange)), _SPECIAL))
    return np.asarray(counts / np.maximum(characters, 1))


def filter_text(batch: Batch, config: TextConfig) -> Batch:
    """Repair, mask, choose and judge; rows without a text that passes are dropped for what is wrong with their first."""
    rows = batch.rows.combine_chunks()
    raw = _column(rows, "text")
    texts = _clean(raw, config)
    verdicts = judge(texts, config)
    origins = _column(rows, "text_origin")
    if config.try_other_texts and verdicts.fallen.any():
        texts, origins = _other_texts(rows, raw, texts, origins, verdicts, config)
    changed = pc.not_equal(texts, raw.fill_null(""))
    uids = _column(rows, "uid")
    if pc.any(changed).as_py():
        urls = _column(rows, "url").filter(changed).to_pylist()
        new = [pair_uid(url, text) for url, text in zip(urls, texts.filter(changed).to_pylist(), strict=True)]
        uids = pc.replace_with_mask(uids, changed, pa.array(new, uids.type))
    batch = Batch(rows, batch.dropped)
    for name, column in (("uid", uids), ("text", texts), ("text_origin", origins)):
        batch = batch.with_column(name, column)
    if config.mask_personal_data:
        batch = _mask_the_rest(batch)
    return batch.drop(verdicts.reasons, verdicts.evidence)


def _column(rows: pa.Table, name: str) -> pa.Array:
    """A string column in one piece, whatever string type a source wrote."""
    column = rows.column(name)
    column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _clean(texts: pa.Array, config: TextConfig) -> pa.Array:
    texts = normalise_all(texts)
    return mask_all(texts) if config.mask_personal_data else texts


def _other_texts(
    rows: pa.Table, raw: pa.Array, texts: pa.Array, origins: pa.Array, verdicts: Verdicts, config: TextConfig
) -> tuple[pa.Array, pa.Array]:
    """Texts and origins with the first other text that passes; where one does, the row's verdict is taken back."""
    failed = np.flatnonzero(verdicts.fallen)
    chosen = pa.array(failed)
    choices = rows.column("texts").take(chosen).to_pylist()
    others = {
        row: [each for each in given or () if each and each["text"] and each["text"] != first][:OTHER_TEXTS]
        for row, given, first in zip(failed.tolist(), choices, raw.take(chosen).to_pylist(), strict=True)
    }
    found: dict[int, tuple[str, str]] = {}
    for turn in range(OTHER_TEXTS):
        left = [row for row, given in others.items() if row not in found and turn < len(given)]
        if not left:
            break
        candidates = _clean(pa.array([others[row][turn]["text"] for row in left], pa.string()), config)
        passed = ~judge(candidates, config).fallen
        for place in np.flatnonzero(passed).tolist():
            found[left[place]] = (candidates[place].as_py(), others[left[place]][turn]["origin"])
    if not found:
        return texts, origins
    mask = np.zeros(len(texts), bool)
    mask[list(found)] = True
    in_order = [found[row] for row in sorted(found)]
    for row in found:
        verdicts.reasons[row] = verdicts.evidence[row] = None
    return (
        pc.replace_with_mask(texts, pa.array(mask), pa.array([text for text, _ in in_order], texts.type)),
        pc.replace_with_mask(origins, pa.array(mask), pa.array([origin for _, origin in in_order], origins.type)),
    )


def _mask_the_rest(batch: Batch) -> Batch:
    """The other texts and the heading are kept with the pair, so they are masked too."""
    if "heading" in batch.rows.column_names:
        batch = batch.with_column("heading", mask_all(_column(batch.rows, "heading")))
    if "texts" not in batch.rows.column_names:
        return batch
    masked: Sequence[list[dict[str, str]] | None] = batch.column("texts")
    flat = [each["text"] or "" for given in masked if given for each in given]
    clean = iter(mask_all(pa.array(flat, pa.string())).to_pylist())
    renewed = [given and [{**each, "text": next(clean)} for each in given] for given in masked]
    return batch.with_column("texts", renewed, TEXTS)
