"""The pipeline's one door to the network: guarded, polite HTTP fetches.

Every address is judged before a socket is opened to it: DNS is asked once, all its answers must lie on the open internet
(pipeline.web.addresses), and the connection goes to one of those very addresses, so a name that changes its answer gains
nothing; every redirect starts over. robots.txt (RFC 9309) and X-Robots-Tag are obeyed. No proxies, no cookies.
"""

import asyncio
import contextlib
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.web.addresses import refusal
from pipeline.web.answer import Fetched, Reason, Verdict, Wish
from pipeline.web.body import BrokenError, TooLargeError, decoded, retry_after_seconds
from pipeline.web.manners import Manners
from pipeline.web.robots import RobotsRules, first_opt_out, header_directives
from pipeline.web.site_rules import SiteRules
from pipeline.web.urls import canonical, host_of, origin_of
from pipeline.web.web_config import NetworkConfig, split_address

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout  # which aiohttp brings there

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) -> IP addresses; raises OSError where the name has none."""


class _RefusedError(Exception):
    """An address behind a name that may not be connected to. Not an OSError: those would be tried again."""


class Network:
    """Fetches with shared connections and one view of each host's robots.txt. Use as `async with Network(config)`.

    Not `patient`, it leaves retries to its caller, and `open_at_once` limits requests in place of the concurrency.
    """

    def __init__(
        self,
        config: NetworkConfig,
        resolve: Resolve | None = None,
        open_at_once: int | None = None,
        patient: bool = True,
    ) -> None:
        self.config = config
        self._open_at_once, self._patient = open_at_once, patient
        self._resolve = resolve or self._system_resolve
        self._permitted = {split_address(address) for address in config.hosts.values()}

    async def __aenter__(self) -> "Network":
        config = self.config
        self._threads = ThreadPoolExecutor(min(32, config.concurrency), "dns")
        self.manners = Manners(config, self._request, self._open_at_once, self._patient)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_Guard(self),
                socket_factory=self._open_socket,
                limit=0,
                ttl_dns_cache=60,
                keepalive_timeout=2.0,  # an idle TLS connection holds 300 KB
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": config.user_agent_header, "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_seconds),
            auto_decompress=False,
            trust_env=False,
            max_line_size=config.max_header_bytes,
            max_field_size=config.max_header_bytes,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.manners.close()
        await self._session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(
        self,
        url: str,
        *,
        max_bytes: int | None = None,
        accept: str | None = None,
        types: tuple[str, ...] = (),
        read_opted_out: bool = False,
    ) -> Fetched:
        """Fetch one URL; whatever the world does becomes a reason.

        `accept` is the Accept header. Of a content type that is not in `types` the body is not read (`body` is empty and
        `reason` None). `read_opted_out` reads a body although X-Robots-Tag withholds it (a page's links may be followed).
        """
        limit = min(max_bytes or self.config.max_bytes, self.config.max_bytes)
        return await self.manners.get(url, Wish(limit, accept or "*/*", types, read_opted_out))

    async def attempt(self, url: str) -> tuple[Fetched, Verdict]:
        """One go at a URL, its redirects included; the Verdict says whether and when another can help."""
        return await self.manners.attempt(url, Wish(self.config.max_bytes))

    async def robots(self, url: str) -> RobotsRules:
        """The rules of this URL's host; without any where they cannot be had."""
        found = await self.manners.rules(origin_of(canonical(url)))
        return found.robots if isinstance(found, SiteRules) else RobotsRules(self.config.product)

    async def _request(self, url: str, wish: Wish, seconds: float) -> Verdict:
        """One request without redirects, every way it can fail told apart."""
        try:
            async with timeout(seconds):
                return await self._exchange(url, wish)
        except _RefusedError as error:
            return Verdict(reason="address_refused", evidence=str(error))
        except (asyncio.TimeoutError, TimeoutError):  # one class from Python 3.11 on
            return Verdict(reason="timeout", evidence=f"over {self.config.total_seconds:g} s", again=True)
        except aiohttp.ClientConnectorDNSError as error:
            later = isinstance(error.os_error, socket.gaierror) and error.os_error.errno == socket.EAI_AGAIN
            return Verdict(reason="name_not_resolved", evidence=host_of(url), again=later)
        except (aiohttp.ClientSSLError, ssl.SSLError):
            return Verdict(reason="connection_failed", evidence="TLS failed")
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError):
            return Verdict(reason="connection_failed", evidence="refused, reset or cut off", again=True)
        except (aiohttp.ClientError, ValueError, OSError):
            return Verdict(reason="http_error", evidence="the answer is not HTTP")

    async def _exchange(self, url: str, wish: Wish) -> Verdict:
        async with self._session.get(
            yarl.URL(url, encoded=True), headers={"Accept": wish.accept}, allow_redirects=False
        ) as answer:
            status = answer.status
            headers = {name.lower(): ", ".join(answer.headers.getall(name)) for name in answer.headers}
            if status in (301, 302, 303, 307, 308) and "location" in headers:
                return Verdict(status, headers, location=answer.headers["Location"])
            if status != 200:
                reason: Reason = "not_found" if status in (404, 410) else "http_error"
                return Verdict(
                    status,
                    headers,
                    reason=reason,
                    evidence=f"status {status}",
                    again=status in (408, 425, 429) or status >= 500,
                    wait_seconds=retry_after_seconds(headers.get("retry-after")),
                )
            return await self._content(answer, headers, wish)

    async def _content(self, answer: aiohttp.ClientResponse, headers: Mapping[str, str], wish: Wish) -> Verdict:
        robots = header_directives(answer.headers.getall("X-Robots-Tag", []), self.config.product)
        if headers.get("tdm-reservation", "").strip() == "1":
            robots = (*robots, "tdm-reservation")
        found = Verdict(answer.status, headers, robots=robots)
        word = first_opt_out(robots, self.config.opt_out_directives) if wish.obey_robots else None
        if word is not None:
            name = "tdm-reservation" if word == "tdm-reservation" else "x-robots-tag"
            found = replace(found, reason="header_opt_out", evidence=f"{name}: {headers[name][:200]}")
            if not wish.read_opted_out:
                return found
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        if wish.types and kind and kind not in wish.types:
            return found
        too_large = replace(found, reason="too_large", evidence=f"over {wish.max_bytes} bytes")
        if (answer.content_length or 0) > wish.max_bytes and not wish.cut:
            return too_large
        body = await self._read(answer.content, wish)
        if body is None:
            slow = f"under {self.config.minimum_bytes_per_second} bytes/s"
            return replace(found, reason="too_slow", evidence=slow)
        try:
            body = decoded(body, headers.get("content-encoding", ""), wish.max_bytes)
        except TooLargeError:
            return too_large
        except BrokenError as error:
            return replace(found, reason="http_error", evidence=str(error))
        if len(body) > wish.max_bytes and not wish.cut:
            return too_large
        return replace(found, body=body[: wish.max_bytes])

    async def _read(self, content: aiohttp.StreamReader, wish: Wish) -> bytes | None:
        """The body, cut just over max_bytes; None where it comes too slowly."""
        config = self.config
        started = time.monotonic()
        parts: list[bytes] = []
        received, suspected = 0, False
        while received <= wish.max_bytes:
            part: bytes | None = None
            if content.total_bytes > received or content.at_eof():  # what is here already needs no clock
                part = await content.readany()
            else:
                with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                    part = await asyncio.wait_for(content.readany(), 0.25 if suspected else config.grace_seconds)
            if part == b"":
                break
            if part is not None:
                parts.append(part)
                received += len(part)
            seconds = time.monotonic() - started
            slow = seconds > config.grace_seconds and received < config.minimum_bytes_per_second * seconds
            # Judged twice: where this process itself stood still, the bytes are there at the second look.
            if slow and suspected and content.total_bytes == received:
                return None
            suspected = slow
        return b"".join(parts)

    async def _system_resolve(self, host: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    async def _vetted(self, host: str, port: int) -> list[tuple[str, int]]:
        """Where to connect for this name. Raises _RefusedError when any of its addresses is not on the open internet."""
        if host.lower() in self.config.hosts:
            return [split_address(self.config.hosts[host.lower()])]
        addresses = sorted(await self._resolve(host, port))
        for address in addresses:
            why = refusal(address)
            if why is not None:
                raise _RefusedError(f"{host} is at {address}, which is {why}")
        if not addresses:
            raise OSError(f"{host} has no address")
        return [(address, port) for address in addresses]

    def _open_socket(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """The last gate: no socket for an address that is neither of the open internet nor named in the recipe."""
        family, kind, protocol, _, address = info
        if refusal(address[0]) is not None and (address[0], address[1]) not in self._permitted:
            raise _RefusedError(f"{address[0]} is {refusal(address[0])}")
        return socket.socket(family, kind, protocol)


class _Guard(AbstractResolver):
    """aiohttp's way to addresses, through `Network._vetted`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=number,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address, number in await self._network._vetted(host, port)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def fetch_all(
    config: NetworkConfig,
    urls: Sequence[str],
    *,
    max_bytes: int | None = None,
    accept: str | None = None,
    types: tuple[str, ...] = (),
    read_opted_out: bool = False,
) -> list[Fetched]:
    """Fetch every URL, equal ones once, in an event loop of its own; results in the order of `urls`."""

    async def work() -> list[Fetched]:
        async with Network(config) as network:
            once = list(dict.fromkeys(urls))
            fetched = await asyncio.gather(
                *(
                    network.get(url, max_bytes=max_bytes, accept=accept, types=types, read_opted_out=read_opted_out)
                    for url in once
                )
            )
            by_url = dict(zip(once, fetched, strict=True))
            return [by_url[url] for url in urls]

    return run_async(work())


def read_robots(config: NetworkConfig, urls: Sequence[str]) -> list[RobotsRules]:
    """The robots.txt rules of each URL's host; without any where they cannot be had."""

    async def work() -> list[RobotsRules]:
        async with Network(config) as network:
            return await asyncio.gather(*(network.robots(url) for url in urls))

    return run_async(work())


def run_async(work: Any) -> Any:
    """Run a coroutine to its end; in a thread where this one already runs an event loop (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


__all__ = ["Fetched", "Network", "NetworkConfig", "Resolve", "fetch_all", "read_robots"]
