"""Promise: whoever else hears a mailbox is told of acks; nothing is told to nobody."""

import pytest

from pushd.mailbox.base import Acknowledged
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Accepted
from tests.contract.conftest import Connect
from tests.contract.stores import Ear, entry, id_of, until
from tests.stores import Store


async def deliver(mailboxes: RedisMailboxes, bob: str) -> MessageId:
    """Deliver one message; return its id."""
    [result] = await mailboxes.accept([entry(bob)])
    assert isinstance(result, Accepted)
    return id_of(result)


async def listening(
    connect: Connect, store: Store, bob: str, *sessions: str
) -> tuple[RedisMailboxes, Ear]:
    """Make a process in which sessions hear a mailbox."""
    ear = Ear()
    ear.sessions = list(sessions)
    mailboxes = await connect(store, ear)
    await mailboxes.open(bob, create=True)
    await mailboxes.subscribe(bob)
    return mailboxes, ear


async def test_who_alone_hears_and_acks_is_told_nothing(
    connect: Connect, store: Store, bob: str
) -> None:
    """Neither of ids nor up to one: what comes next is the next message."""
    mailboxes, ear = await listening(connect, store, bob, "one")
    ids = [await deliver(mailboxes, bob) for _ in range(3)]
    assert Acknowledged(1, 2) == await mailboxes.acknowledge(bob, [ids[0]], origin="one")
    assert Acknowledged(2, 0) == await mailboxes.acknowledge(bob, ids[2], origin="one")
    last = await deliver(mailboxes, bob)
    await until(lambda: last in ear.messages(bob))
    assert set(ear.what()) == {"published"}


async def test_sessions_of_one_process_are_told(
    connect: Connect, store: Store, bob: str
) -> None:
    """Behind the messages that were acked, and of the acks of a request too."""
    mailboxes, ear = await listening(connect, store, bob, "one", "two")
    acked = []
    for origin in ("one", "two", ""):
        acked.append((await deliver(mailboxes, bob), origin))
        answer = await mailboxes.acknowledge(bob, acked[-1][0], origin=origin, count=False)
        assert answer == Acknowledged(1, -1)
    await until(lambda: len(ear.heard) == 6)
    assert ear.what() == ["published", "acknowledged"] * 3
    assert [heard.details for heard in ear.heard[1::2]] == acked


async def test_an_ack_of_a_request_is_told_to_the_only_session(
    connect: Connect, store: Store, bob: str
) -> None:
    """For that session did not do it."""
    mailboxes, ear = await listening(connect, store, bob, "one")
    id = await deliver(mailboxes, bob)
    await mailboxes.acknowledge(bob, [id])
    await until(lambda: ear.what() == ["published", "acknowledged"])


async def test_other_processes_are_told(connect: Connect, store: Store, bob: str) -> None:
    """Each of the two, of what the only session of the other acked."""
    mailboxes, ear = await listening(connect, store, bob, "one")
    others, other = await listening(connect, store, bob, "two")
    first = await deliver(mailboxes, bob)
    await mailboxes.acknowledge(bob, first, origin="one")
    second = await deliver(mailboxes, bob)
    await others.acknowledge(bob, [second], origin="two")
    await until(lambda: len(ear.heard) == len(other.heard) == 4)
    acked = [(first, "one"), ([second], "two")]
    assert [heard.details for heard in ear.heard[1::2]] == acked
    assert [heard.details for heard in other.heard[1::2]] == acked


async def test_other_processes_are_told_by_one_that_does_not_hear(
    connect: Connect, store: Store, bob: str
) -> None:
    """One listener in the store is not taken for the caller, as after a lost connection."""
    others, other = await listening(connect, store, bob, "two")
    deaf = Ear()
    deaf.sessions = ["one"]
    mailboxes = await connect(store, deaf)
    id = await deliver(others, bob)
    await mailboxes.acknowledge(bob, id, origin="one")
    await until(lambda: other.what() == ["published", "acknowledged"])


@pytest.mark.parametrize(("count", "unread"), [(True, 0), (False, -1)])
async def test_who_comes_while_the_store_is_asked_is_told(
    connect: Connect, store: Store, bob: str, count: bool, unread: int
) -> None:
    """It may have opened the mailbox before the ack, and holds what is gone."""
    mailboxes, ear = await listening(connect, store, bob, "one")
    id = await deliver(mailboxes, bob)
    await until(lambda: ear.what() == ["published"])
    answer = mailboxes.acknowledge(bob, id, origin="one", count=count)
    ear.sessions.append("two")
    assert Acknowledged(1, unread) == await answer
    assert ear.heard[1].details == (id, "one")


async def test_who_comes_while_many_are_removed_in_several_calls_is_told(
    connect: Connect, store: Store, bob: str
) -> None:
    """The last call finds nothing left to remove, and all of it was said to nobody."""
    mailboxes, ear = await listening(connect, store, bob, "one")
    entries = [entry(bob) for _ in range(999)]
    [*_, result] = await mailboxes.accept([*entries, entry(bob, ttl=60)])  # an odd one
    assert isinstance(result, Accepted)
    last = id_of(result)
    await until(lambda: len(ear.messages(bob)) == 1000)
    answer = mailboxes.acknowledge(bob, last, origin="one")
    ear.sessions.append("two")
    assert Acknowledged(1000, 0) == await answer
    assert ear.heard[-1].details == (last, "one")
