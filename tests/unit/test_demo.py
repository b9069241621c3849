"""What the demo shows of what passes."""

import io
import json
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from pushd.demo.program import greet
from pushd.demo.watching import Watcher
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Overflow, StoredMessage

ALICE, BOB = "alice.id.blockstack", "bob.id.blockstack"


@pytest.fixture
def screen() -> io.StringIO:
    """Catch what is shown."""
    return io.StringIO()


@pytest.fixture
def watcher(screen: io.StringIO) -> Watcher:
    """Watch Bob's mailbox on a screen of 100 columns."""
    return Watcher("did:key:zBob", BOB, Console(file=screen, width=100, highlight=False))


def stored(payload: str, name: str | None = ALICE) -> StoredMessage:
    """Make the first message of an epoch; None claims no name."""
    sender = {"did": "did:key:zAlice"} | ({} if name is None else {"name": name})
    members = {"from": sender, "payload": payload, "at": 1, "expires": 2}
    return StoredMessage(MessageId(7, 1), json.dumps({"id": "7-1", **members}).encode())


def test_a_delivery_is_one_line(watcher: Watcher, screen: io.StringIO) -> None:
    """Who wrote to whom, the id, and the beginning of the ciphertext, however long.

    A name shows only if the server proved it.
    """
    watcher.published([stored("cipher" * 500), stored("text", name=None)])

    first, second = screen.getvalue().splitlines()
    assert f"  {ALICE} → {BOB}  7-1  ciphercipher" in first
    assert len(first) <= 100
    assert f"  did:key:zAlice → {BOB}  " in second


def test_acks_and_a_full_mailbox_are_shown(watcher: Watcher, screen: io.StringIO) -> None:
    """In the form of the ack; and how many deliveries were refused."""
    watcher.acknowledged([MessageId(7, 1), MessageId(7, 2)], "session")
    watcher.acknowledged(MessageId(7, 3), "session")
    watcher.overflowed(Overflow(5, 0))

    ids, upto, full = screen.getvalue().splitlines()
    assert f"{BOB} acked   " in ids
    assert ids.rstrip().endswith(" 7-1, 7-2")
    assert upto.rstrip().endswith(" everything up to 7-3")
    assert full.rstrip().endswith(f"The mailbox of {BOB} is full 5 refused")


def test_a_payload_cannot_steer_the_terminal(watcher: Watcher, screen: io.StringIO) -> None:
    """Escape sequences and markup of strangers are shown, not obeyed."""
    watcher.published([stored("\x1b[2J\n[bold]")])

    (line,) = screen.getvalue().splitlines()
    assert "·[2J·[bold]" in line


def test_the_commands_are_whole_lines_of_plain_words(
    tmp_path: Path, screen: io.StringIO
) -> None:
    """However narrow the terminal and odd the directory, they can be copied and run."""
    place = tmp_path / "a b"
    urls = ("http://127.0.0.1:9999", "http://127.0.0.1:9998")

    greet(Console(file=screen, width=20), place, *urls)

    lines = [
        shlex.split(line) for line in screen.getvalue().splitlines() if "--key" in line
    ]
    listen, send = lines
    assert listen[1:] == ["listen", "--key", str(place / "bob.json")]
    assert send[1:] == [
        *("send", "--key", str(place / "alice.json")),
        *("--to", BOB, "Hello Bob"),
    ]
