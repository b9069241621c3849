"""A real uvicorn whose websocket says back what it hears, for tests of the websocket."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from uvicorn.config import Config
from uvicorn.server import Server

from pushd.web import framing
from pushd.web.websocket import WebSocket


class Echo(WebSocket):
    """Says text and binary messages back."""

    __slots__ = ()

    close_timeout = 1.0

    def text(self, data: bytes) -> None:
        """Say it back."""
        self.send_text(data)

    def binary(self, data: bytes) -> None:
        """Say it back."""
        self._send(framing.BINARY, data)


class EchoServer(Server):
    """A server on a free port of this machine, in a thread of its own."""

    def __init__(self, connection: type[WebSocket] = Echo) -> None:
        app = Starlette(lifespan=self._lifespan)
        super().__init__(
            Config(
                app,
                http="httptools",
                loop="uvloop",
                ws=connection,
                log_config=None,
                timeout_graceful_shutdown=10,
            )
        )
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port: int = self._listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, args=([self._listener],))

    @property
    def sockets(self) -> set[Any]:
        """The open connections, websockets and others."""
        return self.server_state.connections

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Be the owner of the connections, for whom time passes."""
        task = asyncio.create_task(self._tick())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _tick(self) -> None:
        while True:
            for connection in list(self.sockets):
                if isinstance(connection, WebSocket):
                    connection.overdue(time.time())
            await asyncio.sleep(0.1)

    def stop(self) -> None:
        """Stop as on SIGTERM, and wait for it."""
        self.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive(), "the server did not stop"


@contextmanager
def echo_server(connection: type[WebSocket] = Echo) -> Iterator[EchoServer]:
    """Run a server; the listener takes connections before the first one is served."""
    server = EchoServer(connection)
    server.thread.start()
    try:
        yield server
    finally:
        server.stop()
