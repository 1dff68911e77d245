"""Host names to addresses: each asked for once a minute at most, however many connections need it.

The addresses are judged by whoever asks (pipeline/web/network.py), each time, and connected to as they are.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

GOOD_SECONDS = 60.0
MAX_NAMES = 20_000


class UnknownNameError(Exception):
    """The name has no address; `again` where the resolver itself failed. No OSError: nothing was connected to."""

    def __init__(self, host: str, again: bool) -> None:
        super().__init__(host)
        self.again = again


class Names:
    """`resolve(host, port)` asks; it raises OSError where a name has no address."""

    def __init__(self, resolve: Callable[[str, int], Awaitable[Sequence[str]]]) -> None:
        self._resolve = resolve
        self._asked: dict[tuple[str, int], tuple[float, asyncio.Task[Sequence[str]]]] = {}

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Raises UnknownNameError."""
        now = asyncio.get_running_loop().time()
        until, task = self._asked.get((host, port), (0.0, None))
        if task is None or until < now or (task.done() and (task.cancelled() or task.exception() is not None)):
            if len(self._asked) >= MAX_NAMES:
                self._asked = {name: each for name, each in self._asked.items() if each[0] >= now}
            if len(self._asked) >= MAX_NAMES:
                self._asked.clear()
            task = asyncio.ensure_future(self._look_up(host, port))
            self._asked[host, port] = now + GOOD_SECONDS, task
        return await asyncio.shield(task)

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            again = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
            raise UnknownNameError(host, again) from None
        except UnicodeError:  # a label that the system's encoding of names refuses
            raise UnknownNameError(host, False) from None
        if not found:
            raise UnknownNameError(host, False)
        return found
