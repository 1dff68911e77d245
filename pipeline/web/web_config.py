"""What a recipe says about the network; light to import, so that `openwit plan` stays fast."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from pipeline.settings import Settings

# How politely and how fast we fetch, and whom to write to; what we get does not depend on it, so no step's identity does.
_PACE = (
    "contact",
    "concurrency",
    "per_host_concurrency",
    "retry_wait_seconds",
    "max_retry_wait_seconds",
    "max_crawl_delay_seconds",
    "per_host_requests_per_second",
    "host_failures",
    "host_rest_seconds",
    "robots_hours",
)


LIMITS = (
    "total_seconds",
    "connect_seconds",
    "minimum_bytes_per_second",
    "grace_seconds",
    "retries",
    "max_bytes",
    "max_redirects",
    "allowed_ports",
)
"""What decides whether a fetch ends well, and nothing of what it brings."""


class NetworkConfig(Settings):
    """Limits of every fetch; the defaults suit the open web."""

    user_agent: str = Field("openwit/0.1", pattern=r"^[A-Za-z][A-Za-z0-9_-]*(/[\x21-\x7e]+)?$")
    """Who we are, as product/version; robots.txt and X-Robots-Tag rules for the product name apply to us."""
    contact: str = Field("", pattern=r"^[\x20-\x7e]*$")
    """A page or mail address where a site's owner reaches you; sent as part of the user agent."""
    total_seconds: float = Field(30.0, gt=0)
    """Longest time for one attempt, its redirects included."""
    connect_seconds: float = Field(10.0, gt=0)
    """Longest time to open a connection."""
    minimum_bytes_per_second: int = Field(1000, ge=0)
    """A body that comes slower than this, on average and after `grace_seconds`, is given up (too_slow)."""
    grace_seconds: float = Field(5.0, gt=0)
    """How long a body may be slow at its start."""
    max_bytes: int = Field(20_000_000, gt=0)
    """Largest body, before and after content decoding."""
    max_header_bytes: int = Field(16_384, ge=1024)
    """Longest single header line; all lines together have eight times as many bytes at most, and there are 128 at most."""
    max_redirects: int = Field(5, ge=0)
    """Most redirects followed; each new address is judged like the first."""
    retries: int = Field(2, ge=0)
    """Further attempts where one can help: 408, 425, 429, 5xx, timeouts, broken connections."""
    retry_wait_seconds: float = Field(0.5, ge=0)
    """Wait before the first retry; it doubles with each."""
    max_retry_wait_seconds: float = Field(30.0, ge=0)
    """Longest wait before a retry; a host whose Retry-After asks for more is left alone until a later round."""
    max_crawl_delay_seconds: float = Field(10.0, ge=0)
    """Longest Crawl-delay of a robots.txt that is honoured."""
    concurrency: int = Field(64, ge=1)
    """Fetches at once in one process; while pictures are fetched, one that takes over 2 seconds gives its place away."""
    per_host_concurrency: int = Field(8, ge=1)
    """Fetches at once to one host in one process."""
    per_host_requests_per_second: float | None = Field(None, gt=0)
    """Most requests a second to one host; a Crawl-delay that asks for fewer counts."""
    host_failures: int = Field(5, ge=1)
    """Fetches in a row that must fail to connect or time out for their host to be rested."""
    host_rest_seconds: float = Field(10.0, ge=0)
    """How long a host rests then; twice as long with each further time, and after `retries` times it is given up."""
    robots_hours: float = Field(24.0, gt=0)
    """How long a robots.txt counts before it is read again (RFC 9309 section 2.4: a day at most)."""
    read_tdmrep: bool = True
    """Also obey /.well-known/tdmrep.json, where "tdm-reservation" is among `opt_out_directives`."""
    read_ai_txt: bool = False
    """Also obey /ai.txt (Spawning's format: robots.txt rules for training data)."""
    allowed_ports: tuple[int, ...] = (80, 443)
    """Ports a URL may name."""
    opt_out_directives: tuple[str, ...] = (
        "noai",
        "noimageai",
        "noml",
        "none",
        "noindex",
        "noimageindex",
        "tdm-reservation",
    )
    """Words in X-Robots-Tag or a robots meta tag that withhold a page or picture from us ("tdm-reservation": that header as 1)."""
    hosts: dict[str, str] = Field(default_factory=dict)
    """name -> "ip:port": connect there for this name, whatever DNS says and even where the address is private."""

    @field_validator("hosts")
    @classmethod
    def _addresses(cls, hosts: Mapping[str, str]) -> dict[str, str]:
        for address in hosts.values():
            split_address(address)
        return {name.lower().rstrip("."): address for name, address in hosts.items()}

    @field_validator("opt_out_directives")
    @classmethod
    def _lower(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({word.strip().lower() for word in words}))

    @property
    def product(self) -> str:
        """The name robots rules call us by."""
        return self.user_agent.split("/")[0].lower()

    @property
    def user_agent_header(self) -> str:
        return f"{self.user_agent} (+{self.contact})" if self.contact else self.user_agent

    def identity(self) -> dict[str, Any]:
        """What fetched content depends on: everything but the pace, the contact and the addresses behind `hosts`."""
        value = self.model_dump(mode="json", exclude=set(_PACE))
        return value | {"hosts": sorted(self.hosts)}

    def bounds(self) -> dict[str, Any]:
        """What a picture that was brought depends on: `identity` less the limits, which it has passed."""
        return {name: value for name, value in self.identity().items() if name not in LIMITS}


def split_address(address: str) -> tuple[str, int]:
    """("127.0.0.1", 8417) of "127.0.0.1:8417"; IPv6 as "[::1]:8417". Raises ValueError naming the value."""
    found = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+)):(\d{1,5})", address)
    if found is None or not 0 < int(found[3]) < 65536:
        raise ValueError(f"{address!r} is not ip:port; write it like 127.0.0.1:8417 or [::1]:8417")
    return str(ipaddress.ip_address(found[1] or found[2])), int(found[3])
