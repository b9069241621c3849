"""A server of pushd to be killed: what `pushdctl serve` runs, in a process of its own.

Each is forked from one process that has imported everything, for a thousand runs start
thousands of them. Four things differ from a server in production, and are set in the new
process only: its waits are shorter by the *pace*, so that a run takes seconds; its clock
can be set wrong from outside; stores that name each other are reached through proxies all
the same; and a part of it may be switched off (`mutants.py`).
"""

import asyncio
import ctypes
import importlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pushd import serve
from pushd.mailbox.address import Address
from pushd.mailbox.connection import Connection
from pushd.web import websocket
from tests.chaos import mutants
from tests.processes import PATIENCE

_context = get_context("forkserver")
_context.set_forkserver_preload([__name__, "uvloop", "pytest"])

PR_SET_PDEATHSIG = 1

Pushed = Callable[[list[list[bytes]]], None]

WAITS = {
    "pushd.mailbox.coalesce": ("STUCK_SECONDS", "PATIENCE"),
    "pushd.mailbox.subscriptions": ("TICK_SECONDS", "PATIENCE"),
    "pushd.mailbox.link": ("MISCONFIGURED_SECONDS",),
    "pushd.mailbox.cluster": ("LOOK_SECONDS", "STUCK_SECONDS"),
    "pushd.hub": ("TAIL_CHECK",),
    "pushd.protocol.session": ("RETRY",),
}
"""What a server waits for, by module; all are divided by the pace.

Not how long a connection may take: on a busy machine none would be made in a fifth of it.
"""


class Node:
    """One server.

    Args:
        name: Names its log.
        directory: Where that is.
        environ: Its settings.
        ways: By the ports of stores, those of the proxies through which it reaches them.
        pace: By how much its waits are shorter.
        mutant: What is switched off in it, or empty.

    Attributes:
        port: Where it serves; another after each start.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        environ: Mapping[str, str],
        *,
        ways: Mapping[int, int] = MappingProxyType({}),
        pace: float = 1.0,
        mutant: str = "",
    ) -> None:
        self.name = name
        self.port = 0
        self._directory = directory
        self._environ = environ
        self._ways = dict(ways)
        self._pace, self._mutant = pace, mutant
        self._clock: Any = _context.Value(ctypes.c_double, 0.0, lock=False)
        self._process: Any = None
        self._starts = 0

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        self._starts += 1
        log = self._log()
        self._process = _context.Process(
            target=_run,
            args=(
                *(dict(self._environ), log, self._ways),
                *(self._pace, self._mutant, self._clock),
            ),
            daemon=True,
        )
        await asyncio.to_thread(self._process.start)
        async with asyncio.timeout(2 * PATIENCE):  # the first imports everything
            while not (serving := self.lines("serving")):
                assert self._process.is_alive(), log.read_text()
                await asyncio.sleep(0.02)
        self.port = int(serving[-1]["address"].rpartition(":")[2])

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.is_alive():
            os.kill(self._process.pid, number)

    async def stop(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal that ends it, and wait for the end."""
        self.send_signal(number)
        if self._process is not None:
            await asyncio.to_thread(self._process.join, PATIENCE)
            assert not self._process.is_alive(), f"{self.name} does not end"

    def set_clock(self, offset: float) -> None:
        """Make its clock wrong by so many seconds."""
        self._clock.value = offset

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """Return the log since the last start: every line, or those of one event."""
        log = self._log()
        text = log.read_text() if log.exists() else ""
        lines = [json.loads(line) for line in text.split("\n")[:-1] if line[:1] == "{"]
        return [line for line in lines if not event or line["event"] == event]

    def complaints(self) -> list[str]:
        """Return what its logs, of all starts, say that should never happen."""
        return [
            f"{log.name}: {line}"
            for log in sorted(self._directory.glob(f"{self.name}.*.log"))
            for line in log.read_text().splitlines()
            if "Traceback" in line or '"level": "error"' in line
        ]

    def _log(self) -> Path:
        return self._directory / f"{self.name}.{self._starts}.log"


def _run(
    environ: dict[str, str],
    log: Path,
    ways: dict[int, int],
    pace: float,
    mutant: str,
    clock: Any,
) -> None:
    """Be a server, in the process that was forked for it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    right = time.time
    time.time = websocket.time = lambda: right() + clock.value  # type: ignore[attr-defined] # it has the function by name
    for name, waits in WAITS.items():
        module = importlib.import_module(name)
        for wait in waits:
            before = getattr(module, wait)
            setattr(module, wait, type(before)(max(before / pace, type(before)(1) / 5)))
    _lead_through(ways)
    mutants.switch_off(mutant)
    serve.serve(environ)


def _lead_through(ways: Mapping[int, int]) -> None:
    """Lead connections through proxies, for sentinels and Clusters name other ports."""
    direct = Connection.open

    async def through(address: Address, pushed: Pushed) -> Connection:
        port = ways.get(address.port, address.port)
        return await direct(replace(address, port=port), pushed)

    Connection.open = through  # type: ignore[method-assign] # that is the point
