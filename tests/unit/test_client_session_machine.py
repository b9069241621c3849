"""The client's session under every interleaving, and the planted bugs this must catch."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pushd.protocol.client import ClientSession
from pushd.protocol.ids import Cursor, MessageId
from pushd.protocol.ledger import Ledger, Owed, Progress
from pushd.protocol.messages import Ack
from tests.unit import machines
from tests.unit.client_world import World

SETTINGS = settings(machines.SETTINGS, stateful_step_count=50)
HUNT = settings(machines.HUNT, stateful_step_count=50)

OUTCOMES = st.sampled_from(["handled", "handled", "handled", "failed", "held"])
COUNT = st.integers(0, 3)


class Conversation(RuleBasedStateMachine):
    """Drops, replays, duplicates, slow listeners, other devices, crashes: in any order."""

    make: Callable[..., ClientSession] = ClientSession
    world: World

    @initialize(window=st.integers(1, 8), backlog=st.integers(0, 12))
    def begin(self, window: int, backlog: int) -> None:
        """A client begins with a mailbox that may hold messages."""
        self.world = World(type(self).make, window=window)
        self.world.accept(backlog)

    @rule(count=st.integers(1, 4))
    def accept(self, count: int) -> None:
        """Messages are accepted."""
        self.world.accept(count)

    @precondition(lambda self: self.world.socket is None)
    @rule(fails=st.sampled_from([False, False, False, True]))
    def connect(self, fails: bool) -> None:
        """The client connects and is greeted, or fails to connect."""
        if fails:
            self.world.fail_to_connect()
        else:
            self.world.connect()
            self.world.serve()

    @precondition(lambda self: self.world.socket)
    @rule(pushes=st.integers(0, 3), receives=st.integers(0, 8))
    def talk(self, pushes: int, receives: int) -> None:
        """Server and client take some of what is under way to them."""
        self.world.serve_all()
        for _ in range(pushes):
            self.world.push(3)
        self.world.receive_some(receives)

    @precondition(lambda self: self.world.socket and self.world.socket.to_server)
    @rule(ack_fails=st.booleans())
    def serve(self, ack_fails: bool) -> None:
        """The server takes one frame; the store may not answer."""
        self.world.serve(ack_fails)

    @precondition(lambda self: self.world.socket and self.world.socket.sent)
    @rule(index=st.integers(0, 20))
    def push_again(self, index: int) -> None:
        """The server sends a message twice."""
        self.world.push_again(index)

    @precondition(lambda self: self.world.running)
    @rule(indices=st.lists(st.integers(0, 20), min_size=1, max_size=4), outcome=OUTCOMES)
    def finish(self, indices: list[int], outcome: str) -> None:
        """Listeners are done."""
        for index in indices:
            if self.world.running:
                self.world.finish(index, outcome)

    @precondition(lambda self: self.world.held)
    @rule(index=st.integers(0, 20))
    def release(self, index: int) -> None:
        """The app acks what it had kept."""
        self.world.release(index)

    @rule(trouble=st.sampled_from(["drop", "epoch", "elsewhere", "crash", "tick"]), n=COUNT)
    def trouble(self, trouble: str, n: int) -> None:
        """Something goes wrong, or another device is quicker."""
        world = self.world
        match trouble:
            case "drop" if world.socket is not None:
                world.lose()
            case "epoch":
                world.new_epoch(resurrect=n)
            case "elsewhere":
                world.ack_elsewhere(n, by_id=n % 2 == 0)
            case "crash":
                world.crash(lag=n)
            case "tick":
                world.tick([1.0, 12.0, 40.0, 60.0][n])

    def teardown(self) -> None:
        """In the end everything was handled, acked, and nothing lost."""
        if hasattr(self, "world"):
            self.world.settle()


Conversation.TestCase.settings = SETTINGS
TestConversation = Conversation.TestCase


# --- the test of the test: each planted bug must be caught -----------------------------


class PassesTheUnhandled(Ledger):
    """The cursor is that of the last arrival, handled or not."""

    @property
    def cursor(self) -> Cursor | None:
        """Point that was reached."""
        return self._reached


class MovesWithDuplicates(Ledger):
    """A message that comes twice stands behind the second cursor."""

    def arrived(self, id: MessageId, epoch: int) -> bool:
        """Enter it, again if need be."""
        waited = id in self._waiting
        dispatch = super().arrived(id, epoch)
        if waited:
            self._waiting[id] = self._reached
        return dispatch


class AdoptsTooEarly(Ledger):
    """The cursor of `caught_up` counts at once."""

    def caught_up(self, cursor: Cursor) -> None:
        """Take it, whatever waits."""
        super().caught_up(cursor)
        self._waiting.clear()


class KeepsTheCursor(Ledger):
    """A replay is taken for a continuation."""

    def restart(self) -> None:
        """Go on from where it stood."""
        self.resume()


class AcksOnce(Ledger):
    """A duplicate of a handled message is dropped without another ack."""

    def arrived(self, id: MessageId, epoch: int) -> bool:
        """Enter it, and owe nothing."""
        owed = dict(self.owed.ids)
        dispatch = super().arrived(id, epoch)
        self.owed.ids = owed
        return dispatch


class AcksArrivals(Ledger):
    """An ack is owed before the listeners are done."""

    def arrived(self, id: MessageId, epoch: int) -> bool:
        """Enter it, and owe its ack."""
        self.owed.add(id)
        return super().arrived(id, epoch)


class ForgetsDuplicates(Ledger):
    """A handled message that comes again goes to the listeners again."""

    def handled(self, id: MessageId) -> None:
        """Owe an ack, and keep nothing in mind."""
        super().handled(id)
        self._handled.pop(id)


class ForgetsUnconfirmed(Owed):
    """Acks that were under way when the connection broke are not said again."""

    def lost(self) -> None:
        """Forget them."""
        self._unconfirmed.clear()


class AcksUptoTheLatest(Owed):
    """`upto` is used for the latest message handled, not for a prefix."""

    def frames(self, cursor: Cursor | None) -> list[Ack]:
        """Ack everything up to the latest."""
        latest = max(self.ids, default=None)
        return super().frames(None if latest is None else Cursor(latest, latest.epoch))


class SavesNoAcks(Owed):
    """Unconfirmed acks do not survive a restart."""

    def everything(self) -> tuple[list[MessageId], list[MessageId]]:
        """Return nothing to keep."""
        return [], []


def planted(bug: type[Ledger] | type[Owed]) -> Callable[..., ClientSession]:
    """Return a maker of sessions with a bug."""

    def make(*args: Any, progress: Progress, **options: Any) -> ClientSession:
        session = ClientSession(*args, progress=progress, **options)
        if issubclass(bug, Ledger):
            session._ledger = bug(progress)
        else:
            session._ledger.owed = bug(progress)
        return session

    return make


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "bug",
    [
        PassesTheUnhandled,
        MovesWithDuplicates,
        AdoptsTooEarly,
        KeepsTheCursor,
        AcksOnce,
        AcksArrivals,
        ForgetsDuplicates,
        ForgetsUnconfirmed,
        AcksUptoTheLatest,
        SavesNoAcks,
    ],
)
def test_a_planted_bug_is_caught(bug: type[Ledger] | type[Owed]) -> None:
    """Each of these mistakes is found by the machine above."""

    class Planted(Conversation):
        make = staticmethod(planted(bug))

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Planted, settings=HUNT)
