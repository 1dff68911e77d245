"""What a web page says: its pictures with their words, its links, its wishes towards robots. Runs in the sandbox.

Pictures come from img and picture elements, lazy-loading attributes and srcset included, with relative addresses resolved
(dropping those cost cc2dataset 42 % of its pairs, its issue 42). The parser is lexbor (selectolax), an HTML5 one.
"""

import codecs
import html
import re
import zlib
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.robots import forbids_following, meta_directives
from pipeline.urls import UnusableURLError, canonical

_LAZY = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-image-src")
_LAZY_SETS = ("data-srcset", "data-lazy-srcset", "srcset")
_TYPES = ("", "image/jpeg", "image/jpg", "image/png", "image/webp", "image/gif")
_CHARSETS = re.compile(
    r"utf-8|utf-16(-[bl]e)?|cp\d+|iso8859-\d+|koi8-[ru]|mac-\w+|shift_jis|euc_(jp|kr)|iso2022_jp|gbk|gb18030|gb2312|big5"
)
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([wx]),?")
_MAX_ITEMS = 10_000  # pictures or links of one page


def parse_page(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Header: url, text_from, product (our robots name), content_type.

    Returns images [{url, text, origin}], links [url] (none where the page says nofollow), robots [directive] and base.
    """
    tree = LexborHTMLParser(_text(payload, header.get("content_type", "")))
    base = _base(tree, header["url"])
    tags = [(_value(node, "name"), _value(node, "content")) for node in tree.css("meta[name]")]
    robots = meta_directives(tags, header.get("product", ""))
    links = [] if forbids_following(robots) else _links(tree, base)
    images = [
        {"url": url, "text": text, "origin": origin}
        for node in tree.css("img")[:_MAX_ITEMS]
        if (url := _picture_url(node, base)) is not None
        for text, origin in [_words(node, header["text_from"])]
    ]
    return {"images": images, "links": links, "robots": list(robots), "base": base}, []


def parse_sitemap(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Header: url. Returns pages [url] and sitemaps [url] of a sitemap, sitemap index or plain list (sitemaps.org).

    Read with one regular expression: no XML parser, so no entity is ever expanded. gzip is undone up to 50 MB.
    """
    if payload[:2] == b"\x1f\x8b":
        payload = zlib.decompressobj(31).decompress(payload, 50_000_000)
    text = payload.decode("utf-8-sig", "replace")
    if "<" in text:
        found = re.findall(r"<loc>\s*(?:<!\[CDATA\[)?\s*([^<\]]{1,4096}?)\s*(?:\]\]>)?\s*</loc>", text)
        urls = [html.unescape(word) for word in found]
    else:
        urls = text.split()
    clean = sorted({url for word in urls if (url := _usable(word, header["url"])) is not None})
    index = "<sitemapindex" in text[:10_000]
    return {"pages": [] if index else clean, "sitemaps": clean if index else []}, []


def _text(body: bytes, content_type: str) -> str:
    """Decode by byte order mark, Content-Type, meta charset, then UTF-8, then windows-1252, as browsers do."""
    for mark, charset in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if body.startswith(mark):
            return body[len(mark) :].decode(charset, "replace")
    named = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", content_type, re.I)
    inside = re.search(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?([\w.:-]+)", body[:4096], re.I)
    for label in (named[1] if named else "", inside[1].decode("ascii", "replace") if inside else ""):
        known = _charset(label)
        if known is not None:
            return body.decode(known, "replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _charset(label: str) -> str | None:
    """Python's name for a page encoding; None for what is none (Python also knows unicode_escape, punycode, ...)."""
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    if name in ("ascii", "iso8859-1"):
        return "cp1252"
    return name if _CHARSETS.fullmatch(name) else None


def _base(tree: LexborHTMLParser, url: str) -> str:
    node = tree.css_first("base[href]")
    found = _usable(_value(node, "href"), url) if node is not None else None
    return found or url


def _links(tree: LexborHTMLParser, base: str) -> list[str]:
    found: set[str] = set()
    for node in tree.css("a[href], area[href]")[:_MAX_ITEMS]:
        href = _value(node, "href").strip()
        if not href or href.startswith("#") or "nofollow" in _value(node, "rel").lower().split():
            continue
        url = _usable(href, base)
        if url is not None:
            found.add(url)
    return sorted(found)


def _picture_url(node: LexborNode, base: str) -> str | None:
    """The largest form of a picture: srcset by width or density, else a lazy-loading attribute, else src."""
    offers: list[tuple[float, float, str]] = []
    parent = node.parent
    if parent is not None and parent.tag == "picture":
        for source in parent.css("source"):
            if _value(source, "type").strip().lower() in _TYPES:
                offers.extend(_srcset(source))
    offers.extend(_srcset(node))
    best = max(((width, density) for width, density, _ in offers), default=(0.0, 0.0))
    sized = [url for width, density, url in offers if (width, density) == best and best > (0.0, 1.0)]
    unsized = [url for _, _, url in offers if url not in sized]
    for word in [*sized, *(_value(node, name) for name in _LAZY), _value(node, "src"), *unsized]:
        url = _usable(word, base) if word.strip() else None
        if url is not None:
            return url
    return None


def _srcset(node: LexborNode) -> list[tuple[float, float, str]]:
    """(width, density, url) per candidate. Addresses may hold commas: only one at the end of a word parts candidates."""
    found: list[tuple[float, float, str]] = []
    for name in _LAZY_SETS:
        url = ""
        # "a.jpg 100w,b.jpg 50w": after a size, a comma needs no blank behind it.
        for word in re.sub(r"(?<= )(\d{1,9}(?:\.\d{1,9})?[wx]),", r"\1, ", _value(node, name)).split():
            size = _SIZE.fullmatch(word) if url else None
            if size is not None:
                number = float(size[1])
                found.append((number, 0.0, url) if size[2] == "w" else (0.0, number, url))
                url = ""
                continue
            if url:
                found.append((0.0, 1.0, url))
            url = word.strip(",")
            if url and word.endswith(","):
                found.append((0.0, 1.0, url))
                url = ""
        if url:
            found.append((0.0, 1.0, url))
    return found


def _words(node: LexborNode, text_from: list[str]) -> tuple[str, str]:
    """The first text that is not empty, and where it was; ("", "") where there is none."""
    for origin in text_from:
        text = " ".join((_caption(node) if origin == "figcaption" else _value(node, origin)).split())
        if text:
            return text, origin
    return "", ""


def _caption(node: LexborNode) -> str:
    parent = node.parent
    while parent is not None and parent.tag != "figure":
        parent = parent.parent
    caption = parent.css_first("figcaption") if parent is not None else None
    if caption is None:
        return ""
    # Blocks are words apart, inline markup is not: "<a>Fig. 1</a>, a cell" has no blank before its comma.
    return caption.text(deep=True, separator=" " if caption.css_first("p, div, br, li, h1, h2, h3, h4") else "")


def _usable(word: str, base: str) -> str | None:
    try:
        return canonical(word, base)
    except UnusableURLError:
        return None


def _value(node: LexborNode, name: str) -> str:
    return node.attributes.get(name) or ""
