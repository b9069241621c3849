"""Several workers on one port: start them, replace the fallen, stop them all.

The parent serves nobody; it holds no listener once its workers have theirs, so while they
drain nobody is accepted and then left waiting. Each worker is a process group of its own:
Ctrl-C reaches only the parent, which asks the workers to stop as SIGTERM would. If the
parent dies, however it dies, the kernel kills its workers.

A worker's first line on its standard output says how its start went: `ready`, or the
sentence of a ConfigurationError, with exit status 2.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from asyncio import StreamReader
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping
from typing import cast

from pushd import ports
from pushd.errors import ConfigurationError

log = logging.getLogger(__name__)

GRACE = 10
"""Seconds a worker may take to stop beyond the time it has to drain."""
HURRY = 2
"""Seconds a worker may take to stop when asked for the second time."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a worker that fell is replaced: doubled each time it falls early."""
STEADY = 60
"""Seconds after which a worker's fall no longer counts as early."""
MISCONFIGURED = 2
READY = "ready\n"


class Workers:
    """The worker processes of one server.

    Args:
        count: How many.
        environ: The settings of each, as its environment.
        drain: Seconds each has to drain when it is stopped.
        started: Called once, when the first worker serves.
        ended: Called with the process id of each worker that ended.
    """

    def __init__(
        self,
        count: int,
        environ: Mapping[str, str],
        *,
        drain: float,
        started: Callable[[], None],
        ended: Callable[[int], None],
    ):
        self._count = count
        self._environ = environ
        self._drain = drain
        self._started: Callable[[], None] | None = started
        self._ended = ended
        self._refusal: str | None = None
        self._stopping = asyncio.Event()
        self._processes: set[Process] = set()

    async def run(self, listener: socket.socket) -> None:
        """Run the workers until SIGTERM or SIGINT; a second signal hurries them.

        Args:
            listener: The claimed address; the first worker's own from now on.

        Raises:
            ConfigurationError: If a worker refused to start, before any other did.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        family, address = listener.family, listener.getsockname()
        others = [ports.share(family, address) for _ in range(self._count - 1)]
        await asyncio.gather(*map(self._keep, range(self._count), [listener, *others]))
        if self._refusal is not None:
            raise ConfigurationError(self._refusal)

    def stop(self) -> None:
        """Ask every worker to drain and stop; the second time, to be quick about it."""
        patience = HURRY if self._stopping.is_set() else self._drain + GRACE
        self._stopping.set()
        for process in self._processes:
            _signal(process, signal.SIGTERM)
        asyncio.get_running_loop().call_later(patience, self._kill)

    def _kill(self) -> None:
        for process in self._processes:
            log.error("worker killed", extra={"worker": process.pid})
            _signal(process, signal.SIGKILL)

    async def _keep(self, place: int, listener: socket.socket) -> None:
        """Keep one worker running until all stop."""
        loop = asyncio.get_running_loop()
        family, address = listener.family, listener.getsockname()
        pause = FIRST_PAUSE
        while True:
            began = loop.time()
            await self._run(listener)
            pause = FIRST_PAUSE if loop.time() - began > STEADY else pause
            if await self._stops_within(pause):
                return
            log.info("worker restarts", extra={"place": place, "after": pause})
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                listener = ports.share(family, address)
            except ConfigurationError as error:
                self._give_up(str(error))
                return

    async def _run(self, listener: socket.socket) -> None:
        """Run one worker from start to end; the listener becomes its own."""
        with listener:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "pushd.worker"),
                *(str(listener.fileno()), str(os.getpid())),
                env=self._environ,
                stdin=DEVNULL,
                stdout=PIPE,
                pass_fds=[listener.fileno()],
                process_group=0,
            )
        self._processes.add(process)
        if self._stopping.is_set():
            _signal(process, signal.SIGTERM)
        output = cast(StreamReader, process.stdout)  # it was asked for above
        first = (await output.readline()).decode()
        if first == READY:
            self._ready()
        status = await process.wait()
        self._processes.discard(process)
        self._ended(process.pid)
        self._look_at(process.pid, status, first)

    def _ready(self) -> None:
        if self._started is not None:
            self._started()
            self._started = None

    def _look_at(self, worker: int, status: int, first: str) -> None:
        refused = status == MISCONFIGURED and first != READY
        reason = first.strip() if refused else None
        if reason is not None and self._started is not None:
            self._give_up(reason)
        elif reason is not None:
            log.error("worker misconfigured", extra={"reason": reason})
        elif not self._stopping.is_set():
            log.error("worker died", extra={"worker": worker, "status": status})

    def _give_up(self, sentence: str) -> None:
        if self._refusal is None and not self._stopping.is_set():
            self._refusal = sentence
            self.stop()

    async def _stops_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _signal(process: Process, number: int) -> None:
    if process.returncode is None:
        process.send_signal(number)
