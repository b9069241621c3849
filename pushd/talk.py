"""Sending and listening from the command line, and how both are shown."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Self

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TimeRemainingColumn,
)
from rich.text import Text

from pushd.client import (
    CannotOpen,
    CursorStore,
    Envelope,
    FileCursors,
    MemoryCursors,
    NotHandled,
    Phase,
    PrivateKey,
    Received,
    Receiver,
    Sender,
    Status,
    new_id,
    open_sealed,
)
from pushd.client import seal as seal_envelope
from pushd.errors import BadRequest, ConfigurationError
from pushd.identity.keys import BTC_ADDR
from pushd.keyfiles import Contact
from pushd.logs import printable
from pushd.protocol.urls import canonical_url

GAIA = "https://gaia.blockstack.org/hub/"
"""Where a bucket is read that its owner did not put anywhere else."""
LONG = 100
"""Unread messages from which on a progress bar is worth its line."""
CIPHERTEXT = 60
"""Letters shown of a payload that could not be opened."""


def canonical(server: str) -> str:
    """Return a server's URL as it calls itself.

    Raises:
        ConfigurationError: If it is no URL of a server.
    """
    try:
        return canonical_url(server)
    except BadRequest as error:
        raise ConfigurationError(f"--server {server}: {error.detail}") from None


def seal(sender: PrivateKey, recipient: Contact, id: str | None, bucket: str | None) -> str:
    """Put a message ID into an envelope that only the recipient can open.

    Args:
        sender: Whose message it is.
        recipient: Who shall open it.
        id: The message's ID; None makes a random one.
        bucket: Read URL of the sender's bucket; None is the one at `GAIA`.

    Raises:
        ConfigurationError: If the recipient's key cannot be encrypted to, or the sender
            has no bucket.
    """
    if bucket is None and not sender.did.startswith(BTC_ADDR):
        raise ConfigurationError("Only an ES256K key has a bucket; name one by --bucket.")
    letter = Envelope(
        id=id or new_id(),
        from_=sender.did,
        to=recipient.did,
        bucket=bucket or f"{GAIA}{sender.did.removeprefix(BTC_ADDR)}/",
    )
    try:
        return seal_envelope(letter, recipient.key())
    except ValueError as error:
        raise ConfigurationError(f"{recipient.did}: {error}") from None


async def send(
    sender: PrivateKey, to: str, payload: str, *, server: str, give_up_after: float
) -> str:
    """Deliver a payload, and return the id the mailbox gave it.

    Args:
        sender: Who speaks.
        to: The recipient's DID.
        payload: Opaque text.
        server: Canonical URL.
        give_up_after: Seconds a server that is away or busy is tried again.

    Raises:
        PushdError: If the server refuses it.
        Unreachable: If no server answers.
    """
    async with Sender(sender, server=server, give_up_after=give_up_after) as line:
        return (await line.send(to, payload)).id


async def listen(
    key: PrivateKey,
    *,
    server: str,
    state_dir: Path | None = None,
    count: int | None = None,
    ack: bool = True,
    json: bool = False,
) -> None:
    """Show messages until SIGINT, SIGTERM, or enough of them.

    Args:
        key: The mailbox owner's.
        server: Canonical URL.
        state_dir: Where to remember what was read; None begins at the first unread.
        count: How many messages are enough; None never has enough.
        ack: Whether what was shown is acked.
        json: Whether to show one JSON object a line.

    Raises:
        ConfigurationError: If what was remembered cannot be read.
        StreamClosed: If the server does not want this client back.
    """
    screen = Screen(key, server, json=json)
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, enough.set)

    def show(message: Received) -> None:
        if enough.is_set():
            raise NotHandled
        screen.show(message)
        if screen.shown == count:
            enough.set()

    receiver = Receiver(
        key,
        server=server,
        cursor_store=await _cursors(key.did, server, state_dir),
        ack="auto" if ack else "manual",
    )
    receiver.on_state(screen.state)
    receiver.listen(show)
    running = asyncio.create_task(receiver.run())
    waiting = asyncio.create_task(enough.wait())
    with screen:
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        await receiver.stop()
        waiting.cancel()
        await running


async def _cursors(did: str, server: str, state_dir: Path | None) -> CursorStore:
    if state_dir is None:
        return MemoryCursors()
    cursors = FileCursors(state_dir)
    try:
        await cursors.load(did, server)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--state-dir: {error}") from None
    return cursors


class Screen:
    """What `listen` shows: messages on the standard output, the rest beside them.

    Args:
        key: Opens what is sealed to it.
        server: Where it listens.
        json: Whether a message is shown as JSON.

    Attributes:
        shown: How many messages were.
    """

    def __init__(self, key: PrivateKey, server: str, *, json: bool):
        self.shown = 0
        self._key = key
        self._server = server
        self._json = json
        self._out, self._err = Console(), Console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._listening = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()

    def show(self, message: Received) -> None:
        """Show a message, opened if it can be."""
        try:
            envelope = open_sealed(message.payload, self._key, sender=message.sender)
        except (CannotOpen, ValueError):
            envelope = None
        line = _as_json(message, envelope) if self._json else _as_text(message, envelope)
        self._out.print(line, soft_wrap=True, markup=False, highlight=False)
        self.shown += 1
        if self._bar is not None:
            self._bar.advance(self._task)

    def state(self, status: Status) -> None:
        """Tell how the connection stands; show how a long history comes along."""
        match status.phase:
            case Phase.CATCHING_UP if self._bar is None and status.unread >= LONG:
                self._begin_bar(status.unread)
            case Phase.LIVE:
                self._live(status)
            case Phase.WAITING:
                self._end_bar()
                self._listening = False
                reason = status.reason[:1].upper() + status.reason[1:].rstrip(".")
                self._say(f"{reason}; trying again in {status.retry_in:.1f} s.")

    def _live(self, status: Status) -> None:
        if not self._listening:
            self._listening = True
            self._say(f"Listening at {self._server} as {self._key.did}.")
        if self._bar is not None:
            self._bar.update(self._task, total=status.received)

    def _say(self, sentence: str) -> None:
        self._err.print(Text(sentence, style="dim"), soft_wrap=True)

    def _begin_bar(self, unread: int) -> None:
        console = self._out if self._out.is_terminal else self._err
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress("Catching up", *columns, console=console, transient=True)
        self._task = self._bar.add_task("", total=unread)
        self._bar.start()

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _as_json(message: Received, envelope: Envelope | None) -> str:
    members = {
        "id": message.id,
        "from": message.sender,
        "at": message.at,
        "expires": message.expires,
        "payload": message.payload,
        "envelope": envelope,
    }
    return msgspec.json.encode(members).decode()


def _as_text(message: Received, envelope: Envelope | None) -> Text:
    time_of_day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(message.at))
    line = Text.assemble((time_of_day, "dim"), "  ", (message.sender, "cyan"), "  ")
    if envelope is None:
        more = "…" if len(message.payload) > CIPHERTEXT else ""
        return line.append(printable(message.payload[:CIPHERTEXT]) + more, style="dim")
    return line.append(printable(envelope.id), style="bold")
