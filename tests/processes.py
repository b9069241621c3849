"""Real processes for tests: start `pushdctl`, read what it says, end it, see it gone."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx2

PUSHDCTL = str(Path(sys.executable).with_name("pushdctl"))
PATIENCE = 30
"""Seconds after which what a test waits for will not come any more."""
CHANCE = random.SystemRandom()  # not the one that Hypothesis begins anew
_given: set[int] = set()  # ports, which may be listened on only in a while


class Pid(NamedTuple):
    """A process, told from a later one with the same number."""

    number: int
    started: str


class Program:
    """A running `pushdctl`, the leader of its own session and process group.

    Args:
        arguments: Of `pushdctl`.
        directory: Where it runs, and where its output is kept.
        environ: More variables; those of the tests' own environment that would be
            settings of a server are left out.
        name: Tells the output of several programs in one directory apart.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        directory: Path,
        environ: Mapping[str, str] | None = None,
        *,
        name: str = "program",
    ):
        self.out, self.err = directory / f"{name}.out", directory / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [PUSHDCTL, *arguments],
                cwd=directory,
                env={**clean_environ(), **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        family = self.family()
        if self.process.poll() is None:
            self.signal_group(signal.SIGKILL)
            self.process.wait()
        wait_until(lambda: not any(map(is_alive, family)), "the end of every process")

    def family(self) -> list[Pid]:
        """List this process and all that descend from it."""
        return list(_family(self.process.pid))

    def signal_group(self, number: int) -> None:
        """Send a signal as a terminal does: to the whole process group."""
        os.killpg(self.process.pid, number)

    def says(self, text: str) -> str:
        """Wait until the output holds `text`, and return the output."""
        wait_until(lambda: text in self.output() or self._ended(), f"{text!r}")
        assert text in self.output(), self.output()
        return self.output()

    def output(self) -> str:
        """Return everything said up to now."""
        return self.out.read_text() + self.err.read_text()

    def ends(self) -> int:
        """Wait for the end and return the exit status."""
        return self.process.wait(PATIENCE)

    def _ended(self) -> bool:
        return self.process.poll() is not None


class Server(Program):
    """A running `pushdctl serve` on a free port, with JSON logs.

    Attributes:
        url: Where it is, once it serves.
    """

    def __init__(
        self,
        directory: Path,
        *flags: str,
        environ: Mapping[str, str] | None = None,
        name: str = "server",
    ):
        arguments = ["serve", "--port", "0", "--log-format", "json", *flags]
        super().__init__(arguments, directory, environ, name=name)
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self.says('"event": "serving"')
            self.url = self.events("serving")[0]["address"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def lines(self) -> list[dict[str, Any]]:
        """Return the log up to now; a line being written is left for later."""
        return [json.loads(line) for line in self.err.read_text().split("\n")[:-1]]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's lines of one event."""
        return [line for line in self.lines() if line["event"] == name]


def run(
    arguments: Sequence[str], directory: Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `pushdctl` to its end."""
    return subprocess.run(
        [PUSHDCTL, *arguments],
        cwd=directory,
        env={**clean_environ(), **(environ or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def clean_environ() -> dict[str, str]:
    """Return the environment without what a server would take for a setting."""
    conventions = {"PORT", "REDIS_URL", "PROMETHEUS_MULTIPROC_DIR"}
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PUSHD_") and name not in conventions
    }


def free_port() -> int:
    """Find a port nobody listens on, and none that a connection could be given instead."""
    while True:
        port = CHANCE.randrange(12_000, 32_768)  # Linux has connections begin above
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port


def is_ready(url: str) -> bool:
    """Tell whether a server is ready, or one behind a proxy."""
    try:
        return httpx2.get(f"{url}/health/ready", trust_env=False).is_success
    except httpx2.TransportError:
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: If it does not within `PATIENCE`.
    """
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"Waited {PATIENCE} s for {what}.")
        time.sleep(0.01)


def is_alive(process: Pid) -> bool:
    """Tell whether a process runs; one that is over and not yet waited for does not."""
    stat = _stat(process.number)
    return stat is not None and stat[0] != "Z" and stat[19] == process.started


def _family(root: int) -> Iterator[Pid]:
    stats = {int(name): _stat(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    members = {root}
    while True:
        children = {pid for pid, stat in stats.items() if stat and int(stat[1]) in members}
        if children <= members:
            break
        members |= children
    for member in sorted(members):
        stat = stats.get(member)
        if stat is not None:
            yield Pid(member, stat[19])


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the state on, see proc(5)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
