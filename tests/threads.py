"""uvicorn in a thread with a loop of its own, so a test may block, or run a loop itself."""

import socket
import threading

import uvicorn

STARTS_WITHIN = 20.0
"""Seconds after which a server that did not start has failed."""


class ThreadedServer(uvicorn.Server):
    """A server in a thread.

    Args:
        config: What is served, and how.
        listener: Where; closed with the server.
    """

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="server")

    def start(self) -> None:
        """Start to serve; return when requests are answered."""
        self._thread.start()
        if not self._ready.wait(STARTS_WITHIN) or not self.started:
            self.stop()
            raise RuntimeError("The server did not start; its log says why.")

    def stop(self) -> None:
        """Drain and end."""
        self.should_exit = True
        self._thread.join()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell the test."""
        await super().startup(sockets)
        self._ready.set()

    def _run(self) -> None:
        try:
            self.run(sockets=[self._listener])
        finally:
            self._listener.close()
            self._ready.set()
