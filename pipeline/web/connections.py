"""Connections of the door to the network, kept for the next request to their server (`connection.py`, `dialing.py`)."""

import asyncio
import socket
import ssl
from collections import OrderedDict, deque
from collections.abc import Callable

from pipeline.web.connection import BUFFER_BYTES, Connection, Place
from pipeline.web.dialing import Dialer, Info, Locate
from pipeline.web.http1 import Answer, CutOffError

IDLE_SECONDS = 8.0
MAX_IDLE = 256
"""Connections kept for another request; of more, those that have been idle longest are closed."""
LOOK_SECONDS = 0.25


class Connections:
    """All connections of an event loop. `close` ends them."""

    def __init__(
        self,
        locate: Locate,
        open_socket: Callable[[Info], socket.socket],
        connect_seconds: float,
        grace_seconds: float,
        least_rate: int,
    ) -> None:
        self._dialer = Dialer(locate, open_socket, connect_seconds)
        self._grace_seconds, self._least_rate = grace_seconds, least_rate
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Place, deque[Connection]] = {}
        self._by_age: OrderedDict[Connection, None] = OrderedDict()  # the idle ones, the longest idle first
        self._busy: set[Connection] = set()
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    async def exchange(self, place: Place, request: bytes, make: Callable[[], Answer], seconds: float) -> Answer:
        """The answer to a request, within `seconds`. Raises what `Connection.exchange` and `locate` raise.

        A request that meets a kept connection which has ended meanwhile is sent again, over a new one.
        """
        deadline = self._loop.time() + seconds
        while True:
            connection = self._kept(place)
            if connection is None:
                sock = await self._dialer.dial(place, deadline)
                connection = Connection(self._loop, sock, place, self._buffer)
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
            self._dialer.keep_ticket(connection.socket, connection.place)
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
