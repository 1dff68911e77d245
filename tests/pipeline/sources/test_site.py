"""The crawl against a real site on loopback: every page has one fate, and no kill or order changes the result."""

import functools
import gzip
import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.executor import InProcess, Item, Result
from pipeline.execution.ledger import PhaseResult
from pipeline.fetching.fetch import FetchConfig, fetch
from pipeline.sample import CANDIDATE, pair_uid
from pipeline.sources.config import SiteSource
from pipeline.sources.frontier import LINKS
from pipeline.sources.site import crawl
from pipeline.sources.turns import all_files, turns
from pipeline.web.web_config import NetworkConfig

Answer = tuple[int, dict[str, str], bytes]


def html(body: str, **headers: str) -> Answer:
    return (
        200,
        {"Content-Type": "text/html; charset=utf-8"} | {k.replace("_", "-"): v for k, v in headers.items()},
        body.encode(),
    )


class Site:
    """Hosts on one loopback server: (host, path) -> answer; everything else is a 404."""

    def __init__(self) -> None:
        self.pages: dict[tuple[str, str], Answer] = {}
        self.once: dict[tuple[str, str], Answer] = {}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.unchanged: Counter[tuple[str, str]] = Counter()
        self.times: list[tuple[str, float]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet, or each answer waits for a delayed acknowledgement

            def do_GET(self) -> None:
                key = (self.headers["Host"], self.path)
                site.asked[key] += 1
                site.times.append((self.path, time.monotonic()))
                status, headers, body = site.once.pop(key, None) or site.pages.get(key, (404, {}, b""))
                named = (self.headers.get("If-None-Match"), self.headers.get("If-Modified-Since"))
                if any(named) and named == (
                    headers.get("ETag"),
                    None if "ETag" in headers else headers["Last-Modified"],
                ):
                    site.unchanged[key] += 1
                    self.send_response(304)
                    for name in {"ETag", "X-Robots-Tag"} & set(headers):
                        self.send_header(name, headers[name])
                    self.end_headers()
                    return
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def network(self, **changes: Any) -> NetworkConfig:
        address = f"127.0.0.1:{self.server.server_port}"
        hosts = dict.fromkeys(
            ("a.example", "b.example", "www.a.example", "sub.b.example", "xn--bcher-kva.example"), address
        )
        return NetworkConfig(**{"hosts": hosts, "retry_wait_seconds": 0.01, "retries": 1, **changes})

    def crawl(self, folder: Path | str, executor: Any = None, **config: Any) -> PhaseResult:
        wish = SiteSource(**{"kind": "site", "seeds": ("http://a.example/",), "pages_per_item": 4, **config})
        return crawl(wish, self.network(), str(folder), executor or InProcess())


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def planted(site: Site) -> Site:
    """Every fate a page can have, each in a known number, and pictures on the pages that may be read."""
    put = site.pages
    put["a.example", "/robots.txt"] = (200, {}, b"User-agent: *\nDisallow: /private\n")
    links = [f"p{n}" for n in range(7)] + ["private/1", "private/2", "private/3", "noai", "meta", "meta2", "gone"]
    links += ["gone2", "plain", "picture.jpg", "loop", "moved", "away", "http://b.example/", "old#x", "broken"]
    put["a.example", "/"] = html("".join(f'<a href="{link}">x</a>' for link in links) + '<img src="i.png" alt="root">')
    for n in range(7):
        put["a.example", f"/p{n}"] = html(
            f'<a href="deep{n}">x</a><a href="/">home</a><figure><img src="{n}a.png"><figcaption>Figure {n}</figcaption></figure>'
            f'<img src="{n}b.png" alt="picture {n}"><img src="{n}c.png">'
        )
        put["a.example", f"/deep{n}"] = html(f'<img src="d{n}.png" alt="deep {n}">')
    put["a.example", "/noai"] = html('<a href="behind-noai">x</a><img src="no.png" alt="no">', X_Robots_Tag="noai")
    put["a.example", "/behind-noai"] = html('<img src="yes1.png" alt="yes">')
    put["a.example", "/meta"] = html(
        '<meta name=robots content=noimageai><a href="behind-meta">x</a><img src="no.png" alt="no">'
    )
    put["a.example", "/behind-meta"] = html('<img src="yes2.png" alt="yes">')
    put["a.example", "/meta2"] = html('<meta name=robots content="noai,nofollow"><a href="unseen">x</a>')
    put["a.example", "/unseen"] = html('<img src="unseen.png" alt="unseen">')
    put["a.example", "/plain"] = (200, {"Content-Type": "text/plain"}, b"words")
    put["a.example", "/picture.jpg"] = (200, {"Content-Type": "image/jpeg"}, b"\xff\xd8" + b"x" * 1000)
    put["a.example", "/loop"] = (302, {"Location": "/loop"}, b"")
    put["a.example", "/moved"] = (301, {"Location": "/moved-here"}, b"")
    put["a.example", "/moved-here"] = html('<img src="m.png" alt="moved">')
    put["a.example", "/away"] = (302, {"Location": "http://b.example/there"}, b"")
    put["a.example", "/broken"] = (500, {}, b"")
    put["a.example", "/old"] = (200, {}, b"  <html><img src=old.png alt=old></html>")
    put["b.example", "/"] = html('<img src="foreign.png" alt="foreign">')
    put["b.example", "/there"] = html('<img src="there.png" alt="there">')
    return site


FATES = {
    "robots_txt": 3,
    "header_opt_out": 1,
    "meta_opt_out": 2,
    "not_found": 2,
    "not_html": 2,
    "redirect_loop": 1,
    "http_error": 1,
}


def test_every_page_has_the_fate_that_was_planted(planted: Site, tmp_path: Path) -> None:
    result = planted.crawl(tmp_path)
    pages, pairs = result.fates["pages"], result.fates["pairs"]
    assert dict(pages.reasons) == FATES
    # /, p0-6, deep0-6, behind-noai, behind-meta, moved, away (a redirect off the site: read, but nothing of it is ours), old
    assert pages.kept == 1 + 7 + 7 + 2 + 1 + 1 + 1
    assert pairs.kept == pairs.rows_in == 1 + 3 * 7 + 7 + 2 + 1 + 1
    assert dict(pairs.reasons) == {}
    rows = result.read_kept()
    assert rows.schema == CANDIDATE
    assert rows.num_rows == pairs.kept
    texts = {row["url"]: (row["text"], row["text_origin"], row["page_url"]) for row in rows.to_pylist()}
    assert texts["http://a.example/3a.png"] == ("Figure 3", "figcaption", "http://a.example/p3")
    assert texts["http://a.example/3b.png"] == ("picture 3", "alt", "http://a.example/p3")
    assert texts["http://a.example/3c.png"] == ("", "", "http://a.example/p3")
    assert texts["http://a.example/m.png"][2] == "http://a.example/moved-here"
    assert not {url for url in texts if "no.png" in url or "foreign" in url or "unseen" in url or "there" in url}
    assert all(row["uid"] == pair_uid(row["url"], row["text"]) for row in rows.to_pylist())
    dropped = {row["uid"]: (row["url"], row["reason"], row["evidence"]) for row in result.read_dropped().to_pylist()}
    assert len(dropped) == sum(FATES.values())
    assert dropped["http://a.example/noai"] == ("http://a.example/noai", "header_opt_out", "x-robots-tag: noai")
    assert dropped["http://a.example/meta"][2] == "robots meta tag: noimageai"
    assert dropped["http://a.example/private/1"][2] == "robots.txt disallows /private/1"
    assert dropped["http://a.example/picture.jpg"][2] == "image/jpeg"
    assert PhaseResult.load(str(tmp_path)).id == result.id


def test_each_page_is_asked_for_once(planted: Site, tmp_path: Path) -> None:
    planted.crawl(tmp_path, pages_per_item=1000)
    assert {key: n for key, n in planted.asked.items() if n > 1 and key[1] != "/broken"} == {}
    assert not [path for _, path in planted.asked if path.startswith("/private")]


class Reversed:
    """Does the last item first, as a cluster may."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        for position in reversed(range(len(items))):
            yield position, function(items[position])


class KilledAfter:
    """Finishes so many items in its life, then dies in the middle of one."""

    def __init__(self, items: int) -> None:
        self.left = items

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        for position, item in enumerate(items):
            if self.left == 0:
                function.args[1](item.arguments)  # type: ignore[attr-defined]  # the work is done, the record not written
                raise KeyboardInterrupt
            self.left -= 1
            yield position, function(item)


def test_the_order_of_work_and_the_folder_change_nothing(planted: Site, tmp_path: Path) -> None:
    wanted = planted.crawl(tmp_path / "one").id
    assert planted.crawl(tmp_path / "two", Reversed()).id == wanted


@pytest.mark.parametrize("items", [0, 1, 4, 7, 9])
def test_a_crawl_killed_anywhere_and_run_again_ends_like_an_undisturbed_one(
    planted: Site, tmp_path: Path, items: int
) -> None:
    wanted = planted.crawl(tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        planted.crawl(tmp_path / "killed", KilledAfter(items))
    assert not (tmp_path / "killed" / "phase.json").exists()
    planted.asked.clear()
    again = planted.crawl(tmp_path / "killed")
    assert again.id == wanted.id
    assert again.fates == wanted.fates
    if items:
        assert ("a.example", "/") not in planted.asked  # what was finished is not asked for again


def test_a_crawl_over_a_server_on_another_port_has_the_same_id(planted: Site, tmp_path: Path) -> None:
    other = Site()
    other.pages = planted.pages
    assert planted.crawl(tmp_path / "one").id == other.crawl(tmp_path / "two").id
    other.server.shutdown()
    other.server.server_close()


def test_depth_and_number_of_pages_are_limited(planted: Site, tmp_path: Path) -> None:
    assert planted.crawl(tmp_path / "depth0", max_depth=0).fates["pages"].rows_in == 1
    assert planted.crawl(tmp_path / "depth1", max_depth=1).fates["pages"].rows_in == 1 + 22
    ten = planted.crawl(tmp_path / "ten", max_pages=10)
    assert ten.fates["pages"].rows_in == 10
    assert ten.extra["left_out"] == 22 - 9
    assert planted.crawl(tmp_path / "again", max_pages=10, pages_per_item=3).read_kept().equals(ten.read_kept())


def test_other_domains_are_crawled_when_the_recipe_names_them(planted: Site, tmp_path: Path) -> None:
    planted.pages["b.example", "/"] = html('<img src="foreign.png" alt="foreign"><a href="http://sub.b.example/">')
    planted.pages["sub.b.example", "/"] = html('<img src="sub.png" alt="sub"><a href="http://notb.example/">')
    urls = planted.crawl(tmp_path, domains=("b.example",)).read_kept().column("url").to_pylist()
    assert {"http://b.example/foreign.png", "http://b.example/there.png", "http://sub.b.example/sub.png"} <= set(urls)


@pytest.mark.parametrize("name", ["b\u00fccher.example", "*.B\u00dcCHER.example.", "xn--bcher-kva.example"])
def test_domains_may_be_named_as_people_write_them(planted: Site, tmp_path: Path, name: str) -> None:
    planted.pages["xn--bcher-kva.example", "/"] = html('<img src="b.png" alt="books">')
    planted.pages["a.example", "/"] = html('<a href="http://b\u00fccher.example/">books</a>')
    urls = planted.crawl(tmp_path, domains=(name,)).read_kept().column("url").to_pylist()
    assert urls == ["http://xn--bcher-kva.example/b.png"]


def test_a_seed_that_moved_to_another_host_is_followed_there(site: Site, tmp_path: Path) -> None:
    site.pages["a.example", "/"] = (301, {"Location": "http://www.a.example/"}, b"")
    site.pages["www.a.example", "/"] = html('<a href="x">x</a>')
    site.pages["www.a.example", "/x"] = html('<img src="i.png" alt="found">')
    assert site.crawl(tmp_path).read_kept().column("url").to_pylist() == ["http://www.a.example/i.png"]


@pytest.mark.parametrize(("depth", "found"), [(0, ["home", "named"]), (1, ["home", "linked", "named"])])
def test_a_page_that_moved_is_no_deeper_than_the_page_that_sent_us_there(
    site: Site, tmp_path: Path, depth: int, found: list[str]
) -> None:
    site.pages["a.example", "/"] = (301, {"Location": "http://www.a.example/"}, b"")
    site.pages["a.example", "/sitemap.xml"] = (200, {}, b"<urlset><loc>http://www.a.example/n</loc></urlset>")
    site.pages["www.a.example", "/"] = html('<a href="x">x</a><img src="i.png" alt="home">')
    site.pages["www.a.example", "/x"] = html('<a href="y">x</a><img src="x.png" alt="linked">')
    site.pages["www.a.example", "/y"] = html('<img src="y.png" alt="too deep">')
    site.pages["www.a.example", "/n"] = html('<img src="n.png" alt="named">')
    result = site.crawl(tmp_path, max_depth=depth, use_sitemap=True)
    assert sorted(result.read_kept().column("text").to_pylist()) == found


def test_a_large_host_takes_no_other_hosts_pages(site: Site, tmp_path: Path) -> None:
    for host, count in (("a.example", 40), ("b.example", 6)):
        site.pages[host, "/"] = html("".join(f'<a href="{n}">x</a>' for n in range(count)))
        for n in range(count):
            site.pages[host, f"/{n}"] = html(f'<img src="{n}.png" alt="{host}">')
    result = site.crawl(tmp_path, seeds=("http://a.example/", "http://b.example/"), max_pages=22)
    assert Counter(result.read_kept().column("text").to_pylist()) == {"a.example": 14, "b.example": 6}
    assert result.extra["left_out"] == 26


def test_a_host_of_many_sitemaps_takes_no_other_hosts(site: Site, tmp_path: Path) -> None:
    for host, count in (("a.example", 9), ("b.example", 2)):
        site.pages[host, "/"] = html("home")
        index = "".join(f"<sitemap><loc>http://{host}/{n}.xml</loc></sitemap>" for n in range(count))
        site.pages[host, "/sitemap.xml"] = (200, {}, f"<sitemapindex>{index}</sitemapindex>".encode())
        for n in range(count):
            site.pages[host, f"/{n}.xml"] = (200, {}, f"<urlset><loc>http://{host}/{n}</loc></urlset>".encode())
            site.pages[host, f"/{n}"] = html(f'<img src="{n}.png" alt="{host}">')
    seeds = ("http://a.example/", "http://b.example/")
    result = site.crawl(tmp_path, seeds=seeds, use_sitemap=True, max_sitemaps=7)
    assert Counter(result.read_kept().column("text").to_pylist()) == {"a.example": 3, "b.example": 2}


def test_a_page_that_kills_the_parser_costs_itself(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.pages["a.example", "/"] = html('<a href="bad">x</a><a href="good">x</a>')
    site.pages["a.example", "/bad"] = html("poison")
    site.pages["a.example", "/good"] = html('<img src="i.png" alt="found">')
    (tmp_path / "openwit_fragile.py").write_text(
        "import os\nfrom pipeline.sources import html\n"
        "def parse_page(header, payload):\n"
        "    if b'poison' in payload: os.abort()\n"
        "    return html.parse_page(header, payload)\n"
        "def parse_pages(header, payload):\n"
        "    if b'poison' in payload: os.abort()\n"
        "    return html.parse_pages(header, payload)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("pipeline.sources.pages.html.__name__", "openwit_fragile")
    result = site.crawl(tmp_path / "out")
    assert dict(result.fates["pages"].reasons) == {"decoder_crashed": 1}
    assert result.fates["pairs"].kept == 1


def test_sitemaps_add_pages_that_nothing_links_to(site: Site, tmp_path: Path) -> None:
    site.pages["a.example", "/"] = html("nothing")
    site.pages["a.example", "/robots.txt"] = (200, {}, b"Sitemap: /index.xml\nSitemap: data:x\n")
    index = "".join(f"<sitemap><loc>http://a.example/{name}.xml</loc></sitemap>" for name in ("one", "two", "gone"))
    site.pages["a.example", "/index.xml"] = (200, {}, f"<sitemapindex>{index}</sitemapindex>".encode())
    for name in ("one", "two"):
        body = (
            f"<urlset><url><loc>http://a.example/{name}</loc></url><url><loc>http://other.example/</loc></url></urlset>"
        )
        site.pages["a.example", f"/{name}.xml"] = (200, {}, body.encode())
        site.pages["a.example", f"/{name}"] = html(f'<img src="{name}.png" alt="{name}">')
    assert site.crawl(tmp_path / "without").fates["pairs"].kept == 0
    found = site.crawl(tmp_path / "with", use_sitemap=True)
    assert found.read_kept().column("url").to_pylist() == ["http://a.example/one.png", "http://a.example/two.png"]
    assert found.fates["pages"].rows_in == 3
    with pytest.raises(KeyboardInterrupt):
        site.crawl(tmp_path / "killed", KilledAfter(3), use_sitemap=True)
    assert site.crawl(tmp_path / "killed", use_sitemap=True).id == found.id


def test_a_sitemap_that_cannot_be_read_is_counted(site: Site, tmp_path: Path) -> None:
    site.pages["a.example", "/"] = html('<img src="a.png" alt="a">')
    bodies = {
        "good": b"<urlset><url><loc>http://a.example/</loc></url></urlset>",
        "empty": b"<?xml version='1.0'?><urlset></urlset>",
        "bomb.gz": gzip.compress(b"<urlset>" + bytes(60_000_000)),
        "page": b"<html><body>moved</body></html>",
        "nothing": b"",
    }
    lines = "".join(f"Sitemap: /{name}\n" for name in [*bodies, "gone", "private"])
    site.pages["a.example", "/robots.txt"] = (200, {}, f"{lines}User-agent: *\nDisallow: /private\n".encode())
    for name, body in bodies.items():
        site.pages["a.example", f"/{name}"] = (200, {}, body)
    found = site.crawl(tmp_path, use_sitemap=True)
    fate = found.fates["sitemaps"]
    assert (fate.rows_in, fate.kept) == (7, 2)
    assert dict(fate.reasons) == {"damaged_file": 2, "not_found": 1, "robots_txt": 1, "too_large": 1}
    said = {row["url"]: row["reason"] for row in found.read_dropped().to_pylist()}
    assert said["http://a.example/bomb.gz"] == "too_large"
    assert said["http://a.example/page"] == "damaged_file"
    assert found.fates["pages"].rows_in == 1


def test_a_site_that_is_down_is_one_line_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        down = NetworkConfig(hosts={"a.example": address, "b.example": address}, retries=0)
        config = SiteSource(kind="site", seeds=("http://a.example/", "http://b.example/x"))
        with pytest.raises(DataError) as error:
            crawl(config, down, str(tmp_path / "out"), InProcess())
    message = str(error.value)
    assert message.startswith(f"http://a.example/: cannot be reached at {address} (network.hosts): connection_failed")
    assert "\n" not in message
    assert not (tmp_path / "out").exists()
    site.pages["a.example", "/"] = html('<img src="i.png" alt="up again">')
    assert crawl(config, site.network(), str(tmp_path / "out"), InProcess()).fates["pairs"].kept == 1


def test_one_seed_that_is_down_among_others_is_a_fate(site: Site, tmp_path: Path) -> None:
    site.pages["a.example", "/"] = html('<img src="i.png" alt="here">')

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        hosts = {**site.network().hosts, "b.example": f"127.0.0.1:{unused.getsockname()[1]}"}
        network = site.network(hosts=hosts, retries=0)
        config = SiteSource(kind="site", seeds=("http://a.example/", "http://b.example/"))
        result = crawl(config, network, str(tmp_path), InProcess())
    assert dict(result.fates["pages"].reasons) == {"connection_failed": 1}


def test_files_that_stand_in_the_folder_already_survive_a_dead_site(tmp_path: Path) -> None:
    (tmp_path / "step.json").write_text("{}")
    config = SiteSource(kind="site", seeds=("http://localhost:80/",))
    dead = NetworkConfig(hosts={"localhost": "127.0.0.1:1"}, retries=0)
    with pytest.raises(DataError):
        crawl(config, dead, str(tmp_path), InProcess())
    assert storage.list_names(str(tmp_path)) == ["step.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": ()},
        {"seeds": ("ftp://a.example/",)},
        {"seeds": ("a.example",)},
        {"text_from": ("alt", "nothing")},
        {"max_pages": 0},
        {"domains": ("https://b.example",)},
        {"domains": ("b.example:8080",)},
        {"domains": ("b.example/x",)},
    ],
)
def test_a_wrong_setting_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        SiteSource(**{"kind": "site", "seeds": ("http://a.example/",), **change})


def test_links_of_items_are_tables_of_their_own(planted: Site, tmp_path: Path) -> None:
    planted.crawl(tmp_path)
    tables = [storage.read_table(str(path)) for path in (tmp_path / "data").glob("wave-*/*-links.parquet")]
    assert tables
    assert {str(table.schema) for table in tables} == {str(LINKS)}
    assert functools.reduce(set.union, (set(table.column("kind").to_pylist()) for table in tables)) == {"page", "moved"}


def test_path_rules_choose_pages_and_seeds_are_read_all_the_same(planted: Site, tmp_path: Path) -> None:
    result = planted.crawl(tmp_path / "p", include=("/p*$", "/deep"), exclude=("/p3", "*5$"))
    pages = {row for row in result.read_kept().column("page_url").to_pylist() if row}
    names = ("", *(f"{kind}{n}" for kind in ("p", "deep") for n in (0, 1, 2, 4, 6)))
    assert pages == {f"http://a.example/{name}" for name in names}
    assert result.extra["ruled_out"] == 12  # of the root's 22 links: p3, p5, and ten that begin with another letter
    with pytest.raises(ValueError, match="fits no path"):
        SiteSource(kind="site", seeds=("http://a.example/",), include=("wiki",))


def test_a_sitemaps_pictures_join_those_of_pages_that_may_be_read(site: Site, tmp_path: Path) -> None:
    def entry(page: str, name: str, words: str) -> str:
        licence = f"<image:license>http://cc.example/{name}</image:license>"
        image = (
            f"<image:image><image:loc>/{name}</image:loc><image:caption>{words}</image:caption>{licence}</image:image>"
        )
        return f"<url><loc>http://a.example/{page}</loc>{image}</url>"

    entries = entry("one", "on.png", "said") + entry("one", "off.png", "only here") + entry("two", "no.png", "withheld")
    site.pages["a.example", "/"] = html("nothing")
    site.pages["a.example", "/sitemap.xml"] = (200, {}, f"<urlset>{entries}</urlset>".encode())
    site.pages["a.example", "/one"] = html('<img src="on.png" alt="own"><img src="on.png">')
    site.pages["a.example", "/two"] = html("words", X_Robots_Tag="noai")
    rows = site.crawl(tmp_path, use_sitemap=True).read_kept().to_pylist()
    found = [(row["url"].rsplit("/", 1)[-1], row["text"], row["text_origin"], len(row["texts"])) for row in rows]
    assert found[0] == ("on.png", "own", "alt", 2)
    assert found[-1] == ("off.png", "only here", "sitemap:caption", 1)
    assert "no.png" not in {name for name, *_ in found}
    assert [row["licence"] for row in rows] == [f"http://cc.example/{name}" for name, *_ in found]


def test_a_sitemap_index_leads_to_no_other_host_than_the_recipe_admits(site: Site, tmp_path: Path) -> None:
    places = ("http://www.a.example/one.xml", "http://b.example/two.xml", "http://sub.b.example/three.xml")
    index = "".join(f"<sitemap><loc>{place}</loc></sitemap>" for place in places)
    site.pages["a.example", "/sitemap.xml"] = (200, {}, f"<sitemapindex>{index}</sitemapindex>".encode())
    site.pages["a.example", "/"] = html("nothing")
    for host, path in (("www.a.example", "one"), ("b.example", "two"), ("sub.b.example", "three")):
        entry = f"<urlset><url><loc>http://a.example/{path}</loc></url></urlset>"
        site.pages[host, f"/{path}.xml"] = (200, {}, entry.encode())
        site.pages["a.example", f"/{path}"] = html(f'<img src="{path}.png" alt="number {path}">')
    rows = site.crawl(tmp_path / "own", use_sitemap=True).read_kept().to_pylist()
    assert [row["text"] for row in rows] == ["number one"]
    rows = site.crawl(tmp_path / "more", use_sitemap=True, domains=("sub.b.example",)).read_kept().to_pylist()
    assert sorted(row["text"] for row in rows) == ["number one", "number three"]
    assert not [host for host, _ in site.asked if host == "b.example"]


def test_a_sitemap_speaks_of_seeds_too_and_needs_no_depth(site: Site, tmp_path: Path) -> None:
    image = "<image:image><image:loc>/i.png</image:loc><image:caption>a fox [Vulpes]</image:caption></image:image>"
    entries = f"<url><loc>http://a.example/</loc>{image}</url><url><loc>http://a.example/two</loc></url>"
    site.pages["a.example", "/"] = html('<img src="i.png"><a href="/three">x</a>')
    site.pages["a.example", "/sitemap.xml"] = (200, {}, f"<urlset>{entries}</urlset>".encode())
    site.pages["a.example", "/two"] = html('<img src="two.png" alt="two">')
    rows = site.crawl(tmp_path, use_sitemap=True, max_depth=0).read_kept().to_pylist()
    assert {row["url"][17:]: row["text"] for row in rows} == {"i.png": "a fox [Vulpes]", "two.png": "two"}
    site.server.shutdown()
    site.server.server_close()
    with pytest.raises(DataError, match="cannot be reached"):
        site.crawl(tmp_path / "dead", use_sitemap=True)
    assert not (tmp_path / "dead").exists()


class TwoAtOnce:
    """Two items at a time, as two workers do them."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        with ThreadPoolExecutor(2) as pool:
            yield from enumerate(pool.map(function, items))


def test_a_hosts_pace_holds_over_items_and_workers(site: Site, tmp_path: Path) -> None:
    """Crawl-delay and Retry-After of one host, whose pages lie in six items; its robots.txt is read once."""
    site.pages["a.example", "/robots.txt"] = (200, {}, b"User-agent: *\nCrawl-delay: 0.05\n")
    site.pages["a.example", "/"] = html("".join(f'<a href="/{n}">x</a>' for n in range(24)))
    site.pages |= {("a.example", f"/{n}"): html(f'<img src="{n}.png" alt="picture {n}">') for n in range(24)}
    site.once["a.example", "/7"] = (429, {"Retry-After": "1"}, b"")
    crawled = site.crawl(tmp_path, TwoAtOnce())
    assert crawled.fates["pairs"].kept == 24
    assert site.asked["a.example", "/robots.txt"] == 1
    times = [at for path, at in site.times if path != "/robots.txt" and not path.startswith("/.well")]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert sorted(gaps)[2] > 0.03  # two of them short where a sleep was late
    assert max(gaps) > 0.8


def test_a_host_that_asks_for_more_patience_than_we_have_is_left_alone(site: Site, tmp_path: Path) -> None:
    for host, count in (("a.example", 40), ("b.example", 10)):
        site.pages[host, "/"] = html("".join(f'<a href="{n}">x</a>' for n in range(count)))
    for n in range(40):
        site.pages["a.example", f"/{n}"] = (429, {"Retry-After": "3600"}, b"")
        site.pages["b.example", f"/{n}"] = html(f'<img src="{n}.png" alt="found {n}">')
    result = site.crawl(tmp_path, seeds=("http://a.example/", "http://b.example/"))
    assert dict(result.fates["pages"].reasons) == {"http_error": 40}
    assert result.fates["pairs"].kept == 10
    asked = sum(count for (host, path), count in site.asked.items() if host == "a.example" and path[1:].isdigit())
    assert asked <= 4  # those of one item, which were under way at once


def test_robots_txt_is_read_once_from_the_sitemap_to_the_last_picture(site: Site, tmp_path: Path) -> None:
    site.pages["a.example", "/robots.txt"] = (200, {}, b"Sitemap: /map.xml\nUser-agent: *\nDisallow: /2.png")
    site.pages["a.example", "/map.xml"] = (200, {}, b"<urlset><url><loc>http://a.example/there</loc></url></urlset>")
    for page in ("/", "/there"):
        site.pages["a.example", page] = html(
            "".join(f'<img src="{n}.png" alt="picture {n} of {page}">' for n in range(3))
        )
    crawled = site.crawl(tmp_path / "crawl", use_sitemap=True)
    assert crawled.fates["pages"].kept == 2
    sites = all_files(crawled.folder)
    fetched = fetch(FetchConfig(), site.network(), crawled, str(tmp_path / "fetch"), InProcess(), sites=sites)
    assert fetched.fates["pairs"].reasons == {"not_found": 4, "robots_txt": 2}
    assert site.asked["a.example", "/0.png"] == 1
    assert site.asked["a.example", "/2.png"] == 0
    assert site.asked["a.example", "/robots.txt"] == site.asked["a.example", "/.well-known/tdmrep.json"] == 1


def test_items_that_share_a_host_are_never_in_one_turn() -> None:
    hosts = [{"a", "b"}, {"b", "c"}, {"c"}, {"d"}, {"a", "c"}, set()]
    found = turns(hosts)
    assert sorted(position for turn in found for position in turn) == list(range(6))
    assert all(len(set().union(*(hosts[p] for p in turn))) == sum(len(hosts[p]) for p in turn) for turn in found)
    assert len(turns([{f"h{n}", f"h{n + 1}"} for n in range(50)])) == 2  # neighbours on a sorted list share one
