"""What a client says, and when it comes back, step by step."""

import pytest
from msgspec import UNSET, Raw

from pushd.errors import BadRequest, Unauthorized
from pushd.protocol.client import BACKOFF_BASE, BACKOFF_CAP, WELCOME_TIMEOUT, ClientSession
from pushd.protocol.client_commands import (
    Close,
    Command,
    Connect,
    Dispatch,
    MakeToken,
    Phase,
    Save,
    Send,
    Status,
    Stop,
    Tell,
)
from pushd.protocol.closing import CloseCode
from pushd.protocol.ids import MessageId
from pushd.protocol.ledger import Progress
from pushd.protocol.messages import (
    Ack,
    Acked,
    CaughtUp,
    Closing,
    Continuity,
    ErrorFrame,
    Expiring,
    From,
    Hello,
    Message,
    Messages,
    Overflow,
    Overflowed,
    Ping,
    Read,
    Renew,
    Replay,
    Seen,
    ServerFrame,
    Welcome,
    encode,
)

NOW = 1000.0


@pytest.mark.parametrize(
    ("window", "device"), [(0, "phone"), (1001, "phone"), (100, ""), (100, "t\u00e9l")]
)
def test_what_no_server_takes_is_refused_here(window: int, device: str) -> None:
    """Else the client would be closed with 4400 and come back, again and again."""
    with pytest.raises(BadRequest):
        ClientSession(lambda: 1.0, window=window, device=device)


def made(
    progress: Progress | None = None, *, window: int = 100, luck: float = 1.0
) -> ClientSession:
    """Return a session that wants to connect."""
    session = ClientSession(lambda: luck, progress=progress, window=window, device="phone")
    session.start()
    session.commands()
    return session


def say(session: ClientSession, *frames: ServerFrame) -> list[Command]:
    """Let the server say something, and return what the client does."""
    for frame in frames:
        session.frame(encode(frame), NOW)
    return session.commands()


def welcome(
    continuity: Continuity = "exact", unread: int = 0, window: int = 100
) -> Welcome:
    """Return a welcome."""
    return Welcome("s", "did:btc-addr:1", "http://x", unread, "1-9", continuity, 25, window)


def messages(*ids: str, cursor: str | None = None) -> Messages:
    """Return a frame of messages."""
    raw = [Raw(encode(Message(id, From("did:key:z1"), "payload", 1, 2))) for id in ids]
    return Messages(raw, cursor or ids[-1])


def opened(progress: Progress | None = None, *, window: int = 100) -> ClientSession:
    """Return a session that is live."""
    session = made(progress, window=window)
    session.connected("token", NOW)
    say(session, welcome(window=window), CaughtUp("1-0", "1-0", 0))
    session.commands()
    return session


def sent(commands: list[Command]) -> list[object]:
    """Return the frames among commands."""
    return [command.frame for command in commands if isinstance(command, Send)]


def of(kind: type[Command], commands: list[Command]) -> list[Command]:
    """Return the commands of one kind."""
    return [command for command in commands if isinstance(command, kind)]


# --- hello ----------------------------------------------------------------------------


def test_first_hello_has_no_cursor() -> None:
    """A client without a past begins at the first unread message."""
    session = made()
    session.connected("token", NOW)
    hello = Hello(token="token", window=100, device="phone")
    assert [hello] == sent(session.commands())


def test_hello_goes_on_after_the_cursor() -> None:
    """A client with a past says how far it is."""
    session = made(Progress(cursor="1-7@3"))
    session.connected("token", NOW)
    (hello,) = sent(session.commands())
    assert isinstance(hello, Hello)
    assert hello.after == "1-7@3"


def test_hello_names_what_is_held() -> None:
    """After a reconnect the server can tell which of the unhandled ones are gone."""
    session = opened()
    say(session, messages("1-1", "1-2", "1-3"))
    session.handled(MessageId(1, 2))
    session.closed(1006)
    session.connected("token", NOW)
    (hello,) = sent(session.commands())
    assert isinstance(hello, Hello)
    assert hello.holding == ["1-1", "1-3"]
    assert hello.after == "1-0"


def test_unconfirmed_acks_of_the_past_are_said_after_the_welcome() -> None:
    """Acks whose answer was lost with the process are said again, and not before."""
    session = made(Progress(cursor="2-5", acks=["2-3", "1-4"], upto=["1-2"]))
    session.connected("token", NOW)
    assert [Hello] == [type(frame) for frame in sent(session.commands())]
    acks = [Ack(upto="1-2", ref=1), Ack(upto="2-3", ref=2), Ack(ids=["1-4"], ref=3)]
    assert acks == sent(say(session, welcome()))


# --- seen and acks --------------------------------------------------------------------


def test_seen_comes_before_caught_up() -> None:
    """The window opens again while history is still coming."""
    session = made(window=4)
    session.connected("token", NOW)
    say(session, welcome(unread=9, window=4))
    commands = say(session, messages("1-1", "1-2"))
    assert [Seen(upto="1-2")] == sent(commands)
    assert [c.message.id for c in commands if isinstance(c, Dispatch)] == ["1-1", "1-2"]


def test_few_messages_are_seen_at_the_next_tick() -> None:
    """One frame reports what came in a while, as long as the window is far from full."""
    session = opened()
    assert sent(say(session, messages("1-1"))) == []
    session.tick(NOW + 1)
    assert [Seen(upto="1-1")] == sent(session.commands())
    session.tick(NOW + 2)
    assert sent(session.commands()) == []


def test_an_ack_needs_no_seen_beside_it() -> None:
    """What is acked was seen."""
    session = opened()
    say(session, messages("1-1"))
    session.handled(MessageId(1, 1))
    assert [Ack(upto="1-1", ref=1)] == sent(session.commands())
    session.tick(NOW + 1)
    assert sent(session.commands()) == []


def test_a_slow_app_keeps_the_window_closed() -> None:
    """Nothing is reported as seen while the listeners have a window full."""
    session = opened(window=2)
    assert sent(say(session, messages("1-1", "1-2"))) == []
    session.failed(MessageId(1, 1))
    assert [Seen(upto="1-2")] == sent(session.commands())


def test_upto_covers_a_handled_prefix_only() -> None:
    """What comes after a gap is acked by name."""
    session = opened()
    say(session, messages("1-1", "1-2", "1-3", "1-4", "1-5"))
    for seq in (1, 2, 4, 5):
        session.handled(MessageId(1, seq))
    acks = [Ack(upto="1-2", ref=1), Ack(ids=["1-4", "1-5"], ref=2)]
    assert acks == sent(session.commands())


def test_many_acks_by_name_are_divided() -> None:
    """A frame names a thousand ids at most."""
    session = opened(window=1000)
    say(session, messages(*(f"1-{seq}" for seq in range(1, 1503))))
    for seq in range(2, 1503):
        session.handled(MessageId(1, seq))
    frames = [frame for frame in sent(session.commands()) if isinstance(frame, Ack)]
    assert [len(frame.ids) for frame in frames if frame.ids is not UNSET] == [1000, 501]


def test_a_duplicate_of_a_handled_message_is_acked_again() -> None:
    """It does not reach the listeners, but the server has to hear that it is safe."""
    session = opened()
    say(session, messages("1-1"))
    session.handled(MessageId(1, 1))
    session.commands()
    commands = say(session, messages("1-1"))
    assert of(Dispatch, commands) == []
    assert [Ack(upto="1-1", ref=2)] == sent(commands)


def test_a_refused_ack_is_tried_again_later() -> None:
    """A store that does not answer for a moment loses no ack, and is not hurried."""
    session = opened()
    say(session, messages("1-1"))
    session.handled(MessageId(1, 1))
    session.commands()
    assert sent(say(session, ErrorFrame("store_unavailable", "Later.", 1, 1))) == []
    session.tick(NOW + 1)
    assert [Ack(upto="1-1", ref=2)] == sent(session.commands())


def test_progress_is_saved_until_it_is_confirmed() -> None:
    """The cursor is saved with the ack, and again when the ack was carried out."""
    session = opened()
    say(session, messages("1-1"))
    session.handled(MessageId(1, 1))
    saved = of(Save, session.commands())
    assert [Save(Progress(cursor="1-1", upto=["1-1"]))] == saved
    saved = of(Save, say(session, Acked(1, 1)))
    assert [Save(Progress(cursor="1-1"))] == saved


def test_the_cursor_of_caught_up_waits_for_what_came_before() -> None:
    """The tail is adopted once everything before it is handled."""
    session = made()
    session.connected("token", NOW)
    commands = say(
        session, welcome(), messages("1-1", cursor="1-1@2"), CaughtUp("2-7", "2-7", 1)
    )
    assert of(Save, commands) == []
    session.handled(MessageId(1, 1))
    (save,) = of(Save, session.commands())
    assert isinstance(save, Save)
    assert save.progress.cursor == "2-7"


def test_what_was_read_elsewhere_holds_the_cursor_no_longer() -> None:
    """A message another device acked is gone; the app learns of it."""
    session = opened()
    say(session, messages("1-1", "1-2", "1-3"))
    session.failed(MessageId(1, 1))
    session.handled(MessageId(1, 3))
    session.commands()
    commands = say(session, Read(upto="1-2"))
    assert [Tell(Read(upto="1-2"))] == of(Tell, commands)
    (save,) = of(Save, commands)
    assert isinstance(save, Save)
    assert save.progress.cursor == "1-3"


def test_a_replay_forgets_the_cursor() -> None:
    """Until something is handled again, a client that reconnects begins at the start."""
    session = opened()
    say(session, messages("1-1"))
    session.handled(MessageId(1, 1))
    commands = say(session, Replay("2-0", 5, "A new epoch."))
    assert [Tell(Status(Phase.CATCHING_UP, unread=5))] == of(Tell, commands)
    session.closed(1006)
    session.connected("token", NOW)
    (hello,) = sent(session.commands())
    assert isinstance(hello, Hello)
    assert hello.after is UNSET


def test_a_message_out_of_order_is_not_believed() -> None:
    """A server that breaks the order makes the cursor meaningless: begin at the start."""
    session = opened()
    say(session, messages("1-5"))
    session.handled(MessageId(1, 5))
    commands = say(session, messages("1-4"))
    (close,) = of(Close, commands)
    assert isinstance(close, Close)
    assert close.code is CloseCode.PROTOCOL_ERROR
    (save,) = of(Save, commands)
    assert isinstance(save, Save)
    assert save.progress.cursor is None


# --- coming back ----------------------------------------------------------------------


def waits(commands: list[Command]) -> list[float]:
    """Return the delays of the reconnects among commands."""
    return [command.delay for command in commands if isinstance(command, Connect)]


def test_backoff_doubles_to_its_cap() -> None:
    """Each attempt that fails may wait twice as long as the one before."""
    session = made()
    delays = []
    for _ in range(9):
        session.closed(1006)
        delays += waits(session.commands())
    assert delays == [min(BACKOFF_CAP, BACKOFF_BASE * 2**n) for n in range(9)]


def test_backoff_has_full_jitter() -> None:
    """With luck there is no wait at all."""
    session = made(luck=0.0)
    session.closed(1006)
    assert waits(session.commands()) == [0.0]


def test_backoff_begins_again_once_messages_came() -> None:
    """A connection that served its purpose clears the record."""
    session = made()
    for _ in range(5):
        session.closed(1006)
    session.connected("token", NOW)
    say(session, welcome(), CaughtUp("1-0", "1-0", 0))
    session.closed(1006)
    assert waits(session.commands())[-1] == BACKOFF_BASE


@pytest.mark.parametrize("code", [1012, 1013])
def test_advice_to_wait_is_followed(code: int) -> None:
    """The server's own time comes on top of the jitter."""
    session = opened()
    say(session, Closing("restarting", 7.5, True))
    session.closed(code)
    assert waits(session.commands()) == [7.5 + BACKOFF_BASE]


@pytest.mark.parametrize("code", [4403, 4409])
def test_some_codes_are_final(code: int) -> None:
    """Who is refused, or replaced, does not come back by itself."""
    session = opened()
    session.closed(code)
    commands = session.commands()
    assert waits(commands) == []
    (stop,) = of(Stop, commands)
    assert isinstance(stop, Stop)
    assert stop.error is not None
    assert stop.error.code == code


def test_the_server_can_ask_not_to_come_back() -> None:
    """`reconnect: false` counts whatever the code is."""
    session = opened()
    say(session, Closing("moved away", 0, False))
    session.closed(1000)
    assert [Stop] == [type(stop) for stop in of(Stop, session.commands())]


def test_a_refused_token_is_tried_once_anew() -> None:
    """4401 asks for a new token; if that is refused too, there is no use in going on."""
    session = made()
    session.connected("token", NOW)
    say(session, ErrorFrame("unauthorized", "The token is from the future.", 900))
    assert session.server_time == 900
    session.closed(4401)
    (connect,) = of(Connect, session.commands())
    assert isinstance(connect, Connect)
    assert connect.new_token
    session.connected("new token", NOW)
    say(session, ErrorFrame("unauthorized", "Still not.", 900))
    session.closed(4401)
    (stop,) = of(Stop, session.commands())
    assert isinstance(stop, Stop)
    assert stop.error is not None
    assert isinstance(stop.error.error, Unauthorized)


def test_another_token_is_tried_once_whatever_the_server_advises() -> None:
    """A server that has no mailbox for a key may have one for its name."""
    session = made()
    for another in (True, False):
        session.connected("token", NOW)
        say(session, Closing(reason="forbidden", retry_after=0, reconnect=False))
        session.closed(4403, another_token=another)
        commands = session.commands()
        assert bool(of(Connect, commands)) is another
        assert bool(of(Stop, commands)) is not another


def test_a_token_that_ends_is_renewed() -> None:
    """`expiring` is answered with a new token."""
    session = opened()
    assert [MakeToken()] == of(MakeToken, say(session, Expiring(2000)))
    session.renewed("new token")
    assert [Renew("new token")] == sent(session.commands())


# --- liveness -------------------------------------------------------------------------


def test_a_silent_server_is_asked_then_left() -> None:
    """After one interval and a half it is pinged, after two it is given up."""
    session = opened()
    session.tick(NOW + 37)
    assert sent(session.commands()) == []
    session.tick(NOW + 38)
    session.tick(NOW + 39)
    assert [Ping()] == sent(session.commands())
    session.tick(NOW + 51)
    (close,) = of(Close, session.commands())
    assert isinstance(close, Close)
    assert close.code is CloseCode.TIMEOUT


def test_any_sign_of_life_counts() -> None:
    """The websocket's own pings keep the connection, too."""
    session = opened()
    session.tick(NOW + 40)
    session.heard(NOW + 41)
    session.tick(NOW + 60)
    assert of(Close, session.commands()) == []


def test_a_hello_without_answer_is_given_up() -> None:
    """A server that accepts the connection and says nothing is left."""
    session = made()
    session.connected("token", NOW)
    session.tick(NOW + WELCOME_TIMEOUT + 1)
    assert [Close] == [type(close) for close in of(Close, session.commands())]


# --- the rest -------------------------------------------------------------------------


def test_frames_of_the_future_are_ignored() -> None:
    """A newer server may say more than this client knows."""
    session = opened()
    session.frame(b'{"type":"sing","song":1}', NOW)
    assert session.commands() == []


@pytest.mark.parametrize("text", [b"[]", b"{", b'{"type":"messages"}', b"\xff"])
def test_nonsense_closes(text: bytes) -> None:
    """A server that breaks the protocol is left."""
    session = opened()
    session.frame(text, NOW)
    (close,) = of(Close, session.commands())
    assert isinstance(close, Close)
    assert close.code is CloseCode.PROTOCOL_ERROR


def test_overflow_is_told() -> None:
    """The app learns that its mailbox refused messages."""
    assert [Tell(Overflow(3, 5))] == of(Tell, say(opened(), Overflowed(3, 5)))


def test_progress_of_history_is_told() -> None:
    """What a progress bar needs: how many there are, how many came."""
    session = made()
    session.connected("token", NOW)
    commands = say(
        session, welcome(unread=3), messages("1-1", "1-2"), messages("1-3"),
        CaughtUp("1-3", "1-3", 3),
    )  # fmt: skip
    told = [command.what for command in commands if isinstance(command, Tell)]
    assert told == [
        Status(Phase.CATCHING_UP, unread=3),
        Status(Phase.CATCHING_UP, unread=3, received=2),
        Status(Phase.CATCHING_UP, unread=3, received=3),
        Status(Phase.LIVE, unread=3, received=3),
    ]


def test_stop_says_what_is_owed_first() -> None:
    """The acks go out, and are confirmed, before the close; nothing new is taken."""
    session = opened()
    say(session, messages("1-1"))
    session.handled(MessageId(1, 1))
    session.stop()
    assert sent(session.commands()) == [Ack(upto="1-1", ref=1)]
    assert say(session, messages("1-2")) == []
    assert of(Close, say(session, Acked(1, 1))) == [Close(CloseCode.NORMAL, "")]
    session.closed(1000)
    commands = session.commands()
    assert of(Stop, commands) == [Stop(None)]
    assert waits(commands) == []


def test_stop_does_not_wait_forever() -> None:
    """A server that confirms nothing is left after a moment."""
    session = opened()
    say(session, messages("1-1"))
    session.handled(MessageId(1, 1))
    session.stop()
    session.tick(NOW + 1)
    session.tick(NOW + 2)
    assert of(Close, session.commands()) == []
    session.tick(NOW + 3)
    assert of(Close, session.commands()) == [Close(CloseCode.NORMAL, "")]


def test_stop_while_waiting_is_at_once() -> None:
    """There is nothing to close between two connections."""
    session = made()
    session.closed(1006)
    session.stop()
    assert [Stop(None)] == of(Stop, session.commands())


def test_reopen_connects_at_once() -> None:
    """Asked to be sent everything again, the client does not wait; only once, though."""
    session = opened()
    session.reopen()
    assert [Close(CloseCode.NORMAL, "")] == of(Close, session.commands())
    session.closed(1000)
    assert waits(session.commands()) == [0.0]
    session.closed(1006)
    assert waits(session.commands()) == [BACKOFF_BASE]


def test_a_mailbox_is_empty_when_all_is_handled_and_acked() -> None:
    """Not while history comes, nor while a message is with the listeners or its ack is."""
    session = made()
    session.connected("token", NOW)
    say(session, welcome())
    stages = [session.empty]
    say(session, messages("1-1"), CaughtUp("1-1", "1-1", 1))
    stages.append(session.empty)
    session.handled(MessageId(1, 1))
    (ack,) = [one for one in sent(session.commands()) if isinstance(one, Ack)]
    stages.append(session.empty)
    assert ack.ref is not UNSET
    say(session, Acked(ack.ref, 1))
    stages.append(session.empty)
    session.closed(1006)
    stages.append(session.empty)
    assert stages == [False, False, False, True, False]


def test_a_mailbox_with_a_message_nobody_handled_is_not_empty() -> None:
    """It stays there, and so does the client."""
    session = opened()
    say(session, messages("1-1"), CaughtUp("1-1", "1-1", 1))
    session.failed(MessageId(1, 1))
    assert not session.empty
