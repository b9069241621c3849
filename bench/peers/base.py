"""What the bench asks of a peer: to be had, to run, and to be talked to."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, NamedTuple

from bench.processes import Measured, Unavailable
from bench.wire import Wire

ROOT = Path(__file__).parents[2]
"""The checkout."""
TOOLS = ROOT / "build" / "bench"
"""Where peers are installed; `make clean` removes it."""
INSTALL_TIMEOUT = 1200.0
"""Seconds an installation may take; the longest compiles a program of some size."""


class Running(NamedTuple):
    """A running peer.

    Attributes:
        server: What is measured.
        store: The store it keeps messages in; None if it has none.
        port: Where recipients connect.
        senders_port: Where senders do.
    """

    server: Measured
    store: Measured | None
    port: int
    senders_port: int


class Peer(ABC):
    """A system that carries messages from senders to recipients.

    Args:
        count: How many recipients there will be.

    Attributes:
        name: What it is called in the table.
        version: Its version, known when it is installed; empty if it has none.
        lacks: What pushd has and it has not, as it is used here: a store for messages to
            those who are away; acks of recipients; redelivery of what was not acked;
            tokens of those who send and receive; deduplication; quotas, which refuse what
            is too much rather than drop it; a second node.
        wire: How it is talked to.
    """

    name: ClassVar[str]
    version: str = ""
    lacks: ClassVar[str]
    wire: ClassVar[Wire]

    def __init__(self, count: int) -> None:
        self.count = count

    def install(self) -> None:  # noqa: B027 - what comes with pushd needs no installing
        """Install it in `TOOLS`, unless it is there.

        Raises:
            Unavailable: If it cannot be had on this machine.
        """

    @abstractmethod
    def running(self, directory: Path) -> AbstractContextManager[Running]:
        """Run it, with all it keeps in this empty directory."""

    @abstractmethod
    def hellos(self) -> list[bytes]:
        """Make the first frame of each recipient, by which it is connected for good."""

    @abstractmethod
    def posts(self, count: int) -> list[bytes]:
        """Make a message to each of the first recipients."""


def names(count: int) -> list[str]:
    """Name recipients that have no keys."""
    return [f"user{number}" for number in range(count)]


def install(
    what: str,
    command: Sequence[str | Path],
    *,
    cwd: Path = TOOLS,
    environ: Mapping[str, str] | None = None,
) -> str:
    """Run a command that installs something; return what it printed.

    Raises:
        Unavailable: If the command is not on this machine, fails or takes too long.
    """
    cwd.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT,
            check=True,
        )
    except FileNotFoundError:
        raise Unavailable(f"there is no {command[0]} here to install {what}") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} took too long to install {what}") from None
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"{command[0]} could not install {what}") from error
    return done.stdout
