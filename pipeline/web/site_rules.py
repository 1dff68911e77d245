"""What a whole site allows us, in files beside its pages: robots.txt, /.well-known/tdmrep.json and /ai.txt.

tdmrep.json is the file of the TDM Reservation Protocol (W3C community group report, section "TDM File on the Origin
Server"): a list of {"location": pattern, "tdm-reservation": 0 or 1}; the first pattern that fits a path counts. A pattern
begins a path, "*" stands for anything and a last "$" for its end; how either is escaped is nothing, as in robots.txt, and a
whole URL is taken for its path. /ai.txt (Spawning) has the syntax of robots.txt. For
pictures we refuse before we ask, so a header that would lift the file's reservation is never seen: refusal wins.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from pipeline.web.answer import Reason
from pipeline.web.robots import RobotsRules, site_text

TDMREP = "/.well-known/tdmrep.json"
AI_TXT = "/ai.txt"
MAX_RULES = 1000
_ORIGIN = re.compile("^https?://[^/]*", re.I)


@dataclass(frozen=True)
class TdmRules:
    """The reservations of one tdmrep.json, in its order."""

    rules: tuple[tuple[str, bool], ...] = ()

    @staticmethod
    def parse(body: bytes) -> "TdmRules":
        """Never fails: what is not a rule is ignored."""
        try:
            value = json.loads(site_text(body))
        except (ValueError, RecursionError):
            return TdmRules()
        found = []
        for entry in (value if isinstance(value, list) else [value])[:MAX_RULES]:
            if isinstance(entry, dict) and isinstance(entry.get("location"), str):
                location = _ORIGIN.sub("", unquote(entry["location"][:2000].strip()))
                found.append((location, str(entry.get("tdm-reservation")).strip() in ("1", "True")))
        return TdmRules(tuple(found))

    def refusal(self, path: str) -> str | None:
        """Evidence that mining of this path (with its query) is reserved."""
        path = unquote(path)
        for location, reserved in self.rules:
            if fits(location, path):
                return f"tdmrep.json reserves {location[:200]}" if reserved else None
        return None


def fits(pattern: str, path: str) -> bool:
    """Whether a path falls under a pattern; linear in their lengths, since patterns come from strangers."""
    anchored = pattern.endswith("$")
    pieces = (pattern[:-1] if anchored else pattern).split("*")
    if not path.startswith(pieces[0]):
        return False
    place = len(pieces[0])
    for piece in pieces[1:]:
        place = path.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    if not anchored:
        return True
    return path.endswith(pieces[-1]) if len(pieces) > 1 else place == len(path)


@dataclass(frozen=True)
class SiteRules:
    """All that one origin's files say to us."""

    robots: RobotsRules
    tdm: TdmRules = TdmRules()
    ai: RobotsRules | None = None

    def refusal(self, url: str) -> tuple[Reason, str] | None:
        """(reason, evidence) that this canonical URL may not be fetched, or None where it may."""
        if (evidence := self.robots.refusal(url)) is not None:
            return "robots_txt", evidence
        if self.tdm.rules and (evidence := self.tdm.refusal(_path(url))) is not None:
            return "site_opt_out", evidence
        if self.ai is not None and (evidence := self.ai.refusal(url)) is not None:
            return "site_opt_out", re.sub("^robots.txt", "ai.txt", evidence)
        return None

    @staticmethod
    def parse(product: str, robots: "FileRead", tdm: "FileRead", ai: "FileRead") -> "SiteRules":
        """From the files as they were read; None stands for one that is not there."""
        return SiteRules(
            RobotsRules(product, forbidden=robots) if isinstance(robots, str) else _rules(product, robots),
            TdmRules.parse(tdm) if isinstance(tdm, bytes) else TdmRules(),
            RobotsRules.parse(ai, product) if isinstance(ai, bytes) else None,
        )


FileRead = bytes | str | None
"""A site's file: its bytes; why all is forbidden because it cannot be read; None where there is none."""


def _rules(product: str, body: bytes | None) -> RobotsRules:
    return RobotsRules(product) if body is None else RobotsRules.parse(body, product)


def _path(url: str) -> str:
    return url[url.index("/", url.index("//") + 2) :]


def files_of(read_tdmrep: bool, read_ai_txt: bool, directives: Sequence[str]) -> tuple[str, ...]:
    """The files besides robots.txt that are asked for."""
    wanted = (TDMREP,) if read_tdmrep and "tdm-reservation" in directives else ()
    return (*wanted, AI_TXT) if read_ai_txt else wanted
