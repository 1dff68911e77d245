"""Pages of a MediaWiki dump (pages-articles.xml, also .bz2 or .gz): title and plain text, streamed.

Format: https://www.mediawiki.org/xml/export-0.11. Only the main namespace and no redirects. The XML is fed to expat piece by
piece; a document type, through which entities could be declared, is refused. The wikitext is stripped to what a reader
sees, roughly: templates, tables, references and links to files fall, a link leaves its words.
"""

import re
import xml.parsers.expat
from collections.abc import Iterator
from typing import IO

from pipeline.errors import DataError

READ_BYTES = 1 << 20
DEPTH = 12
"""How deep templates inside templates are followed."""

_SILENT = ("ref", "math", "gallery", "timeline", "code", "source", "syntaxhighlight")
"""Elements whose content is no running text."""
_OPENING = {name: re.compile(rf"<{name}\b[^<>]{{0,500}}>", re.IGNORECASE) for name in _SILENT}
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_FILE = re.compile(r"\[\[(?:file|image|category)\s*:[^\[\]]*\]\]", re.IGNORECASE)
_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
_OUTER_LINK = re.compile(r"\[https?://[^\s\[\]]{1,2000}\s?([^\[\]]*)\]")
_MARKUP = re.compile(r"'{2,}|={2,}|^[*#:;]+|__[A-Z]+__", re.MULTILINE)


def plain_text(wikitext: str) -> str:
    """What a reader of the page sees, about. Takes time in proportion to the text, whatever is left open in it."""
    text = _without(wikitext, "<!--", "-->")
    for name in _SILENT:
        text = _without_element(text, name)
    for _ in range(DEPTH):
        text, changes = _TEMPLATE.subn(" ", text)
        if not changes:
            break
    text = _without(text, "{|", "|}")
    for _ in range(DEPTH):  # inner links first: captions of files hold links
        text, changes = _LINK.subn(lambda link: link[1], _FILE.sub(" ", text))
        if not changes:
            break
    return _MARKUP.sub(" ", _TAG.sub(" ", _OUTER_LINK.sub(r"\1", text)))


def _without(text: str, opening: str, closing: str) -> str:
    parts, at = [], 0
    while (begin := text.find(opening, at)) >= 0 and (end := text.find(closing, begin + len(opening))) >= 0:
        parts.append(text[at:begin])
        at = end + len(closing)
    return " ".join([*parts, text[at:]])


def _without_element(text: str, name: str) -> str:
    parts, at = [], 0
    while found := _OPENING[name].search(text, at):
        end = found.end()
        if text[end - 2] != "/":
            end = text.find(f"</{name}>", end)
            if end < 0:
                break
            end += len(name) + 3
        parts.append(text[at : found.start()])
        at = end
    return " ".join([*parts, text[at:]])


def pages(stream: IO[bytes], name: str) -> Iterator[tuple[str, str]]:
    """(title, plain text) of each article. Raises DataError where the XML is broken; `name` is for its message."""
    reader = _Reader(name)
    while piece := stream.read(READ_BYTES):
        yield from reader.feed(piece, False)
    yield from reader.feed(b"", True)


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._parser = xml.parsers.expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._words
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._field: str | None = None
        self._page: dict[str, list[str]] = {}
        self._redirect = False
        self._done: list[tuple[str, str]] = []

    def feed(self, piece: bytes, last: bool) -> list[tuple[str, str]]:
        try:
            self._parser.Parse(piece, last)
        except xml.parsers.expat.ExpatError as error:
            raise DataError(f"{self._name}: not a whole MediaWiki dump ({error}); download it again") from None
        done, self._done = self._done, []
        return done

    def _refuse(self, *declared: object) -> None:
        raise DataError(f"{self._name}: declares a document type, which no MediaWiki dump does; give another file")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "page":
            self._page, self._redirect = {}, False
        elif tag == "redirect":
            self._redirect = True
        self._field = tag if tag in ("title", "ns", "text") else None

    def _words(self, words: str) -> None:
        if self._field:
            self._page.setdefault(self._field, []).append(words)

    def _end(self, tag: str) -> None:
        self._field = None
        if tag != "page" or self._redirect:
            return
        title, space, text = ("".join(self._page.get(field, ())) for field in ("title", "ns", "text"))
        if space.strip() in ("", "0") and title.strip():
            self._done.append((title.strip(), plain_text(text)))
