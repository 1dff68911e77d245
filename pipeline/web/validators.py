"""Validators of an answer (RFC 9110, sections 8.8 and 13.1): what a later request names so that unchanged content is not
sent again.

They come from strangers and go into a request's head, so only what has their form is kept.
"""

import re
from collections.abc import Mapping

Validators = tuple[str, str]
"""ETag and Last-Modified, "" where there is none."""

NONE: Validators = ("", "")
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,200}"')
_DATE = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT")


def validators_of(headers: Mapping[str, str]) -> Validators:
    """Those of an answer whose header names are in lower case."""
    etag, date = headers.get("etag", "").strip(), headers.get("last-modified", "").strip()
    return (etag if _ETAG.fullmatch(etag) else ""), (date if _DATE.fullmatch(date) else "")


def condition(unless: Validators) -> str:
    """Lines of a request's head that ask for a body only where it is another."""
    etag, date = unless
    if etag:
        return f"If-None-Match: {etag}\r\n"
    return f"If-Modified-Since: {date}\r\n" if date else ""
