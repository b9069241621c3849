"""A server with settings of one's own, on a store, seen with all the workers below it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

from bench.processes import (
    SERVE,
    Durability,
    Measured,
    cores,
    free_port,
    started,
    store,
    wait_until,
)
from bench.records import AUDIENCE


class Family(Measured):
    """A process and all below it, seen from outside as one."""

    def __init__(self, parent: Measured) -> None:
        super().__init__(parent._process)

    def cpu_ns(self) -> int:
        """Return the nanoseconds their threads have run."""
        paths = (path for one in self._members() for path in one.glob("task/*/schedstat"))
        return sum(int(path.read_text().split()[0]) for path in paths)

    def rss(self) -> int:
        """Return the bytes of each that are in RAM; what they share counts for each."""
        rollups = (one / "smaps_rollup" for one in self._members())
        lines = (line for rollup in rollups for line in rollup.read_text().splitlines())
        return sum(int(line.split()[1]) for line in lines if line.startswith("Rss:")) * 1024

    def peak_rss(self) -> int:
        """Return the most bytes of each that ever were in RAM, see proc_pid_status(5)."""
        files = (one / "status" for one in self._members())
        lines = (line for file in files for line in file.read_text().splitlines())
        kib = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        return sum(kib) * 1024

    def files(self) -> int:
        """Return how many files and connections they have open."""
        return sum(len(list((one / "fd").iterdir())) for one in self._members())

    def signal(self, number: int) -> None:
        """Send a signal to the first of them."""
        self._process.send_signal(number)

    def run_on(self, cores: set[int]) -> None:
        """Let them run on these cores."""
        for one in self._members():
            for thread in (one / "task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)

    def _members(self) -> list[Path]:
        members = [self._proc]
        for one in members:  # which grows meanwhile
            below = " ".join(path.read_text() for path in one.glob("task/*/children"))
            members += [Path("/proc", pid) for pid in below.split()]
        return members


class Serving(NamedTuple):
    """A server and its store.

    Attributes:
        server: With all its workers.
        store: The store.
        port: Where the server listens.
        url: Where the store listens.
    """

    server: Family
    store: Measured
    port: int
    url: str


@contextmanager
def serving(
    directory: Path,
    settings: Mapping[str, object] | None = None,
    *,
    durability: Durability = "memory",
    command: Sequence[str | Path] = SERVE,
    beside: Serving | None = None,
) -> Iterator[Serving]:
    """Run a new server on a new store.

    Args:
        directory: For the files of both; it is made.
        settings: More settings of the server, by name; None: none.
        durability: What the store is asked to do.
        beside: Another server, to share its store; None: a store of its own.
        command: Runs the server.

    Raises:
        Unavailable: If one of them does not start.
    """
    directory.mkdir()
    first, last = cores()
    port, log = free_port(), directory / "server.log"
    url = beside.url if beside is not None else f"unix://{directory / 'store.sock'}"
    chosen = {
        "port": port,
        "public_url": AUDIENCE,
        "redis_url": url,
        "durability": durability,
        "drain_seconds": 0,
        **(settings or {}),
    }
    with (
        _store_of(beside, directory, durability, core=last) as kept,
        started(command, core=first, log=log, environ=_environ(chosen)) as process,
    ):
        wait_until(lambda: _ready(port), process, log)
        yield Serving(Family(process), kept, port, url)


def _store_of(
    beside: Serving | None, directory: Path, durability: Durability, *, core: int
) -> AbstractContextManager[Measured]:
    if beside is not None:
        return nullcontext(beside.store)
    return store(directory, durability, core=core)


def _environ(settings: Mapping[str, object]) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PUSHD_")}
    return kept | {f"PUSHD_{name.upper()}": str(v) for name, v in settings.items()}


def _ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1):
            return True
    except (URLError, OSError):
        return False
