"""What a web page says: its pictures with their words, its links, its wishes towards robots. Runs in the sandbox.

Pictures come from img and picture elements (pipeline/sources/html_pictures.py) and from what the page says of itself to other
machines (pipeline/sources/html_metadata.py). The parser is lexbor (selectolax), an HTML5 one.
"""

import html
import io
import re
from collections.abc import Sequence
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from pipeline.sources.charsets import XML_CHARSET, page_text
from pipeline.sources.html_lazy import usable, value
from pipeline.sources.html_metadata import META_NAMES, described_pictures
from pipeline.sources.html_pictures import Picture, pictures_of
from pipeline.sources.lines import plain_blocks
from pipeline.web.directives import forbids_following, meta_directives
from pipeline.web.urls import Base

MAX_ITEMS = 10_000  # pictures or links of one page
MAX_DEPTH = 10_000
"""Tags open at once; lexbor's time grows with the square of it (40,000: 1.4 s)."""
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_NOT_NESTED = re.compile(  # void, or closed by what follows
    "area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr|p|li|td|th|tr|dt|dd|option|optgroup|thead|tbody|tfoot"
    "|colgroup|caption|rp|rt"
)


def parse_page(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Header: url, text_from, product (our robots name), content_type, date; links: false where nobody follows them.

    Returns images [{url, text, origin, texts, heading, and licence where it has one of its own}],
    beyond (pictures after the first MAX_ITEMS, not returned),
    unusable [[why, text]] of pictures whose address nobody could ask for, links [url] (none where the page
    says nofollow), robots [directive], licence and base. Of a page that is made to stop parsers {too_deep} alone.
    """
    page = page_text(payload, header.get("content_type", ""))
    if _depth(page) > MAX_DEPTH:
        return {"too_deep": f"tags nested deeper than {MAX_DEPTH:,}"}, []
    tree = LexborHTMLParser(page)
    base = _base(tree, Base(header["url"]))
    metas = [
        (name, value(node, "content")) for node in tree.css("meta") for key in META_NAMES if (name := value(node, key))
    ]
    robots = meta_directives(metas, header.get("product", ""), header.get("date", ""))
    follow = header.get("links", True) and not forbids_following(robots)
    pictures, beyond, unusable = pictures_of(tree, base, MAX_ITEMS)
    seen: dict[str, Picture] = {}
    for picture in pictures:
        seen.setdefault(picture.url, picture)
    for picture in described_pictures(tree, metas, base):
        if picture.url in seen:
            seen[picture.url].add(picture.texts)
            seen[picture.url].licence = seen[picture.url].licence or picture.licence
        elif len(pictures) < MAX_ITEMS:
            pictures.append(picture)
            seen[picture.url] = picture
    return {
        "images": [picture.told(header["text_from"]) for picture in pictures],
        "beyond": beyond,
        "unusable": unusable,
        "links": _links(tree, metas, base) if follow else [],
        "robots": list(robots),
        "licence": _licence(tree, base),
        "base": base.url,
    }, []


def parse_pages(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Several pages in one call: header pages [{..., bytes}], the payload is their bodies one after the other.

    A page that cannot be parsed answers {error}; the caller looks at it alone.
    """
    said: list[dict[str, Any]] = []
    start = 0
    for page in header["pages"]:
        body = payload[start : start + page["bytes"]]
        start += page["bytes"]
        try:
            said.append(parse_page(page, body)[0])
        except Exception as error:
            said.append({"error": type(error).__name__})
    return {"pages": said}, []


def parse_sitemap(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Header: url. Returns pages [url], sitemaps [url] and images [{page, url, texts}] of a sitemap, sitemap index or
    plain list (sitemaps.org, with Google's image extension), and as `fault` why it names nothing where it should.

    Read with regular expressions: no XML parser, so no entity is ever expanded. gzip is undone up to 50 MB, as far
    as it is whole.
    """
    is_cut = False
    if payload[:2] == b"\x1f\x8b":
        plain = bytearray()
        for block in plain_blocks(io.BytesIO(payload)):
            plain += block
            if is_cut := len(plain) >= _MAX_SITEMAP:
                break
        payload = bytes(plain[:_MAX_SITEMAP])
    text = _one_prefix(page_text(payload, "", XML_CHARSET))
    if "<" in text:
        urls = [word for word in (_unescaped(found) for found in _LOC.findall(text)) if word]
    else:
        urls = text.split()
    base = Base(header["url"])
    clean = sorted({url for word in urls if (url := usable(word, base)) is not None})
    fault = None
    if not clean:
        is_sitemap = "<urlset" in text[:10_000] or "<sitemapindex" in text[:10_000]
        fault = "too_large" if is_cut else None if is_sitemap else "damaged_file"
    if "<sitemapindex" in text[:10_000]:
        return {"pages": [], "sitemaps": clean, "images": [], "fault": fault}, []
    return {"pages": clean, "sitemaps": [], "images": _sitemap_images(text, base), "fault": fault}, []


SITEMAP_LICENCE = "sitemap:license"
"""Origin of a sitemap's word that is no text but the address of a picture's licence."""
_REFRESH = re.compile(r"\s*[\d.]*\s*[;,]\s*(?:url\s*=\s*)?((?!url\s*=)[^\s].{0,4096})", re.I | re.S)
_MAX_SITEMAP = 50_000_000  # bytes: what sitemaps.org allows
_VALUE = r"\s*((?:<!\[CDATA\[(?:[^\]]|\](?!\]>)){0,4096}\]\]>|[^<]{1,4096}))\s*"
_LOC = re.compile(rf"<loc>{_VALUE}</loc>")
_NAMESPACES = (
    ("", re.compile(r"xmlns:([\w-]{1,40})\s*=\s*[\"']https?://www\.sitemaps\.org/schemas/sitemap/0\.9/?[\"']")),
    (
        "image:",
        re.compile(r"xmlns:([\w-]{1,40})\s*=\s*[\"']https?://www\.google\.com/schemas/sitemap-image/1\.1/?[\"']"),
    ),
)
_ENTRY = re.compile(r"<url>(.{1,1000000}?)</url>", re.DOTALL)
_IMAGE = re.compile(r"<image:image>(.{1,20000}?)</image:image>", re.DOTALL)
_IMAGE_FACTS = {
    name: re.compile(rf"<image:{name}>{_VALUE}</image:{name}>") for name in ("loc", "caption", "title", "license")
}


def _one_prefix(text: str) -> str:
    """A sitemap whose elements have the usual prefixes, whatever it calls the two namespaces."""
    for usual, declared in _NAMESPACES:
        found = declared.search(text, 0, 4096)
        if found and f"{found[1]}:" != usual:
            text = re.sub(rf"(</?){re.escape(found[1])}:", rf"\1{usual}", text)
    return text


def _unescaped(word: str) -> str:
    word = word.strip()
    if word.startswith("<![CDATA["):
        return word[9:-3].strip()
    return html.unescape(word)


def _sitemap_images(text: str, base: Base) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if "<image:image>" not in text:
        return found
    for entry in _ENTRY.findall(text):
        page = _LOC.search(entry)
        page_url = usable(_unescaped(page[1]), base) if page else None
        for image in _IMAGE.findall(entry) if page_url else ():
            facts = {name: _unescaped(said[1]) for name, rule in _IMAGE_FACTS.items() if (said := rule.search(image))}
            url = usable(facts.get("loc", ""), base)
            texts = [
                [" ".join(facts[name].split()), f"sitemap:{name}"] for name in ("caption", "title") if facts.get(name)
            ]
            licence = usable(facts["license"], base) if facts.get("license") else None
            texts += [[licence, SITEMAP_LICENCE]] if licence else []
            if url is not None and facts.get("loc"):
                found.append({"page": page_url, "url": url, "texts": texts})
    return found


def _depth(page: str) -> int:
    """How deep tags are nested, roughly; only looked at where there are tags enough to be too deep."""
    if page.count("<") <= MAX_DEPTH:
        return 0
    open_tags = deepest = 0
    for closing, name in _TAG.findall(page):
        if _NOT_NESTED.fullmatch(name.lower()):
            continue
        open_tags = max(0, open_tags - 1) if closing else open_tags + 1
        deepest = max(deepest, open_tags)
    return deepest


def _base(tree: LexborHTMLParser, url: Base) -> Base:
    node = tree.css_first("base[href]")
    found = usable(value(node, "href"), url) if node is not None else None
    return Base(found) if found else url


def _links(tree: LexborHTMLParser, metas: Sequence[tuple[str, str]], base: Base) -> list[str]:
    """Where its anchors lead, and where it sends its readers on to (meta refresh), as start pages do."""
    sent = (_REFRESH.fullmatch(content) for name, content in metas if name.strip().lower() == "refresh")
    words = [found[1].strip().strip("'\"").strip() for found in sent if found]
    for node in tree.css("a[href], area[href]")[:MAX_ITEMS]:
        if "nofollow" not in value(node, "rel").lower().split():
            words.append(value(node, "href").strip())
    urls = (usable(word, base) for word in words if word and not word.startswith("#"))
    return sorted({url for url in urls if url is not None})


def _licence(tree: LexborHTMLParser, base: Base) -> str | None:
    for node in tree.css('a[rel~="license" i][href], link[rel~="license" i][href]'):
        url = usable(value(node, "href"), base)
        if url is not None:
            return url
    return None
