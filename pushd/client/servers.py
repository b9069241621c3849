"""The servers an identity listens at: its own, and for a while those it left.

Who sends may remember for an hour where somebody was to be found, and may have to try for
a while. So a server is left only when that time is over and nothing is there any more;
until then a change of servers loses nothing.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from pushd.client.receiver import Receiver
from pushd.protocol.client_commands import StreamClosed

OVERLAP = 7200.0
"""Seconds to go on listening at a server that was left."""
FORGOTTEN = 30 * 86400.0
"""Seconds after which all that was sent there in time has expired."""


class Servers:
    """Keeps a receiver running at each server.

    Args:
        make: Makes the receiver of a server.
        overlap: Seconds to go on listening at a server that was left.
        clock: Returns Unix seconds.

    Attributes:
        own: The identity's servers in order of preference, by their canonical URLs.
        left: Servers that are no longer its own, and since when, in Unix seconds.
    """

    def __init__(
        self,
        make: Callable[[str], Receiver],
        *,
        overlap: float,
        clock: Callable[[], float],
    ) -> None:
        self.own: tuple[str, ...] = ()
        self.left: dict[str, float] = {}
        self._make = make
        self._overlap = overlap
        self._clock = clock
        self._receivers: dict[str, Receiver] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended = asyncio.Event()

    def begin(
        self, own: Iterable[str], *, before: Iterable[str], left: Mapping[str, float]
    ) -> None:
        """Listen, also where the identity was before.

        Args:
            own: The identity's servers.
            before: Which they were when it listened last.
            left: Servers it had left by then, and since when.
        """
        self.own, self.left = tuple(before), dict(left)
        self.move_to(own)
        for server in self.left:
            self._listen(server)

    def move_to(self, servers: Iterable[str]) -> None:
        """Listen at these from now on; at those that are not among them, for a while."""
        before, self.own = self.own, tuple(servers)
        for server in self.own:
            self.left.pop(server, None)
            self._listen(server)
        for server in before:
            if server not in self.own:
                self.left[server] = self._clock()

    async def leave(self) -> bool:
        """Stop listening where it is time to; tell whether there was any."""
        before = dict(self.left)
        for server in before:
            # Asked for each anew, as one may move back to it while another is stopped.
            if self._is_over(server):
                del self.left[server]
                await self._stop(server)
        return self.left != before

    def _is_over(self, server: str) -> bool:
        if server not in self.left:
            return False
        passed = self._clock() - self.left[server]
        done = self._receivers[server].empty or self._running[server].done()
        return passed >= FORGOTTEN or (passed >= self._overlap and done)

    async def stop(self) -> None:
        """Let all listeners finish, and close every connection."""
        await asyncio.gather(*map(self._stop, list(self._running)))

    async def wait(self) -> None:
        """Wait until no server is listened at any more.

        Raises:
            StreamClosed: If no server wants this client back.
            OSError: If the progress at a server cannot be read or kept.
            ValueError: If what was kept is none.
        """
        while running := list(self._running.values()):
            self._ended.clear()
            failures = [task.exception() for task in running if task.done()]
            over = len(failures) == len(running)
            for failure in failures:
                if failure and (over or not isinstance(failure, StreamClosed)):
                    raise failure
            await self._ended.wait()

    def _listen(self, server: str) -> None:
        running = self._running.get(server)
        if running is None or running.done():
            self._receivers[server] = self._make(server)
            running = asyncio.create_task(self._receivers[server].run())
            running.add_done_callback(self._over)
            self._running[server] = running

    def _over(self, running: asyncio.Task[None]) -> None:
        if not running.cancelled():
            running.exception()  # seen: `wait` raises it, and `on_state` told of it
        self._ended.set()

    async def _stop(self, server: str) -> None:
        receiver, running = self._receivers.pop(server), self._running.pop(server)
        try:
            await receiver.stop()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError, StreamClosed, OSError, ValueError):
                await running
            self._ended.set()
