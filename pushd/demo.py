"""The demo: a server, and beside it a Gaia hub and two people, to see what passes through.

It is the server of `serve.py`, whole and unchanged but for the playground's page. What it
shows it hears as one more listener of its hub, so that the demo sees what every session
sees, and no more. In threads of their own run the Gaia hub, which keeps what the people
write and knows their names, and another server, for Bob to change to.
"""

import asyncio
import math
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec
import uvicorn
from rich.console import Console
from rich.text import Text
from starlette.applications import Starlette
from starlette.routing import Route

from pushd import logs, ports, serve, worker
from pushd.app import create_app
from pushd.client import Client
from pushd.devhub import DevHub
from pushd.errors import ConfigurationError
from pushd.identity.keys import PrivateKey
from pushd.keyfiles import Account, create_key, read_account, read_key, write_account
from pushd.logs import printable
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Message, Overflow, StoredMessage, decode
from pushd.settings import Settings
from pushd.web.http import Http
from pushd.web.pages import PLAYGROUND, Page
from pushd.web.parts import Parts
from pushd.web.playground.people import Cast, Player, ShowPeople
from pushd.web.stream import Stream

HOST = "127.0.0.1"
PORT = 8480
HUB_PORT = 8481
OTHER_PORT = 8482
PORTS_TRIED = 100
WIDTH = 40
"""Columns of the line about a delivery that say whose it is."""
APP = "https://demo.example"
NAMES = ("alice.id.blockstack", "bob.id.blockstack")


class Person(NamedTuple):
    """Somebody in the demo."""

    name: str
    path: Path
    key: PrivateKey


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
    with (
        worker.stoppable(),
        _place(directory) as place,
        _listen(port, console) as listener,
        _listen_hub(place) as hub_listener,
        _listen_beside(OTHER_PORT) as other_listener,
    ):
        hub = DevHub(place / "devhub", url=ports.url(hub_listener))
        urls = [ports.url(one) for one in (hub_listener, listener, other_listener)]
        settings, other = (
            Settings.read(
                {},
                port=one.getsockname()[1],
                data_dir=place / name,
                names_api=hub.url,
                dev_hosts=tuple(urlsplit(url).netloc for url in urls),
                drain_seconds=1,  # whoever plays with it does not want to wait
            )
            for one, name in ((listener, "store"), (other_listener, "other-store"))
        )
        with (
            serve.store(settings) as store_url,
            serve.store(other) as other_url,
            _running(hub.app, hub_listener),
            _running(create_app(other, store_url=other_url), other_listener),
        ):
            people = settle(place, hub, settings)
            app = create_app(settings, store_url=store_url)
            app.router.routes += playground(people, hub, settings, other)
            observe(app, people, console)
            started = partial(greet, console, place, settings.public_url, hub.url)
            worker.run(settings, store_url, listener, started=started, app=app)
    console.print("Stopped." if directory is None else f"Stopped; {directory} stays.")


def greet(console: Console, place: Path, url: str, hub_url: str) -> None:
    """Say where everything is, and what to type into other terminals."""
    alice, bob = (_near(_key_path(place, name)) for name in NAMES)
    listen = [*_command(), "listen", "--key", bob]
    send = [*_command(), "send", "--key", alice, "--to", NAMES[1], "Hello Bob"]
    serves = Text(f"pushd serves at {url}", style="bold")
    console.print(serves, f"and keeps all in {_near(place)}.", soft_wrap=True)
    console.print(
        f"A Gaia hub at {hub_url} keeps what {' and '.join(NAMES)} write.\n",
        soft_wrap=True,
    )
    console.print("To listen as Bob, paste into another terminal:\n")
    console.print(f"    {shlex.join(listen)}\n", style="green", soft_wrap=True)
    console.print("To send to him as Alice, paste into a third:\n")
    console.print(f"    {shlex.join(send)}\n", style="green", soft_wrap=True)
    console.print("Or see both of them, and the server between them, in a browser:\n")
    console.print(f"    {url}/playground\n", style="green", soft_wrap=True)
    console.print("Deliveries show below, as the server sees them. Ctrl-C stops it.\n")


# --- people --------------------------------------------------------------------------


def settle(place: Path, hub: DevHub, settings: Settings) -> Sequence[Person]:
    """Give people keys where they have none yet, names, and a home on hub and server."""
    people = [_person(place, name) for name in NAMES]
    for person in people:
        hub.register(person.name, person.key, {APP: person.key})
        account = Account(
            app=APP,
            name=person.name,
            hub=hub.url,
            servers=(settings.public_url,),
            names_api=hub.url,
            dev_hosts=settings.dev_hosts,
        )
        write_account(person.path, account)
        asyncio.run(_publish(person.key, account))
    return people


def _person(place: Path, name: str) -> Person:
    path = _key_path(place, name)
    return Person(name, path, read_key(path) if path.exists() else create_key(path))


def _key_path(place: Path, name: str) -> Path:
    return place / f"{name.partition('.')[0]}.json"


async def _publish(key: PrivateKey, account: Account) -> None:
    async with Client(key, **msgspec.structs.asdict(account)) as client:
        await client.publish()


@contextmanager
def _running(app: Starlette, listener: socket) -> Iterator[None]:
    """Run a Gaia hub, or a server, in a thread, which is over when the block is."""
    config = uvicorn.Config(
        app,
        http=Http,
        ws=Stream,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="beside")
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def playground(
    people: Sequence[Person], hub: DevHub, settings: Settings, other: Settings
) -> list[Route]:
    """Return the routes of the page on which these people write to each other."""
    servers = (settings.public_url, other.public_url)
    alice, bob = (Player(one.name, one.key.to_hex(), servers[0]) for one in people)
    cast = Cast(alice, bob, APP, hub.url, servers, settings.dev_hosts)
    show = ShowPeople(cast, urlsplit(settings.public_url).netloc)
    sockets = [server.replace("http", "ws", 1) for server in servers]
    page = Page("/playground", PLAYGROUND, connect=" ".join((hub.url, *servers, *sockets)))
    return [Route("/playground/people", show, methods=["GET"]), *page.routes()]


# --- watching ------------------------------------------------------------------------


def observe(app: Starlette, people: Sequence[Person], console: Console) -> None:
    """Open the mailboxes of these people when the app starts, and show what comes."""
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def observed(app: Any) -> AsyncIterator[Mapping[str, Any]]:
        async with lifespan(app) as state:
            parts = cast(Parts, state)
            for person in people:
                did = person.key.did
                await parts["mailboxes"].open(did, create=True)
                await parts["mailboxes"].subscribe(did)
                parts["hub"].join(Watcher(did, person.name, console))
            yield parts

    app.router.lifespan_context = observed


class Watcher:
    """A listener of the hub that shows what it hears of one mailbox.

    Args:
        mailbox: The DID.
        owner: The name of whose it is.
        console: Where to show it.
    """

    session = "demo"
    device = ""
    heard = math.inf  # so it never counts as silent
    deadline = math.inf
    due = 0
    entered = False

    def __init__(self, mailbox: str, owner: str, console: Console):
        self.mailbox = mailbox
        self._owner = owner
        self._console = console

    def published(self, messages: Sequence[StoredMessage]) -> None:
        """Show new messages."""
        for stored in messages:
            message = decode(stored.json, _message)
            sender = message.from_.name or message.from_.did
            way = f"{sender} → {self._owner}"
            self._show("cyan", way, str(stored.id), message.payload)

    def acknowledged(self, what: Sequence[MessageId] | MessageId, origin: str) -> None:
        """Show an ack."""
        if isinstance(what, MessageId):
            ids = f"everything up to {what}"
        else:
            ids = ", ".join(map(str, what))
        self._show("green", f"{self._owner} acked", ids)

    def overflowed(self, overflow: Overflow) -> None:
        """Show that the mailbox is full."""
        full = f"The mailbox of {self._owner} is full"
        self._show("red", full, f"{overflow.refused} refused")

    def tail(self, tail: MessageId | None) -> None:
        """Nothing: what was not heard is not shown."""

    def tick(self, now: float) -> None:
        """Nothing: there is no deadline."""

    def clock_set(self, seconds: float, now: float) -> None:
        """Nothing: it has no times."""

    def displaced(self) -> None:
        """Nothing: it is never silent."""

    def drain(self, retry_after: float, close_at: float) -> None:
        """Nothing: it holds no connection."""

    def _show(self, style: str, what: str, id: str, payload: str = "") -> None:
        line = Text.assemble(
            (time.strftime("%H:%M:%S  "), "dim"),
            (f"{what:<{WIDTH}}", style),
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


def _listen_hub(place: Path) -> socket:
    """Listen where the hub was before, for messages that are there say so."""
    path = _key_path(place, NAMES[0])
    before = urlsplit(read_account(path).hub or "").port if path.exists() else None
    return _listen_beside(before or HUB_PORT, *range(HUB_PORT, HUB_PORT + PORTS_TRIED))


def _listen_beside(first: int, *others: int) -> socket:
    """Listen on the first of these ports that is free, or on any that is."""
    for candidate in (first, *others, 0):
        with suppress(ConfigurationError):
            return ports.claim(HOST, candidate)
    raise ConfigurationError("No port is free.")


def _command() -> list[str]:
    """Return how to call `pushdctl` from here."""
    beside = Path(sys.executable).with_name("pushdctl")
    return [_near(beside)] if beside.exists() else [sys.executable, "-m", "pushd"]


def _near(path: Path) -> str:
    """Return a path as one would type it here."""
    path = path.absolute()
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
