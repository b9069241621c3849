"""What of a mailbox goes out, and when, event by event."""

import pytest

from pushd.errors import StoreUnavailable, UnknownMailbox
from pushd.protocol.commands import Commands, Open, Push, ReadPage, Send, Told
from pushd.protocol.flow import GATE_LIMIT, State
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import (
    Ack,
    CaughtUp,
    Hello,
    Overflow,
    Overflowed,
    Read,
    Replay,
    Seen,
    StoredMessage,
    Welcome,
    frames_of,
)
from tests.unit.session_steps import E1, frames, greeted, ids, live, messages, pushed
from tests.unit.session_world import NOW, stored


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
    commands = session.opened(MessageId(E1, 4), 9, (), None)
    welcome = frames(commands)[0]
    assert isinstance(welcome, Welcome)
    assert welcome.continuity == continuity
    if position != MessageId(E1, 4):
        assert ReadPage(position, 100) in commands


def test_a_client_at_the_tail_needs_no_page() -> None:
    """Whoever comes back at the tail is caught up without a read."""
    session = greeted(Hello(token="t", after="100-4"))
    commands = session.opened(MessageId(E1, 4), 3, (), None)
    assert [type(frame) for frame in frames(commands)] == [Welcome, CaughtUp]


def test_history_comes_in_pages_with_a_cursor_each() -> None:
    """A full page is followed by the next, the last one by caught_up at the tail."""
    session = greeted(Hello(token="t", window=1000))
    session.opened(MessageId(E1, 150), 150, (), None)
    first = session.page(messages(*range(1, 101)), False, MessageId(E1, 150), 150, None)
    assert pushed(first) == list(range(1, 101))
    assert first[-1] == ReadPage(MessageId(E1, 100), 100)
    last = session.page(messages(*range(101, 151)), True, MessageId(E1, 150), 150, None)
    assert pushed(last) == list(range(101, 151))
    assert frames(last) == [CaughtUp(tail="100-150", cursor="100-150", unread=150)]


def test_a_message_of_an_older_epoch_has_a_cursor_that_names_the_current() -> None:
    """The cursor of an old message says in which epoch it was given out."""
    session = greeted()
    session.opened(MessageId(E1, 0), 1, (), None)
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
    session.opened(MessageId(E1, 1), 1, (), None)
    assert session.published(messages(2, 3)) == []
    commands = session.page(messages(1, 2), True, MessageId(E1, 2), 2, None)
    assert pushed(commands) == [1, 2, 3]


def test_an_overflowing_gate_is_given_up_for_another_page() -> None:
    """A gate keeps a bounded number of publications; beyond it the mailbox is read."""
    session = greeted(Hello(token="t", window=1000))
    session.opened(MessageId(E1, 1), 1, (), None)
    session.published(messages(*range(2, 152)))
    session.published(messages(*range(152, 302)))
    assert len(session._gate or ()) == GATE_LIMIT + 1
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
    commands = session.opened(MessageId(200, 1), 1, (), None)
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
    session.opened(MessageId(E1, 3), 3, (), None)
    assert session.acknowledged(ids(2), "other") == []
    commands = session.page(messages(1, 2, 3), True, MessageId(E1, 3), 3, None)
    assert pushed(commands) == [1, 3]
    assert Read(ids=["100-2"]) in frames(commands)


def test_what_the_client_holds_and_is_gone_is_told() -> None:
    """After a hello with `holding`, a device learns what the others have read."""
    session = greeted(Hello(token="t", holding=["100-1", "100-2"]))
    commands = session.opened(MessageId(E1, 2), 1, ids(1), None)
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
    commands = session.opened(MessageId(E1, 0), 0, (), overflow)
    assert commands[-2:] == [Send(Overflowed(refused=3, since=int(NOW))), Told(overflow)]


def test_a_page_after_a_lag_tells_no_overflow() -> None:
    """It was published; a slow reader of a full mailbox would be told all the time."""
    session = live()
    session.published(messages(2))
    overflow = Overflow(refused=3, since=int(NOW))
    commands = session.page(messages(1, 2), True, MessageId(E1, 2), 2, overflow)
    assert frames(commands) == []
    assert session.state is State.LIVE


def test_frames_are_bounded_in_count_and_bytes() -> None:
    """No frame has over 100 messages, none reaches 256 KiB."""
    small = messages(*range(1, 251))
    assert [len(part) for part in frames_of(small)] == [100, 100, 50]
    large = [StoredMessage(id, b"x" * 100_000) for id in ids(1, 2, 3, 4, 5)]
    assert [len(part) for part in frames_of(large)] == [2, 2, 1]
