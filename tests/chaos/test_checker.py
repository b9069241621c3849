"""The checker finds each kind of wrong that is planted, and nothing in what is right."""

from pathlib import Path

import pytest

from tests.chaos.checker import RULES, check
from tests.chaos.history import (
    Accepted,
    AckAsked,
    AckConfirmed,
    Asked,
    CaughtUp,
    Closed,
    Complained,
    Event,
    Hello,
    History,
    Lost,
    Message,
    Pushed,
    Quiet,
    Read,
    Refused,
    Replayed,
    Seen,
    Welcomed,
    load,
    save,
)


def history(*events: Event) -> History:
    """Make a history, an event a second, but for those that have a time already."""
    before = 0.0
    for event in events:
        event.at = event.at or before + 1.0
        before = event.at
    return list(events)


def asked(attempt: int, payload: str = "", **members: object) -> Asked:
    """Make a request of Alice's to Bob."""
    payload = payload or f"payload {attempt}"
    usual = {"sender": "alice", "mailbox": "bob", "key": payload, "ttl": 3600}
    return Asked(attempt=attempt, payload=payload, **{**usual, **members})  # type: ignore[arg-type] # members of any type


def accepted(attempt: int, id: str, *, duplicate: bool = False) -> Accepted:
    """Make a 202."""
    return Accepted(attempt=attempt, id=id, duplicate=duplicate)


def stored(*numbers: int) -> list[Event]:
    """Make requests with these numbers, and their 202s, in epoch 5."""
    return [event for n in numbers for event in (asked(n), accepted(n, f"5-{n}"))]


def hello(session: int, after: str | None = None, client: str = "bob's phone") -> Hello:
    """Make the begin of a session."""
    return Hello(session=session, client=client, mailbox="bob", after=after, window=3)


def welcomed(session: int, continuity: str = "replay") -> Welcomed:
    """Make the answer to it."""
    return Welcomed(session=session, continuity=continuity, tail="5-9")


def pushed(session: int, *ids: str, payload: str = "") -> Pushed:
    """Make messages of Alice's as they come; the number of each is in its id."""
    messages = [
        Message(id, payload or f"payload {id.partition('-')[2]}", "alice") for id in ids
    ]
    return Pushed(session=session, messages=messages, cursor=ids[-1])


def caught_up(session: int, tail: str) -> CaughtUp:
    """Make the end of a history."""
    return CaughtUp(session=session, tail=tail, cursor=tail)


def quiet(*unread: str) -> Quiet:
    """Make the end of a run."""
    return Quiet(unread={"bob": list(unread)})


def lost(since: float, broken: float, until: float, **members: object) -> Lost:
    """Make a loss of what the store of Bob's mailbox had."""
    usual = {"messages": True, "mailboxes": ["bob"]}
    return Lost(since=since, broken=broken, until=until, **{**usual, **members})  # type: ignore[arg-type] # members of any type


def rules(*events: Event) -> list[str]:
    """Return the rules that a history breaks."""
    return [complaint.rule for complaint in check(history(*events))]


GOOD: dict[str, list[Event]] = {
    "history, then live": [
        *stored(1, 2),
        hello(1),
        welcomed(1),
        pushed(1, "5-1", "5-2"),
        caught_up(1, "5-2"),
        *stored(3),
        pushed(1, "5-3"),
        quiet("5-1", "5-2", "5-3"),
    ],
    "on from a cursor": [
        *stored(1, 2),
        hello(1),
        welcomed(1),
        pushed(1, "5-1"),
        Closed(session=1, code=None),
        hello(2, after="5-1"),
        welcomed(2, "exact"),
        pushed(2, "5-2"),
        caught_up(2, "5-2"),
        quiet("5-1", "5-2"),
    ],
    "acked by one, read by the other": [
        *stored(1, 2),
        hello(1),
        welcomed(1),
        pushed(1, "5-1", "5-2"),
        AckAsked(ack=1, mailbox="bob", upto="5-1"),
        AckConfirmed(ack=1),
        hello(2, client="bob's laptop"),
        welcomed(2),
        Read(session=2, upto="5-1"),
        pushed(2, "5-2"),
        quiet("5-2"),
    ],
    "a retry after no answer": [
        asked(1, "once"),
        asked(2, "once"),
        accepted(2, "5-1", duplicate=True),
        hello(1),
        welcomed(1),
        pushed(1, "5-1", payload="once"),
        quiet("5-1"),
    ],
    "stored without an answer": [
        asked(1),
        Refused(attempt=1, code="store_unavailable"),
        hello(1),
        welcomed(1),
        pushed(1, "5-1"),
        quiet("5-1"),
    ],
    "forgotten, and told": [
        *stored(1, 2),
        hello(1),
        welcomed(1),
        pushed(1, "5-1", "5-2"),
        caught_up(1, "5-2"),
        lost(since=3, broken=9, until=10),
        Replayed(session=1, tail="7-0", reason=""),
        pushed(1, "5-1"),
        caught_up(1, "7-0"),
        asked(3, at=15),
        accepted(3, "7-1"),
        pushed(1, "7-1", payload="payload 3"),
        quiet("5-1", "7-1"),
    ],
    "what another's store forgot": [
        *stored(1),
        hello(1),
        welcomed(1),
        pushed(1, "5-1"),
        caught_up(1, "5-1"),
        lost(since=0, broken=7, until=8, mailboxes=["carol"]),
        *stored(2),
        pushed(1, "5-2"),
        quiet("5-1", "5-2"),
    ],
    "an ack that was forgotten": [
        *stored(1),
        AckAsked(ack=1, mailbox="bob", ids=["5-1"]),
        AckConfirmed(ack=1),
        lost(since=0, broken=4.5, until=5, messages=False),
        hello(1),
        welcomed(1),
        pushed(1, "5-1"),
        quiet("5-1"),
    ],
    "sent, never claimed, and stored again": [
        asked(1, "once"),
        hello(1),
        welcomed(1),
        pushed(1, "5-1", payload="once"),
        lost(since=0, broken=5, until=6, messages=False),
        Replayed(session=1, tail="7-0", reason=""),
        caught_up(1, "7-0"),
        asked(2, "once"),
        accepted(2, "7-1"),
        pushed(1, "7-1", payload="once"),
        quiet("7-1"),
    ],
    "a window that opens": [
        *stored(1, 2, 3, 4),
        hello(1),
        welcomed(1),
        pushed(1, "5-1", "5-2", "5-3"),
        Seen(session=1, upto="5-2"),
        pushed(1, "5-4"),
        quiet("5-1", "5-2", "5-3", "5-4"),
    ],
    "expired": [
        asked(1, ttl=1),
        accepted(1, "5-1"),
        *stored(2),
        hello(1),
        welcomed(1),
        pushed(1, "5-2"),
        quiet("5-2"),
    ],
}

BAD: dict[str, tuple[str, list[Event]]] = {
    "a message that is gone": ("lost", [*stored(1), quiet()]),
    "a message that never came": (
        "lost",
        [hello(1), welcomed(1), caught_up(1, "5-0"), *stored(1), quiet("5-1")],
    ),
    "a message lost before the loss": (
        "lost",
        [*stored(1), lost(since=4, broken=5, until=6), quiet()],
    ),
    "a message lost with the acks alone": (
        "lost",
        [*stored(1), lost(since=0, broken=5, until=6, messages=False), quiet()],
    ),
    "a message lost while another's store forgot": (
        "lost",
        [*stored(1), lost(since=0, broken=5, until=6, mailboxes=["carol"]), quiet()],
    ),
    "a message lost after the loss": (
        "lost",
        [lost(since=0, broken=0.5, until=1.5), *stored(1), quiet()],
    ),
    "a hole in the history": (
        "skipped",
        [*stored(1, 2), hello(1), welcomed(1), pushed(1, "5-2")],
    ),
    "caught up too early": (
        "skipped",
        [*stored(1), hello(1), welcomed(1), caught_up(1, "5-1")],
    ),
    "caught up below what was sent": (
        "skipped",
        [*stored(1), hello(1), welcomed(1), pushed(1, "5-1"), caught_up(1, "5-0")],
    ),
    "a replay not from the first": (
        "skipped",
        [
            *stored(1, 2),
            hello(1),
            welcomed(1),
            pushed(1, "5-1", "5-2"),
            Replayed(session=1, tail="6-0", reason=""),
            pushed(1, "5-2"),
            quiet("5-1", "5-2"),
        ],
    ),
    "exact past a message": (
        "dishonest",
        [
            hello(1),
            welcomed(1),
            Pushed(session=1, messages=[], cursor="5-1"),
            *stored(1),
            hello(2, after="5-1"),
            welcomed(2, "exact"),
        ],
    ),
    "exact without a cursor": ("dishonest", [hello(1), welcomed(1, "exact")]),
    "exact through a loss": (
        "dishonest",
        [
            hello(1),
            welcomed(1),
            caught_up(1, "5-0"),
            lost(since=0, broken=4, until=4.5),
            hello(2, after="5-0"),
            welcomed(2, "exact"),
        ],
    ),
    "a session that was not told": (
        "dishonest",
        [
            hello(1),
            welcomed(1),
            caught_up(1, "5-0"),
            lost(since=0, broken=4, until=4.5),
            quiet(),
        ],
    ),
    "ids that fall": (
        "reordered",
        [*stored(1, 2), hello(1), welcomed(1), pushed(1, "5-1", "5-2", "5-1")],
    ),
    "a later message with a lower id": (
        "reordered",
        [asked(1), accepted(1, "5-2"), asked(2), accepted(2, "5-1")],
    ),
    "a message that nobody sent": ("ghost", [hello(1), welcomed(1), pushed(1, "5-1")]),
    "a message of another mailbox": (
        "ghost",
        [
            asked(1, mailbox="carol"),
            accepted(1, "5-1"),
            hello(1),
            welcomed(1),
            pushed(1, "5-1"),
        ],
    ),
    "a message of somebody else": (
        "ghost",
        [
            asked(1, sender="mallory"),
            accepted(1, "5-1"),
            hello(1),
            welcomed(1),
            pushed(1, "5-1"),
        ],
    ),
    "a read that nobody acked": (
        "ghost",
        [*stored(1), hello(1), welcomed(1), Read(session=1, ids=["5-1"])],
    ),
    "a message after its ack": (
        "resurrected",
        [
            *stored(1),
            hello(1),
            welcomed(1),
            pushed(1, "5-1"),
            AckAsked(ack=1, mailbox="bob", ids=["5-1"]),
            AckConfirmed(ack=1),
            hello(2),
            welcomed(2),
            pushed(2, "5-1"),
        ],
    ),
    "an acked message in the mailbox": (
        "resurrected",
        [
            *stored(1),
            AckAsked(ack=1, mailbox="bob", upto="5-1"),
            AckConfirmed(ack=1),
            quiet("5-1"),
        ],
    ),
    "one id for two": (
        "renamed",
        [asked(1), asked(2), accepted(1, "5-1"), accepted(2, "5-1")],
    ),
    "one id, pushed as another": (
        "renamed",
        [*stored(1, 2), hello(1), welcomed(1), pushed(1, "5-1", payload="payload 2")],
    ),
    "a retry with another id": (
        "renamed",
        [asked(1, "x"), accepted(1, "5-1"), asked(2, "x"), accepted(2, "5-2")],
    ),
    "a retry stored again": (
        "renamed",
        [asked(1, "x"), accepted(1, "5-1"), asked(2, "x"), accepted(2, "5-1")],
    ),
    "more than the window": (
        "overrun",
        [
            *stored(1, 2, 3, 4),
            hello(1),
            welcomed(1),
            pushed(1, "5-1", "5-2", "5-3", "5-4"),
        ],
    ),
    "an internal error": ("broken", [asked(1), Refused(attempt=1, code="internal")]),
    "a traceback": ("broken", [Complained(line="Traceback")]),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_left_alone(name: str) -> None:
    """A history as it should be breaks no rule."""
    assert rules(*GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_what_is_planted_is_found(name: str) -> None:
    """A history with one thing wrong breaks just the rule that is for it."""
    rule, events = BAD[name]

    assert set(rules(*events)) == {rule}


def test_every_rule_is_planted() -> None:
    """No rule is there that nothing was planted for."""
    assert {rule for rule, _ in BAD.values()} == set(RULES)


def test_a_history_outlives_its_run(tmp_path: Path) -> None:
    """What is saved as JSON lines is read back the same, every kind of event."""
    events = [event for case in GOOD.values() for event in case]
    events += [event for _, case in BAD.values() for event in case]

    save(events, tmp_path / "history.jsonl")

    assert load(tmp_path / "history.jsonl") == events
