"""A WAT file like Common Crawl's, of any size, the same bytes each time: what its extractor writes for drawn pages.

Per page a request, a response and a metadata record, each a gzip member. A response has on average 90 links and 30
pictures, about 56 % of these with an alt, half of the addresses relative; the proportions are those of a page of news
or trade. Some pages have a base, Open Graph pictures, titles, data: addresses and opt-outs.
"""

import gzip
import json
import random
from pathlib import Path
from typing import Any

_WORDS = [
    "red",
    "old",
    "small",
    "bright",
    "wooden",
    "city",
    "river",
    "garden",
    "house",
    "table",
    "child",
    "street",
    "market",
]
_HEAD = "WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2026-02-01T00:00:00Z\r\n"


def write_wat(path: Path, pages: int, seed: int = 0) -> None:
    draw = random.Random(seed)
    with open(path, "wb") as file:
        about = b"Software-Info: synthetic\r\nisPartOf: CC-MAIN-2026-05\r\n"
        file.write(member("warcinfo", "", about))
        for number in range(pages):
            url = f"https://www.site{draw.randrange(pages // 4 + 1)}.example/section/{number}/page.html"
            file.write(record(url, {"Actual-Content-Type": "application/http; msgtype=request"}, number))
            file.write(record(url, _response(draw, url), number))
            file.write(record(url, {"Actual-Content-Type": "application/metadata-fields"}, number))


def _response(draw: random.Random, url: str) -> dict[str, Any]:
    head: dict[str, Any] = {
        "Title": _text(draw, 6),
        "Metas": [
            {"name": "viewport", "content": "width=device-width"},
            {"property": "og:title", "content": _text(draw, 6)},
        ],
        "Link": [{"path": "LINK@/href", "url": f"/css/{n}.css", "rel": "stylesheet"} for n in range(6)],
        "Scripts": [{"path": "SCRIPT@/src", "url": f"https://cdn.example/{n}.js"} for n in range(8)],
    }
    if draw.random() < 0.3:
        head["Metas"].append(
            {"property": "og:image", "content": f"https://img.example/share/{draw.randrange(10**6)}.jpg"}
        )
    if draw.random() < 0.05:
        head["Base"] = "/other/"
    if draw.random() < 0.02:
        head["Metas"].append({"name": "robots", "content": "noindex, noimageai"})
    links: list[dict[str, str]] = []
    for _ in range(draw.randint(40, 140)):
        links.append({"path": "A@/href", "url": f"/a/{draw.randrange(10**6)}", "text": _text(draw, 4)})
    for _ in range(draw.randint(0, 60)):
        links.append(_picture(draw))
    draw.shuffle(links)
    headers = {"Content-Type": "text/html; charset=utf-8", "Server": "nginx", "Date": "Sun, 01 Feb 2026 00:00:00 GMT"}
    return {
        "Actual-Content-Type": "application/http; msgtype=response",
        "HTTP-Response-Metadata": {
            "Response-Message": {"Status": "200", "Version": "HTTP/1.1", "Reason": "OK"},
            "Headers": headers,
            "HTML-Metadata": {"Head": head, "Links": links},
        },
    }


def _picture(draw: random.Random) -> dict[str, str]:
    number = draw.randrange(10**8)
    chance = draw.random()
    if chance < 0.03:
        address = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    elif chance < 0.5:
        address = f"/media/2026/{number % 12 + 1:02d}/picture-{number}-300x200.jpg"
    elif chance < 0.55:
        address = f"../up/{number}.png"
    else:
        address = f"https://cdn{number % 50}.images.example/{number % 997}/{number}.jpg?w=640&h=480"
    link = {"path": "IMG@/src", "url": address}
    chance = draw.random()
    if chance < 0.56:
        link["alt"] = _text(draw, draw.randint(1, 9))
    elif chance < 0.7:
        link["alt"] = ""
    if draw.random() < 0.05:
        link["title"] = _text(draw, 3)
    return link


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(_WORDS, k=words))


def record(url: str, payload: dict[str, Any], number: int) -> bytes:
    value = {
        "Container": {"Filename": "CC-MAIN-synthetic.warc.gz", "Compressed": True, "Offset": str(number * 1000)},
        "Envelope": {
            "Format": "WARC",
            "Payload-Metadata": payload,
            "WARC-Header-Metadata": {"WARC-Type": "response", "WARC-Target-URI": url},
        },
    }
    return member("metadata", url, json.dumps(value, separators=(",", ":")).encode())


def member(kind: str, url: str, payload: bytes) -> bytes:
    head = (
        _HEAD.format(kind=kind, url=url) + f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + payload + b"\r\n\r\n", 6, mtime=0)
