"""A proxy before a server that can be restarted, and lets only some things pass."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

MAX_HEAD = 64 * 1024
TURNS = 10
"""Turns of the event loop in which what was accepted at the last moment has begun, is cut
and is closed; asyncio takes one for each of some five steps."""

Passes = Callable[[bytes], bool]
"""Tells of the head of a request, in lower case, whether it may pass."""


def no_websocket(head: bytes) -> bool:
    """Let no upgrade pass."""
    return b"\r\nupgrade:" not in head


def no_stream(head: bytes) -> bool:
    """Let neither upgrades nor event streams pass."""
    return no_websocket(head) and b"text/event-stream" not in head


class Proxy:
    """Passes connections on to a server; what may not pass is cut off.

    Attributes:
        port: Where it listens.
        behind: Port of the server; None: there is none, and connections are cut off.
        passes: What may pass.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.behind: int | None = None
        self.passes: Passes = lambda _: True
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def cut(self) -> None:
        """Cut off every connection."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass a connection on until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if self.behind is not None and self.passes(head.lower()):
                await self._pass(head, reader, writer, self.behind)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pass(
        self,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        port: int,
    ) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port, limit=MAX_HEAD)
        if no_websocket(head.lower()):
            # One request a connection, or the next one would pass without being looked at.
            head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
            head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        back.write(head)
        ways = [
            asyncio.create_task(_copy(reader, back)),
            asyncio.create_task(_copy(there, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            back.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def running_proxy() -> AsyncIterator[Proxy]:
    """Run a proxy on a free port while the block runs."""
    proxy = Proxy(0)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0, limit=MAX_HEAD)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        # A connection that asyncio was just accepting when its server is closed stays open.
        asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
        for _ in range(TURNS):
            await asyncio.sleep(0)
            await proxy.cut()
        server.close()
