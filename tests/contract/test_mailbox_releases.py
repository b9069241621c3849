"""Promise: two releases share a store, and neither breaks what the other promised.

The other release is made of this one's library: it counts, in a number of its own behind
the state, what it accepted. That number is lost if this release does not leave alone what
it does not know.
"""

import asyncio
import struct

import pytest
from hypothesis.stateful import initialize, invariant, rule

from pushd.errors import StoreUnavailable
from pushd.mailbox.functions import MAILBOXES, Library, named, text_of
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import START, MessageId
from pushd.protocol.messages import Accepted
from tests.contract.conftest import Connect
from tests.contract.stores import entry, id_of, unread
from tests.contract.test_mailbox_machine import Machine, run
from tests.stores import Server

CHANGES = (
    ("BBBBBBBd'", "BBBBBBBdd'", 1),
    ("local SIZE = 16", "local SIZE = 8 + 16", 1),
    ("m_policy, m_format, m_pure\n", "m_policy, m_format, m_pure, m_laps\n", 1),
    ("m_pure =\n", "m_pure, m_laps =\n", 1),
    ("m_format, m_pure)", "m_format, m_pure, m_laps)", 1),
    ("= policy_of(), 0, 0\n", "= policy_of(), 0, 0\n  m_laps = 0\n", 1),
    (
        "  m_seq = m_seq + 1\n",
        "  m_seq, m_laps, m_changed = m_seq + 1, m_laps + 1, true\n",
        1,
    ),
)
"""How the other release differs, and in how many places."""


def other_release() -> Library:
    """Make the library of the other release."""
    text = text_of("functions.lua")
    for old, new, times in CHANGES:
        assert text.count(old) == times, old
        text = text.replace(old, new)
    return named(text)


OTHER = other_release()


def test_a_release_is_named_by_its_text() -> None:
    """So nothing can change without a new name, in the library and in its functions."""
    assert named(text_of("functions.lua")) == MAILBOXES
    assert OTHER.name != MAILBOXES.name
    assert named(text_of("functions.lua") + "\n").name != MAILBOXES.name
    assert MAILBOXES.code.count(MAILBOXES.name) > 5
    assert "VERSION" not in MAILBOXES.code


async def test_releases_keep_out_of_each_others_way(
    connect: Connect, own_server: Server, bob: str
) -> None:
    """Each finds its own library, whoever came first, and comes again."""
    with own_server.client() as client:
        client.function_load(OTHER.code)
        ours = await connect(own_server)
        await ours.open(bob, create=True)
        key = f"pushd:{{{bob}}}"
        theirs = client.fcall(f"{OTHER.name}_tails", 1, key)
        [tail] = await ours.tails([bob])
        assert theirs == [str(tail).encode()]
        again = await connect(own_server)
        assert [tail] == await again.tails([bob])
        assert client.fcall(f"{OTHER.name}_tails", 1, key) == theirs


class TwoReleases(Machine):
    """Upgrades, goes back and upgrades again, in the midst of everything."""

    newer: bool
    laps: int

    @initialize()
    def begin(self) -> None:
        """Begin with this release."""
        self.newer, self.laps = True, 0
        self.change_release()
        super().begin()

    @rule()
    def change_release(self) -> None:
        """Let the other release answer all calls from now on."""
        self.newer = not self.newer
        code = OTHER.code.replace(OTHER.name, MAILBOXES.name)
        with self.server.client() as client:
            client.function_load(code if self.newer else MAILBOXES.code, replace=True)

    def _next(self, id: MessageId) -> None:
        super()._next(id)
        self.laps += self.newer

    @invariant()
    def keeps_what_it_does_not_know(self) -> None:
        """What the other release counted is not lost."""
        if not hasattr(self, "bob"):
            return
        with self.server.client() as client:
            state = client.get(f"pushd:{{{self.bob}}}:m")
        assert isinstance(state, bytes)
        size = struct.calcsize("<16s9d7Bd")
        if len(state) == size:
            assert self.laps == 0
        else:
            assert struct.unpack_from("<d", state, size) == (self.laps,)


def test_two_releases_do_as_one(own_server: Server) -> None:
    """Calls of both, in any order, on the same mailboxes, keep every promise."""
    run(TwoReleases, own_server, 8)


async def test_a_new_epoch_keeps_what_a_release_does_not_know(
    connect: Connect, own_server: Server, bob: str
) -> None:
    """Nor is it lost when the state is written whole, as after a restart."""
    mailboxes = await connect(own_server)
    old = (await mailboxes.open(bob, create=True)).tail
    with own_server.client() as client:
        client.append(f"pushd:{{{bob}}}:m", b"to come")
        client.execute_command("DEBUG", "CHANGE-REPL-ID")
        [stored] = await mailboxes.accept([entry(bob)])
        assert isinstance(stored, Accepted)
        assert id_of(stored).epoch > old.epoch
        state = client.get(f"pushd:{{{bob}}}:m")
    assert isinstance(state, bytes)
    assert state.endswith(b"to come")


async def test_a_mailbox_of_a_format_to_come_is_left_alone(
    mailboxes: RedisMailboxes, server: Server, bob: str
) -> None:
    """All that is asked of it is refused in a sentence; other mailboxes go on."""
    other = f"{bob}-other"
    for mailbox in (bob, other):
        await mailboxes.open(mailbox, create=True)
        await mailboxes.accept([entry(mailbox)])
    state = f"pushd:{{{bob}}}:m"
    with server.client() as client:
        client.setrange(state, struct.calcsize("<16s9d6B"), b"\x02")
        before = client.get(state)
    refused, stored = await mailboxes.accept([entry(bob), entry(other)])
    assert isinstance(refused, StoreUnavailable)
    assert "newer release" in refused.detail
    assert isinstance(stored, Accepted)
    for asked in (
        mailboxes.open(bob, create=True),
        mailboxes.read(bob, after=START, limit=1),
        mailboxes.acknowledge(bob, id_of(stored)),
        mailboxes.policy(bob),
        mailboxes.set_policy(bob, None),
    ):
        with pytest.raises(StoreUnavailable, match="newer release"):
            await asyncio.ensure_future(asked)
    assert [None, id_of(stored)] == await mailboxes.tails([bob, other])
    with server.client() as client:
        assert client.get(state) == before
    assert len(await unread(mailboxes, other)) == 2
