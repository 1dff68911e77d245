"""What an answer's X-Robots-Tag headers and a page's robots meta tags ask of us.

Syntax: Google's robots meta tag specification, with the opt-out words noai, noimageai and noml of training-data practice
and the TDM reservation protocol's `tdm-reservation: 1`. Where people write it otherwise (`noindex; noai`, `noindex noai`),
they are understood: a wish that is misspelt is a wish all the same.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

_WITH_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
_WORDS = frozenset(
    ("all", "none", "index", "noindex", "follow", "nofollow", "noai", "noimageai", "noml", "noimageindex", "noarchive",
     "nocache", "nosnippet", "notranslate", "nositelinkssearchbox", "indexifembedded", *_WITH_VALUE)
)  # fmt: skip
"""Directives, which are no crawler's name."""
_AGENT = re.compile(r"[A-Za-z*][A-Za-z0-9_.*/-]*")
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}"
_UNTIL = re.compile(rf"unavailable_after\s*:\s*({_DAY}\s*,)?([^,;]*)", re.I)


def first_value(field: str) -> str:
    """What a header that should stand once begins with, in lower case: without parameters, and of two of its name the first.

    Two lines of a name come to us parted by a comma or a line end; "text/html, text/html" is HTML.
    """
    return re.split("[;,\n]", field, maxsplit=1)[0].strip().lower()


def header_directives(lines: Iterable[str], product: str, date: str = "") -> tuple[str, ...]:
    """Directives of X-Robots-Tag header lines that concern `product`, in lower case, values cut off.

    "noai" and "*: noai" concern everyone, "googlebot: noai" only googlebot, up to the next agent named on the line.
    `date` is the answer's own Date header: a page that is "unavailable_after" an earlier one asks for noindex.
    """
    found: list[str] = []
    for line in lines:
        concerns_us = True
        for part in _parts(line, date):
            word = part.strip()
            name, colon, rest = word.partition(":")
            # A colon follows an agent's name or a directive that has a value.
            if colon and name.strip().lower() not in _WORDS and _AGENT.fullmatch(name.strip()):
                concerns_us = name.strip().split("/")[0].lower() in ("*", product.lower())
                word = rest.strip()
            if concerns_us:
                found.extend(_directives(word))
    return tuple(dict.fromkeys(found))


def meta_directives(tags: Iterable[Sequence[str]], product: str, date: str = "") -> tuple[str, ...]:
    """Directives of (name, content) meta tags: those named "robots" or like us, and headers written as tags."""
    found: list[str] = []
    for name, content in tags:
        key = name.strip().lower()
        if key in ("robots", product.lower()):
            found.extend(word for part in _parts(content, date) for word in _directives(part))
        elif key == "x-robots-tag":
            found.extend(header_directives([content], product, date))
        elif key == "tdm-reservation" and content.strip() == "1":
            found.append(key)
    return tuple(dict.fromkeys(found))


def _parts(line: str, date: str) -> list[str]:
    """The line cut at commas and semicolons; dates, which hold commas, are replaced by what they come to first."""
    if "navailable" in line.lower():
        line = _UNTIL.sub(lambda found: f"unavailable_after{', noindex' if _over(found[2], date) else ''}", line)
    return re.split("[,;]", line)


def _directives(part: str) -> Iterator[str]:
    name, colon, _ = part.partition(":")
    if colon:
        yield name.strip().lower()
    else:
        yield from part.lower().split()


def _over(until: str, date: str) -> bool:
    """Whether the time that a page names lies before the time of the answer it came with."""
    end, now = _time(until), _time(date)
    return end is not None and now is not None and end < now


def _time(words: str) -> datetime | None:
    """A date as RFC 822, RFC 850 and ISO 8601 write it; UTC where no zone is told."""
    text = re.sub(r"\s+", " ", words).strip()[:80]
    found = None
    for shape in (text, f"{text} 00:00:00"):
        try:
            found = datetime.fromisoformat(shape[:-1] + "+00:00" if shape[-1:] in "zZ" else shape)
            break
        except ValueError:
            pass
        try:
            found = parsedate_to_datetime(shape)
            break
        except (ValueError, TypeError, IndexError, OverflowError):
            pass
    if found is None:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)


def first_opt_out(directives: Iterable[str], refused: Iterable[str]) -> str | None:
    """The first directive that withholds the content from us."""
    words = set(refused)
    return next((word for word in directives if word in words), None)


def forbids_following(directives: Iterable[str]) -> bool:
    return any(word in ("nofollow", "none") for word in directives)
