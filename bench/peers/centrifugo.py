"""Centrifugo with its Redis engine: each channel has a history to catch up from."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.peers.base import TOOLS, Peer, Running, install, names
from bench.processes import cores, free_port, listens_on, started, store, wait_until
from bench.wire import MESSAGE, Wire, post, upgrade

MODULE = "github.com/centrifugal/centrifugo/v6"
KEY = "bench"


def config(port: int, socket: Path) -> dict[str, object]:
    """Return the configuration: as it is by default, with channels that can catch up."""
    return {
        "http_server": {"address": "127.0.0.1", "port": port},
        "http_api": {"key": KEY},
        "engine": {"type": "redis", "redis": {"address": f"unix://{socket}"}},
        "client": {"allow_anonymous_connect_without_token": True},
        "channel": {
            "without_namespace": {
                "history_size": 100,
                "history_ttl": "600s",
                "force_recovery": True,
                "allow_subscribe_for_client": True,
                "allow_subscribe_for_anonymous": True,
            }
        },
        "usage_stats": {"disabled": True},
        "log": {"level": "error"},
    }


class Centrifugo(Peer):
    """Each recipient subscribes to a channel; messages come by the HTTP API."""

    name = "Centrifugo, Redis"
    version = "6.9.1"
    lacks = "acks, tokens, deduplication, quotas"
    wire = Wire(
        upgrade=upgrade("/connection/websocket"),
        live=b'"id":2,"subscribe":',
        heartbeat=b"{}",
        alive=b"{}",
        accepted=b'"result":',
    )

    @property
    def _program(self) -> Path:
        return TOOLS / f"centrifugo-{self.version}"

    def install(self) -> None:
        """Build it from its module, with the dependencies that it locks itself."""
        if not self._program.exists():
            module = f"{MODULE}@v{self.version}"
            found = json.loads(install(module, ["go", "mod", "download", "-json", module]))
            build = ("go", "build", "-trimpath", "-ldflags=-s -w", "-o", self._program)
            install(module, build, cwd=Path(found["Dir"]))

    @contextmanager
    def running(self, directory: Path) -> Iterator[Running]:
        """Run it and its store."""
        port = free_port()
        first, last = cores()
        settings, log = directory / "centrifugo.json", directory / "server.log"
        settings.write_text(json.dumps(config(port, directory / "store.sock")))
        command = (self._program, "--config", settings)
        with (
            store(directory, "memory", core=last) as kept,
            started(command, core=first, log=log) as server,
        ):
            wait_until(partial(listens_on, port), server, log)
            yield Running(server, kept, port, port)

    def hellos(self) -> list[bytes]:
        """Each recipient connects without a token, and subscribes."""
        return [
            f'{{"id":1,"connect":{{}}}}\n{{"id":2,"subscribe":{{"channel":"{name}"}}}}'.encode()
            for name in names(self.count)
        ]

    def posts(self, count: int) -> list[bytes]:
        """Each message is a call of the API."""
        return [self._post(name) for name in names(count)]

    def _post(self, name: str) -> bytes:
        body = json.dumps({"channel": name, "data": MESSAGE})
        return post(
            "/api/publish",
            body.encode(),
            kind="application/json",
            authorization=f"apikey {KEY}",
        )
