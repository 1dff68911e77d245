"""The pictures of a page: which form of each is the largest, and every text that stands with it. Runs in the sandbox.

Pictures are img and picture, AMP's amp-img and amp-anim, and picture buttons (input). Lazy-loading attributes, srcset and
noscript (html_lazy.py) are looked into, relative addresses resolved (dropping those cost cc2dataset 42 % of its pairs, its
issue 42).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.sources.html_lazy import LAZY_SETS, lazy_words, twins_of, usable, value
from pipeline.web.urls import Base, UnusableURLError

_PICTURES = 'img, amp-img, amp-anim, input[type="image" i]'
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_FORMS = "amp-img amp-img, amp-anim amp-img"
"""What AMP shows before or in place of the picture around it."""
_TYPES = ("", "image/jpeg", "image/jpg", "image/png", "image/webp", "image/gif")
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([wx]),?")
_MIN_WIDTH = re.compile(r"min-(?:device-)?width\s*:\s*(\d{1,6})")
_MAX_HEADING = 300  # characters: context, not content
_MAX_WORDS = 5000  # characters of a text that many pictures may share
_MAX_CLIMB = 64  # elements between a picture and its figure
_MAX_CAPTIONS = 64  # captions of figures inside a figure


Named = dict[str, LexborNode | str]
"""Elements by their id, or their text where it was asked for before."""


@dataclass
class Picture:
    """One picture of a page: its address, its texts as (text, origin), the nearest heading above it, and the licence that
    the page states for this one picture."""

    url: str
    texts: list[tuple[str, str]] = field(default_factory=list)
    heading: str | None = None
    licence: str | None = None

    def add(self, texts: Sequence[tuple[str, str]]) -> None:
        """More texts for it, each once."""
        self.texts.extend(text for text in dict.fromkeys(texts) if text not in self.texts)

    def told(self, text_from: Sequence[str]) -> dict[str, Any]:
        text, origin = first_text(self.texts, text_from)
        said = {"url": self.url, "text": text, "origin": origin, "texts": self.texts, "heading": self.heading}
        return said | ({"licence": self.licence} if self.licence else {})


def first_text(texts: Sequence[Sequence[str]], text_from: Sequence[str]) -> tuple[str, str]:
    """The text whose origin comes first in `text_from`; ("", "") where there is none."""
    if len(texts) == 1 or (texts and texts[0][1] in text_from[:1]):
        return (texts[0][0], texts[0][1]) if texts[0][1] in text_from else ("", "")
    best = min(
        ((text_from.index(origin), place) for place, (_, origin) in enumerate(texts) if origin in text_from),
        default=None,
    )
    return (texts[best[1]][0], texts[best[1]][1]) if best is not None else ("", "")


def pictures_of(tree: LexborHTMLParser, base: Base, limit: int) -> tuple[list[Picture], int, list[tuple[str, str]]]:
    """The first `limit` pictures in the page's order, how many elements of pictures come after them, and those without a
    usable address: why, and their first text.

    A picture in noscript is the one that a script would have loaded: it adds its words to that one, and its address where
    that one has none of its own. Forms of an AMP picture add their words.
    """
    found: list[Picture] = []
    unusable: list[tuple[str, str]] = []
    known: dict[str, Picture] = {}
    twins, repeats = twins_of(tree, base)
    forms = {node.mem_id for node in tree.css(_FORMS)}
    absorbed = {node.mem_id for node in twins.values()} | forms
    captions: dict[int, str | None] = {}
    named: Named | None = None
    heading: str | None = None
    beyond = 0
    for node in tree.css(", ".join((_PICTURES, *_HEADINGS))):
        if node.tag in _HEADINGS:
            heading = " ".join(node.text(deep=True, separator=" ").split())[:_MAX_HEADING] or heading
            continue
        if node.mem_id in absorbed:
            if node.mem_id in forms and found:
                found[-1].add(_texts(node, {}, captions))
            continue
        if len(found) + len(unusable) >= limit:
            beyond += 1
            continue
        twin = twins.get(node.mem_id)
        url = _address(node, twin, base)
        if url is None:
            why = _why_unusable(node, base)
            if why is not None and node.mem_id not in repeats:
                unusable.append((why, next((text for text, _ in _texts(node, {}, captions)), "")))
            continue
        if named is None and value(node, "aria-labelledby"):
            named = {value(each, "id"): each for each in reversed(tree.css("[id]"))}
        picture = Picture(url, _texts(node, named or {}, captions), heading)
        if twin is not None:
            picture.add(_texts(twin, named or {}, captions))
        if node.mem_id in repeats and url in known:
            known[url].add(picture.texts)
            continue
        found.append(picture)
        known.setdefault(url, picture)
    return found, beyond, unusable


def _address(node: LexborNode, twin: LexborNode | None, base: Base) -> str | None:
    """Where the picture is; `twin` stands in for one that has no address before a script gives it one."""
    url = _picture_url(node, base)
    sets = any(value(node, name).strip() for name in ("srcset", *LAZY_SETS))
    if twin is None or (url is not None and (node.tag != "img" or sets or lazy_words(node))):
        return url
    return _picture_url(twin, base) or url


def _texts(node: LexborNode, named: Named, captions: dict[int, str | None]) -> list[tuple[str, str]]:
    said = [(value(node, name), name) for name in ("alt", "title", "aria-label")]
    ids = value(node, "aria-labelledby").split()[:8]
    said.append((" ".join(_named(named, each) for each in ids), "aria-labelledby"))
    said.append((_caption(node, captions), "figcaption"))
    clean = ((" ".join(text.split()), origin) for text, origin in said if text)
    return [(text, origin) for text, origin in clean if text]


def _picture_url(node: LexborNode, base: Base) -> str | None:
    """The largest form of a picture: srcset by width or density, else a lazy-loading attribute, else src."""
    offers: list[tuple[float, float, str]] = []
    screens: list[tuple[int, str]] = []  # forms without a size for screens of some width and more
    parent = node.parent
    if parent is not None and parent.tag == "picture":
        for source in parent.css("source"):
            if value(source, "type").strip().lower() in _TYPES:
                offered = _srcset(source)
                offers.extend(offered)
                screen = _MIN_WIDTH.search(value(source, "media"))
                if screen is not None and offered:
                    screens.append((int(screen[1]), offered[0][2]))
    offers.extend(_srcset(node))
    offers = [each for each in offers if not each[2].startswith("data:")]
    best = max(((width, density) for width, density, _ in offers), default=(0.0, 0.0))
    sized = [url for width, density, url in offers if (width, density) == best and best > (0.0, 1.0)]
    unsized = [url for _, _, url in offers if url not in sized]
    if screens and not sized:
        sized.append(max(screens, key=lambda each: each[0])[1])
    for word in [*sized, *lazy_words(node), value(node, "src"), *unsized]:
        url = usable(word, base) if word.strip() else None
        if url is not None:
            return url
    return None


def _why_unusable(node: LexborNode, base: Base) -> str | None:
    """What is wrong with the address of a picture that has none we could ask for; None where nothing stands there."""
    for word in (value(node, "src"), *lazy_words(node)):
        if word.strip():
            try:
                base.join(word)
            except UnusableURLError as error:
                return str(error)
    return None


def _srcset(node: LexborNode) -> list[tuple[float, float, str]]:
    """(width, density, url) per candidate. Addresses may hold commas: only one at the end of a word parts candidates."""
    found: list[tuple[float, float, str]] = []
    for name in (*LAZY_SETS, "srcset"):
        url = ""
        # "a.jpg 100w,b.jpg 50w": after a size, a comma needs no blank behind it.
        for word in re.sub(r"(?<=\s)(\d{1,9}(?:\.\d{1,9})?[wx]),", r"\1, ", value(node, name)).split():
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


def _named(named: Named, name: str) -> str:
    found = named.get(name, "")
    if not isinstance(found, str):
        found = named[name] = str(found.text(deep=True))[:_MAX_WORDS]
    return found


def _caption(node: LexborNode, captions: dict[int, str | None]) -> str:
    """The caption of the innermost figure around a picture that has one of its own; `captions` are those known already."""
    parent, is_below = node.parent, False
    for _ in range(_MAX_CLIMB):
        if parent is None:
            return ""
        if parent.tag == "figcaption":  # a sign in the caption is not what it speaks of
            is_below = True
        elif parent.tag == "figure":
            if parent.mem_id not in captions:
                captions[parent.mem_id] = _own_caption(parent)
            caption = captions[parent.mem_id]
            if caption is not None and not is_below:
                return caption
            is_below = False
        parent = parent.parent
    return ""


def _own_caption(figure: LexborNode) -> str | None:
    """The text of its figcaption; those of figures inside are theirs."""
    for caption in figure.css("figcaption")[:_MAX_CAPTIONS]:
        parent = caption.parent
        for _ in range(_MAX_CLIMB):
            if parent is None or parent.tag == "figure":
                break
            parent = parent.parent
        if parent is not None and parent.mem_id == figure.mem_id:
            # Blocks are words apart, inline markup is not: "<a>Fig. 1</a>, a cell" has no blank before its comma.
            is_block = caption.css_first("p, div, br, li, h1, h2, h3, h4") is not None
            return str(caption.text(deep=True, separator=" " if is_block else ""))[:_MAX_WORDS]
    return None
