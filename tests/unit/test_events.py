"""An event stream's session: every promise of a session, without a word of its client."""

import pytest
from hypothesis.stateful import run_state_machine_as_test

from pushd.errors import BadRequest
from pushd.protocol.closing import CloseCode
from pushd.protocol.commands import Authenticate, Close, Open, ReadPage, Send
from pushd.protocol.events import EventSession, event, messages_event
from pushd.protocol.flow import State
from pushd.protocol.ids import Cursor, MessageId
from pushd.protocol.messages import CaughtUp, Closing, Expiring, Pong, Read, Welcome
from pushd.protocol.session import ServerSession
from tests.unit.machines import HUNT, SETTINGS
from tests.unit.session_steps import E1, ids
from tests.unit.session_world import BOB, NOW, TERMS, World, stored
from tests.unit.test_session_machine import LossyBus, PerfectBus


def requested(after: str | None = None) -> EventSession:
    """Return a session whose request was authenticated."""
    session = EventSession("s1", TERMS, now=NOW)
    session.requested(after, None)
    session.authenticated(BOB, NOW + 3600, NOW)
    return session


def live() -> EventSession:
    """Return a session that is caught up with an empty mailbox."""
    session = requested()
    session.opened(MessageId(E1, 0), 0, (), None)
    assert session.state is State.LIVE
    return session


# --- events --------------------------------------------------------------------------


def test_an_event_is_a_frame_under_its_name() -> None:
    """One line of JSON, the very frame of the websocket."""
    assert event(Pong(ref=1)) == b'event: pong\ndata: {"type":"pong","ref":1}\n\n'


def test_events_with_a_cursor_have_it_as_id() -> None:
    """Messages and the end of a history are where a client may go on from."""
    pushed = messages_event([stored(MessageId(E1, 7))], Cursor(MessageId(E1, 7), 107))
    caught_up = event(CaughtUp(tail="107-0", cursor="107-0", unread=1))

    assert pushed == (
        b'event: messages\nid: 100-7@107\ndata: {"type":"messages","messages":'
        b'[{"id":"100-7"}],"cursor":"100-7@107"}\n\n'
    )
    assert caught_up.startswith(b"event: caught_up\nid: 107-0\ndata: ")
    assert b"id:" not in event(Read(upto="100-7")).replace(b'"', b"")


def test_a_closing_tells_browsers_too_when_to_come_back() -> None:
    """In whole milliseconds, as `retry`."""
    closing = Closing(reason="restarting", retry_after=1.7064, reconnect=True)

    assert b"\nretry: 1706\n" in event(closing)


# --- the request ---------------------------------------------------------------------


def test_a_request_is_authenticated_opened_and_welcomed() -> None:
    """Its one word stands for a hello."""
    session = EventSession("s1", TERMS, now=NOW)
    assert session.requested("100-2", "phone") == [Authenticate(None)]
    assert session.authenticated(BOB, NOW + 3600, NOW) == [Open(())]
    commands = session.opened(MessageId(E1, 4), 2, (), None)
    assert isinstance(commands[0], Send)
    assert isinstance(commands[0].frame, Welcome)
    assert commands[0].frame.continuity == "exact"
    assert commands[1] == ReadPage(MessageId(E1, 2), 100)
    assert session.device == "phone"


@pytest.mark.parametrize(
    ("after", "device"), [("1", None), ("", None), (None, ""), (None, "tv\n"), (None, "é")]
)
def test_a_malformed_request_is_refused(after: str | None, device: str | None) -> None:
    """Before anything is asked of anybody."""
    with pytest.raises(BadRequest):
        EventSession("s1", TERMS, now=NOW).requested(after, device)


def test_the_proof_of_a_name_may_take_its_time() -> None:
    """Nothing is due before the owner is known; what proves names has its own limits."""
    session = EventSession("s1", TERMS, now=NOW)
    session.requested(None, None)

    assert session.deadline == float("inf")


# --- flow ----------------------------------------------------------------------------


def test_no_promise_is_broken_without_a_word_of_the_client() -> None:
    """Whatever is interleaved, and without the tail check."""
    run_state_machine_as_test(_events(PerfectBus, EventSession), settings=SETTINGS)


def test_lost_publications_and_new_epochs_are_found() -> None:
    """Whatever the bus loses and however often the store restarts, all is sent and told."""
    run_state_machine_as_test(_events(LossyBus, EventSession), settings=SETTINGS)


def test_a_planted_bug_is_caught() -> None:
    """A session that waits for a `seen` would stop for ever; the property finds it."""

    class Waiting(EventSession):
        """Bug: what was sent and not seen counts."""

        __slots__ = ()
        _send = ServerSession._send

        @property
        def _room(self) -> int:
            return super()._room - len(self._unseen or ())

    with pytest.raises(AssertionError):
        run_state_machine_as_test(_events(PerfectBus, Waiting), settings=HUNT)


def test_a_full_transport_is_pushed_to_again_once_it_drained() -> None:
    """What was accepted meanwhile is read as it drains."""
    session = live()
    session.paused(70_000, NOW)

    assert session.published([stored(id) for id in ids(1, 2)]) == []
    assert session.state is State.LAGGING
    assert session.resumed() == [ReadPage(MessageId(E1, 0), 100)]


# --- time ----------------------------------------------------------------------------


def test_a_token_that_ends_is_told_before_and_closes() -> None:
    """Without an `error`: a browser's EventSource means something else by that name."""
    session = live()
    at = NOW + 3600
    commands = session.tick(at - 59, at - 59, 0)
    assert Send(Expiring(at=int(at))) in commands
    assert session.tick(at, at, 0) == [
        Send(Closing(reason="token_expired", retry_after=0.0, reconnect=True)),
        Close(CloseCode.UNAUTHORIZED, "token_expired"),
    ]


def test_who_takes_nothing_for_two_intervals_is_gone() -> None:
    """As with a websocket, only that taking is what counts as heard."""
    session = live()

    assert session.tick(NOW + 50, NOW, 0)[-1] == Close(CloseCode.TIMEOUT, "silent")


# --- the world of one event stream ---------------------------------------------------


class EventWorld(World):
    """A world in which the client only takes; its acks come another way."""

    def greet(self, window: int, after: str | None) -> None:
        """Make the request; there is no window to overrun."""
        self.client.window = 1_000_000
        assert isinstance(self.session, EventSession)
        self.carry_out(self.session.requested(after, None))

    def see(self, share: float) -> None:
        """Say nothing."""

    def ack(self, share: float, *, upto: bool) -> None:
        """Ack over HTTP one message that was sent, or everything up to it."""
        if self.client.sent:
            id = self.client.sent[int(share * (len(self.client.sent) - 1))]
            self.remove(id if upto else [id], origin="")


def _events(machine: type[PerfectBus], make: type[EventSession]) -> type[PerfectBus]:
    """Return the machine for sessions of this kind."""
    return type("Machine", (machine,), {"make": make, "kind": EventWorld})
