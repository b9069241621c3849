"""Promise: the owner says who may write, and the store holds everybody to it at once."""

import asyncio

import pytest

from pushd.errors import Forbidden, MailboxFull, PushdError, UnknownMailbox
from pushd.mailbox.base import Quota, Stale, Verdicts
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import START
from pushd.protocol.messages import Accepted
from tests.contract.conftest import Connect
from tests.contract.stores import ALICE, CAROL, entry, id_of, unread
from tests.stores import Server

REFUSE_ALL = Verdicts(b"none", others=False, senders={})
TEN = Quota(messages=10, bytes=10**6, dedup=3600)


def only(*allowed: str, others: bool = False) -> Verdicts:
    """Make a policy that allows some."""
    return Verdicts(b"some", others=others, senders=dict.fromkeys(allowed, True))


async def outcome(
    mailboxes: RedisMailboxes, bob: str, sender: str = ALICE, key: str | None = None
) -> type[Accepted | PushdError | Stale]:
    """Deliver, and tell as what that ended."""
    [result] = await mailboxes.accept([entry(bob, sender=sender, key=key)])
    return type(result)


async def test_a_mailbox_has_no_policy_until_its_owner_says_one(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """Then that is told, word for word, until it is taken away."""
    await mailboxes.open(bob, create=True)
    assert await mailboxes.policy(bob) == b""
    await mailboxes.set_policy(bob, REFUSE_ALL)
    assert await mailboxes.policy(bob) == b"none"
    assert await outcome(mailboxes, bob) is Forbidden
    await mailboxes.set_policy(bob, None)
    assert await mailboxes.policy(bob) == b""
    assert await outcome(mailboxes, bob) is Accepted


async def test_a_policy_needs_a_mailbox(mailboxes: RedisMailboxes, bob: str) -> None:
    """It is the owner's visit that opens one."""
    with pytest.raises(UnknownMailbox):
        await mailboxes.policy(bob)
    with pytest.raises(UnknownMailbox):
        await mailboxes.set_policy(bob, REFUSE_ALL)


async def test_each_sender_has_a_verdict_and_all_others_one(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """In one call, each delivery is judged by its own sender."""
    await mailboxes.open(bob, create=True)
    senders = [ALICE, CAROL, "did:test:other"]
    said: dict[str, bool | None] = {ALICE: True, CAROL: False}
    for others, last in ((True, Accepted), (False, Forbidden)):
        await mailboxes.set_policy(bob, Verdicts(b"%d" % others, others, said))
        results = await mailboxes.accept([entry(bob, sender=sender) for sender in senders])
        assert [Accepted, Forbidden, last] == [type(result) for result in results]


async def test_a_policy_counts_at_once_for_every_process(
    connect: Connect, server: Server, bob: str
) -> None:
    """What is accepted after it was answered has passed it, whoever accepts."""
    one, other = await connect(server), await connect(server)
    await one.open(bob, create=True)
    assert await outcome(other, bob) is Accepted
    await one.set_policy(bob, REFUSE_ALL)
    assert await outcome(other, bob) is Forbidden
    await other.set_policy(bob, only(ALICE))
    assert await outcome(one, bob) is Accepted


async def test_a_policy_is_for_what_comes_not_for_what_is_there(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """What was accepted stays so, for a retry too; what is refused is not remembered."""
    await mailboxes.open(bob, create=True)
    [first] = await mailboxes.accept([entry(bob, key="k")])
    await mailboxes.set_policy(bob, REFUSE_ALL)
    assert isinstance(first, Accepted)
    assert await unread(mailboxes, bob) == [id_of(first)]
    assert await mailboxes.accept([entry(bob, key="k")]) == [Accepted(first.id, bob, True)]
    assert await outcome(mailboxes, bob, key="new") is Forbidden
    await mailboxes.set_policy(bob, None)
    [result] = await mailboxes.accept([entry(bob, key="new")])
    assert isinstance(result, Accepted)
    assert not result.duplicate


async def test_a_refusal_is_no_overflow(connect: Connect, server: Server, bob: str) -> None:
    """Nor does a blocked sender learn that the mailbox is full."""
    mailboxes = await connect(server, quota=TEN)
    await mailboxes.open(bob, create=True)
    for number in range(10):
        assert await outcome(mailboxes, bob, f"did:test:{number}") is Accepted
    await mailboxes.set_policy(bob, Verdicts(b"x", others=True, senders={ALICE: False}))
    assert await outcome(mailboxes, bob) is Forbidden
    assert (await mailboxes.open(bob, create=False)).overflow is None
    assert await outcome(mailboxes, bob, CAROL) is MailboxFull


async def test_a_policy_survives_a_restart_and_a_lost_state(
    connect: Connect, own_server: Server, bob: str
) -> None:
    """A mailbox does not open itself to everybody, whatever happened to the store."""
    mailboxes = await connect(own_server)
    await mailboxes.open(bob, create=True)
    await mailboxes.set_policy(bob, only(CAROL))
    own_server.restart()
    mailboxes = await connect(own_server)
    assert await outcome(mailboxes, bob) is Forbidden
    with own_server.client() as client:
        client.delete(f"pushd:{{{bob}}}:m")
    await mailboxes.open(bob, create=True)
    assert await outcome(mailboxes, bob) is Forbidden
    assert await outcome(mailboxes, bob, CAROL) is Accepted


async def test_a_policy_lives_as_long_as_its_mailbox(
    mailboxes: RedisMailboxes, server: Server, bob: str
) -> None:
    """It does not expire before the state that says that there is one."""
    await mailboxes.open(bob, create=True)
    await mailboxes.set_policy(bob, REFUSE_ALL)
    with server.client() as client:
        key = f"pushd:{{{bob}}}"
        assert client.ttl(f"{key}:p") > client.ttl(f"{key}:m") > 90 * 86400


async def test_a_long_policy_is_kept_whole(mailboxes: RedisMailboxes, bob: str) -> None:
    """Thousands of verdicts, more than one command takes."""
    await mailboxes.open(bob, create=True)
    said = {f"did:test:{number}": number % 2 == 0 for number in range(2000)}
    await mailboxes.set_policy(bob, Verdicts(b"x" * 100_000, others=True, senders=said))
    for number in (0, 1, 998, 999, 1000, 1001, 1998, 1999):
        expected = Accepted if number % 2 == 0 else Forbidden
        assert await outcome(mailboxes, bob, f"did:test:{number}") is expected
    assert len(await mailboxes.policy(bob)) == 100_000


async def test_many_policies_travel_in_one_call(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """Calls of one tick are joined; each mailbox gets its own."""
    names = [f"{bob}-{number}" for number in range(3)]
    await asyncio.gather(*[mailboxes.open(name, create=True) for name in names])
    policies = [only(ALICE, CAROL), None, only(CAROL)]
    await asyncio.gather(*map(mailboxes.set_policy, names, policies))
    found = [await outcome(mailboxes, name) for name in names]
    assert [Accepted, Accepted, Forbidden] == found


# --- names ---------------------------------------------------------------------------


async def test_stale_names_decide_nothing(
    mailboxes: RedisMailboxes, server: Server, bob: str
) -> None:
    """Until they are looked up anew, which counts only if the policy is still the same."""
    await mailboxes.open(bob, create=True)
    old = Verdicts(b"old", others=False, senders={ALICE: True}, fresh=600)
    await mailboxes.set_policy(bob, old)
    assert await outcome(mailboxes, bob) is Accepted
    with server.client() as client:
        client.hset(f"pushd:{{{bob}}}:p", "@", 1)
    assert await outcome(mailboxes, bob) is Stale
    assert len(await unread(mailboxes, bob)) == 1
    other = Verdicts(b"other", others=False, senders={CAROL: True}, fresh=600)
    await mailboxes.set_policy(bob, other, instead=b"not this")
    assert await outcome(mailboxes, bob) is Stale
    await mailboxes.set_policy(bob, other, instead=b"old")
    assert await outcome(mailboxes, bob) is Forbidden
    assert await outcome(mailboxes, bob, CAROL) is Accepted


async def test_a_sender_of_whom_nobody_can_tell_waits(
    mailboxes: RedisMailboxes, bob: str
) -> None:
    """All others are judged meanwhile."""
    await mailboxes.open(bob, create=True)
    said: dict[str, bool | None] = {ALICE: None}
    await mailboxes.set_policy(bob, Verdicts(b"x", others=False, senders=said, fresh=10))
    assert await outcome(mailboxes, bob) is Stale
    assert await outcome(mailboxes, bob, CAROL) is Forbidden


# --- the share of those who are not allowed ------------------------------------------


async def test_others_leave_room_for_those_who_are_allowed(
    connect: Connect, server: Server, bob: str
) -> None:
    """Eight of ten are for all others together, until they have drained below four."""
    mailboxes = await connect(server, quota=TEN)
    await mailboxes.open(bob, create=True)
    await mailboxes.set_policy(bob, only(ALICE, others=True))
    for number in range(8):
        assert await outcome(mailboxes, bob, f"did:test:{number}") is Accepted
    assert await outcome(mailboxes, bob, CAROL) is MailboxFull
    assert await outcome(mailboxes, bob) is Accepted
    ids = await unread(mailboxes, bob)
    await mailboxes.acknowledge(bob, ids[:4])
    assert await outcome(mailboxes, bob, CAROL) is MailboxFull
    await mailboxes.acknowledge(bob, ids[4:5])
    assert await outcome(mailboxes, bob, CAROL) is Accepted


async def test_where_nobody_is_allowed_by_name_all_is_for_everybody(
    connect: Connect, server: Server, bob: str
) -> None:
    """Room is kept only for whom it could be."""
    mailboxes = await connect(server, quota=TEN)
    await mailboxes.open(bob, create=True)
    await mailboxes.set_policy(bob, Verdicts(b"x", others=True, senders={ALICE: False}))
    for number in range(10):
        assert await outcome(mailboxes, bob, f"did:test:{number}") is Accepted


async def test_a_share_is_counted_anew_under_another_policy(
    connect: Connect, server: Server, bob: str
) -> None:
    """Who is allowed from now on is no longer one of the others."""
    mailboxes = await connect(server, quota=TEN)
    await mailboxes.open(bob, create=True)
    senders = [f"did:test:{number}" for number in range(8)]
    await mailboxes.set_policy(bob, only(ALICE, others=True))
    for sender in senders:
        assert await outcome(mailboxes, bob, sender) is Accepted
    assert await outcome(mailboxes, bob, CAROL) is MailboxFull
    await mailboxes.set_policy(
        bob, Verdicts(b"more", others=True, senders=dict.fromkeys(senders, True))
    )
    assert await outcome(mailboxes, bob, CAROL) is Accepted
    page = await mailboxes.read(bob, after=START, limit=100)
    assert page.unread == 9
