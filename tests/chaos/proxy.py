"""A proxy that stands for a network: it cuts, delays, falls silent, or loses publications.

It sits between a node and its stores, or between clients and a node. To a store it tells
connections that hear publications from those that carry commands, by what is said on them.
Silence is what a partition looks like: nothing arrives, nothing is refused. TCP loses no
bytes in the middle of a connection, so what was held back arrives when the silence ends,
or the connection is cut; only whole publications may be dropped.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

Address = Path | tuple[str, int]
"""A unix socket, or a host and a port."""

NODE, STORE = "to node", "to store"
WAYS = (NODE, STORE)
"""The ways of a connection; between clients and a node, `NODE` is to the clients."""

_SUBSCRIBE = b"SSUBSCRIBE"
_TICK = b"{tick-"


class Which(NamedTuple):
    """Which connections a trouble is about: those for commands, those that hear."""

    commands: bool = True
    hearing: bool = True

    def matches(self, hears: bool) -> bool:
        """Tell whether it is about a connection."""
        return self.hearing if hears else self.commands


ALL = Which()


class Proxy:
    """Passes connections on from its addresses to what is behind each, while all is well.

    Attributes:
        slow: Which connections are slow.
        delay: Seconds every piece waits there.
        deaf: How likely it is that a publication is dropped.
    """

    def __init__(self, rng: random.Random) -> None:
        self.slow = ALL
        self.delay = 0.0
        self.deaf = 0.0
        self._rng = rng
        self._servers: list[asyncio.Server] = []
        self._closed = False
        self._pipes: set[_Pipe] = set()
        self._silences: list[tuple[Which, str]] = []
        self._changed = asyncio.Event()

    async def to_path(self, near: Path, far: Callable[[], Address]) -> None:
        """Pass on what comes to a socket to where `far` says it goes now."""
        accept = partial(self._accept, far)
        self._servers.append(await asyncio.start_unix_server(accept, near))

    async def to_port(self, far: Callable[[], Address]) -> int:
        """Pass on what comes to a port of its own; return that."""
        server = await asyncio.start_server(partial(self._accept, far), "127.0.0.1", 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Cut everything, and listen no more."""
        self._closed = True
        for server in self._servers:
            server.close()
        pipes = list(self._pipes)
        for pipe in pipes:
            pipe.cut()
        await asyncio.gather(*[pipe.task for pipe in pipes], return_exceptions=True)

    # --- troubles ---------------------------------------------------------------------

    def cut(self, which: Which = ALL) -> None:
        """Reset the connections there are."""
        for pipe in list(self._pipes):
            if which.matches(pipe.hears):
                pipe.cut()

    @contextlib.contextmanager
    def silence(self, which: Which, ways: tuple[str, ...]) -> Iterator[None]:
        """Let nothing pass on these ways while the block runs."""
        silences = [(which, way) for way in ways]
        self._silences += silences
        try:
            yield
        finally:
            for silence in silences:
                self._silences.remove(silence)
            self._changed.set()
            self._changed = asyncio.Event()

    # --- passing on -------------------------------------------------------------------

    async def passable(self, way: str, hears: Callable[[], bool]) -> None:
        """Wait until nothing is silent on this way."""
        while any(w == way and which.matches(hears()) for which, w in self._silences):
            await self._changed.wait()
        if self.delay and self.slow.matches(hears()):
            await asyncio.sleep(self.delay)

    def loses(self) -> bool:
        """Tell whether the next publication is dropped."""
        return self.deaf > 0 and self._rng.random() < self.deaf

    def _accept(
        self,
        far: Callable[[], Address],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if self._closed:  # it was accepted at the last moment
            writer.transport.abort()
            return
        pipe = _Pipe(self, far, reader, writer)
        self._pipes.add(pipe)
        pipe.task.add_done_callback(lambda _: self._pipes.discard(pipe))


class _Pipe:
    """One connection, both ways."""

    def __init__(
        self,
        proxy: Proxy,
        far: Callable[[], Address],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.hears = False
        self._proxy, self._far = proxy, far
        self._near = (reader, writer)
        self._writers = [writer]
        self._replies = Replies()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Pass on until either side is gone."""
        try:
            await self._proxy.passable(STORE, lambda: self.hears)
            far = await _connect(self._far())
            self._writers.append(far[1])
            there = asyncio.create_task(self._pump(self._near[0], far[1], STORE))
            back = asyncio.create_task(self._pump(far[0], self._near[1], NODE))
            tasks = (there, back)
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        except OSError:
            pass  # nobody is there
        finally:
            for writer in self._writers:
                writer.transport.abort()

    def cut(self) -> None:
        """Reset both of its ends, even if it had no time to begin."""
        for writer in self._writers:
            writer.transport.abort()
        self.task.cancel()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if way == STORE and _SUBSCRIBE in data:
                    self.hears = True
                await self._proxy.passable(way, lambda: self.hears)
                if self.hears and way == NODE:
                    data = self._without_lost(data)
                sink.write(data)
                await sink.drain()

    def _without_lost(self, data: bytes) -> bytes:
        """Leave out publications that are lost; ticks never are, they prove the way."""
        kept = []
        for value in self._replies.feed(data):
            publication = value.startswith(b">") and b"smessage" in value[:24]
            if not (publication and _TICK not in value[:80] and self._proxy.loses()):
                kept.append(value)
        return b"".join(kept)


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, Path):
        return await asyncio.open_unix_connection(os.fspath(address))
    return await asyncio.open_connection(*address)


class Replies:
    """Parts the stream of a store's replies into values, byte for byte."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived, and return every value that is whole."""
        data = self._rest + data
        values, start = [], 0
        while (end := _end(data, start)) is not None:
            values.append(data[start:end])
            start = end
        self._rest = data[start:]
        return values


def _end(data: bytes, start: int) -> int | None:
    """Find where the RESP3 value that begins at `start` ends, if all of it is there."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return None
    kind, end = data[start : start + 1], line + 2
    if kind in b"$=!":
        length = int(data[start + 1 : line])
        end += length + 2 if length >= 0 else 0
        return end if end <= len(data) else None
    if kind in b"*~>%|":
        count = int(data[start + 1 : line]) * (2 if kind in b"%|" else 1)
        for _ in range(count):
            following = _end(data, end)
            if following is None:
                return None
            end = following
    return end
