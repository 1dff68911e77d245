"""Which language a caption is in, by py3langid (Lui & Baldwin 2012, langid.py; its model ships in the package).

Captions are short, and short texts are where language identification is weakest: "number zero" looks German. So the rule
is one-sided: a text falls only when another language is likelier than every wanted one and its probability is high.
"""

import functools
from typing import Any

CANDIDATES = [
    "ar",
    "bn",
    "cs",
    "da",
    "de",
    "el",
    "en",
    "es",
    "fa",
    "fi",
    "fr",
    "he",
    "hi",
    "hu",
    "id",
    "it",
    "ja",
    "ko",
    "nl",
    "no",
    "pl",
    "pt",
    "ro",
    "ru",
    "sv",
    "th",
    "tr",
    "uk",
    "vi",
    "zh",
]
"""Languages told apart; fewer candidates make short texts surer. A wanted language outside the list is added."""


@functools.cache
def _identifier(wanted: tuple[str, ...]) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(sorted({*CANDIDATES, *wanted}))
    return identifier


def foreign_language(text: str, wanted: tuple[str, ...], minimum_probability: float) -> tuple[str, float] | None:
    """(language, probability) when `text` is surely in none of the `wanted` ones (ISO 639-1 codes), else None."""
    language, probability = _identifier(wanted).classify(text)
    if language in wanted or probability < minimum_probability:
        return None
    return str(language), float(probability)
