"""Pictures that a page names for other machines: Open Graph, Twitter cards and JSON-LD (schema.org ImageObject).

Runs in the sandbox. These are a page's chosen pictures, with the caption its author wrote for sharing.
"""

import html
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from pipeline.sources.html_lazy import usable
from pipeline.sources.html_pictures import Picture
from pipeline.web.urls import Base

META_NAMES = ("name", "property", "http-equiv")
"""What a meta tag may be named by; it counts under each: many sites write name="image" property="og:image", as LinkedIn asks."""
_OPEN_GRAPH = ("og:image", "og:image:url", "og:image:secure_url")
_TWITTER = ("twitter:image", "twitter:image:src")
_IMAGE_TYPES = ("ImageObject", "http://schema.org/ImageObject", "https://schema.org/ImageObject", "schema:ImageObject")
_WRAPPED = re.compile(
    r"\A\s*(?:(?://)?\s*<!\[CDATA\[|<!--)|(?:(?://)?\s*\]\]>|-->)\s*\Z"
)  # how scripts were hidden once
_MAX_JSON = 1_000_000  # characters of one JSON-LD script
_MAX_PICTURES = 1000
_MAX_DEPTH = 30


def described_pictures(tree: LexborHTMLParser, metas: Sequence[tuple[str, str]], base: Base) -> list[Picture]:
    """Each picture of the metadata once, with all that is said of it. `metas` are (name or property, content)."""
    found: dict[str, Picture] = {}
    shared = [(word, texts, "") for word, texts in shared_pictures(metas)]
    for word, texts, licence in [*shared, *_linked_data(tree)]:
        url = usable(word, base) if word.strip() else None
        if url is None or (url not in found and len(found) >= _MAX_PICTURES):
            continue
        clean = [(" ".join(text.split()), origin) for text, origin in texts]
        picture = found.setdefault(url, Picture(url))
        picture.add([each for each in clean if each[0]])
        if licence.strip() and picture.licence is None:
            picture.licence = usable(licence, base)
    return list(found.values())


def shared_pictures(metas: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(address, texts) of Open Graph and Twitter pictures; an alt belongs to the picture named before it."""
    title = next((content for name, content in metas if name.strip().lower() == "og:title"), "")
    for names, alt in ((_OPEN_GRAPH, "og:image:alt"), (_TWITTER, "twitter:image:alt")):
        address: str | None = None
        texts: list[tuple[str, str]] = []
        for name, content in metas:
            key = name.strip().lower()
            if key in names:
                if address is not None:
                    yield address, [*texts, (title, "og:title")]
                address, texts = content, []
            elif key == alt and address is not None:
                texts.append((content, alt))
        if address is not None:
            yield address, [*texts, (title, "og:title")]


def _linked_data(tree: LexborHTMLParser) -> Iterator[tuple[str, list[tuple[str, str]], str]]:
    """(address, texts, address of its licence or "")."""
    for node in tree.css('script[type^="application/ld+json" i]'):
        text = node.text(deep=True)
        if len(text) > _MAX_JSON:
            continue
        try:
            value = json.loads(_WRAPPED.sub("", text), strict=False)
        except (ValueError, RecursionError):
            continue
        yield from _images_in(value, "", 0)


def _images_in(value: Any, name: str, depth: int) -> Iterator[tuple[str, list[tuple[str, str]], str]]:
    """`name` is that of the thing a picture without words of its own belongs to."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for each in value:
            yield from _images_in(each, name, depth + 1)
    if not isinstance(value, dict):
        return
    kinds = value.get("@type")
    if any(kind in _IMAGE_TYPES for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)):
        yield from _image_object(value, name)
        return
    own = next((word for key in ("name", "headline") if (word := _word(value.get(key)))), name)
    for key, below in value.items():
        if key in ("image", "primaryImageOfPage", "thumbnailUrl"):
            for each in below if isinstance(below, list) else [below]:
                if isinstance(each, str):
                    yield each, [(own, "json-ld")], ""
                elif isinstance(each, dict) and "@type" not in each:  # an address alone, or in an object of no kind
                    yield from _image_object(each, own)
        if isinstance(below, dict | list):
            yield from _images_in(below, own, depth + 1)


def _image_object(value: dict[str, Any], name: str) -> Iterator[tuple[str, list[tuple[str, str]], str]]:
    address = next((word for key in ("contentUrl", "url") if (word := _word(value.get(key)))), "")
    words = [word for key in ("caption", "name", "description") if (word := _word(value.get(key)))]
    if address:
        yield address, [(word, "json-ld") for word in words or [name]], _licence(value.get("license"))


def _licence(value: Any) -> str:
    """The address in `license`: a text, the first of a list, or what an object has as its id or url."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        value = next((value[key] for key in ("@id", "url", "@value") if isinstance(value.get(key), str)), "")
    return _word(value)


def _word(value: Any) -> str:
    """A text, or the first of a list, or what stands in an object as @value, text or name; entities undone."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        value = next((value[key] for key in ("@value", "text", "name") if isinstance(value.get(key), str)), "")
    return html.unescape(value) if isinstance(value, str) else ""
