"""The pipeline's one door to the network: guarded, polite HTTP fetches.

Every address is judged before a socket is opened to it: DNS is asked once, all its answers must lie on the open internet
(pipeline.web.addresses), and the connection goes to one of those very addresses, so a name that changes its answer gains
nothing; every redirect starts over. robots.txt (RFC 9309) and X-Robots-Tag are obeyed. No proxies, no cookies.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType

from pipeline.web.addresses import refusal
from pipeline.web.answer import Fetched, Reason, Verdict, Wish
from pipeline.web.body import BrokenError, TooLargeError, decoded, retry_after_seconds
from pipeline.web.connection import TooSlowError
from pipeline.web.connections import Connections
from pipeline.web.dialing import Info
from pipeline.web.directives import first_opt_out, first_value, header_directives
from pipeline.web.http1 import Answer, CutOffError, Head, NotHttpError, request_bytes
from pipeline.web.manners import Manners
from pipeline.web.names import Names, UnknownNameError
from pipeline.web.robots import RobotsRules
from pipeline.web.site_rules import SiteRules
from pipeline.web.urls import canonical, host_of, origin_of, split_canonical
from pipeline.web.validators import NONE, Validators, condition
from pipeline.web.web_config import NetworkConfig, split_address

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
        self._names = Names(self._resolve)
        self.manners = Manners(config, self._request, self._open_at_once, self._patient)
        self._connections = Connections(
            self._vetted,
            self._open_socket,
            config.connect_seconds,
            config.grace_seconds,
            config.minimum_bytes_per_second,
        )
        self._fields = f"User-Agent: {config.user_agent_header}\r\nAccept-Encoding: identity\r\n"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.manners.close()
        self._connections.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(
        self,
        url: str,
        *,
        max_bytes: int | None = None,
        accept: str | None = None,
        types: tuple[str, ...] = (),
        read_opted_out: bool = False,
        span: tuple[int, int] | None = None,
        unless: Validators = NONE,
    ) -> Fetched:
        """Fetch one URL; whatever the world does becomes a reason.

        `accept` is the Accept header. Of a content type that is not in `types` the body is not read (`body` is empty and
        `reason` None). `read_opted_out` reads a body although X-Robots-Tag withholds it (a page's links may be followed).
        `span` asks for these bytes alone, from its first to before its second: status 206 says that `body` is they.
        `unless` asks for no body where it still is what these validators tell: status 304 says so.
        """
        limit = min(max_bytes or self.config.max_bytes, self.config.max_bytes)
        return await self.manners.get(
            url, Wish(limit, accept or "*/*", types, read_opted_out, span=span, unless=unless)
        )

    async def get_range(self, url: str, start: int, end: int) -> Fetched:
        """Bytes `start` to before `end` of a file that the user named; status 200 where the server sent all of it."""
        most = self.config.max_bytes
        wish = Wish(most, read_opted_out=True, cut=True, obey_robots=False, span=(start, min(end, start + most)))
        return await self.manners.get(url, wish)

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
            return await self._exchange(url, wish, seconds)
        except _RefusedError as error:
            return Verdict(reason="address_refused", evidence=str(error))
        except UnknownNameError as error:
            return Verdict(reason="name_not_resolved", evidence=host_of(url), again=error.again)
        except TooSlowError:
            slow = f"under {self.config.minimum_bytes_per_second} bytes/s"
            return Verdict(200, reason="too_slow", evidence=slow)
        except (asyncio.TimeoutError, TimeoutError):  # one class from Python 3.11 on
            return Verdict(reason="timeout", evidence=f"over {self.config.total_seconds:g} s", again=True)
        except ssl.SSLError:
            return Verdict(reason="connection_failed", evidence="TLS failed")
        except (CutOffError, OSError):
            return Verdict(reason="connection_failed", evidence="refused, reset or cut off", again=True)
        except (NotHttpError, ValueError):
            return Verdict(reason="http_error", evidence="the answer is not HTTP")

    async def _exchange(self, url: str, wish: Wish, seconds: float) -> Verdict:
        scheme, host, port, authority, target = split_canonical(url)
        span = f"Range: bytes={wish.span[0]}-{wish.span[1] - 1}\r\n" if wish.span is not None else ""
        request = request_bytes(
            authority, target, f"Accept: {wish.accept}\r\n{span}{condition(wish.unless)}{self._fields}"
        )
        found: Verdict | None = None

        def wanted(head: Head) -> int:
            nonlocal found
            found, body = self._judged(head, wish)
            return wish.max_bytes if body else 0

        answer = await self._connections.exchange(
            (scheme, host, port), request, lambda: Answer(self.config.max_header_bytes, wanted), seconds
        )
        assert found is not None
        if not answer.wants_body:
            return found
        return _with_body(found, answer.body, wish)

    def _judged(self, head: Head, wish: Wish) -> tuple[Verdict, bool]:
        """What the head comes to, and whether the body is of use."""
        status, headers = head.status, head.joined()
        if status in (301, 302, 303, 307, 308) and "location" in headers:
            return Verdict(status, headers, location=head.all("location")[0]), False
        as_wished = (status == 206 and wish.span is not None) or (status == 304 and wish.unless != NONE)
        if status != 200 and not as_wished:
            reason: Reason = "not_found" if status in (404, 410) else "http_error"
            again = status in (408, 425, 429) or status >= 500
            wait = retry_after_seconds(headers.get("retry-after"))
            return Verdict(status, headers, b"", reason, f"status {status}", again=again, wait_seconds=wait), False
        robots: tuple[str, ...] = ()
        if "x-robots-tag" in headers:
            robots = header_directives(head.all("x-robots-tag"), self.config.product, headers.get("date", ""))
        if first_value(headers.get("tdm-reservation", "")) == "1":
            robots = (*robots, "tdm-reservation")
        found = Verdict(status, headers, robots=robots)
        word = first_opt_out(robots, self.config.opt_out_directives) if robots and wish.obey_robots else None
        if word is not None:
            name = "tdm-reservation" if word == "tdm-reservation" else "x-robots-tag"
            found = replace(found, reason="header_opt_out", evidence=f"{name}: {headers[name][:200]}")
            if not wish.read_opted_out:
                return found, False
        if status == 304:
            return found, False
        kind = first_value(headers.get("content-type", ""))
        if wish.types and kind and kind not in wish.types:
            return found, False
        if (head.length or 0) > wish.max_bytes and not wish.cut:
            return _too_large(found, wish), False
        return found, True

    async def _system_resolve(self, host: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    async def _vetted(self, host: str, port: int) -> list[tuple[str, int]]:
        """Where to connect for this name. Raises _RefusedError when any of its addresses is not on the open internet."""
        if host in self.config.hosts:
            return [split_address(self.config.hosts[host])]
        addresses = sorted(await self._names.addresses(host, port))
        for address in addresses:
            why = refusal(address)
            if why is not None:
                raise _RefusedError(f"{host} is at {address}, which is {why}")
        return [(address, port) for address in addresses]

    def _open_socket(self, info: Info) -> socket.socket:
        """The last gate: no socket for an address that is neither of the open internet nor named in the recipe."""
        family, kind, protocol, _, address = info
        if refusal(address[0]) is not None and (address[0], address[1]) not in self._permitted:
            raise _RefusedError(f"{address[0]} is {refusal(address[0])}")
        return socket.socket(family, kind, protocol)


def _too_large(found: Verdict, wish: Wish) -> Verdict:
    return replace(found, reason="too_large", evidence=f"over {wish.max_bytes} bytes")


def _with_body(found: Verdict, body: bytes, wish: Wish) -> Verdict:
    if len(body) > wish.max_bytes and not wish.cut:
        return _too_large(found, wish)
    encoding = found.headers.get("content-encoding")
    if encoding:
        try:
            body = decoded(body, encoding, wish.max_bytes, wish.cut)
        except TooLargeError:
            return _too_large(found, wish)
        except BrokenError as error:
            return replace(found, reason="damaged_body", evidence=str(error))
    body = body[: wish.max_bytes]
    if found.reason is None and found.evidence is None:  # most are: `replace` takes several times as long
        return Verdict(found.status, found.headers, body, robots=found.robots)
    return replace(found, body=body)


__all__ = ["Fetched", "Network", "NetworkConfig", "Resolve"]
