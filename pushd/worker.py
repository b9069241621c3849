"""A worker: one process that serves until a signal, whether it is the only one or not.

One of several (`workers.py`) is a program of its own; what it prints first tells how its
start went. The store is there before a worker, and after it.
"""

import asyncio
import ctypes
import gc
import logging
import math
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, cast

import uvicorn
from starlette.applications import Starlette
from uvicorn.lifespan.off import LifespanOff

from pushd import logs, ports
from pushd.app import create_app
from pushd.errors import ConfigurationError
from pushd.settings import Settings
from pushd.web.http import Http
from pushd.web.stream import Stream
from pushd.workers import MISCONFIGURED, READY

log = logging.getLogger("pushd.worker")

KEEP_ALIVE = 75
"""Seconds an idle HTTP connection is kept; longer than load balancers keep theirs."""
GRACE = 5
"""Seconds a request may take to end, beyond the time sessions have to drain."""
COLLECT_AFTER = 10_000
"""Objects made before the garbage collector looks at the youngest."""

STOPPING = (signal.SIGTERM, signal.SIGINT)
"""Signals that stop a server."""

PR_SET_PDEATHSIG = 1

Started = Callable[[], None]


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM end this process with status 0 and in order, whatever it is doing."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(
    settings: Settings,
    store_url: str,
    listener: socket.socket,
    *,
    started: Started,
    app: Starlette | None = None,
) -> None:
    """Serve in this process until a signal.

    Args:
        settings: Of the app.
        store_url: Where the mailboxes are.
        listener: Accepts the connections; closed when the server drains.
        started: Called once connections are served.
        app: What to serve; None is the app of these settings.

    Raises:
        ConfigurationError: If the store is not what the settings ask for.
    """
    config = uvicorn.Config(
        app or create_app(settings, store_url=store_url),
        loop="uvloop",
        http=Http,
        ws=Stream,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        workers=1,
        backlog=ports.BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds) + GRACE,
    )
    config.load()
    config.lifespan_class = Lifespan
    _open_many_files()
    # From here on a signal waits until the server takes it: between two handlers it would
    # end this process with a server half made.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        Server(config, started, notice=settings.notice_seconds).run(sockets=[listener])
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


class Server(uvicorn.Server):
    """uvicorn's server, which tells when it serves and leaves signals to nobody else.

    Args:
        config: What is served, and how.
        started: Called once connections are served.
        notice: Seconds it goes on, but not ready, when it is to stop.
    """

    def __init__(self, config: uvicorn.Config, started: Started, *, notice: float):
        super().__init__(config)
        self._tell = started
        self._notice = notice
        self._leaves_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve; then let the garbage collector forget what stays for good.

        Its cost grows with the objects alive, so with connections: it looks at young
        ones less often, and never at what was made until now.
        """
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 20, 50)
        self._tell()

    async def on_tick(self, counter: int) -> bool:
        """Tell uvicorn whether to stop now: once the notice is over, or in a hurry."""
        if not await super().on_tick(counter):
            return False
        now = asyncio.get_running_loop().time()
        if self._leaves_at is None:
            self._leaves_at = now + self._notice
            if self._notice:
                self.lifespan.state["hub"].leaving = True
                log.info("leaving", extra={"seconds": self._notice})
        return self.force_exit or now >= self._leaves_at

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nobody any more, and let those go who are here."""
        connections = len(self.server_state.connections)
        log.info("draining", extra={"connections": connections})
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first signal, hurry at the second, and end with status 0.

        uvicorn would raise the signal again when it has stopped, and so end this process
        before the store.
        """
        before = {number: signal.signal(number, self.handle_exit) for number in STOPPING}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ask the server to stop; the second time, not to wait for anybody."""
        self.force_exit = self.should_exit
        self.should_exit = True


class Lifespan(LifespanOff):
    """The app's lifespan, run directly, so that its errors come out as they are."""

    def __init__(self, config: uvicorn.Config):
        super().__init__(config)
        self._app: Starlette = config.app  # type: ignore[assignment] # `run` passed one

    async def startup(self) -> None:
        """Start the app's parts."""
        self._context = self._app.router.lifespan_context(self._app)
        self.state = dict(await self._context.__aenter__() or {})

    async def shutdown(self) -> None:
        """Stop the app's parts."""
        await self._context.__aexit__(None, None, None)


# --- one of several ------------------------------------------------------------------


def work(descriptor: int, parent: int) -> None:
    """Serve as one of several workers; the first line printed tells how the start went.

    Args:
        descriptor: Of the socket that listens, inherited.
        parent: The process to die with.
    """
    _die_with(parent)
    try:
        with stoppable(), socket.socket(fileno=descriptor) as listener:
            settings = Settings.read(os.environ)
            logs.configure(settings.log_format, level=settings.log_level)
            store_url = cast(str, settings.redis_url)  # the parent tells, whatever it is
            run(settings, store_url, listener, started=_ready)
    except ConfigurationError as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(MISCONFIGURED)


def _ready() -> None:
    sys.stdout.write(READY)
    sys.stdout.flush()
    # Nobody reads on: what else is ever printed goes where the log goes.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, see prctl(2)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("The parent is gone.")


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _open_many_files() -> None:
    """Allow this process as many sockets as it may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]))
