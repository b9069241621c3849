"""Socket.IO on Node.js, alone and with its adapter that knows other nodes by a stream."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.peers.base import TOOLS, Peer, Running, install, names
from bench.processes import cores, free_port, listens_on, started, store, wait_until
from bench.wire import MESSAGE, Wire, post, upgrade

HERE = Path(__file__).parent
HOME = TOOLS / "socketio"
FILES = ("package.json", "package-lock.json", "server.cjs")


class SocketIO(Peer):
    """A room for each user in one process, which is all there is."""

    name = "Socket.IO"
    version = "4.8.4"
    lacks = "store, acks, redelivery, tokens, deduplication, quotas, second node"
    wire = Wire(
        upgrade=upgrade("/socket.io/?EIO=4&transport=websocket"),
        live=b'42["joined"',
        heartbeat=b"2",
        alive=b"3",
    )
    stored = False

    def install(self) -> None:
        """Install the locked packages, none of whose scripts is run."""
        HOME.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(HERE / name, HOME)
        locked, installed = (HERE / "package-lock.json").read_bytes(), HOME / "installed"
        if not installed.exists() or installed.read_bytes() != locked:
            options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
            install("Socket.IO", ["npm", "ci", *options], cwd=HOME)
            installed.write_bytes(locked)

    @contextmanager
    def running(self, directory: Path) -> Iterator[Running]:
        """Run the server, and a store if there is an adapter."""
        port = free_port()
        first, last = cores()
        log = directory / "server.log"
        environ = os.environ | {"PORT": str(port), "NODE_ENV": "production"}
        with ExitStack() as stack:
            kept = None
            if self.stored:
                kept = stack.enter_context(store(directory, "memory", core=last))
                environ["STORE"] = str(directory / "store.sock")
            command = ["node", str(HOME / "server.cjs")]
            server = stack.enter_context(
                started(command, core=first, log=log, environ=environ)
            )
            wait_until(partial(listens_on, port), server, log)
            yield Running(server, kept, port, port)

    def hellos(self) -> list[bytes]:
        """Each recipient says its name when it joins the namespace, and is believed."""
        return [f'40{{"user":"{name}"}}'.encode() for name in names(self.count)]

    def posts(self, count: int) -> list[bytes]:
        """Each message is the body of a request to its recipient's URL."""
        return [
            post(f"/messages/{name}", MESSAGE.encode(), kind="text/plain")
            for name in names(count)
        ]


class SocketIOStreams(SocketIO):
    """The same with a store, through which other nodes would hear of each message."""

    name = "Socket.IO, Redis Streams adapter"
    lacks = "acks, redelivery, tokens, deduplication, quotas"
    stored = True
