"""One connection of the door to the network: a socket in the event loop, plain or TLS, one exchange at a time.

TLS runs on the socket itself. asyncio's own way, through two buffers in memory, costs twice the CPU time and 300 KB more
for each connection (measured).
"""

import asyncio
import socket
import ssl
from typing import Any

from pipeline.web.http1 import Answer

Place = tuple[str, str, int]
"""Scheme, host name, port."""

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
