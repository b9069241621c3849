"""The demo: a server with two identities beside it, that shows what passes through.

It is the server of `serve.py`, whole and unchanged. What it shows it hears as one more
listener of its hub, so that the demo sees what every session sees, and no more.
"""

import math
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any, cast

import msgspec
from rich.console import Console
from rich.text import Text
from starlette.applications import Starlette

from pushd import logs, ports, serve
from pushd.app import create_app
from pushd.errors import ConfigurationError
from pushd.keyfiles import contact_path, create_key, read_key
from pushd.logs import printable
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Message, Overflow, StoredMessage, decode
from pushd.settings import Settings
from pushd.web.parts import Parts

HOST = "127.0.0.1"
PORT = 8480
PORTS_TRIED = 100
NAMES = ("Alice", "Bob")

People = Mapping[str, str]
"""The names of identities, by their DIDs."""

_message = msgspec.json.Decoder(Message)


def demo(directory: Path | None, port: int | None) -> None:
    """Serve Alice and Bob until SIGTERM or SIGINT.

    Args:
        directory: Where keys and messages are kept; None keeps nothing.
        port: Where to listen; None is `PORT`, or the next that is free.

    Raises:
        ConfigurationError: If the port is taken, or another demo has the directory.
    """
    logs.configure(level="warning")
    console = Console(highlight=False, markup=False)
    with serve.stoppable(), _place(directory) as place, _listen(port, console) as listener:
        settings = Settings.read(
            {},
            port=listener.getsockname()[1],
            data_dir=place / "store",
            drain_seconds=1,  # whoever plays with it does not want to wait
        )
        people = identities(place)
        with serve.store(settings) as store_url:
            app = create_app(settings, store_url=store_url)
            observe(app, people, console)
            started = partial(greet, console, place, settings.public_url)
            serve.run(settings, store_url, listener, started=started, app=app)
    console.print("Stopped." if directory is None else f"Stopped; {directory} stays.")


def identities(place: Path) -> People:
    """Return Alice and Bob, whose keys are made where they are not there yet."""
    people = {}
    for name in NAMES:
        path = place / f"{name.lower()}.json"
        key = read_key(path) if path.exists() else create_key(path)
        people[key.did] = name
    return people


def greet(console: Console, place: Path, url: str) -> None:
    """Say where the server is, and what to type into other terminals."""
    server = [] if url == f"http://{HOST}:{PORT}" else ["--server", url]
    alice, bob = (place / f"{name.lower()}.json" for name in NAMES)
    listen = [*_command(), "listen", "--key", _near(bob), *server]
    to = _near(contact_path(bob))
    send = [*_command(), "send", "--key", _near(alice), "--to", to, *server, "hello"]
    serves = Text(f"pushd serves at {url}", style="bold")
    console.print(serves, f"and keeps all in {_near(place)}.\n", soft_wrap=True)
    console.print("To listen as Bob, paste into another terminal:\n")
    console.print(f"    {shlex.join(listen)}\n", style="green", soft_wrap=True)
    console.print("To send to him as Alice, paste into a third:\n")
    console.print(f"    {shlex.join(send)}\n", style="green", soft_wrap=True)
    console.print("Deliveries show below, as the server sees them. Ctrl-C stops it.\n")


# --- watching ------------------------------------------------------------------------


def observe(app: Starlette, people: People, console: Console) -> None:
    """Open the mailboxes of these people when the app starts, and show what comes."""
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def observed(app: Any) -> AsyncIterator[Mapping[str, Any]]:
        async with lifespan(app) as state:
            parts = cast(Parts, state)
            for did in people:
                await parts["mailboxes"].open(did, create=True)
                await parts["mailboxes"].subscribe(did)
                parts["hub"].join(Watcher(did, people, console))
            yield parts

    app.router.lifespan_context = observed


class Watcher:
    """A listener of the hub that shows what it hears of one mailbox.

    Args:
        mailbox: The DID.
        people: Names to show instead of DIDs.
        console: Where to show it.
    """

    session = "demo"
    device = ""
    heard = math.inf  # so it never counts as silent
    deadline = math.inf
    due = 0
    entered = False

    def __init__(self, mailbox: str, people: People, console: Console):
        self.mailbox = mailbox
        self._people = people
        self._console = console

    def published(self, messages: Sequence[StoredMessage]) -> None:
        """Show new messages."""
        for stored in messages:
            message = decode(stored.json, _message)
            way = f"{self._name(message.from_.did)} → {self._name(self.mailbox)}"
            self._show("cyan", way, str(stored.id), message.payload)

    def acknowledged(self, what: Sequence[MessageId] | MessageId, origin: str) -> None:
        """Show an ack."""
        if isinstance(what, MessageId):
            ids = f"everything up to {what}"
        else:
            ids = ", ".join(map(str, what))
        self._show("green", f"{self._name(self.mailbox)} acked", ids)

    def overflowed(self, overflow: Overflow) -> None:
        """Show that the mailbox is full."""
        full = f"{self._name(self.mailbox)}'s mailbox is full"
        self._show("red", full, f"{overflow.refused} refused")

    def tail(self, tail: MessageId | None) -> None:
        """Nothing: what was not heard is not shown."""

    def tick(self, now: float) -> None:
        """Nothing: there is no deadline."""

    def displaced(self) -> None:
        """Nothing: it is never silent."""

    def drain(self, retry_after: float, close_at: float) -> None:
        """Nothing: it holds no connection."""

    def _name(self, did: str) -> str:
        return self._people.get(did, did)

    def _show(self, style: str, what: str, id: str, payload: str = "") -> None:
        line = Text.assemble(
            (time.strftime("%H:%M:%S  "), "dim"),
            (f"{what:<14}", style),
            f" {id}  ",
            (printable(payload[:200]), "dim"),
        )
        self._console.print(line, no_wrap=True, overflow="ellipsis")


# --- where things are ----------------------------------------------------------------


@contextmanager
def _place(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="pushd-demo-") as vanishing:
        yield Path(vanishing)


def _listen(port: int | None, console: Console) -> socket:
    if port is not None:
        return ports.claim(HOST, port)
    for candidate in range(PORT, PORT + PORTS_TRIED):
        with suppress(ConfigurationError):
            listener = ports.claim(HOST, candidate)
            if candidate != PORT:
                console.print(f"Port {PORT} is taken; this demo has {candidate}.")
            return listener
    raise ConfigurationError(f"No port is free from {PORT} on; name one with --port.")


def _command() -> list[str]:
    """Return how to call `pushdctl` from here."""
    beside = Path(sys.executable).with_name("pushdctl")
    return [_near(beside)] if beside.exists() else [sys.executable, "-m", "pushd"]


def _near(path: Path) -> str:
    """Return a path as one would type it here."""
    path = path.absolute()
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
