"""Repair of captions: what encodings, entities and editors did to a text is undone; personal data is masked on request.

Mojibake, doubled HTML entities, terminal escapes, ligatures and full-width forms by ftfy (Speer, 2019), then NFC, no
invisible characters, single spaces. Quotes stay as they are: they are the author's.
"""

import re
import unicodedata
from collections.abc import Callable

import ftfy
import pyarrow as pa
import pyarrow.compute as pc
from ftfy import fixes
from ftfy.badness import is_bad
from ftfy.chardata import LIGATURES, WIDTH_MAP

from pipeline.compiled import text_buffers
from pipeline.matching.queries import LONE_SURROGATE
from pipeline.selection.text_kernels import is_plain

LONGEST = 20_000
"""Texts longer than this are no captions and are spared the slow part of the repair."""

_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000e-\u001b\u007f-\u0084\u0086-\u009f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_FTFY = ftfy.TextFixerConfig(uncurl_quotes=False, explain=False)
_FORMS = re.compile(f"[{re.escape(''.join(map(chr, (*LIGATURES, *WIDTH_MAP))))}]")
# Bounded runs, so that no text can make the search quadratic.
_EMAIL = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,5}[a-zA-Z]{2,24}\b")
_PHONE = re.compile(
    r"(?<![\w.-])(?!000)(?:"  # 1 000 000 000
    r"(?:\+|00)[1-9](?:[ ().-]{0,2}\d){7,14}"  # +44 20 7946 0958, 0033 1 23 45 67 89
    r"|(?:\d[ -]?)?\(\d{2,5}\)[ .-]?\d{3,4}(?:[ .-]?\d{3,4}){1,2}"  # (030) 1234 5678
    r"|(?:\d[ -]?)?\(\d{3,5}\)[ -]?\d{2,3}(?:[ -]\d\d){2}"  # 8 (495) 123-45-67
    r"|(?:1[ .-])?\d{3}[ .-]\d{3}[ .-]\d{4}"  # 555-867-5309, 1-555-867-5309
    r"|0\d(?:[ .-]\d\d){4}"  # 01 23 45 67 89
    r"|0\d{1,4}[ /-]\d{3,4}[ -]?\d{3,5}"  # 0171 946 0958
    r"|0\d{9,10}"  # 02079460958
    r")(?![\w-])"
)
_CALLED_PHONE = re.compile(
    r"\b(tel|phone|call|fax|mobile|whatsapp)([.: ]{1,3})\d(?:[ ().-]{0,2}\d){6,14}(?![\w-])", re.I
)
# Bare digits are a phone number in three forms that little else has: North America's ten (area and exchange begin with 2 to 9),
# China's mobiles (1, then 3 to 9, eleven in all, or behind 86), India's mobiles as they are cut (five and five, from 6 on).
_BARE_PHONE = re.compile(
    r"(?<![\w.,#/:=$€£¥-])(?:(?:[2-9][0-8]\d[2-9]|555\d)\d{6}|(?:86)?1[3-9]\d{9}|[6-9]\d{4} \d{5})"
    r"(?![\w%°/$€£¥-]|[.,:]\w| ?[x×*] ?\d)"
)
_COUNTED = re.compile(
    r"(?:\b(?:isbn|issn|ean|upc|gtin|asin|sku|oclc|doi|id|no|nr|num|number|item|lot|model|part|order|serial|ref|reference|art|article"
    r"|product|code|catalog|photo|image|img|picture|pic|stock|vector|illustration|dsc|file|version|patent|usd|eur|inr|rs|price)"
    r"\W{0,3}|[#$€£¥]\s?|\d\s)$",
    re.I,
)
"""What a number that is none stands behind: a name for a thing, a price, another number."""
_MAY_BE_PERSONAL = r"@|[0-9](?:[^0-9]{0,3}[0-9]){6}"


def normalise(text: str) -> str:
    """The repaired text: NFC, nothing invisible, words between single spaces."""
    text = " ".join(LONE_SURROGATE.sub("", text).split())
    if len(text) <= LONGEST:
        if "&" in text or "\x1b" in text or is_bad(text):
            text = ftfy.fix_text(text, _FTFY)
        elif _FORMS.search(text):  # what fix_text does for text that is not bad, at a twentieth of its time
            text = fixes.fix_character_width(fixes.fix_latin_ligatures(text))
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split())


def normalise_all(texts: pa.Array) -> pa.Array:
    """`normalise` for a column; texts that it would not change are not touched, a null becomes an empty text."""
    texts = texts.fill_null("") if texts.null_count else texts
    return _replaced(texts, pc.invert(pa.array(is_plain(*text_buffers(texts)))), normalise)


def mask_personal(text: str) -> str:
    """`text` with <email> and <phone> for e-mail addresses and phone numbers.

    A number of bare digits stays where it is labelled as something else, stands beside another number, ends in four zeros
    or is a valid ISBN. Bare numbers of other countries stay too: nothing tells them from counts. Of arbitrary numbers of ten digits
    that nothing labels two thirds fall all the same; captions have next to none (0 of 17,451 of CC3M and OpenStax).
    """
    masked = _CALLED_PHONE.sub(r"\1\2<phone>", _PHONE.sub("<phone>", _EMAIL.sub("<email>", text)))
    return _BARE_PHONE.sub(_bare, masked)


def _bare(found: "re.Match[str]") -> str:
    number, before = found[0], found.string[max(0, found.start() - 24) : found.start()]
    beside = found.string[found.end() : found.end() + 2]
    if _COUNTED.search(before) or (beside[:1] == " " and beside[1:].isdigit()) or number.endswith("0000"):
        return number
    is_isbn = len(number) == 10 and sum(int(digit) * (10 - i) for i, digit in enumerate(number)) % 11 == 0
    return number if is_isbn else "<phone>"


def mask_all(texts: pa.Array) -> pa.Array:
    """`mask_personal` for a column."""
    return _replaced(texts, pc.match_substring_regex(texts, _MAY_BE_PERSONAL).fill_null(False), mask_personal)


def _replaced(texts: pa.Array, mask: pa.Array, function: Callable[[str], str]) -> pa.Array:
    changed = texts.filter(mask)
    if not len(changed):
        return texts
    return pc.replace_with_mask(texts, mask, pa.array([function(text) for text in changed.to_pylist()], texts.type))
