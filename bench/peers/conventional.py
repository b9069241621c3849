"""The conventional stack: Starlette, redis-py and uvicorn, as one would first write it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.peers.base import ROOT, Peer, Running, names
from bench.processes import cores, free_port, listens_on, started, store, wait_until
from bench.wire import MESSAGE, Wire, post, upgrade

APP = "bench.peers.conventional_app:app"


class Conventional(Peer):
    """A route that publishes, a websocket that subscribes: one channel for each user."""

    name = "Starlette + redis-py"
    lacks = "store, acks, redelivery, tokens, deduplication, quotas"
    wire = Wire(upgrade=upgrade("/stream"), live=b"subscribed")

    @contextmanager
    def running(self, directory: Path) -> Iterator[Running]:
        """Run the app in uvicorn, and a store that only passes on."""
        port = free_port()
        first, last = cores()
        log = directory / "server.log"
        command: list[str | Path] = [
            *(sys.executable, "-m", "uvicorn", APP, "--app-dir", ROOT),
            *("--port", str(port), "--log-level", "warning"),
            *("--timeout-graceful-shutdown", "1"),
        ]
        environ = os.environ | {"STORE": str(directory / "store.sock")}
        with (
            store(directory, "memory", core=last) as kept,
            started(command, core=first, log=log, environ=environ) as server,
        ):
            wait_until(partial(listens_on, port), server, log)
            yield Running(server, kept, port, port)

    def hellos(self) -> list[bytes]:
        """Each recipient says its name, and is believed."""
        return [name.encode() for name in names(self.count)]

    def posts(self, count: int) -> list[bytes]:
        """Each message is the body of a request to its recipient's URL."""
        return [
            post(f"/messages/{name}", MESSAGE.encode(), kind="text/plain")
            for name in names(count)
        ]
