"""What a site's owner allows us in robots.txt (RFC 9309), whatever encoding an editor left it in."""

import re
from dataclasses import dataclass
from typing import Any

from protego import Protego

from pipeline.web.body import utf16_of

MAX_ROBOTS_BYTES = 512_000  # RFC 9309 section 2.5 asks for 500 KiB at least; the rest of a longer file is not read


def site_text(body: bytes) -> str:
    """A site's file as text: UTF-8 (RFC 9309 section 2.2), or UTF-16 where its mark or its zeros tell so.

    Of a file longer than MAX_ROBOTS_BYTES the line that the limit cuts is no rule: "Disallow: /a" is not "Disallow: /".
    """
    head, cut = body[:MAX_ROBOTS_BYTES], len(body) >= MAX_ROBOTS_BYTES
    name = utf16_of(head)
    text = head[: len(head) // 2 * 2].decode(name, "replace") if name else head.decode("utf-8-sig", "replace")
    text = text.replace("\0", "")
    if cut:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
    return text


@dataclass(frozen=True)
class RobotsRules:
    """One host's robots.txt as it concerns one agent. `forbidden` is set where nothing may be fetched, and says why."""

    product: str
    rules: Any = None  # Protego, or None where there is no robots.txt
    forbidden: str | None = None

    @staticmethod
    def parse(body: bytes, product: str) -> "RobotsRules":
        """Never fails: what is not a rule is ignored (RFC 9309 section 2.2)."""
        text = site_text(body)
        # "User-agent: openwit/0.1" is what a log shows of us; the group is meant for us all the same.
        text = re.sub(rf"(?im)^([ \t]*user-agent[ \t]*:[ \t]*{re.escape(product)})/[^\s#]*", r"\1", text)
        return RobotsRules(product, Protego.parse(text))

    def refusal(self, url: str) -> str | None:
        """Evidence that this canonical URL may not be fetched, or None where it may."""
        if self.forbidden is not None:
            return self.forbidden
        if self.rules is None or self.rules.can_fetch(url, self.product):
            return None
        path = url[url.index("/", url.index("//") + 2) :]
        return f"robots.txt disallows {path[:200]}"

    @property
    def crawl_delay_seconds(self) -> float:
        delay = self.rules.crawl_delay(self.product) if self.rules is not None else None
        return max(0.0, float(delay or 0.0))

    @property
    def sitemaps(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.rules.sitemaps)) if self.rules is not None else ()
