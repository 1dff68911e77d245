"""New connections: the addresses of a name raced against each other (RFC 8305), then the TLS handshake.

A server's last session ticket is shown to it again, which spares both sides the signatures of another handshake
(RFC 8446 section 2.2). Who may be connected to is decided by what is handed in: `locate` gives the addresses of a name,
`open_socket` a socket for one.
"""

import asyncio
import contextlib
import socket
import ssl
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pipeline.web.connection import Place

Info = tuple[Any, Any, int, str, tuple[Any, ...]]
"""What socket.getaddrinfo gives: family, kind, protocol, name, address."""
Locate = Callable[[str, int], Awaitable[Sequence[tuple[str, int]]]]

STAGGER_SECONDS = 0.25
"""How long one address of several is waited for before the next is tried as well (RFC 8305 section 5)."""
MAX_TICKETS = 4096


class Dialer:
    """Opens the sockets of an event loop."""

    def __init__(self, locate: Locate, open_socket: Callable[[Info], socket.socket], connect_seconds: float) -> None:
        self._locate, self._open_socket, self._connect_seconds = locate, open_socket, connect_seconds
        self._loop = asyncio.get_running_loop()
        self._tickets: OrderedDict[Place, ssl.SSLSession] = OrderedDict()
        self._tls: ssl.SSLContext | None = None

    async def dial(self, place: Place, deadline: float) -> socket.socket:
        """A socket to a place, its handshake done. Raises what `locate` raises, OSError (TimeoutError, ssl.SSLError)."""
        left = deadline - self._loop.time()
        addresses = await asyncio.wait_for(self._locate(place[1], place[2]), left)
        left = min(self._connect_seconds, deadline - self._loop.time())
        return await asyncio.wait_for(self._connected_to(addresses, place), left)

    def keep_ticket(self, sock: ssl.SSLSocket, place: Place) -> None:
        """Keep the server's last session ticket for the next handshake."""
        ticket = sock.session
        if ticket is not None:
            self._tickets[place] = ticket
            self._tickets.move_to_end(place)
        if len(self._tickets) > MAX_TICKETS:
            self._tickets.popitem(last=False)

    async def _connected_to(self, addresses: Sequence[tuple[str, int]], place: Place) -> socket.socket:
        sock = await self._connected(addresses)
        return await self._handshaken(sock, place) if place[0] == "https" else sock

    async def _connected(self, addresses: Sequence[tuple[str, int]]) -> socket.socket:
        """A socket connected to the first address that answers; each has a head start over the next."""
        if len(addresses) == 1:
            return await self._connect(addresses[0])
        tasks: list[asyncio.Task[socket.socket]] = []
        waiting = deque(addresses)
        failure: BaseException = OSError("no address")
        try:
            while waiting or tasks:
                if waiting:
                    tasks.append(self._loop.create_task(self._connect(waiting.popleft())))
                done, _ = await asyncio.wait(
                    tasks, timeout=STAGGER_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if task.exception() is None:
                        tasks.remove(task)
                        return task.result()
                    tasks.remove(task)
                    failure = task.exception() or failure
            raise failure
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, socket.socket):
                    result.close()

    async def _connect(self, address: tuple[str, int]) -> socket.socket:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        full = (*address, 0, 0) if family == socket.AF_INET6 else address
        sock = self._open_socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", full))
        try:
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(sock, full)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _handshaken(self, plain: socket.socket, place: Place) -> ssl.SSLSocket:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        sock = self._tls.wrap_socket(
            plain, server_hostname=place[1], do_handshake_on_connect=False, session=self._tickets.get(place)
        )
        try:
            while True:
                try:
                    sock.do_handshake()
                    return sock
                except ssl.SSLWantReadError:
                    await self._ready(sock, self._loop.add_reader, self._loop.remove_reader)
                except ssl.SSLWantWriteError:
                    await self._ready(sock, self._loop.add_writer, self._loop.remove_writer)
        except BaseException:
            sock.close()
            raise

    async def _ready(self, sock: socket.socket, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
        future = self._loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        add(sock.fileno(), wake)
        try:
            await future
        finally:
            remove(sock.fileno())
