"""What a fetch was asked for and what it came to: plain values, shared by the door to the network and its manners."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Reason = Literal[
    "not_found",
    "http_error",
    "damaged_body",
    "redirect_loop",
    "too_many_redirects",
    "too_slow",
    "timeout",
    "connection_failed",
    "name_not_resolved",
    "address_refused",
    "too_large",
    "robots_txt",
    "header_opt_out",
    "site_opt_out",
    "host_unreachable",
]
"""Every way a fetch can fail."""

UNREACHED: tuple[Reason, ...] = ("connection_failed", "timeout", "name_not_resolved", "host_unreachable")
"""Reasons that say nothing of the URL: nobody answered."""


@dataclass(frozen=True)
class Fetched:
    """One URL's outcome. `reason` is None where `body` is the content, else `evidence` says what was seen.

    `headers` have lower-case names. `robots` are the X-Robots-Tag directives that concern us. Nothing in
    `evidence` differs from run to run; `attempts` may.
    """

    url: str
    final_url: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    reason: Reason | None = None
    evidence: str | None = None
    robots: tuple[str, ...] = ()
    attempts: int = 1
    redirects: int = 0


@dataclass(frozen=True)
class Wish:
    """What one request may bring; `types` are the content types whose bodies are read, () for all."""

    max_bytes: int
    accept: str = "*/*"
    types: tuple[str, ...] = ()
    read_opted_out: bool = False
    cut: bool = False  # keep the first max_bytes of a longer body instead of refusing it
    obey_robots: bool = True
    span: tuple[int, int] | None = None  # these bytes of it alone: first, and the one after the last
    unless: tuple[str, str] = ("", "")  # validators (pipeline/web/validators.py) of content that need not be sent again


@dataclass(frozen=True)
class Verdict:
    """What one request came to: a redirect's target, content, or a reason (with `again` where a retry can help)."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    reason: Reason | None = None
    evidence: str | None = None
    robots: tuple[str, ...] = ()
    location: str | None = None
    again: bool = False
    wait_seconds: float | None = None
    whole_host: bool = False  # the host cannot be reached, whichever of its pages is asked for
