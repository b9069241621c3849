"""A request that waits for news of one mailbox: the smallest listener of the hub."""

import asyncio
import math
import secrets
import time
from collections.abc import Sequence
from typing import Self

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Overflow, StoredMessage
from pushd.web.parts import Parts


class Wait:
    """A session that hears no more than that something happened (`hub.Listener`).

    It counts as a session while it is entered. Whatever makes other sessions close ends
    the waiting: the request is answered with what there is, which may be nothing.
    """

    def __init__(self, parts: Parts, mailbox: str) -> None:
        self.mailbox = mailbox
        self.session = secrets.token_urlsafe(9)
        self.device = ""
        self.heard = time.time()
        self.deadline = math.inf
        self.due = 0
        self.entered = False
        self._hub = parts["hub"]
        self._mailboxes = parts["mailboxes"]
        self._news = asyncio.Event()
        self._tail: MessageId | None = None

    async def __aenter__(self) -> Self:
        """Begin to listen.

        Raises:
            TooManySessions: If the mailbox has its sessions.
            Overloaded: If the server is stopping.
        """
        self._hub.join(self)
        try:
            await self._mailboxes.subscribe(self.mailbox)
        except BaseException:  # cancelled too
            self._hub.leave(self)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listen no longer."""
        self._hub.leave(self)

    async def until(self, tail: MessageId, seconds: float, receive: Receive) -> None:
        """Wait until something happened.

        Args:
            tail: The mailbox's tail as the caller knows it; another is news.
            seconds: How long to wait at most.
            receive: Tells when the client goes away.

        Raises:
            ClientDisconnect: If it did.
        """
        self._tail = tail
        news = asyncio.ensure_future(self._news.wait())
        gone = asyncio.ensure_future(_gone(receive))
        waits = (news, gone)
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        if gone.done() and not gone.cancelled():
            raise ClientDisconnect

    # --- what the hub says -----------------------------------------------------------

    def published(self, messages: Sequence[StoredMessage]) -> None:
        """Stop waiting: there are messages."""
        self._news.set()

    def acknowledged(self, what: Sequence[MessageId] | MessageId, origin: str) -> None:
        """Wait on; a page tells nothing of what was removed."""

    def overflowed(self, overflow: Overflow) -> None:
        """Stop waiting, to tell the owner."""
        self._news.set()

    def tail(self, tail: MessageId | None) -> None:
        """Stop waiting if a publication was lost, or the epoch is another."""
        if tail != self._tail:
            self._news.set()

    def tick(self, now: float) -> None:
        """Stop waiting: the server stops, and this is when those who wait here may go."""
        self.deadline = math.inf
        self._news.set()

    def clock_set(self, seconds: float, now: float) -> None:
        """Go on waiting as long as before."""
        self.heard = now
        self.deadline += seconds

    def displaced(self) -> None:
        """Stop waiting, and make room at once."""
        self._hub.leave(self)
        self._news.set()

    def drain(self, retry_after: float, close_at: float) -> None:
        """Wait on until `close_at`, so that not all who wait come back at once."""
        self.deadline = close_at


async def _gone(receive: Receive) -> None:
    """Wait until the client goes away; a body it may send is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
