"""Watching a server: whatever happens in the mailboxes of some people, line by line."""

import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from rich.console import Console
from rich.text import Text
from starlette.applications import Starlette

from pushd.demo.people import Person
from pushd.logs import printable
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Message, Overflow, StoredMessage, decode
from pushd.web.parts import Parts

WIDTH = 40
"""Columns of the line about a delivery that say whose it is."""

_message = msgspec.json.Decoder(Message)


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
