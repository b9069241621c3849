"""The session under every interleaving, and the planted bugs that this must catch."""

from collections.abc import Sequence

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pushd.protocol import session
from pushd.protocol.commands import Commands, ReadPage
from pushd.protocol.flow import State
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import MAX_WINDOW, Overflow, StoredMessage
from pushd.protocol.reads import Reads
from pushd.protocol.session import ServerSession
from tests.unit.machines import HUNT, SETTINGS
from tests.unit.session_world import NOW, World


class PerfectBus(RuleBasedStateMachine):
    """Every publication arrives, so no tail check may be needed."""

    make: type[ServerSession] = ServerSession
    kind: type[World] = World
    world: World
    bus_first: bool

    @initialize(
        window=st.integers(1, 8),
        backlog=st.integers(0, 12),
        after=st.none() | st.integers(0, 12),
        bus_first=st.booleans(),
    )
    def begin(self, window: int, backlog: int, after: int | None, bus_first: bool) -> None:
        """A client says hello to a mailbox with a backlog."""
        self.bus_first = bus_first
        after = None if after is None or after > backlog else after
        self.world = self.kind(self.make, window=window, backlog=backlog, after=after)

    @rule(count=st.integers(1, 3))
    def accept(self, count: int) -> None:
        """Messages are accepted."""
        self.world.accept(count)

    @precondition(lambda self: self.world.commands)
    @rule()
    def execute(self) -> None:
        """The store executes a command."""
        self.world.execute()

    @precondition(lambda self: self.world.answers)
    @rule()
    def land(self) -> None:
        """An answer of the store lands."""
        self.world.land()

    @precondition(lambda self: self.world.bus)
    @rule()
    def publish(self) -> None:
        """A publication arrives."""
        self.world.publish()

    @precondition(lambda self: self.world.bus)
    @rule()
    def postpone(self) -> None:
        """A publication arrives while nothing may be pushed."""
        self.world.postpone()

    @precondition(
        lambda self: self.world.commands and isinstance(self.world.commands[0], ReadPage)
    )
    @rule()
    def fail_read(self) -> None:
        """A page is refused while nothing may be pushed."""
        self.world.fail_read()

    @rule()
    def tick(self) -> None:
        """Time passes."""
        self.world.tick()

    @rule(share=st.floats(0, 1))
    def see(self, share: float) -> None:
        """The client saw some of what it was sent."""
        self.world.see(share)

    @rule(share=st.floats(0, 1), upto=st.booleans())
    def ack(self, share: float, upto: bool) -> None:
        """The client acks."""
        self.world.ack(share, upto=upto)

    @precondition(lambda self: self.world.mailbox.unread)
    @rule(share=st.floats(0, 0.99), upto=st.booleans())
    def ack_elsewhere(self, share: float, upto: bool) -> None:
        """Another device acks, perhaps what was not sent here yet."""
        unread = self.world.mailbox.unread
        id = unread[int(share * len(unread))]
        self.world.remove(id if upto else [id], origin="another")

    @rule()
    def pause(self) -> None:
        """The transport is full."""
        self.world.carry_out(self.world.session.paused(70_000, NOW))

    @rule()
    def resume(self) -> None:
        """The transport has drained."""
        self.world.carry_out(self.world.session.resumed())

    def teardown(self) -> None:
        """At rest, nothing is missing."""
        if hasattr(self, "world"):
            self.world.settle(bus_first=self.bus_first, tail_check=False)
            assert not self.world.client.closed, "nobody is sent away"


class CalmBus(PerfectBus):
    """Messages come one by one, and arrive at once, as almost always."""

    @precondition(lambda self: self.world.subscribed and not self.world.bus)
    @rule()
    def arrive(self) -> None:
        """A message is accepted and arrives at once, as almost always."""
        self.world.accept(1)
        self.world.publish()


class LossyBus(PerfectBus):
    """Publications get lost and epochs change; the tail check finds out."""

    @precondition(lambda self: self.world.bus)
    @rule()
    def lose(self) -> None:
        """A publication is lost; of an ack too, its messages are gone all the same."""
        self.world.bus.popleft()

    @rule()
    def new_epoch(self) -> None:
        """The store restarts."""
        self.world.mailbox.new_epoch()

    @rule()
    def check_tail(self) -> None:
        """The periodic comparison happens."""
        self.world.check_tail()

    def teardown(self) -> None:
        """At rest, after a tail check, nothing is missing and every epoch was told."""
        if hasattr(self, "world"):
            self.world.settle(bus_first=self.bus_first, tail_check=True)
            assert not self.world.client.closed, "nobody is sent away"


class BusyOthers(PerfectBus):
    """Others ack more than a reader that takes nothing is told; the limit is set to 1."""

    @invariant()
    def keep_little(self) -> None:
        """What waits to be told has a bound."""
        if hasattr(self, "world"):
            assert len(self.world.session._reads or ()) <= 1

    def teardown(self) -> None:
        """At rest, nothing is missing; or the client was sent away, and will come back."""
        if hasattr(self, "world"):
            self.world.settle(bus_first=self.bus_first, tail_check=False)


class LostWakeUp(ServerSession):
    """Bug: what is published while a page is under way is forgotten."""

    __slots__ = ()

    def _keep(self, messages: Sequence[StoredMessage]) -> None:
        pass


class Reordering(ServerSession):
    """Bug: live messages are sent before the history is."""

    __slots__ = ()

    def published(self, messages: Sequence[StoredMessage]) -> Commands:
        """Send at once."""
        if self.state is State.CATCHUP:
            return self._send(messages)
        return super().published(messages)


class NeverReadLater(ServerSession):
    """Bug: what could not be pushed is left in the mailbox for good."""

    __slots__ = ()

    def postponed(self, messages: Sequence[StoredMessage], now: float) -> Commands:
        """Forget it."""
        return []


class DoublePush(ServerSession):
    """Bug: after a lag, what the page held is pushed again from the gate."""

    __slots__ = ()

    def _arrive(
        self,
        tail: MessageId,
        unread: int,
        overflow: Overflow | None,
        gate: Sequence[StoredMessage] | None,
    ) -> Commands:
        commands = super()._arrive(tail, unread, overflow, gate)
        return commands + self._send(gate or [])


class ForgottenReads(ServerSession):
    """Bug: what is acked elsewhere while it cannot be told is never told."""

    __slots__ = ()

    def acknowledged(self, what: Sequence[MessageId] | MessageId, origin: str) -> Commands:
        """Forget it."""
        return [] if self._blocked_since else super().acknowledged(what, origin)


class HoardedReads(ServerSession):
    """Bug: what is acked elsewhere is kept, however much it is."""

    __slots__ = ()

    def acknowledged(self, what: Sequence[MessageId] | MessageId, origin: str) -> Commands:
        """Keep it."""
        if not self._blocked_since:
            return super().acknowledged(what, origin)
        self._reads = self._reads or Reads()
        self._reads.add(what)
        return []


class WindowOverrun(ServerSession):
    """Bug: what was sent and not seen does not count."""

    __slots__ = ()

    @property
    def _room(self) -> int:
        return 0 if self._blocked_since else self.window


class TakenWithoutRoom(ServerSession):
    """Bug: a message that comes alone is sent whatever the client has seen."""

    __slots__ = ()

    def takes(self, id: MessageId) -> bool:
        """Send it as if the window were as large as can be."""
        window, self.window = self.window, MAX_WINDOW
        taken = super().takes(id)
        self.window = window
        return taken


class EpochTakenForGap(ServerSession):
    """Bug: a message of a new epoch looks like a gap, and is simply read."""

    __slots__ = ()

    def _reopen(self, reason: str) -> Commands:
        self.state = State.LAGGING
        return self._pull()

    def page(
        self,
        messages: Sequence[StoredMessage],
        complete: bool,
        tail: MessageId,
        unread: int,
        overflow: Overflow | None,
    ) -> Commands:
        """Take the new epoch for granted."""
        self.epoch = tail.epoch
        return super().page(messages, complete, tail, unread, overflow)


def test_nothing_is_lost_repeated_reordered_or_overrun() -> None:
    """No interleaving breaks a promise, and none needs the tail check to hold it."""
    run_state_machine_as_test(PerfectBus, settings=SETTINGS)


def test_what_comes_one_by_one_is_taken_in_order() -> None:
    """The short way of a message holds every promise, among whatever else happens."""
    run_state_machine_as_test(CalmBus, settings=SETTINGS)


def test_lost_publications_and_new_epochs_are_found() -> None:
    """Whatever the bus loses and however often the store restarts, all is sent and told."""
    run_state_machine_as_test(LossyBus, settings=SETTINGS)


def test_what_others_ack_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The acks of others are told, or kept; beyond a limit the session ends."""
    monkeypatch.setattr(session, "READS_LIMIT", 1)
    run_state_machine_as_test(BusyOthers, settings=SETTINGS)


@pytest.mark.parametrize(
    ("machine", "bug"),
    [
        (PerfectBus, LostWakeUp),
        (PerfectBus, Reordering),
        (PerfectBus, NeverReadLater),
        (PerfectBus, DoublePush),
        (PerfectBus, ForgottenReads),
        (BusyOthers, HoardedReads),
        (PerfectBus, WindowOverrun),
        (CalmBus, TakenWithoutRoom),
        (LossyBus, EpochTakenForGap),
    ],
)
def test_a_planted_bug_is_caught(
    machine: type[PerfectBus], bug: type[ServerSession]
) -> None:
    """Each bug planted on purpose makes the property fail, so the property can fail."""
    planted = type("Planted", (machine,), {"make": bug})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(planted, settings=HUNT)
