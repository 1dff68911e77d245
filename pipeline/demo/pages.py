"""The demo web's HTML: ordinary pages with galleries and prose, section indexes, home pages, robots.txt, sitemap.xml.

Pictures are named in all the ways of the web: relative, from the root, without scheme, in full; texts in alt, figcaption
or title. Nothing here is random but through the generator handed in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from posixpath import dirname, relpath

import numpy as np

from pipeline.demo import texts
from pipeline.demo.casting import DIGITS_HOST, SCENES_HOST, Pair

NAMES = {DIGITS_HOST: "The Handwriting Cabinet", SCENES_HOST: "The Scene Collection"}
_STYLE = "body{font-family:sans-serif;max-width:60em;margin:auto}figure{display:inline-block}nav a{margin-right:1em}"


@dataclass
class Page:
    """A page to be: pairs to show and (path or URL, label) links. `path` begins with a slash."""

    host: str
    path: str
    title: str
    pairs: list[Pair] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    meta_robots: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}{self.path}"


def html(page: Page, random: np.random.Generator) -> str:
    """The page's document."""
    robots = f'<meta name="robots" content="{page.meta_robots}">\n' if page.meta_robots else ""
    home = _link(page, "/")
    nav = "\n".join(f'<a href="{escape(_link(page, path))}">{escape(label)}</a>' for path, label in page.links)
    body = "\n".join(_block(page, pair, random) for pair in page.pairs)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{escape(page.title)} - {escape(NAMES[page.host])}</title>
<meta name="viewport" content="width=device-width">
{robots}<style>{_STYLE}</style>
</head>
<body>
<header><a href="{home}">{escape(NAMES[page.host])}</a></header>
<nav>
{nav}
</nav>
<main id="top">
<h1>{escape(page.title)}</h1>
<p>{_prose(random)}</p>
{body}
</main>
<footer><p>{_prose(random)} <a href="#top">Back to the top</a></p></footer>
</body>
</html>
"""


def robots_txt(host: str) -> str:
    return f"User-agent: *\nDisallow: /private/\n\nSitemap: http://{host}/sitemap.xml\n"


def sitemap_xml(pages: Sequence[Page]) -> str:
    entries = "\n".join(f" <url><loc>{escape(page.url)}</loc></url>" for page in pages)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    return f"{head}\n{entries}\n</urlset>\n"


def _link(page: Page, target: str) -> str:
    """Relative within the site, in full to another one."""
    if not target.startswith("/"):
        return target
    relative = relpath(target, dirname(page.path))
    return relative + "/" if target.endswith("/") else relative


def _source(page: Page, url: str, random: np.random.Generator) -> str:
    host, _, path = url.removeprefix("http://").partition("/")
    if host != page.host:
        return url
    form = int(random.integers(10))
    if form == 0:
        return url
    if form == 1:
        return f"//{host}/{path}"
    return f"/{path}" if form < 5 else _link(page, f"/{path}")


def _block(page: Page, pair: Pair, random: np.random.Generator) -> str:
    source = escape(_source(page, pair.url, random))
    lazy = ' loading="lazy"' if random.random() < 0.4 else ""
    text = "" if pair.text is None else escape(pair.text)
    if pair.origin == "figcaption":
        return f'<figure><img src="{source}"{lazy}><figcaption>{text}</figcaption></figure>'
    if pair.origin == "title":
        return f'<p><img src="{source}" title="{text}"{lazy}></p>'
    image = f'<img src="{source}"{lazy}>' if pair.text is None else f'<img src="{source}" alt="{text}"{lazy}>'
    if pair.below:
        return f"<figure>{image}<figcaption>{escape(pair.below)}</figcaption></figure>"
    # A bare <div> for texts that have to fall: nothing near them may lend them another text.
    return f"<div>{image}</div>" if random.random() < 0.5 else f"<p>{image}</p>\n<p>{_prose(random)}</p>"


def _prose(random: np.random.Generator) -> str:
    parts = (texts.OPENING, texts.MIDDLE, texts.CLOSING)
    opening, middle, closing = (choices[int(random.integers(len(choices)))] for choices in parts)
    return escape(f"{opening}, {middle}. {closing}")
