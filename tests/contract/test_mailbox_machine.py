"""A mailbox of a real store against a simple model of it, through whatever happens.

Accepts with and without keys, retries, conflicts, acks in both forms, pages, refusals, and
interruptions that begin a new epoch, in any order. The quota is small, so that fullness
and shares are ordinary.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pushd.errors import KeyConflict, MailboxFull, PushdError
from pushd.mailbox.base import Quota
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import START, MessageId
from pushd.protocol.messages import Accepted
from tests.contract.stores import Ear, entry, id_of, until
from tests.stores import Server

T = TypeVar("T")

MESSAGES = 8
QUOTA = Quota(messages=MESSAGES, bytes=10**9, dedup=10**6)
SENDERS = [f"did:test:{name}" for name in ("ann", "ben", "cid")]

senders = st.sampled_from(SENDERS)
payloads = st.sampled_from(["one", "two"])
keys = st.none() | st.sampled_from([str(number) for number in range(40)])


class Model:
    """What a mailbox should be, in the words of the protocol."""

    def __init__(self) -> None:
        self.unread: dict[MessageId, str] = {}
        self.keys: dict[tuple[str, str], tuple[str, MessageId]] = {}
        self.tail: MessageId | None = None  # None: a new epoch begins at the next look
        self.refusing = False
        self.counting = False
        self.over_share: set[str] = set()
        self.refused = 0
        self.told = 0

    def accept(
        self, sender: str, payload: str, key: str | None
    ) -> MessageId | type[PushdError]:
        """Tell the id a delivery should get, `START` for the next, or its refusal."""
        refused = self._is_full() or self._has_its_share(sender)
        if key is not None:
            known = self.keys.get((sender, key))
            if known is not None:
                return known[1] if known[0] == payload else KeyConflict
            refused = refused or len(self.keys) >= 4 * MESSAGES
        if refused:
            self.refused += 1
            return MailboxFull
        return START

    def _is_full(self) -> bool:
        if len(self.unread) < MESSAGES / 2:
            self.refusing = False
        if len(self.unread) + 1 > MESSAGES:
            self.refusing = True
        return self.refusing

    def _has_its_share(self, sender: str) -> bool:
        self.counting = self.counting or len(self.unread) + 1 > MESSAGES / 2
        held = list(self.unread.values()).count(sender)
        if self.counting and held + 1 > MESSAGES / 2:
            self.over_share.add(sender)
        elif held < MESSAGES / 4:
            self.over_share.discard(sender)
        return self.counting and sender in self.over_share

    def remove(self, ids: list[MessageId]) -> int:
        """Remove messages; tell how many were there."""
        removed = [self.unread.pop(id) for id in dict.fromkeys(ids) if id in self.unread]
        if removed and len(self.unread) < MESSAGES / 2:
            self.refusing = False
        if removed and len(self.unread) < MESSAGES / 4:
            self.counting = False
            self.over_share.clear()
        return len(removed)


class Machine(RuleBasedStateMachine):
    """Does the same to a mailbox and to its model."""

    server: ClassVar[Server]
    runner: ClassVar[asyncio.Runner]
    mailboxes: ClassVar[RedisMailboxes]
    ear: ClassVar[Ear]

    def run(self, work: "Coroutine[Any, Any, T] | asyncio.Future[T]") -> T:
        """Wait for the store."""

        async def wait() -> T:
            return await work

        return self.runner.run(wait())

    @initialize()
    def begin(self) -> None:
        """Open a new mailbox and listen to it."""
        self.bob = f"did:test:{uuid4().hex}"
        self.model = Model()
        self.published: list[MessageId] = []
        self.run(self.mailboxes.subscribe(self.bob))
        self.model.tail = self.run(self.mailboxes.open(self.bob, create=True)).tail

    @rule(deliveries=st.lists(st.tuples(senders, payloads, keys), min_size=1, max_size=6))
    def accept(self, deliveries: list[tuple[str, str, str | None]]) -> None:
        """Deliver some in one call; each is answered as the model says."""
        entries = [
            entry(self.bob, text, sender=who, key=key) for who, text, key in deliveries
        ]
        results = self.run(self.mailboxes.accept(entries))
        for (sender, payload, key), result in zip(deliveries, results, strict=True):
            expected = self.model.accept(sender, payload, key)
            if expected is START:
                assert isinstance(result, Accepted)
                assert not result.duplicate
                self._next(id_of(result))
                self.model.unread[id_of(result)] = sender
                if key is not None:
                    self.model.keys[sender, key] = (payload, id_of(result))
            elif isinstance(expected, MessageId):
                assert result == Accepted(str(expected), self.bob, True)
            else:
                assert type(result) is expected

    def _next(self, id: MessageId) -> None:
        """Check that an id is the next one."""
        if self.model.tail is None:
            assert id.seq == 1
            assert all(id.epoch > old.epoch for old in self.published)
        else:
            assert id == MessageId(self.model.tail.epoch, self.model.tail.seq + 1)
        self.model.tail = id
        self.published.append(id)

    @rule(data=st.data())
    def acknowledge_ids(self, data: st.DataObject) -> None:
        """Ack some of all ids there ever were, and one that never was."""
        never = MessageId(1, 1)
        ids = data.draw(
            st.lists(st.sampled_from([never, *self.published]), min_size=1, max_size=6)
        )
        answer = self.run(self.mailboxes.acknowledge(self.bob, ids))
        assert answer.removed == self.model.remove(ids)
        assert answer.unread == len(self.model.unread)

    @rule(data=st.data(), beyond=st.sampled_from([0, 0, 0, 1]))
    def acknowledge_upto(self, data: st.DataObject, beyond: int) -> None:
        """Ack up to an id of any epoch, sometimes above what was assigned."""
        id = data.draw(st.sampled_from([START, *self.published]))
        upto = MessageId(id.epoch, id.seq + beyond)
        answer = self.run(self.mailboxes.acknowledge(self.bob, upto))
        above = self.model.tail is not None and upto > self.model.tail
        ids = [one for one in self.model.unread if one.epoch == upto.epoch and one <= upto]
        assert answer.removed == (0 if above else self.model.remove(ids))
        assert answer.unread == len(self.model.unread)

    @rule(data=st.data(), limit=st.integers(min_value=1, max_value=5))
    def read(self, data: st.DataObject, limit: int) -> None:
        """Read a page after any id."""
        after = data.draw(st.sampled_from([START, *self.published]))
        page = self.run(self.mailboxes.read(self.bob, after=after, limit=limit))
        following = [id for id in self.model.unread if id > after]
        assert [message.id for message in page.messages] == following[:limit]
        assert page.complete == (len(following) <= limit)
        assert page.unread == len(self.model.unread)
        self._sees(page.tail)

    @rule()
    def look(self) -> None:
        """Ask for the tail alone."""
        [tail] = self.run(self.mailboxes.tails([self.bob]))
        assert isinstance(tail, MessageId)
        self._sees(tail)

    def _sees(self, tail: MessageId) -> None:
        """Check a tail that the store tells."""
        if self.model.tail is None:
            assert tail.seq == 0
            assert all(tail.epoch > old.epoch for old in self.published)
            self.model.tail = tail
        assert tail == self.model.tail

    @rule()
    def interrupt(self) -> None:
        """Change the store's identity, as a restart or a promotion does."""
        with self.server.client() as client:
            client.execute_command("DEBUG", "CHANGE-REPL-ID")
        self.model.tail = None

    @rule()
    def tell(self) -> None:
        """Tell the owner of the overflow."""
        opened = self.run(self.mailboxes.open(self.bob, create=False))
        self._sees(opened.tail)
        model = self.model
        assert (opened.overflow.refused if opened.overflow else 0) == model.refused
        if opened.overflow is None:
            return
        self.mailboxes.told(self.bob, opened.overflow)
        if model.refusing:
            model.told = model.refused
        else:
            model.refused = model.told = 0

    @invariant()
    def keeps_what_it_should(self) -> None:
        """The unread are those of the model, in order, and what they hold fits."""
        if not hasattr(self, "bob"):
            return
        opened = self.run(
            self.mailboxes.open(self.bob, create=False, holding=self.published)
        )
        self._sees(opened.tail)
        assert opened.unread == len(self.model.unread)
        assert set(opened.gone) == set(self.published) - set(self.model.unread)
        assert list(self.model.unread) == sorted(self.model.unread)

    @rule()
    def hear(self) -> None:
        """Everything that was accepted is published, in order."""

        async def heard() -> None:
            await until(lambda: self.ear.messages(self.bob) == self.published)

        self.run(heard())

    def teardown(self) -> None:
        """Listen to the next mailbox only."""
        if hasattr(self, "bob"):
            self.mailboxes.unsubscribe(self.bob)
        self.ear.heard.clear()


def run(machine: type[Machine], server: Server, examples: int) -> None:
    """Let Hypothesis look for something in which a store and the model differ."""
    with asyncio.Runner() as runner:

        async def start() -> RedisMailboxes:
            mailboxes = RedisMailboxes(
                server.url, subscriber=machine.ear, quota=QUOTA, durability="fsync"
            )
            await mailboxes.start()
            return mailboxes

        machine.server, machine.runner, machine.ear = server, runner, Ear()
        machine.mailboxes = runner.run(start())
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(machine.mailboxes.close())


def test_the_store_does_as_the_model(server: Server) -> None:
    """Hypothesis finds nothing in which they differ."""
    run(Machine, server, 60)
