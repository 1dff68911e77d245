"""Connections of the door to the network: sockets in the event loop, plain or TLS, kept for the next request to their server.

TLS runs on the socket itself. asyncio's own way, through two buffers in memory, costs twice the CPU time and 300 KB more
for each connection (measured). A server's last session ticket is shown to it again, which spares both sides the signatures
of another handshake (RFC 8446 section 2.2).

Who may be connected to is decided by what is handed in: `locate` gives the addresses of a name, `open_socket` a socket for one.
"""

import asyncio
import contextlib
import socket
import ssl
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pipeline.web.http1 import Answer, CutOffError

Place = tuple[str, str, int]
"""Scheme, host name, port."""
Info = tuple[Any, Any, int, str, tuple[Any, ...]]
"""What socket.getaddrinfo gives: family, kind, protocol, name, address."""

STAGGER_SECONDS = 0.25
"""How long one address of several is waited for before the next is tried as well (RFC 8305 section 5)."""
IDLE_SECONDS = 8.0
MAX_IDLE = 256
"""Connections kept for another request; of more, those that have been idle longest are closed."""
MAX_TICKETS = 4096
LOOK_SECONDS = 0.25
BUFFER_BYTES = 1 << 18
"""Bytes asked of a socket at once, into the one buffer of all; TLS gives a record of 16 KiB at most."""
TURNS = 32
"""Reads from one socket before the others have their turn."""


class TooSlowError(Exception):
    """The body comes slower than the least rate."""


class Connection:
    """One socket. An exchange at a time; between them it must be silent."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, place: Place, buffer: memoryview) -> None:
        self.place = place
        self.used = self.ticketed = False
        self.idle_since = 0.0
        self.is_tls = isinstance(sock, ssl.SSLSocket)
        self.socket: Any = sock
        self.closed = False
        self._loop, self._number, self._buffer = loop, sock.fileno(), buffer
        self._answer: Answer | None = None
        self._done: asyncio.Future[None] | None = None
        self._unsent = b""
        self._body_since = 0.0
        self._suspected: int | None = None
        loop.add_reader(self._number, self._readable)

    async def exchange(self, request: bytes, answer: Answer, seconds: float) -> None:
        """Send a request and read its answer.

        Raises NotHttpError, CutOffError, TooSlowError, OSError (TimeoutError and ssl.SSLError among them).
        """
        self._answer, self._done, self._unsent = answer, self._loop.create_future(), request
        self._body_since, self._suspected = 0.0, None
        limit = self._loop.call_later(seconds, self._finish, asyncio.TimeoutError())
        try:
            self._send()
            await self._done
        finally:
            limit.cancel()
            self._answer = self._done = None
            self.used = True

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._number)
        self._loop.remove_writer(self._number)
        self.socket.close()

    def look(self, now: float, grace_seconds: float, least_rate: int) -> None:
        """End an exchange whose body is too slow, at the second look: whoever stood still may have been this process."""
        if self._answer is None or self._answer.head is None:
            return
        if not self._body_since:
            self._body_since = now
        seconds = now - self._body_since
        if seconds <= grace_seconds or self._answer.received >= least_rate * seconds:
            self._suspected = None
        elif self._suspected is None:
            self._suspected = self._answer.received
        else:
            self._finish(TooSlowError())

    def _send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._loop.add_writer(self._number, self._writable)
        except ssl.SSLWantReadError:  # it goes on when something came
            pass

    def _writable(self) -> None:
        self._loop.remove_writer(self._number)
        try:
            self._send()
        except OSError as error:
            self._finish(error)

    def _readable(self) -> None:
        if self._answer is None:
            self._listen()
            return
        buffer = self._buffer
        try:
            for _ in range(TURNS):
                size = self.socket.recv_into(buffer)
                if not size:
                    self._answer.end()
                    self._finish()
                    return
                if self._answer.feed(buffer[:size]):
                    self._finish()
                    return
                if not self.is_tls and size < BUFFER_BYTES:
                    return
        except (BlockingIOError, ssl.SSLWantReadError):
            if self._unsent:
                self._writable()
            return
        except ssl.SSLWantWriteError:
            return
        except Exception as error:  # whatever it is, somebody waits
            self._finish(error)
            return
        self._loop.call_soon(self._again)  # what TLS holds already wakes nobody

    def _again(self) -> None:
        if self._answer is not None and not self.closed:
            self._readable()

    def _listen(self) -> None:
        """Nothing was asked: a TLS ticket may come; words and the end make the connection useless."""
        try:
            self.socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            pass
        self.close()

    def _finish(self, error: Exception | None = None) -> None:
        if self._done is None or self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)


class Connections:
    """All connections of an event loop. `close` ends them."""

    def __init__(
        self,
        locate: Callable[[str, int], Awaitable[Sequence[tuple[str, int]]]],
        open_socket: Callable[[Info], socket.socket],
        connect_seconds: float,
        grace_seconds: float,
        least_rate: int,
    ) -> None:
        self._locate, self._open_socket = locate, open_socket
        self._connect_seconds, self._grace_seconds, self._least_rate = connect_seconds, grace_seconds, least_rate
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Place, deque[Connection]] = {}
        self._by_age: OrderedDict[Connection, None] = OrderedDict()  # the idle ones, the longest idle first
        self._busy: set[Connection] = set()
        self._tickets: OrderedDict[Place, ssl.SSLSession] = OrderedDict()
        self._tls: ssl.SSLContext | None = None
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    async def exchange(self, place: Place, request: bytes, make: Callable[[], Answer], seconds: float) -> Answer:
        """The answer to a request, within `seconds`. Raises what `Connection.exchange` and `locate` raise.

        A request that meets a kept connection which has ended meanwhile is sent again, over a new one.
        """
        deadline = self._loop.time() + seconds
        while True:
            connection = self._kept(place) or await self._opened(place, deadline)
            self._busy.add(connection)
            answer, was_used = make(), connection.used
            try:
                await connection.exchange(request, answer, deadline - self._loop.time())
            except (CutOffError, ConnectionError, ssl.SSLError):
                if was_used and not answer.begun:
                    continue
                raise
            finally:
                self._busy.discard(connection)
                self._keep_or_close(connection, answer.reusable)
            return answer

    def close(self) -> None:
        self._timer.cancel()
        for connection in [*self._busy, *(one for kept in self._idle.values() for one in kept)]:
            connection.close()
        self._idle.clear()

    # --- kept connections -----------------------------------------------------------------------------------------------

    def _kept(self, place: Place) -> Connection | None:
        kept = self._idle.get(place)
        while kept:
            connection = kept.pop()
            del self._by_age[connection]
            if not connection.closed:
                return connection
        return None

    def _keep_or_close(self, connection: Connection, reusable: bool) -> None:
        if not reusable or connection.closed:
            connection.close()
            return
        if len(self._by_age) >= MAX_IDLE:  # its host may have nothing left to be asked for, this one's has
            self._close_oldest(next(iter(self._by_age)).place)
        if connection.is_tls and not connection.ticketed:  # once: reading a session copies its certificates
            connection.ticketed = True
            ticket = connection.socket.session
            if ticket is not None:
                self._tickets[connection.place] = ticket
                self._tickets.move_to_end(connection.place)
            if len(self._tickets) > MAX_TICKETS:
                self._tickets.popitem(last=False)
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.place, deque()).append(connection)
        self._by_age[connection] = None

    def _close_oldest(self, place: Place) -> None:
        connection = self._idle[place].popleft()
        del self._by_age[connection]
        connection.close()

    def _look(self) -> None:
        now = self._loop.time()
        for connection in list(self._busy):
            connection.look(now, self._grace_seconds, self._least_rate)
        for place, kept in list(self._idle.items()):
            while kept and (kept[0].closed or kept[0].idle_since < now - IDLE_SECONDS):
                self._close_oldest(place)
            if not kept:
                del self._idle[place]
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    # --- new connections ------------------------------------------------------------------------------------------------

    async def _opened(self, place: Place, deadline: float) -> Connection:
        left = deadline - self._loop.time()
        addresses = await asyncio.wait_for(self._locate(place[1], place[2]), left)
        left = min(self._connect_seconds, deadline - self._loop.time())
        sock = await asyncio.wait_for(self._connected_to(addresses, place), left)
        return Connection(self._loop, sock, place, self._buffer)

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
