"""What the demo shows of what passes."""

import io
import json
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from pushd.demo import Watcher, greet, identities
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Overflow, StoredMessage

ALICE, BOB = "did:btc-addr:alice", "did:btc-addr:bob"
PEOPLE = {ALICE: "Alice", BOB: "Bob"}


@pytest.fixture
def screen() -> io.StringIO:
    """Catch what is shown."""
    return io.StringIO()


@pytest.fixture
def watcher(screen: io.StringIO) -> Watcher:
    """Watch Bob's mailbox on a screen of 80 columns."""
    return Watcher(BOB, PEOPLE, Console(file=screen, width=80, highlight=False))


def stored(sender: str, payload: str) -> StoredMessage:
    """Make the first message of an epoch."""
    members = {"from": {"did": sender}, "payload": payload, "at": 1, "expires": 2}
    return StoredMessage(MessageId(7, 1), json.dumps({"id": "7-1", **members}).encode())


def test_a_delivery_is_one_line(watcher: Watcher, screen: io.StringIO) -> None:
    """Who wrote to whom, the id, and the beginning of the ciphertext, however long."""
    watcher.published([stored(ALICE, "cipher" * 500), stored("did:key:zStranger", "text")])

    first, second = screen.getvalue().splitlines()
    assert "  Alice → Bob    7-1  ciphercipher" in first
    assert len(first) <= 80
    assert "  did:key:zStranger → Bob 7-1  text" in second


def test_acks_and_a_full_mailbox_are_shown(watcher: Watcher, screen: io.StringIO) -> None:
    """In the form of the ack; and how many deliveries were refused."""
    watcher.acknowledged([MessageId(7, 1), MessageId(7, 2)], "session")
    watcher.acknowledged(MessageId(7, 3), "session")
    watcher.overflowed(Overflow(5, 0))

    ids, upto, full = screen.getvalue().splitlines()
    assert ids.rstrip().endswith("Bob acked      7-1, 7-2")
    assert upto.rstrip().endswith("Bob acked      everything up to 7-3")
    assert full.rstrip().endswith("Bob's mailbox is full 5 refused")


def test_a_payload_cannot_steer_the_terminal(watcher: Watcher, screen: io.StringIO) -> None:
    """Escape sequences and markup of strangers are shown, not obeyed."""
    watcher.published([stored(ALICE, "\x1b[2J\n[bold]")])

    (line,) = screen.getvalue().splitlines()
    assert "·[2J·[bold]" in line


def test_the_commands_are_whole_lines_of_plain_words(
    tmp_path: Path, screen: io.StringIO
) -> None:
    """However narrow the terminal and odd the directory, they can be copied and run."""
    place = tmp_path / "a b"
    identities(place)

    greet(Console(file=screen, width=20), place, "http://127.0.0.1:9999")

    lines = [
        shlex.split(line) for line in screen.getvalue().splitlines() if "--key" in line
    ]
    listen, send = lines
    assert listen[1:] == [
        *("listen", "--key", str(place / "bob.json")),
        *("--server", "http://127.0.0.1:9999"),
    ]
    assert send[1:] == [
        *("send", "--key", str(place / "alice.json")),
        *("--to", str(place / "bob.pub.json")),
        *("--server", "http://127.0.0.1:9999", "hello"),
    ]


def test_identities_are_made_once(tmp_path: Path) -> None:
    """The second start finds the same people."""
    people = identities(tmp_path)

    assert sorted(people.values()) == ["Alice", "Bob"]
    assert identities(tmp_path) == people
