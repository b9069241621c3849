"""A development hub on a real port for tests.

    with running_devhub() as hub:
        hub.hub.register("alice.id.blockstack", alice, {"https://app.example": key})
        Fetcher(dev_hosts=[hub.host_port]) ...

It runs in a thread with a loop of its own, so a test may block, or run a loop itself.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from pushd.devhub import DevHub, Limits

STARTS_WITHIN = 20.0
"""Seconds after which a hub that did not start has failed."""


class RunningHub:
    """A hub in a thread.

    Args:
        directory: Where it keeps everything; None keeps it in memory.
        limits: What it allows.
        clock: Tells it seconds since the epoch.

    Attributes:
        url: Where it is, without a slash at the end; also the names API.
        host_port: The same without `http://`, to be named as a dev host.
        hub: The hub itself, to register names in.
    """

    def __init__(
        self, directory: Path | None, limits: Limits, clock: Callable[[], float]
    ) -> None:
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()[:2]
        self.host_port = f"127.0.0.1:{self._address[1]}"
        self.url = f"http://{self.host_port}"
        self.hub = DevHub(directory, url=self.url, limits=limits, clock=clock)
        self._server: _Server | None = None

    @property
    def bns_url(self) -> str:
        """Where the API of BNS V2 is."""
        return f"{self.url}/bns"

    def start(self) -> None:
        """Serve, after an outage on the same port as before."""
        if self._listener is None:
            self._listener = socket.create_server(self._address)
        self._server = _Server(self.hub, self._listener)
        self._listener = None
        self._server.start()

    def stop(self) -> None:
        """Refuse connections until the next start; buckets and names stay."""
        if self._server is not None:
            self._server.stop()
            self._server = None


class _Server(uvicorn.Server):
    """One run of a hub's app, in a thread."""

    def __init__(self, hub: DevHub, listener: socket.socket) -> None:
        config = uvicorn.Config(
            hub.app,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self._listener = listener
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="devhub")

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(STARTS_WITHIN) or not self.started:
            self.stop()
            raise RuntimeError("The hub did not start; its log says why.")

    def stop(self) -> None:
        self.should_exit = True
        self._thread.join()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()

    def _run(self) -> None:
        try:
            self.run(sockets=[self._listener])
        finally:
            self._listener.close()
            self._ready.set()


@contextmanager
def running_devhub(
    directory: Path | None = None,
    *,
    clock: Callable[[], float] = time.time,
    **limits: Any,
) -> Iterator[RunningHub]:
    """Run a hub on a free port while the block runs.

    Args:
        directory: Where it keeps everything; None keeps it in memory.
        clock: Tells it seconds since the epoch.
        limits: Members of `pushd.devhub.Limits`, by name.
    """
    hub = RunningHub(directory, Limits(**limits), clock)
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()
