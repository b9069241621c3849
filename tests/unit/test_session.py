"""What a session says and does from hello to close, event by event."""

import msgspec
import pytest

from pushd.errors import (
    BadRequest,
    Forbidden,
    MailboxFull,
    PushdError,
    StoreUnavailable,
    TooManySessions,
    Unauthorized,
)
from pushd.protocol.closing import CloseCode
from pushd.protocol.commands import (
    Accept,
    Acknowledge,
    Authenticate,
    Close,
    Open,
    Probe,
    Send,
)
from pushd.protocol.flow import State
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import (
    Accepted,
    Ack,
    Acked,
    AnyClientFrame,
    CaughtUp,
    Closing,
    Deliver,
    DeliveryAccepted,
    DeliveryRefused,
    ErrorFrame,
    Expiring,
    Hello,
    Ping,
    Pong,
    Renew,
    Renewed,
    Seen,
    Welcome,
)
from pushd.protocol.session import ServerSession
from tests.unit.session_steps import E1, frames, ids, live, messages, pushed
from tests.unit.session_world import BOB, NOW, TERMS


def test_a_hello_is_authenticated_opened_and_welcomed() -> None:
    """From hello to live over an empty mailbox, with every frame on the way."""
    session = ServerSession("s1", TERMS, now=NOW)
    assert session.received(Hello(token="t"), NOW) == [Authenticate("t")]
    assert session.authenticated(BOB, NOW + 3600, NOW) == [Open(())]
    assert session.opened(MessageId(E1, 0), 0, (), None) == [
        Send(
            Welcome(
                session="s1",
                mailbox=BOB,
                server=TERMS.server,
                unread=0,
                tail="100-0",
                continuity="replay",
                ping_interval=25,
                window=256,
            )
        ),
        Send(CaughtUp(tail="100-0", cursor="100-0", unread=0)),
    ]
    assert session.state is State.LIVE


def test_an_ack_is_no_command_while_nothing_else_depends_on_it() -> None:
    """A session that is behind may have to read on; a bad one is refused in any state."""
    session = live(Hello(token="t", window=1))
    assert session.acks(Ack(ids=["100-1", "100-2"])) == tuple(ids(1, 2))
    with pytest.raises(BadRequest):
        session.acks(Ack())
    session.published(messages(1, 2))
    assert session.state is State.LAGGING
    assert session.acks(Ack(upto="100-1")) is None


def test_an_ack_is_carried_out_and_answered_if_it_has_a_ref() -> None:
    """`acked` answers an ack with a ref, and only that."""
    session = live()
    session.published(messages(1, 2))
    assert session.received(Ack(ids=["100-1"], ref=7), NOW) == [
        Acknowledge((MessageId(E1, 1),), 7)
    ]
    assert session.acked(1, 7) == [Send(Acked(ref=7, removed=1))]
    assert session.acked(1, msgspec.UNSET) == []
    assert frames(session.ack_failed(StoreUnavailable(), 7, NOW)) == [
        ErrorFrame(
            code="store_unavailable", detail=StoreUnavailable.title, now=int(NOW), ref=7
        )
    ]


@pytest.mark.parametrize(
    "frame",
    [
        Ack(),
        Ack(ids=["100-1"], upto="100-1"),
        Ack(ids=[]),
        Ack(ids=["100-1"] * 1001),
        Ack(ids=["01-1"]),
        Ack(upto="100"),
        Seen(upto="-1-1"),
        Seen(upto="9007199254740992-1"),
        Hello(token="t"),
    ],
)
def test_a_bad_frame_is_told_and_closes(frame: AnyClientFrame) -> None:
    """What breaks the protocol is answered with an error and 4400."""
    commands = live().received(frame, NOW)
    assert [type(sent) for sent in frames(commands)] == [ErrorFrame, Closing]
    assert commands[-1] == Close(CloseCode.PROTOCOL_ERROR, "bad_request")


@pytest.mark.parametrize(
    "frame",
    [
        Seen(upto="1-1"),
        Ack(upto="1-1"),
        Ping(),
        Renew(token="t"),
        Deliver(to=BOB, payload="x", ref=1),
        Hello(token="t", window=0),
        Hello(token="t", window=1001),
        Hello(token="t", holding=["1-1"] * 1001),
        Hello(token="t", holding=["x"]),
        Hello(token="t", after="x"),
    ],
)
def test_the_first_frame_is_a_good_hello(frame: AnyClientFrame) -> None:
    """Before the hello nothing else counts, and a bad hello is refused."""
    commands = ServerSession("s1", TERMS, now=NOW).received(frame, NOW)
    assert commands[-1] == Close(CloseCode.PROTOCOL_ERROR, "bad_request")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unauthorized(), CloseCode.UNAUTHORIZED),
        (Forbidden(), CloseCode.FORBIDDEN),
        (TooManySessions(), CloseCode.TOO_MANY_SESSIONS),
        (StoreUnavailable(), CloseCode.OVERLOADED),
    ],
)
def test_a_refused_hello_closes_with_its_code(error: PushdError, code: CloseCode) -> None:
    """The close code of a refused hello says why."""
    session = ServerSession("s1", TERMS, now=NOW)
    session.received(Hello(token="t"), NOW)
    commands = session.refused(error, NOW)
    assert commands[-1] == Close(code, error.code)
    assert isinstance(frames(commands)[0], ErrorFrame)


def test_a_hello_that_never_comes_closes() -> None:
    """Ten seconds after the upgrade a silent client is let go."""
    session = ServerSession("s1", TERMS, now=NOW)
    assert session.tick(NOW + 9.9, NOW, 0) == []
    assert session.tick(NOW + 10, NOW, 0)[-1] == Close(CloseCode.TIMEOUT, "no hello")


def test_a_hello_is_in_time_however_long_its_name_takes_to_prove() -> None:
    """The client is pinged meanwhile, and not told that its token has expired."""
    session = ServerSession("s1", TERMS, now=NOW)
    session.received(Hello(token="t"), NOW + 9)
    assert session.tick(NOW + 10, NOW + 9, 0) == [Probe()]
    assert session.deadline == NOW + 35
    session.clock_set(-3600, NOW - 3585)
    assert session.tick(session.deadline, NOW - 3585, 0) == [Probe()]
    assert session.authenticated(BOB, NOW + 3600, NOW - 3550) == [Open(())]


def test_a_session_pings_and_gives_up_after_two_silent_intervals() -> None:
    """Each interval brings a ping; fifty seconds of silence end the session."""
    session = live()
    assert session.tick(NOW + 25, NOW, 0) == [Probe()]
    assert session.tick(NOW + 50, NOW + 26, 0) == [Probe()]
    commands = session.tick(NOW + 76, NOW + 26, 0)
    assert commands[-1] == Close(CloseCode.TIMEOUT, "silent")


@pytest.mark.parametrize("jump", [-3600.0, 7200.0])
def test_a_clock_that_is_set_keeps_a_session(jump: float) -> None:
    """It pings as before, and looks no more silent; its token ends when it says."""
    session = live()
    now = NOW + 20 + jump
    session.clock_set(jump, now)
    assert session.deadline <= now + 5
    if jump < 0:
        assert session.tick(now + 5, now, 0) == [Probe()]
        assert session.tick(now + 30, now + 6, 0) == [Probe()]
        assert session.tick(now + 56, now + 6, 0)[-1] == Close(CloseCode.TIMEOUT, "silent")
    else:
        closing = Close(CloseCode.UNAUTHORIZED, "token_expired")
        assert session.tick(now, now, 0)[-1] == closing


def test_all_that_runs_begins_anew_when_the_clock_is_set() -> None:
    """A hello has its time, what is stuck gets as long again, a drain goes on."""
    session = ServerSession("s1", TERMS, now=NOW)
    session.clock_set(-3600, NOW - 3595)
    assert session.deadline == NOW - 3585
    session = live()
    session.paused(70_000, NOW)
    session.clock_set(-3600, NOW - 3595)
    assert session.tick(NOW - 3590, NOW - 3595, 70_000) == []
    session = live()
    session.drain(1.0, NOW + 8, NOW)
    session.clock_set(-3600, NOW - 3595)
    assert session.deadline == NOW - 3592


def test_a_token_that_ends_is_announced_and_then_closes() -> None:
    """A minute before its end the token is announced, at its end the session closes."""
    session = live()
    commands = session.tick(NOW + 3541, NOW + 3541, 0)
    assert Expiring(at=int(NOW) + 3600) in frames(commands)
    assert session.deadline > NOW + 3541  # else it would be looked at all the time
    commands = session.tick(NOW + 3600, NOW + 3600, 0)
    assert commands[-1] == Close(CloseCode.UNAUTHORIZED, "token_expired")


def test_a_renewed_token_lengthens_the_session() -> None:
    """Renewal by the same identity counts, by another closes, a refused one is told."""
    session = live()
    assert session.received(Renew(token="new"), NOW) == [Authenticate("new")]
    assert session.authenticated(BOB, NOW + 7200, NOW) == [
        Send(Renewed(expires=int(NOW) + 7200))
    ]
    assert frames(session.tick(NOW + 3600, NOW + 3600, 0)) == []
    assert [type(f) for f in frames(session.refused(Unauthorized(), NOW))] == [ErrorFrame]
    assert session.state is State.LIVE
    commands = session.authenticated("did:btc-addr:other", NOW + 7200, NOW)
    assert commands[-1] == Close(CloseCode.FORBIDDEN, "forbidden")


def test_a_renewal_that_comes_before_the_welcome_may_be_refused() -> None:
    """The hello was good, so the session opens all the same."""
    session = ServerSession("s1", TERMS, now=NOW)
    session.received(Hello(token="t"), NOW)
    session.authenticated(BOB, NOW + 3600, NOW)
    assert session.received(Renew(token="bad"), NOW) == [Authenticate("bad")]
    assert [type(f) for f in frames(session.refused(Unauthorized(), NOW))] == [ErrorFrame]
    (welcome, *_) = frames(session.opened(MessageId(E1, 0), 0, (), None))
    assert isinstance(welcome, Welcome)


def test_a_reader_too_far_behind_is_sent_away_to_come_back() -> None:
    """More than a thousand ids are not kept for it; a new hello tells which are gone."""
    session = live(tail=3000)
    session.paused(70_000, NOW)
    assert session.acknowledged(ids(*range(1, 1001)), "other") == []
    commands = session.acknowledged(ids(1001), "other")
    assert frames(commands) == [Closing(reason="behind", retry_after=0.0, reconnect=True)]
    assert commands[-1] == Close(CloseCode.TIMEOUT, "behind")


def test_only_a_write_without_progress_is_stuck() -> None:
    """Twenty seconds without a byte close; a transport that drains slowly does not."""
    session = live()
    session.paused(70_000, NOW)
    assert session.tick(NOW + 15, NOW, 60_000) == []
    assert session.tick(NOW + 34, NOW, 60_000) == [Probe()]
    assert session.tick(NOW + 35, NOW, 60_000) == [
        Close(CloseCode.TIMEOUT, "stuck", stuck=True)
    ]


def test_a_displaced_session_is_told_not_to_return() -> None:
    """A newer session of the device ends this one for good."""
    commands = live().displaced()
    assert frames(commands) == [
        Closing(reason="displaced", retry_after=0.0, reconnect=False)
    ]
    assert commands[-1] == Close(CloseCode.DISPLACED, "displaced")


def test_a_draining_session_is_told_first_and_closed_at_its_time() -> None:
    """`closing` comes at once, the close in the session's slot; until then it works."""
    session = live()
    assert frames(session.drain(2.5, NOW + 8, NOW)) == [
        Closing(reason="restarting", retry_after=2.5, reconnect=True)
    ]
    assert pushed(session.published(messages(1))) == [1]
    assert session.deadline <= NOW + 8
    assert session.tick(NOW + 8, NOW + 8, 0) == [Close(CloseCode.RESTARTING, "restarting")]


def test_a_ping_frame_is_answered() -> None:
    """Clients that cannot send websocket pings have a frame for it."""
    assert live().received(Ping(ref="a"), NOW) == [Send(Pong(ref="a"))]


def test_deliveries_over_the_stream_are_answered_with_their_ref() -> None:
    """Each `deliver` becomes accepted or refused, and the session goes on."""
    session = live()
    frame = Deliver(to=BOB, payload="x", ref=5)
    assert session.received(frame, NOW) == [Accept(frame)]
    accepted = Accepted(id="100-1", mailbox=BOB, duplicate=False)
    assert frames(session.delivered(5, accepted)) == [
        DeliveryAccepted(ref=5, id="100-1", mailbox=BOB, duplicate=False)
    ]
    (refused,) = frames(session.delivered(5, MailboxFull()))
    assert isinstance(refused, DeliveryRefused)
    assert refused.error.code == "mailbox_full"


def test_a_closed_session_says_nothing_more() -> None:
    """After its close a session answers no event at all."""
    session = live()
    session.displaced()
    assert session.received(Ping(), NOW) == []
    assert session.published(messages(1)) == []
    assert session.tail(MessageId(200, 0)) == []
    assert session.tick(NOW + 99, NOW, 0) == []
    assert session.acknowledged(ids(1), "") == []
    assert session.opened(MessageId(E1, 0), 0, (), None) == []
    assert session.page([], True, MessageId(E1, 0), 0, None) == []
