"""Image-text pairs from a crawl's files: our WAT and WARC sources beside cc2dataset, on the same bytes.

Speed: CPU seconds of one process for the same WAT, cc2dataset giving a list and ours the finished table, with the pictures
that have no text and the pages that opt out counted besides. Yield: the same HTML pages (the textbook pages of
../shared/data/mdn-learning-area and Common Crawl's whirlwind page) once through our HTML harvest and once, with what its
WAT holds of them (img src, alt, title), through cc2dataset. `OPENWIT_BENCH_PAGES` sets the size of the drawn WAT.
"""

import io
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from harness import Peer, Row, cpu_seconds, paired, peer, write
from selectolax.lexbor import LexborHTMLParser
from synthetic_wat import member, record, write_wat

from pipeline.execution.ledger import Output
from pipeline.sources.archive import Record, read_records
from pipeline.sources.config import TEXT_FROM
from pipeline.sources.http_message import plain_body, read_message
from pipeline.sources.warc import extract as extract_pages
from pipeline.sources.wat import extract, without_collector
from pipeline.web.urls import UnusableURLError, canonical
from pipeline.web.web_config import NetworkConfig

PEER = "cc2dataset"
VERSION = "1.5.0"
PAGES = int(os.environ.get("OPENWIT_BENCH_PAGES", "5000"))
REPEATS = 5
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
NETWORK = NetworkConfig()
WISH: dict[str, Any] = {
    "text_from": list(TEXT_FROM),
    "product": NETWORK.product,
    "opt_outs": list(NETWORK.opt_out_directives),
    "crawl_id": None,
    "max_page_bytes": 10_000_000,
}
Triples = set[tuple[str, str, str]]
"""(page, picture, text)"""


def ours_of_wat(data: bytes) -> Output:
    with without_collector():
        return extract(read_records(io.BytesIO(data)), WISH, "benchmark")


def triples(output: Output) -> Triples:
    rows = output.tables["kept"].select(["page_url", "url", "texts"]).to_pylist()
    return {(row["page_url"], row["url"], each["text"]) for row in rows for each in row["texts"]}


def in_our_form(pairs: list[list[str]]) -> Triples:
    """cc2dataset's pairs with addresses in our one form and blanks joined.

    Left out are addresses that no one could fetch, and the page's own: what an empty src comes to.
    """
    found = set()
    for page, url, alt in pairs:
        try:
            found.add((canonical(page), canonical(url), " ".join(alt.split())))
        except UnusableURLError:
            continue
    return {each for each in found if each[0] != each[1]}


def refused_pages(output: Output) -> set[str]:
    rows = output.tables["dropped"].to_pylist()
    return {row["url"] for row in rows if row["reason"] in ("meta_opt_out", "header_opt_out")}


def speed(other: Peer, name: str, data: bytes) -> list[Row]:
    output = ours_of_wat(data)
    theirs = other.ask(f"pairs {name}")
    withheld = refused_pages(output)
    missing = {each for each in in_our_form(theirs["pairs"]) - triples(output) if each[2] and each[0] not in withheld}
    if missing:
        raise SystemExit(f"{len(missing)} pairs of {PEER} are not among ours, {min(missing)} say; no speed is reported")
    kept = output.tables["kept"].num_rows
    ours, peers = paired(
        lambda: cpu_seconds(lambda: ours_of_wat(data)), lambda: other.ask(f"time {name}")["seconds"], REPEATS
    )
    case = f"drawn WAT of {PAGES:,} pages"
    return [
        Row(case, "pairs with a text", "per CPU second", kept / ours, theirs["count"] / peers, PEER),
        Row(case, "pages read", "per CPU second", PAGES / ours, PAGES / peers, PEER),
        Row(case, "pairs with a text", "pairs", kept, theirs["count"], PEER),
    ]


def mdn_pages() -> list[tuple[str, bytes]]:
    root = SHARED / "mdn-learning-area"
    return [
        (f"https://mdn.example/{path.relative_to(root).as_posix()}", path.read_bytes())
        for path in sorted(root.rglob("*.html"))
    ]


def whirlwind_pages() -> list[tuple[str, bytes]]:
    with open(SHARED / "warc-whirlwind" / "whirlwind.warc.gz", "rb") as file:
        return [
            (each.url, plain_body(read_message(each.payload), 10_000_000))
            for each in read_records(file)
            if each.kind == "response"
        ]


def wat_of(pages: list[tuple[str, bytes]]) -> bytes:
    """What Common Crawl's extractor would write of these pages: src, alt and title of each img, and the base."""
    members = [member("warcinfo", "", b"isPartOf: benchmark\r\n")]
    for number, (url, body) in enumerate(pages):
        tree = LexborHTMLParser(body.decode("utf-8", "replace"))
        base = tree.css_first("base[href]")
        links = [
            {"path": "IMG@/src", "url": node.attributes["src"] or ""}
            | {name: node.attributes[name] or "" for name in ("alt", "title") if name in node.attributes}
            for node in tree.css("img[src]")
        ]
        head = {"Base": urljoin(url, base.attributes["href"] or "")} if base is not None else {}
        answer = {"Headers": {}, "HTML-Metadata": {"Head": head, "Links": links}}
        members.append(record(url, {"HTTP-Response-Metadata": answer}, number))
    return b"".join(members)


def ours_of_pages(pages: list[tuple[str, bytes]]) -> Output:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    records = (
        ("benchmark", Record(number, "response", f"WARC/1.0\nWARC-Target-URI: {url}".encode(), head + body))
        for number, (url, body) in enumerate(pages)
    )
    return extract_pages(records, WISH)


def harvested(other: Peer, name: str, case: str, pages: list[tuple[str, bytes]]) -> list[Row]:
    output, theirs = ours_of_pages(pages), other.ask(f"pairs {name}")
    found, withheld = triples(output), refused_pages(output)
    lost = {each for each in in_our_form(theirs["pairs"]) - found if each[2] and each[0] not in withheld}
    # Where srcset offers a larger form of a picture, that one is taken: the text is there, under another address.
    words = {(page, text) for page, _, text in found}
    unexplained = {each for each in lost if (each[0], each[2]) not in words}
    if unexplained:
        raise SystemExit(f"{case}: {min(unexplained)} is among {PEER}'s pairs and not among ours")
    kept = output.tables["kept"].num_rows
    return [
        Row(f"{case}, {len(pages):,} pages", "pairs with a text", "pairs", kept, theirs["count"], PEER),
        Row(f"{case}, {len(pages):,} pages", "texts of these", "texts", len(found), theirs["count"], PEER),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_wat(folder / "drawn.wat.gz", PAGES)
        real = {"mdn": mdn_pages(), "whirlwind": whirlwind_pages()} if SHARED.is_dir() else {}
        for kind, pages in real.items():
            (folder / f"{kind}.wat.gz").write_bytes(wat_of(pages))
        files = {path.name.removesuffix(".wat.gz"): str(path) for path in sorted(folder.glob("*.wat.gz"))}
        with peer("extraction_cc2dataset", [f"{PEER}=={VERSION}"], {"files": files}, folder) as other:
            rows = speed(other, "drawn", (folder / "drawn.wat.gz").read_bytes())
            if real:
                rows += harvested(other, "mdn", "HTML of mdn-learning-area", real["mdn"])
                rows += harvested(other, "whirlwind", "HTML of warc-whirlwind", real["whirlwind"])
    data = f"a drawn WAT of {PAGES:,} pages; the pages of mdn-learning-area and warc-whirlwind"
    write("extraction", data, rows, {PEER: VERSION})


if __name__ == "__main__":
    main()
