"""What `pushdctl listen` shows: messages on the standard output, the rest beside them."""

import asyncio
import signal
import time
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
    Envelope,
    Incoming,
    NotHandled,
    Phase,
    PrivateKey,
    Received,
    Status,
    open_sealed,
)
from pushd.logs import printable

LONG = 100
"""Unread messages from which on a progress bar is worth its line."""
CIPHERTEXT = 60
"""Letters shown of a payload that could not be opened."""


class Screen:
    """What `listen` shows: messages on the standard output, the rest beside them.

    Args:
        key: Opens what is sealed to it.
        count: How many messages are enough; None never has enough.
        json: Whether a message is shown as JSON.
    """

    def __init__(self, key: PrivateKey, count: int | None, *, json: bool):
        self._key = key
        self._count = count
        self._json = json
        self._shown = 0
        self._enough = asyncio.Event()
        self._out, self._err = Console(), Console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._listening: set[str] = set()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._enough.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()

    async def enough_or(self, running: asyncio.Task[None]) -> None:
        """Wait until there is enough, or nothing more will come."""
        waiting = asyncio.create_task(self._enough.wait())
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    # --- messages --------------------------------------------------------------------

    def show(self, message: Incoming) -> None:
        """Show a message.

        Raises:
            NotHandled: If there were enough before.
        """
        self._show(_opened_json(message) if self._json else _opened_text(message))

    def show_sealed(self, message: Received) -> None:
        """Show a message whose content is elsewhere, its envelope opened if it can be.

        Raises:
            NotHandled: If there were enough before.
        """
        try:
            envelope = open_sealed(message.payload, self._key, sender=message.sender)
        except (CannotOpen, ValueError):
            envelope = None
        make = _sealed_json if self._json else _sealed_text
        self._show(make(message, envelope))

    def _show(self, line: str | Text) -> None:
        if self._enough.is_set():
            raise NotHandled
        self._out.print(line, soft_wrap=True, markup=False, highlight=False)
        self._shown += 1
        if self._bar is not None:
            self._bar.advance(self._task)
        if self._shown == self._count:
            self._enough.set()

    def show_error(self, message: Received, error: Exception) -> None:
        """Tell that a message cannot be shown."""
        sentence = f"Message {message.id} of {message.sender} stays unread: {error}"
        self._say(sentence)

    # --- the connection --------------------------------------------------------------

    def state(self, server: str, status: Status) -> None:
        """Tell how a connection stands; show how a long history comes along."""
        match status.phase:
            case Phase.CATCHING_UP if self._bar is None and status.unread >= LONG:
                self._begin_bar(status.unread)
            case Phase.LIVE:
                self._live(server, status)
            case Phase.WAITING:
                self._end_bar()
                self._listening.discard(server)
                reason = status.reason[:1].upper() + status.reason[1:].rstrip(".")
                self._say(f"{reason}; trying again in {status.retry_in:.1f} s.")

    def _live(self, server: str, status: Status) -> None:
        if server not in self._listening:
            self._listening.add(server)
            self._say(f"Listening at {server} as {self._key.did}.")
        if self._bar is not None:
            self._bar.update(self._task, total=status.received)

    def _say(self, sentence: str) -> None:
        self._err.print(Text(printable(sentence), style="dim"), soft_wrap=True)

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


def _opened_json(message: Incoming) -> str:
    members = {
        "id": message.id,
        "from": message.sender,
        "name": message.name,
        "app": message.app,
        "at": message.at,
        "content": message.content,
        "contentType": message.content_type,
        "server": message.server,
    }
    return msgspec.json.encode(members).decode()


def _opened_text(message: Incoming) -> Text:
    line = _heading(message.received.at, message.name or message.sender)
    return line.append(printable(message.content), style="bold")


def _sealed_json(message: Received, envelope: Envelope | None) -> str:
    members = {
        "id": message.id,
        "from": message.sender,
        "at": message.at,
        "expires": message.expires,
        "payload": message.payload,
        "envelope": envelope,
    }
    return msgspec.json.encode(members).decode()


def _sealed_text(message: Received, envelope: Envelope | None) -> Text:
    line = _heading(message.at, message.sender)
    if envelope is None:
        more = "…" if len(message.payload) > CIPHERTEXT else ""
        return line.append(printable(message.payload[:CIPHERTEXT]) + more, style="dim")
    return line.append(printable(envelope.id), style="bold")


def _heading(at: int, who: str) -> Text:
    time_of_day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    return Text.assemble((time_of_day, "dim"), "  ", (who, "cyan"), "  ")
