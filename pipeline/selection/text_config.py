"""Which captions are worth matching: the rules' numbers, and the sets of them that others published.

Presets carry over what a paper or its code states, nothing else: a number that it does not state keeps the value that
switches the rule off. DataComp's basic filter: arXiv:2304.14108, baselines/apply_filter.py; COYO-700M: its README;
LAION-2B-en: arXiv:2210.08402, section 3; MetaCLIP: arXiv:2309.16671, appendix A.2; OBELICS: arXiv:2306.16527, appendix A.2.

Language is their rule on our model: the likeliest language must be English (DataComp asks fastText, LAION and COYO CLD3, MetaCLIP
a model of its own), for OBELICS at 0.8 or more (fastText, of whole pages). py3langid is less sure of short texts than these.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.settings import Settings

OFF: Mapping[str, Any] = {
    "minimum_characters": 0,
    "minimum_words": 0,
    "maximum_characters": None,
    "maximum_words": None,
    "maximum_character_repetition": None,
    "maximum_word_repetition": None,
    "maximum_special_characters": None,
    "maximum_per_domain": None,
    "languages": (),
    "language_odds": 1.0,
    "boilerplate": False,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "none": OFF,
    "datacomp-basic": {**OFF, "minimum_characters": 6, "minimum_words": 3, "languages": ("en",)},
    "laion": {**OFF, "minimum_characters": 5, "languages": ("en",)},
    "metaclip": {**OFF, "languages": ("en",)},
    "coyo": {
        **OFF,
        "minimum_characters": 6,
        "minimum_words": 3,
        "maximum_words": 256,
        "maximum_characters": 1000,
        "languages": ("en",),
        "maximum_per_domain": 10,
    },
    "obelics": {
        **OFF,
        "minimum_words": 4,
        "maximum_words": 1000,
        "maximum_character_repetition": 0.1,
        "maximum_special_characters": 0.3,
        "languages": ("en",),
        "minimum_language_probability": 0.8,
    },
}


class TextConfig(Settings):
    """Rules on captions before anything is downloaded."""

    preset: Literal["none", "datacomp-basic", "laion", "metaclip", "coyo", "obelics"] | None = None
    """Published values for all the rules below; keys that are given as well stand over them."""
    minimum_characters: int = Field(2, ge=0)
    """Shortest text, in characters after repair (DataComp and COYO: more than 5)."""
    minimum_words: int = Field(1, ge=0)
    """Fewest words, cut at white space (DataComp: more than 2)."""
    maximum_characters: int | None = Field(1000, gt=0)
    """Longest text (COYO-700M: 1,000)."""
    maximum_words: int | None = Field(None, gt=0)
    """Most words (COYO-700M: 256)."""
    maximum_character_repetition: float | None = Field(0.5, ge=0, le=1)
    """Share of a text's runs of 10 characters that stood in it before (OBELICS: 0.1, by a stricter count)."""
    maximum_word_repetition: float | None = Field(0.5, ge=0, le=1)
    """Share of a text's runs of 3 words that stood in it before (after Gopher, arXiv:2112.11446, table A1)."""
    maximum_special_characters: float | None = Field(0.5, ge=0, le=1)
    """Share of characters that are neither letters, digits nor white space (OBELICS: 0.3)."""
    maximum_per_domain: int | None = Field(None, ge=1)
    """A text on more pictures than this of one registered domain is boilerplate (COYO: 10, over the whole pool)."""
    languages: tuple[str, ...] = ("en",)
    """Languages to keep, as ISO 639-1 codes; () keeps all."""
    language_odds: float = Field(30.0, ge=1)
    """A text falls where another language is so many times likelier than the wanted ones together; 1: where the likeliest
    is none of them (DataComp, LAION, MetaCLIP, COYO). 30 keeps 96 % of English names of one or two words, 1 keeps 29 %."""
    minimum_language_probability: float = Field(0.0, ge=0, le=1)
    """Least probability of the wanted languages together (OBELICS: 0.8)."""
    boilerplate: bool = True
    """Drop file names and editor leftovers ("IMG_1234.jpg", "logo")."""
    mask_personal_data: bool = False
    """Write <email> and <phone> for e-mail addresses and phone numbers, in every text of the pair. Digits without any mark count in
    the forms of North America, China and India alone: of others nothing tells them from counts."""
    try_other_texts: bool = True
    """Where the text falls, take the first other text of the picture that passes (figcaption for alt, say)."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("preset") not in PRESETS:
            return given
        return {**PRESETS[given["preset"]], **given}
