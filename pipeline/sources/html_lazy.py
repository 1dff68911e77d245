"""Pictures that a script loads later, beside the one in noscript that shows the same without scripts.

Pages write them in two ways, `<img data-src=...><noscript><img src=...></noscript>` and the noscript first; often the lazy
one has the words and a grey dot for an address, and the other the address. Tracking pixels stand in noscript too, so two
are taken for one only where the place leaves no doubt and their words do not differ. Runs in the sandbox.
"""

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.web.urls import Base, UnusableURLError

LAZY = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-image-src")
LAZY_SETS = ("data-srcset", "data-lazy-srcset")
_AMP = ("amp-img", "amp-anim")
_MAX_NESTED = 8
_MAX_NODES = 32  # looked at in an element beside a noscript
_MAX_NOSCRIPT = 10_000


def twins_of(tree: LexborHTMLParser, base: Base) -> tuple[dict[int, LexborNode], set[int]]:
    """{mem_id of a picture: the one in noscript that shows it}, and the mem_ids of all pictures in noscript."""
    inside = tree.css("noscript img")[:_MAX_NOSCRIPT]
    found: dict[int, LexborNode] = {}
    for node in inside:
        twin = _twin(node, base)
        if twin is not None:
            found.setdefault(twin.mem_id, node)
    return found, {node.mem_id for node in inside}


def lazy_words(node: LexborNode) -> list[str]:
    """What may be addresses in its lazy attributes: data-lazy="true" is a switch, some hold JSON for a script, and some a form
    that the script fills in (p_{width}x.jpg in Shopify's shops)."""
    words = [value(node, name).strip() for name in LAZY]
    return [word for word in words if any(mark in word for mark in "./?") and "{" not in word and word[0] != "["]


def is_lazy(node: LexborNode, base: Base) -> bool:
    """Whether a script gives this picture its address."""
    if any(value(node, name).strip() for name in (*LAZY, *LAZY_SETS)):
        return True
    word = value(node, "src").strip()
    return not word or usable(word, base) is None


def _twin(node: LexborNode, base: Base) -> LexborNode | None:
    """The picture outside that the one in noscript stands for, None where that is not sure."""
    if value(node, "width").strip() in ("0", "1") or value(node, "height").strip() in ("0", "1"):
        return None
    outside = node.parent
    for _ in range(_MAX_NESTED):
        if outside is None or outside.tag == "noscript":
            break
        outside = outside.parent
    if outside is None or outside.tag != "noscript" or _only(outside) is None:
        return None
    if outside.parent is not None and outside.parent.tag in _AMP:
        return outside.parent
    beside = [each for each in (_alone(outside, False), _alone(outside, True)) if each is not None]
    words = _words(node)
    same = [each for each in beside if words and _words(each) == words]
    if same:
        return same[0]
    if len(beside) == 1 and is_lazy(beside[0], base) and not (words and _words(beside[0])):
        return beside[0]
    return None


def _alone(node: LexborNode, after: bool) -> LexborNode | None:
    """The picture that stands beside `node`, by itself or the only one of its element."""
    near = node.next if after else node.prev
    while near is not None and (
        near.tag == "-comment" or (near.tag == "-text" and not (near.text_content or "").strip())
    ):
        near = near.next if after else near.prev
    if near is None or near.tag in ("-text", "noscript"):
        return None
    if near.tag == "img":
        return near
    return _only(near) if near.tag in ("picture", "a", "span", "div") else None


def _only(node: LexborNode) -> LexborNode | None:
    """The only picture in a small element; pages nest such elements by the thousand, so large ones are not gone through."""
    found: LexborNode | None = None
    todo = [node.child]
    for _ in range(_MAX_NODES):
        near = todo.pop() if todo else None
        if near is None:
            return found if not todo else None
        if near.tag == "img":
            if found is not None:
                return None
            found = near
        todo += [each for each in (near.next, near.child) if each is not None]
    return None


def _words(node: LexborNode) -> str:
    return " ".join((value(node, "alt") or value(node, "title")).split())


def usable(word: str, base: Base) -> str | None:
    try:
        return base.join(word)
    except UnusableURLError:
        return None


def value(node: LexborNode, name: str) -> str:
    return node.attributes.get(name) or ""
