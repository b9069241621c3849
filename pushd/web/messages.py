"""`GET /v1/messages` and `POST /v1/acks`: a mailbox read over plain HTTP, page by page."""

import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import msgspec
from msgspec import UNSET, Raw
from starlette.types import Receive, Scope, Send

from pushd.errors import BadRequest, Forbidden, UnknownMailbox
from pushd.futures import awaited
from pushd.identity.tokens import Token
from pushd.mailbox.base import Page
from pushd.owners import NO_MAILBOX
from pushd.protocol.ids import START, Cursor
from pushd.protocol.messages import Acks, Removed, Unread, ack_of, decode, encode
from pushd.web.exchange import (
    NO_STORE,
    answer,
    authenticate,
    headers_of,
    parts_of,
    query_of,
    read_body,
)
from pushd.web.parts import Parts
from pushd.web.waiting import Wait

MAX_LIMIT = 500
DEFAULT_LIMIT = 100
MAX_WAIT = 60

_acks = msgspec.json.Decoder(Acks)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")

T = TypeVar("T")


class GetMessages:
    """The unread messages after a cursor; on request it waits until there are some."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a page."""
        parts = parts_of(scope)
        token = await authenticate(parts, headers_of(scope), "receive")
        query = query_of(scope)
        after = Cursor.parse(query["after"]) if "after" in query else None
        limit = _number(query, "limit", 1, DEFAULT_LIMIT, MAX_LIMIT)
        wait = _number(query, "wait", 0, 0, MAX_WAIT)
        mailbox = token.did

        async def read() -> Page:
            return await read_page(parts, mailbox, after, limit)

        page = await as_owner(parts, token, read)
        if wait and not page.messages:
            seconds = min(wait, max(0.0, token.expires - time.time()))
            async with Wait(parts, mailbox) as waiting:
                page = await read()  # what came before the subscription stood
                if not page.messages:
                    await waiting.until(page.tail, seconds, receive)
                    page = await read()
        await answer(send, 200, encode(unread(page, after)), NO_STORE)
        if page.overflow is not None and scope["method"] != "HEAD":
            parts["mailboxes"].told(mailbox, page.overflow)


class PostAcks:
    """What the owner has safely, and the mailbox may forget."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with how many messages that removed."""
        parts = parts_of(scope)
        headers = headers_of(scope)
        token = await authenticate(parts, headers, "receive")
        mailbox = token.did
        acks = decode(await read_body(headers, receive), _acks)
        what = ack_of(acks.ids, acks.upto)
        done = await as_owner(
            parts, token, lambda: parts["mailboxes"].acknowledge(mailbox, what)
        )
        parts["metrics"].acked(done.removed)
        await answer(send, 200, encode(Removed(done.removed, done.unread)))


async def as_owner(parts: Parts, token: Token, call: Callable[[], Awaitable[T]]) -> T:
    """Call on behalf of a mailbox's owner, whose first receive token opens it.

    Raises:
        Forbidden: If there is no mailbox, and this owner may have none.
        ResolverUnavailable, RateLimited: If nobody can tell right now.
    """
    try:
        return await call()
    except UnknownMailbox:
        if not await parts["owners"].may_open(token):
            raise Forbidden(NO_MAILBOX) from None
    await parts["mailboxes"].open(token.did, create=True)
    return await call()


async def read_page(parts: Parts, mailbox: str, after: Cursor | None, limit: int) -> Page:
    """Read what follows a cursor, or all unread from the first where it does not hold.

    Args:
        parts: Of the server.
        mailbox: Its DID.
        after: The cursor; None: from the first.
        limit: How many messages at most.

    Raises:
        PushdError: If the store refuses, or is away.
    """
    line, read = parts["line"].run, partial(parts["mailboxes"].fetch, mailbox, limit=limit)
    start = START if after is None else after.id
    page: Page = await awaited(partial(line, partial(read, after=start)))
    if start != START and not _continues(after, page):
        page = await awaited(partial(line, partial(read, after=START)))
    return page


def unread(page: Page, after: Cursor | None) -> Unread:
    """Return a page as it is answered, with the cursor to go on from.

    Args:
        page: What was read.
        after: The cursor that was asked for; None: there was none.
    """
    tail = page.tail
    cursor = Cursor(page.messages[-1].id if page.messages else tail, tail.epoch)
    return Unread(
        messages=[Raw(message.json) for message in page.messages],
        cursor=str(cursor),
        tail=str(tail),
        unread=page.unread,
        continuity="exact" if _continues(after, page) else "replay",
        overflow=UNSET if page.overflow is None else page.overflow,
    )


def _continues(after: Cursor | None, page: Page) -> bool:
    return after is not None and after.continues(page.tail)


def _number(query: dict[str, str], name: str, least: int, default: int, most: int) -> int:
    """Read a whole number from the query.

    Raises:
        BadRequest: If it is none, or not between `least` and `most`.
    """
    text = query.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise BadRequest(f"`{name}` is a whole number from {least} to {most}.")
    return int(text)
