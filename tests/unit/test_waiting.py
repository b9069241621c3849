"""A request that waits for news: what is news to it when nothing was published."""

import asyncio
from typing import Any, cast

import pytest

from pushd.protocol.ids import MessageId
from pushd.web.parts import Parts
from pushd.web.waiting import Wait

TAIL = MessageId(100, 3)


async def silent() -> Any:
    """Receive nothing: the client neither speaks nor goes."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("tail", [MessageId(100, 4), MessageId(101, 0), None])
async def test_another_tail_is_news(tail: MessageId | None) -> None:
    """A publication was lost, or an epoch began, or the mailbox is gone: look again."""
    waiting = Wait(cast(Parts, {"hub": None, "mailboxes": None}), "did:test:bob")
    until = asyncio.create_task(waiting.until(TAIL, 600, silent))
    await asyncio.sleep(0)
    waiting.tail(TAIL)
    for _ in range(10):  # turns of the loop, in which it could end
        await asyncio.sleep(0)
    assert not until.done()
    waiting.tail(tail)
    await until
