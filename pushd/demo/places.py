"""Where a demo keeps its things, where it listens, and how it is called from here."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import socket

from rich.console import Console

from pushd import ports
from pushd.errors import ConfigurationError

HOST = "127.0.0.1"
PORT = 8480
HUB_PORT = 8481
OTHER_PORT = 8482
PORTS_TRIED = 100


@contextmanager
def place_of(directory: Path | None) -> Iterator[Path]:
    """Yield where things are kept; None: in a directory that vanishes."""
    if directory is not None:
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="pushd-demo-") as vanishing:
        yield Path(vanishing)


def listen(port: int | None, console: Console) -> socket:
    """Listen where the server is to be: on this port, or on the first that is free.

    Args:
        port: This one; None: the first that is free.
        console: Where it is told if that is not the usual one.

    Raises:
        ConfigurationError: If this one is taken, or none is free.
    """
    if port is not None:
        return ports.claim(HOST, port)
    for candidate in range(PORT, PORT + PORTS_TRIED):
        with suppress(ConfigurationError):
            listener = ports.claim(HOST, candidate)
            if candidate != PORT:
                console.print(f"Port {PORT} is taken; this demo has {candidate}.")
            return listener
    raise ConfigurationError(f"No port is free from {PORT} on; name one with --port.")


def listen_hub(before: int | None) -> socket:
    """Listen where the hub was before, for messages that are there say so.

    Args:
        before: That port; None if there was none.

    Raises:
        ConfigurationError: If no port is free.
    """
    return listen_beside(before or HUB_PORT, *range(HUB_PORT, HUB_PORT + PORTS_TRIED))


def listen_beside(first: int, *others: int) -> socket:
    """Listen on the first of these ports that is free, or on any that is.

    Raises:
        ConfigurationError: If none is.
    """
    for candidate in (first, *others, 0):
        with suppress(ConfigurationError):
            return ports.claim(HOST, candidate)
    raise ConfigurationError("No port is free.")


def command() -> list[str]:
    """Return how to call `pushdctl` from here."""
    beside = Path(sys.executable).with_name("pushdctl")
    return [near(beside)] if beside.exists() else [sys.executable, "-m", "pushd"]


def near(path: Path) -> str:
    """Return a path as one would type it here."""
    path = path.absolute()
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
