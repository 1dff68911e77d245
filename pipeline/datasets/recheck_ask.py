"""One kind of host asked what it says now of its pictures and pages: each URL once, a budget of requests kept.

Only headers of pictures are asked for, of pages the body for its robots meta tags. A URL whose earlier answer left validators
may be asked whether it changed (RFC 9110, section 13.1). That is for whoever wishes it, since some servers (Apache) leave
X-Robots-Tag out of a 304: robots.txt, tdmrep.json and new content are heard in any case, a new header on old content
only from servers that repeat it.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.execution.ledger import Fate, Output
from pipeline.execution.sandbox import SandboxDied, shared
from pipeline.web.answer import Fetched
from pipeline.web.directives import first_opt_out
from pipeline.web.site_files import SiteFiles
from pipeline.web.taxonomy import OPT_OUTS
from pipeline.web.together import fetch_all, site_refusals
from pipeline.web.validators import NONE, Validators, validators_of
from pipeline.web.web_config import NetworkConfig

NO_BODY = ("application/x-nothing-of-this-type",)
"""A body of any other type is not read, so this asks for headers alone."""
PAGE_TYPES = ("text/html", "application/xhtml+xml")
PICTURE, PAGE, EARLIER = "picture", "page", "earlier"

_SAMPLE = [("uid", pa.string()), ("key", pa.string()), ("url", pa.string()), ("page_url", pa.string())]
_ANSWER = [
    ("state", pa.string()),  # allowed, opted_out, gone, unknown, not_asked
    ("reason", pa.string()),
    ("evidence", pa.string()),
    ("asked", pa.string()),  # the URL whose owner said so
    ("checked_at", pa.string()),
]
_VALIDATORS = [("etag", pa.string()), ("modified", pa.string())]
CHECKED = pa.schema(_SAMPLE + _ANSWER)
QUESTION = pa.schema([("host", pa.string()), ("kind", pa.string()), *_SAMPLE, *_ANSWER, *_VALIDATORS])
"""A sample's picture or page to ask for, or what was said of `asked` earlier (kind EARLIER)."""


@dataclass(frozen=True)
class Said:
    """What the owner of a URL says."""

    state: str
    reason: str | None = None
    evidence: str | None = None
    at: str = ""
    validators: Validators = NONE


def ask(network: NetworkConfig, requests_per_host: int | None, path: str) -> Output:
    """`path` holds rows of schema QUESTION. `checked`: a row per sample and kind; `said`: a row per URL, for a later recheck."""
    rows = storage.read_table(path).to_pylist()
    earlier = {row["asked"]: _earlier(row) for row in rows if row["kind"] == EARLIER}
    hosts = {row["asked"]: row["host"] for row in rows if row["kind"] != EARLIER}
    pages = {row["asked"] for row in rows if row["kind"] == PAGE}
    answers = _Bucket(network, earlier, pages).answers(hosts, requests_per_host)
    checked, said = [], {}
    for row in rows:
        if row["kind"] == EARLIER:
            continue
        answer = answers[row["asked"]]
        told = {"state": answer.state, "reason": answer.reason, "evidence": answer.evidence, "checked_at": answer.at}
        checked.append(row | told)
        if row["host"]:
            etag, modified = answer.validators
            about = dict.fromkeys(QUESTION.names) | {"host": row["host"], "kind": EARLIER, "asked": row["asked"]}
            said[row["asked"]] = about | told | {"etag": etag, "modified": modified}
    count = len(checked)
    return Output(
        {
            "checked": pa.Table.from_pylist(checked, schema=QUESTION),
            "said": pa.Table.from_pylist(list(said.values()), schema=QUESTION),
        },
        {"questions": Fate(count, count)},
    )


def _earlier(row: Mapping[str, Any]) -> Said:
    return Said(row["state"], row["reason"], row["evidence"], row["checked_at"] or "", (row["etag"], row["modified"]))


class _Bucket:
    """The questions of one item; `pages` are the URLs whose body is read."""

    def __init__(self, network: NetworkConfig, earlier: Mapping[str, Said], pages: Collection[str]) -> None:
        self._network, self._earlier, self._pages = network, earlier, pages
        self._files: list[SiteFiles] = []

    def answers(self, hosts: Mapping[str, str], budget: int | None) -> dict[str, Said]:
        """The answer of each URL; `hosts` are theirs."""
        by_host: dict[str, list[str]] = defaultdict(list)
        for url, host in hosts.items():
            by_host[host].append(url)
        found = dict.fromkeys(by_host.pop("", []), Said("not_asked", None, "no host in the URL"))
        asked: list[str] = []
        over: list[str] = []
        for _, urls in sorted(by_host.items()):
            urls.sort(key=lambda url: (self._known(url).at, url))  # whoever waited longest comes first
            most = len(urls) if budget is None else budget
            asked, over = asked + urls[:most], over + urls[most:]
        found |= self._asked(asked)
        refusals = site_refusals(self._network, over, self._files)
        for url, refusal in zip(over, refusals, strict=True):
            found[url] = self._not_asked(url, refusal, budget or 0)
        return found

    def _known(self, url: str) -> Said:
        return self._earlier.get(url, Said("not_asked"))

    def _asked(self, urls: Sequence[str]) -> dict[str, Said]:
        unless = {url: self._known(url).validators for url in urls if self._known(url).state == "allowed"}
        found: dict[str, Said] = {}
        for is_page, wish in (
            (False, {"types": NO_BODY}),
            (True, {"types": PAGE_TYPES, "accept": "text/html,application/xhtml+xml;q=0.9"}),
        ):
            asked = [url for url in urls if (url in self._pages) is is_page]
            learned: list[SiteFiles] = []
            answers = fetch_all(self._network, asked, known=self._files, learned=learned, unless=unless, **wish)
            self._files += learned
            for url, answer in zip(asked, answers, strict=True):
                state = of_page(self._network, answer) if is_page else of_picture(answer)
                told = validators_of(answer.headers)
                before = self._known(url).validators if answer.status == 304 else NONE
                found[url] = Said(*state, _now(), (told[0] or before[0], told[1] or before[1]))
        return found

    def _not_asked(self, url: str, refusal: tuple[str, str] | None, budget: int) -> Said:
        known = self._known(url)
        if refusal is not None:  # the site's own files speak of every URL
            return Said("opted_out", *refusal, _now(), known.validators)
        if known.state == "opted_out":
            return known
        last = f", asked last at {known.at}" if known.at else ""
        return Said("not_asked", None, f"{budget:,} requests to this host are spent{last}", known.at, known.validators)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


State = tuple[str, str | None, str | None]
"""State, reason, evidence."""


def of_picture(answer: Fetched) -> State:
    if answer.reason in OPT_OUTS and "cannot be read" not in (answer.evidence or ""):
        return "opted_out", answer.reason, answer.evidence
    if answer.reason == "not_found":
        return "gone", answer.reason, answer.evidence
    if answer.reason is None or answer.reason in ("too_large", "too_slow"):
        return "allowed", None, None
    return "unknown", answer.reason, answer.evidence


def of_page(network: NetworkConfig, answer: Fetched) -> State:
    """What its robots meta tags say; a page that is unchanged says what it said."""
    state = of_picture(answer)
    if state[0] != "allowed" or not answer.body:
        return state
    header = {
        "url": answer.final_url,
        "text_from": [],
        "product": network.product,
        "content_type": answer.headers.get("content-type", ""),
        "date": answer.headers.get("date", ""),
    }
    try:
        said, _ = shared("pipeline.sources.html:parse_page").call(header, answer.body)
    except SandboxDied as death:
        return "unknown", "decoder_crashed", death.reason
    if "too_deep" in said:
        return "unknown", "html_too_deep", said["too_deep"]
    word = first_opt_out(said.get("robots", ()), network.opt_out_directives)
    return ("opted_out", "meta_opt_out", f"robots meta tag: {word}") if word else ("allowed", None, None)
