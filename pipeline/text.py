"""Text rules: repair and normalise a caption, then drop what cannot describe a picture.

Defaults and their sources: at least 2 characters and 1 word (DataComp's basic filter asks for more than 5 characters and
2 words, which would lose captions such as "a seven"; recipes raise it); boilerplate patterns are camera and export file
names and the words that web editors leave in `alt` (OBELICS and COYO filter the same kinds by lists).
"""

import re
import unicodedata

from pydantic import Field

from pipeline.batch import Batch
from pipeline.language import foreign_language
from pipeline.settings import Settings


class TextConfig(Settings):
    """Rules on captions before anything is downloaded."""

    minimum_characters: int = Field(2, ge=0)
    """Shortest text, in characters after normalisation."""
    minimum_words: int = Field(1, ge=0)
    """Fewest words, cut at white space."""
    maximum_characters: int = Field(1000, gt=0)
    """Longest text (COYO-700M: 1,000)."""
    languages: tuple[str, ...] = ("en",)
    """Languages to keep, as ISO 639-1 codes; () keeps all."""
    language_probability: float = Field(0.7, gt=0, le=1)
    """How sure the other language must be for a text to fall."""
    boilerplate: bool = True
    """Drop file names and editor leftovers ("IMG_1234.jpg", "logo")."""


_SPACE = re.compile(r"\s+")
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff\ud800-\udfff]"
)
_FILE = re.compile(r"^[\w\-. %()]*\.(jpe?g|png|gif|webp|bmp|tiff?|svg|avif|heic)$", re.IGNORECASE)
_CAMERA = re.compile(
    r"^(img|image|dsc[nf]?|pict?|photo|mvc|cimg|screenshot|scan|vid|wp|fb|pxl)[ _-]?\(?\d[\d _()-]*$", re.IGNORECASE
)
_LEFTOVER = frozenset(
    """image|img|picture|pic|photo|logo|icon|banner|thumbnail|thumb|spacer|untitled|placeholder|avatar|header|footer
    |button|arrow|bullet|loading|alt|caption|figure|null|none|undefined|n/a|no title|click here|click to enlarge
    |read more|alt text|no image|image not found|site logo|company logo|profile picture|featured image|loading...
    |default image""".replace("\n    ", "").split("|")
)


def normalise(text: str) -> str:
    """NFC, invisible and control characters removed, white space collapsed to single spaces."""
    return _SPACE.sub(" ", _INVISIBLE.sub("", unicodedata.normalize("NFC", text))).strip()


def is_boilerplate(text: str) -> bool:
    """True for file names, camera names and words that editors leave behind."""
    return bool(_FILE.match(text) or _CAMERA.match(text)) or text.lower().strip(" .:-_") in _LEFTOVER


def text_reason(text: str, config: TextConfig) -> tuple[str | None, str | None]:
    """(reason, evidence) for a normalised text that falls, (None, None) for one that stays."""
    if not text:
        return "text_empty", None
    if config.boilerplate and is_boilerplate(text):
        return "text_boilerplate", text[:80]
    if len(text) < config.minimum_characters or len(text.split()) < config.minimum_words:
        return "text_too_short", f"{len(text)} characters, {len(text.split())} words"
    if len(text) > config.maximum_characters:
        return "text_too_long", f"{len(text)} characters"
    if config.languages:
        foreign = foreign_language(text, config.languages, config.language_probability)
        if foreign:
            return "text_language", f"{foreign[0]} {foreign[1]:.2f}"
    return None, None


def filter_text(batch: Batch, config: TextConfig) -> Batch:
    """Normalise the text column and drop rows by the rules above."""
    batch = batch.with_column("text", [normalise(text) for text in batch.column("text")])
    verdicts = [text_reason(text, config) for text in batch.column("text")]
    return batch.drop([reason for reason, _ in verdicts], [evidence for _, evidence in verdicts])
