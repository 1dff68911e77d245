"""Text from the web made fit to look at: nothing in it can steer a terminal, a page's direction or an encoder.

Escaping for HTML is the template's task; this is about what escaping leaves in: control characters (ANSI sequences),
bidirectional overrides that turn the reading order of what follows, lone surrogates that no encoding takes, and length.
"""

import unicodedata

LINE_BREAKS = "\t\n\r\v\f\u2028\u2029\u0085"


def visible(text: str | None, length: int = 300) -> str:
    """`text` on one line, at most `length` characters; what cannot be seen is written as its code, "‹U+202E›"."""
    if not text:
        return ""
    # Cut before looking at each character: a caption of 10 MB costs no more than one of 300 characters.
    cut = text[: 4 * length]
    words = " ".join("".join(" " if c in LINE_BREAKS else _shown(c) for c in cut).split())
    return words if len(words) <= length and len(cut) == len(text) else words[: length - 1] + "…"


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    code = ord(character)
    joins = character in "\u200c\u200d"  # scripts of India and Persia, and emoji families, need the joiners
    noncharacter = 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    if (category in ("Cc", "Cf", "Cs") and not joins) or noncharacter:
        return f"‹U+{code:04X}›"
    return character
