"""pushd itself, as everything else is measured: nothing synced to disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.base import Peer, Running
from bench.processes import server_and_store
from bench.records import WIRE, Recipients


class Pushd(Peer):
    """One process of `pushdctl serve` on one store."""

    name = "pushd"
    lacks = ""
    wire = WIRE

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._people = Recipients(count)

    @contextmanager
    def running(self, directory: Path) -> Iterator[Running]:
        """Run a server and its store."""
        with server_and_store(directory / "pushd", "memory") as (server, store, port):
            yield Running(server, store, port, port)

    def hellos(self) -> list[bytes]:
        """Each recipient shows a token of its own."""
        return self._people.hellos(self.count)

    def posts(self, count: int) -> list[bytes]:
        """Each message comes with a token for its one recipient."""
        return self._people.posts(count, batch=1)
