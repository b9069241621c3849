"""What a session does in each state, event by event."""

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
    UnknownMailbox,
)
from pushd.protocol.closing import CloseCode
from pushd.protocol.commands import (
    Accept,
    Acknowledge,
    Authenticate,
    Close,
    Commands,
    Open,
    Probe,
    Push,
    ReadPage,
    Send,
    Told,
)
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
    Overflow,
    Overflowed,
    Ping,
    Pong,
    Read,
    Renew,
    Renewed,
    Replay,
    Seen,
    ServerFrame,
    StoredMessage,
    Welcome,
    frames_of,
)
from pushd.protocol.session import ServerSession, State
from tests.unit.session_world import BOB, NOW, TERMS, stored

E1 = 100


def ids(*seqs: int) -> list[MessageId]:
    """Return ids of the first epoch."""
    return [MessageId(E1, seq) for seq in seqs]


def messages(*seqs: int) -> list[StoredMessage]:
    """Return messages of the first epoch."""
    return [stored(id) for id in ids(*seqs)]


def frames(commands: Commands) -> list[ServerFrame]:
    """Return the control frames among the commands."""
    return [command.frame for command in commands if isinstance(command, Send)]


def pushed(commands: Commands) -> list[int]:
    """Return the sequence numbers pushed."""
    return [
        message.id.seq
        for command in commands
        if isinstance(command, Push)
        for message in command.messages
    ]


def greeted(hello: Hello | None = None) -> ServerSession:
    """Return a session whose hello was authenticated."""
    session = ServerSession("s1", TERMS, now=NOW)
    session.received(hello or Hello(token="t"), NOW)
    session.authenticated(BOB, NOW + 3600, NOW)
    return session


def live(hello: Hello | None = None, *, tail: int = 0) -> ServerSession:
    """Return a session that is caught up with an empty mailbox."""
    session = greeted(hello)
    session.opened(MessageId(E1, tail), 0, (), None, NOW)
    assert session.state is State.LIVE
    return session


def test_a_hello_is_authenticated_opened_and_welcomed() -> None:
    """From hello to live over an empty mailbox, with every frame on the way."""
    session = ServerSession("s1", TERMS, now=NOW)
    assert session.received(Hello(token="t"), NOW) == [Authenticate("t")]
    assert session.authenticated(BOB, NOW + 3600, NOW) == [Open(())]
    assert session.opened(MessageId(E1, 0), 0, (), None, NOW) == [
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


@pytest.mark.parametrize(
    ("after", "continuity", "position"),
    [
        ("100-3", "exact", MessageId(100, 3)),
        ("90-3@100", "exact", MessageId(90, 3)),
        ("100-0", "exact", MessageId(100, 0)),
        ("100-5", "replay", MessageId(0, 0)),
        ("90-3", "replay", MessageId(0, 0)),
        ("100-3@90", "replay", MessageId(0, 0)),
    ],
)
def test_a_cursor_continues_only_within_its_epoch_and_below_the_tail(
    after: str, continuity: str, position: MessageId
) -> None:
    """Continuity is exact for a cursor of the current epoch, else all is replayed."""
    session = greeted(Hello(token="t", after=after))
    commands = session.opened(MessageId(E1, 4), 9, (), None, NOW)
    welcome = frames(commands)[0]
    assert isinstance(welcome, Welcome)
    assert welcome.continuity == continuity
    if position != MessageId(E1, 4):
        assert ReadPage(position, 100) in commands


def test_a_client_at_the_tail_needs_no_page() -> None:
    """Whoever comes back at the tail is caught up without a read."""
    session = greeted(Hello(token="t", after="100-4"))
    commands = session.opened(MessageId(E1, 4), 3, (), None, NOW)
    assert [type(frame) for frame in frames(commands)] == [Welcome, CaughtUp]


def test_history_comes_in_pages_with_a_cursor_each() -> None:
    """A full page is followed by the next, the last one by caught_up at the tail."""
    session = greeted(Hello(token="t", window=1000))
    session.opened(MessageId(E1, 150), 150, (), None, NOW)
    first = session.page(messages(*range(1, 101)), False, MessageId(E1, 150), 150, None)
    assert pushed(first) == list(range(1, 101))
    assert first[-1] == ReadPage(MessageId(E1, 100), 100)
    last = session.page(messages(*range(101, 151)), True, MessageId(E1, 150), 150, None)
    assert pushed(last) == list(range(101, 151))
    assert frames(last) == [CaughtUp(tail="100-150", cursor="100-150", unread=150)]


def test_a_message_of_an_older_epoch_has_a_cursor_that_names_the_current() -> None:
    """The cursor of an old message says in which epoch it was given out."""
    session = greeted()
    session.opened(MessageId(E1, 0), 1, (), None, NOW)
    commands = session.page([stored(MessageId(90, 7))], True, MessageId(E1, 0), 1, None)
    push = commands[0]
    assert isinstance(push, Push)
    assert str(push.cursor) == "90-7@100"


def test_a_full_window_stops_pushing_and_seen_resumes_it() -> None:
    """With the window full a session lags; seen makes it pull what it missed."""
    session = live(Hello(token="t", window=2))
    assert pushed(session.published(messages(1, 2, 3))) == [1, 2]
    assert session.published(messages(4)) == []
    assert session.received(Seen(upto="100-2"), NOW) == [ReadPage(MessageId(E1, 2), 2)]
    commands = session.page(messages(3, 4), True, MessageId(E1, 4), 4, None)
    assert pushed(commands) == [3, 4]
    assert frames(commands) == []
    assert session.state is State.LIVE


def test_a_gap_is_read_from_the_mailbox() -> None:
    """A lost publication is pulled as soon as the next one shows the gap."""
    session = live()
    assert session.published(messages(2)) == [ReadPage(MessageId(E1, 0), 100)]
    assert pushed(session.page(messages(1, 2), True, MessageId(E1, 2), 2, None)) == [1, 2]


def test_publications_wait_in_the_gate_while_a_page_is_under_way() -> None:
    """What arrives during a read is pushed after it, without what the page held."""
    session = greeted()
    session.opened(MessageId(E1, 1), 1, (), None, NOW)
    assert session.published(messages(2, 3)) == []
    commands = session.page(messages(1, 2), True, MessageId(E1, 2), 2, None)
    assert pushed(commands) == [1, 2, 3]


def test_an_overflowing_gate_is_given_up_for_another_page() -> None:
    """A gate keeps a bounded number of publications; beyond it the mailbox is read."""
    session = greeted(Hello(token="t", window=1000))
    session.opened(MessageId(E1, 1), 1, (), None, NOW)
    session.published(messages(*range(2, 203)))
    commands = session.page(messages(1), True, MessageId(E1, 1), 1, None)
    assert commands[-1] == ReadPage(MessageId(E1, 1), 100)
    assert session.state is State.LAGGING


@pytest.mark.parametrize("how", ["publication", "tail", "page", "gone"])
def test_another_epoch_is_told_as_a_replay(how: str) -> None:
    """However a new epoch shows, the mailbox is opened again and all unread follows."""
    session = live(tail=5)
    if how == "publication":
        commands = session.published([stored(MessageId(200, 1))])
    elif how == "tail":
        commands = session.tail(MessageId(200, 1))
    elif how == "page":
        session.published(messages(9))
        commands = session.page([], True, MessageId(200, 1), 1, None)
    else:
        session.published(messages(9))
        commands = session.failed(UnknownMailbox(), NOW)
    assert commands == [Open(())]
    commands = session.opened(MessageId(200, 1), 1, (), None, NOW)
    assert isinstance(frames(commands)[0], Replay)
    assert commands[-1] == ReadPage(MessageId(0, 0), 100)
    commands = session.page([stored(MessageId(200, 1))], True, MessageId(200, 1), 1, None)
    assert isinstance(frames(commands)[-1], CaughtUp)


def test_what_was_read_elsewhere_is_told_in_the_form_of_its_ack() -> None:
    """Acks of other sessions are passed on, one's own are not."""
    session = live()
    assert frames(session.acknowledged(ids(1, 2), "other")) == [
        Read(ids=["100-1", "100-2"])
    ]
    assert frames(session.acknowledged(MessageId(E1, 3), "")) == [Read(upto="100-3")]
    assert session.acknowledged(ids(4), "s1") == []


def test_what_was_read_elsewhere_during_a_page_is_dropped_from_it() -> None:
    """A read event waits behind the page and takes its messages out of it."""
    session = greeted()
    session.opened(MessageId(E1, 3), 3, (), None, NOW)
    assert session.acknowledged(ids(2), "other") == []
    commands = session.page(messages(1, 2, 3), True, MessageId(E1, 3), 3, None)
    assert pushed(commands) == [1, 3]
    assert Read(ids=["100-2"]) in frames(commands)


def test_what_the_client_holds_and_is_gone_is_told() -> None:
    """After a hello with `holding`, a device learns what the others have read."""
    session = greeted(Hello(token="t", holding=["100-1", "100-2"]))
    commands = session.opened(MessageId(E1, 2), 1, ids(1), None, NOW)
    assert Read(ids=["100-1"]) in frames(commands)


def test_the_next_message_is_taken_without_a_command() -> None:
    """Only the next one, and only with room; what is not taken changes nothing."""
    session = live(Hello(token="t", window=2))
    assert not session.takes(MessageId(E1, 2))
    assert not session.takes(MessageId(E1 + 1, 1))
    assert session.takes(MessageId(E1, 1))
    assert not session.takes(MessageId(E1, 1))
    assert session.takes(MessageId(E1, 2))
    assert not session.takes(MessageId(E1, 3))

    assert session.acks(Ack(upto="100-1")) == MessageId(E1, 1)
    assert session.takes(MessageId(E1, 3))
    session.paused(1, NOW)
    session.received(Seen(upto="100-3"), NOW)
    assert not session.takes(MessageId(E1, 4))
    session.resumed()
    assert pushed(session.published(messages(4))) == [4]
    assert not greeted().takes(MessageId(E1, 1))


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


def test_a_full_transport_stops_pushing_until_it_drains() -> None:
    """A slow reader is not pushed to, and pulls once its transport has room again."""
    session = live()
    session.paused(70_000, NOW)
    assert session.published(messages(1)) == []
    assert session.acknowledged(ids(1), "other") == []
    commands = session.resumed()
    assert frames(commands) == [Read(ids=["100-1"])]
    assert commands[-1] == ReadPage(MessageId(E1, 0), 100)


def test_what_is_acked_elsewhere_meanwhile_is_kept_as_little() -> None:
    """However many acks a slow reader misses, it is told their sum."""
    session = live(tail=3000)
    session.paused(70_000, NOW)
    for number in range(1, 3000):
        assert session.acknowledged(MessageId(E1, number), "other") == []
    assert session.acknowledged(ids(3000), "other") == []
    assert frames(session.resumed()) == [Read(upto="100-2999"), Read(ids=["100-3000"])]


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


def test_a_failed_read_is_tried_again() -> None:
    """When the store is away a session waits and goes on from where it stood."""
    session = live()
    session.published(messages(2))
    assert session.failed(StoreUnavailable(), NOW) == []
    assert session.deadline == NOW + 1
    assert session.tick(NOW + 1, NOW, 0) == [ReadPage(MessageId(E1, 0), 100)]


@pytest.mark.parametrize("opening", [False, True])
def test_a_clock_that_is_set_back_keeps_nobody_waiting(opening: bool) -> None:
    """What failed is tried again at the next look at the tail, whatever the time is."""
    session = live(tail=3)
    again: Commands = [ReadPage(MessageId(E1, 3), 100)]
    if opening:
        assert session.tail(MessageId(E1 + 1, 0)) == [Open(())]
        again = [Open(())]
    else:
        session.published(messages(5))
    assert session.failed(StoreUnavailable(), NOW) == []
    assert session.tick(NOW - 3600, NOW - 3600, 0) == []

    assert session.tail(MessageId(E1, 5)) == again
    assert session.tail(MessageId(E1, 5)) == []


def test_an_overflow_is_told_after_caught_up() -> None:
    """The owner learns how much a full mailbox refused, and the store that it was told."""
    session = greeted()
    overflow = Overflow(refused=3, since=int(NOW))
    commands = session.opened(MessageId(E1, 0), 0, (), overflow, NOW)
    assert commands[-2:] == [
        Send(Overflowed(refused=3, since=int(NOW))),
        Told(overflow),
    ]


def test_a_page_after_a_lag_tells_no_overflow() -> None:
    """It was published; a slow reader of a full mailbox would be told all the time."""
    session = live()
    session.published(messages(2))
    overflow = Overflow(refused=3, since=int(NOW))
    commands = session.page(messages(1, 2), True, MessageId(E1, 2), 2, overflow)
    assert frames(commands) == []
    assert session.state is State.LIVE


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
    assert session.opened(MessageId(E1, 0), 0, (), None, NOW) == []
    assert session.page([], True, MessageId(E1, 0), 0, None) == []


def test_frames_are_bounded_in_count_and_bytes() -> None:
    """No frame has over 100 messages, none reaches 256 KiB."""
    small = messages(*range(1, 251))
    assert [len(part) for part in frames_of(small)] == [100, 100, 50]
    large = [StoredMessage(id, b"x" * 100_000) for id in ids(1, 2, 3, 4, 5)]
    assert [len(part) for part in frames_of(large)] == [2, 2, 1]
