"""`GET /admin/numbers`: everything the operator's page shows, in one answer.

The numbers are those of `/metrics`, so of all workers. Mailboxes and errors are those of
the worker that answers. Of mailboxes only such with sessions are looked at, and of these
a sample of bounded size: the store is never searched.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from hmac import compare_digest
from math import ceil

import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from pushd.allowance import Allowance
from pushd.errors import PushdError, RateLimited, Unauthorized
from pushd.hub import Listener
from pushd.mailbox.base import Page
from pushd.protocol.ids import START
from pushd.web.addresses import forwarded_in
from pushd.web.exchange import NO_STORE, answer, headers_of, parts_of
from pushd.web.parts import Parts

SCHEME = b"Admin"
"""Of the header Authorization; tokens of others are `Bearer`, and verified elsewhere."""
FAILURES = 10
"""Wrong tokens an address may try in a minute."""
SAMPLE = 100
"""Mailboxes looked at for one answer."""
SHOWN = 25
"""Mailboxes shown, the deepest of the sample."""


class Mailbox(Struct, frozen=True):
    """A mailbox with sessions here. `mailbox` is shortened, `heard` in seconds ago."""

    mailbox: str
    unread: int
    full: bool
    sessions: dict[str, int]
    heard: float


class Numbers(Struct, frozen=True):
    """What the page shows.

    Attributes:
        now: The server's clock, in Unix seconds.
        server: Its canonical URL.
        trouble: Why it is not ready, or None.
        draining: Whether it is stopping.
        metrics: Name, labels and value of each.
        listening: Mailboxes with sessions here.
        sampled: How many of them were looked at.
        mailboxes: The deepest of these.
        errors: What was logged lately as a warning, or worse; the newest last.
    """

    now: float
    server: str
    trouble: str | None
    draining: bool
    metrics: list[tuple[str, dict[str, str], float]]
    listening: int
    sampled: int
    mailboxes: list[Mailbox]
    errors: Sequence[object]


class ShowNumbers:
    """The endpoint.

    Args:
        token: Who knows it may look.
        errors: Returns what was logged lately.
    """

    def __init__(self, token: str, errors: Callable[[], Sequence[object]]) -> None:
        self._token = token.encode()
        self._errors = errors
        self._failures = Allowance(each=FAILURES, together=100 * FAILURES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the numbers.

        Raises:
            Unauthorized: If the token is not the operator's.
            RateLimited: If too many were not, from where this comes from.
        """
        parts = parts_of(scope)
        client = parts["addresses"].of(scope["client"], forwarded_in(scope["headers"]))
        self._admit(client, headers_of(scope).get(b"authorization", b""), time.monotonic())
        body = msgspec.json.encode(await self._gather(parts))
        await answer(send, 200, body, NO_STORE)

    def _admit(self, client: str, authorization: bytes, now: float) -> None:
        wait = self._failures.wait(client, now)
        if wait > 0:
            raise RateLimited("Too many wrong tokens; wait.", retry_after=ceil(wait))
        scheme, _, token = authorization.partition(b" ")
        if scheme != SCHEME or not compare_digest(token, self._token):
            self._failures.take(client, now)
            raise Unauthorized("This is not the admin token.")

    async def _gather(self, parts: Parts) -> Numbers:
        hub = parts["hub"]
        groups = hub.sample(SAMPLE)
        found = await asyncio.gather(*(_mailbox(parts, group) for group in groups))
        mailboxes = sorted(
            (mailbox for mailbox in found if mailbox is not None),
            key=lambda mailbox: mailbox.unread,
            reverse=True,
        )
        return Numbers(
            now=time.time(),
            server=parts["terms"].server,
            trouble=parts["mailboxes"].ready(),
            draining=hub.draining,
            metrics=parts["metrics"].samples(),
            listening=len(hub),
            sampled=len(groups),
            mailboxes=mailboxes[:SHOWN],
            errors=self._errors(),
        )


async def _mailbox(parts: Parts, group: Sequence[Listener]) -> Mailbox | None:
    """Look at a mailbox; None if the store cannot tell."""
    try:
        page: Page = await parts["mailboxes"].read(group[0].mailbox, after=START, limit=1)
    except PushdError:
        return None
    kinds = [type(listener).__name__ for listener in group]
    return Mailbox(
        mailbox=shortened(group[0].mailbox),
        unread=page.unread,
        full=page.overflow is not None,
        sessions={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        heard=max(0.0, time.time() - max(listener.heard for listener in group)),
    )


def shortened(did: str) -> str:
    """Return a DID by which an operator knows it again, and nobody else finds it."""
    kind, _, address = did.rpartition(":")
    return f"{kind}:{address[:5]}…{address[-4:]}"
