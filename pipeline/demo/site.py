"""build_site: the whole demo web as a folder.

    www/HOST/...      pages and pictures, as the server sends them
    queries.txt       the query list that selection should use
    pairs.jsonl       every <img> of every page: its text, its fate
    planted.json      how often curation must count what, by phase, unit and reason
    site.json         hosts, seeds, files, headers and misbehaviour for server.py; written last: if it exists, the site is whole

The same config gives the same bytes. The folder is local, because the server sends its files from disk.
"""

import json
import os
import zlib
from collections import Counter
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.demo import texts
from pipeline.demo.cast import choose_cast
from pipeline.demo.casting import DIGITS_HOST, SCENES_HOST, SLOW_HOST, Cast, Pair, WebFile
from pipeline.demo.config import DemoWebConfig
from pipeline.demo.pages import NAMES, Page, html, robots_txt, sitemap_xml
from pipeline.errors import ConfigError, DataError
from pipeline.execution.progress import Progress, silent

HOSTS = (DIGITS_HOST, SCENES_HOST, SLOW_HOST)
SEEDS = (f"http://{DIGITS_HOST}/", f"http://{SCENES_HOST}/")
_HTML = "text/html; charset=utf-8"
_OPTED_OUT = {
    "robots_txt": ("/private", {}, ""),
    "header_opt_out": ("/studio", {"X-Robots-Tag": "noai"}, ""),
    "meta_opt_out": ("/atelier", {}, "noimageai"),
}


def build_site(config: DemoWebConfig, folder: str, progress: Progress = silent) -> dict[str, Any]:
    """Build the demo web in `folder` and return what site.json says.

    Raises ConfigError for numbers that cannot work together, DataError where the folder cannot be written.
    """
    if not storage.is_local(folder):
        raise ConfigError(
            f"web: {folder} is not a local folder, and the demo server reads local files; choose a local --root"
        )
    # Away with an older site first, so that its end mark can never vouch for a new, unfinished one.
    for name in ("site.json", "www"):
        storage.remove_tree(storage.join(folder, name))
    cast = choose_cast(config, progress)
    pages = _pages(config, cast)
    planted = _planted(config, cast)
    _check_balance(config, cast)
    files = cast.files | _text_files(config, pages)
    for host, path in _strangers(config):
        files[f"{host}{path}"] = WebFile(b"Terms of use: look, do not sell.\n", "text/plain; charset=utf-8")
    _write(folder, files)
    progress(len(files), len(files), "files")
    rows = [(page, pair) for page in pages for pair in page.pairs]
    storage.write_bytes(storage.join(folder, "pairs.jsonl"), "".join(_row(*row) for row in rows).encode())
    storage.write_bytes(storage.join(folder, "queries.txt"), "".join(f"{query}\n" for query in texts.QUERIES).encode())
    storage.write_json(storage.join(folder, "planted.json"), planted)
    site = {
        "hosts": list(HOSTS),
        "seeds": list(SEEDS),
        "behaviours": cast.behaviours,
        "files": {
            key: {"file": _file_name(key), "type": file.type, "headers": dict(file.headers)}
            for key, file in files.items()
        },
        "pages": len(pages),
        "pictures": len(cast.files),
    }
    storage.write_json(storage.join(folder, "site.json"), site)
    return site


def _pages(config: DemoWebConfig, cast: Cast) -> list[Page]:
    """All pages that exist, with their pairs and links."""
    random = np.random.default_rng([zlib.crc32(b"layout"), config.seed])
    out: list[Page] = []
    for host in (DIGITS_HOST, SCENES_HOST):
        pairs = [pair for pair in cast.pairs if pair.host == host and not pair.fate.startswith("page:")]
        out.extend(_site_pages(config, host, pairs, random))
    homes = {page.host: page for page in out if page.path == "/"}
    for reason, (place, headers, meta) in _OPTED_OUT.items():
        pairs = [pair for pair in cast.pairs if pair.fate == f"page:{reason}"]
        for number in range(int(getattr(config, f"{reason}_pages"))):
            host = (SCENES_HOST, DIGITS_HOST)[number % 2]
            page = Page(host, f"{place}/page-{number + 1}.html", f"{place[1:].title()} {number + 1}", headers=headers)
            page.meta_robots = meta
            page.pairs = pairs[number * config.pairs_per_opted_out_page :][: config.pairs_per_opted_out_page]
            page.links = [("/", "Home")]
            homes[host].links.append((page.path, page.title))
            out.append(page)
    for host, path in _strangers(config):
        homes[host].links.append((path, "Terms of use"))
    for number in range(config.dead_pages):
        host = (DIGITS_HOST, SCENES_HOST)[number % 2]
        homes[host].links.append((f"/old/page-{number + 1}.html", "Our old page"))
    return out


def _strangers(config: DemoWebConfig) -> list[tuple[str, str]]:
    """(host, path) of what is linked as a page and is plain text."""
    return [
        ((DIGITS_HOST, SCENES_HOST)[number % 2], f"/about/terms-{number + 1}")
        for number in range(config.not_html_pages)
    ]


def _site_pages(config: DemoWebConfig, host: str, pairs: list[Pair], random: np.random.Generator) -> list[Page]:
    """Home, about, section indexes and the pages with pictures of one site."""
    again = [pair for pair in pairs if pair.fate == "select:duplicate_pair"]
    once = [pair for pair in pairs if pair.fate != "select:duplicate_pair"]
    once = [once[int(i)] for i in random.permutation(len(once))]
    chunks = [once[i : i + config.pairs_per_page] for i in range(0, len(once), config.pairs_per_page)]
    # At least two pages, or there is no second page for a pair to stand on again.
    chunks = chunks if len(chunks) > 1 else [once[::2], once[1::2]]
    place_of = {pair.url: place for place, chunk in enumerate(chunks) for pair in chunk}
    for pair in again:
        shift = 1 + int(random.integers(len(chunks) - 1))
        chunks[(place_of[pair.url] + shift) % len(chunks)].append(pair)
    home = Page(host, "/", NAMES[host], links=[("/about/", "About"), (_other_home(host), "Our partner site")])
    pages = [home, Page(host, "/about/", "About", links=[("/", "Home"), (_other_home(host), "Our partner site")])]
    sections = texts.SECTIONS[: config.sections_per_host]
    for order, section in enumerate(sections):
        index = Page(host, f"/{section}/", section.title(), links=[("/", "Home")])
        home.links.append((index.path, index.title))
        pages.append(index)
        mine = chunks[order :: len(sections)]
        for number, chunk in enumerate(mine, start=1):
            page = Page(host, f"/{section}/page-{number:03d}.html", f"{index.title}, page {number}", chunk)
            index.links.append((page.path, page.title))
            page.links = [("/", "Home"), (index.path, index.title)]
            if number > 1:
                page.links.append((f"/{section}/page-{number - 1:03d}.html", "Previous page"))
            if number < len(mine):
                page.links.append((f"/{section}/page-{number + 1:03d}.html#top", "Next page"))
            pages.append(page)
    return pages


def _other_home(host: str) -> str:
    return SEEDS[1] if host == DIGITS_HOST else SEEDS[0]


def _text_files(config: DemoWebConfig, pages: list[Page]) -> dict[str, WebFile]:
    random = np.random.default_rng([zlib.crc32(b"pages"), config.seed])
    files = {f"{page.host}{page.path}": WebFile(html(page, random).encode(), _HTML, page.headers) for page in pages}
    for host in HOSTS:
        files[f"{host}/robots.txt"] = WebFile(robots_txt(host).encode(), "text/plain; charset=utf-8")
        files[f"{host}/sitemap.xml"] = WebFile(
            sitemap_xml([page for page in pages if page.host == host]).encode(), "application/xml"
        )
    return files


def _file_name(key: str) -> str:
    return f"www/{key}index.html" if key.endswith("/") else f"www/{key}"


def _write(folder: str, files: dict[str, WebFile]) -> None:
    """Plain writes without sync: what a crash leaves behind has no site.json and is built again."""
    try:
        for key, file in files.items():
            path = os.path.join(folder, _file_name(key))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as sink:
                sink.write(file.data)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror or error}); free space or choose another --root"
        ) from error


def _row(page: Page, pair: Pair) -> str:
    value = {
        "page_url": page.url,
        "url": pair.url,
        "text": pair.text or "",
        "text_origin": pair.origin,
        "fate": pair.fate,
        "recovered": pair.recovered,
    }
    return json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n"


def _planted(config: DemoWebConfig, cast: Cast) -> dict[str, Any]:
    """Counts by phase, unit and reason, of what is there rather than of what was asked for."""
    fates = Counter(pair.fate for pair in cast.pairs if ":" in pair.fate and not pair.fate.startswith("page:"))
    planted: dict[str, Any] = {phase: {"pairs": {}} for phase in ("select", "fetch", "deduplicate", "decontaminate")}
    for fate, count in sorted(fates.items()):
        phase, reason = fate.split(":")
        planted[phase]["pairs"][reason] = count
    pages = {reason: int(getattr(config, f"{reason}_pages")) for reason in _OPTED_OUT}
    pages |= {"not_found": config.dead_pages, "not_html": config.not_html_pages}
    planted["crawl"] = {"pages": {reason: count for reason, count in pages.items() if count}}
    planted["recovered"] = dict(sorted(Counter(pair.recovered for pair in cast.pairs if pair.recovered).items()))
    return planted


def _check_balance(config: DemoWebConfig, cast: Cast) -> None:
    """Every pair but the glut must be kept for sure, and the glut must be too much."""
    pairs = [pair for pair in cast.pairs if pair.fate.partition(":")[0] not in ("page", "select")]
    words = [set((pair.text or "").split(" ")) & set(texts.QUERIES) for pair in pairs]
    counts = Counter(word for found in words for word in found)
    for pair, found in zip(pairs, words, strict=True):
        rarest = min(found, key=lambda word: counts[word])
        if pair.fate != "glut" and counts[rarest] > config.pairs_per_query:
            raise ConfigError(
                f"web.pairs_per_query={config.pairs_per_query}: {counts[rarest]} pairs match {rarest!r}, so balancing"
                " would drop unplanned ones; raise it or lower web.scenes and web.digits"
            )
    if config.glut and counts[texts.HEAD_QUERY] <= config.pairs_per_query:
        raise ConfigError(
            f"web.pairs_per_query={config.pairs_per_query}: only {counts[texts.HEAD_QUERY]} pairs match"
            f" {texts.HEAD_QUERY!r}, so balancing would drop none; lower it or raise web.glut"
        )
