"""`pushdctl send` and `pushdctl listen`, from one terminal to another."""

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pushd.identity.keys import Algorithm, PrivateKey
from pushd.keyfiles import create_key
from tests.harness import Person
from tests.processes import PUSHDCTL, Program, Server, clean_environ, run

BACKLOG = 1000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Run a server."""
    with Server(tmp_path, "--drain-seconds", "0") as server:
        yield server


@pytest.fixture
def alice(tmp_path: Path) -> PrivateKey:
    """Make Alice's key, in `alice.json`."""
    return create_key(tmp_path / "alice.json")


@pytest.fixture
def bob(tmp_path: Path, server: Server) -> PrivateKey:
    """Make Bob's key, in `bob.json`, and his mailbox."""
    key = create_key(tmp_path / "bob.json")
    owner = Person(server.url)
    owner.key, owner.did = key, key.did
    httpx2.get(f"{server.url}/v1/messages", headers=owner.receive()).raise_for_status()
    return key


def send(directory: Path, server: Server, *arguments: str) -> str:
    """Send as Alice to Bob, and return the id."""
    basis = ["send", "--key", "alice.json", "--server", server.url]
    to = [] if "--to" in arguments else ["--to", "bob.pub.json"]
    sent = run([*basis, *to, *arguments], directory)
    assert sent.returncode == 0, sent.stderr
    return sent.stdout.strip()


def listen(directory: Path, server: Server, *arguments: str) -> list[dict[str, Any]]:
    """Listen as Bob until it ends, and return the messages."""
    basis = ["listen", "--key", "bob.json", "--server", server.url, "--json"]
    heard = run([*basis, *arguments], directory)
    assert heard.returncode == 0, heard.stderr
    return [json.loads(line) for line in heard.stdout.splitlines()]


def test_what_is_sent_is_heard_and_acked(
    tmp_path: Path, server: Server, alice: PrivateKey, bob: PrivateKey
) -> None:
    """The envelope arrives sealed, is shown opened, and is gone from the mailbox then."""
    first = send(tmp_path, server, "one")
    second = send(
        tmp_path, server, "--to", bob.did, "--to-key", bob.public.raw.hex(), "two"
    )
    third = send(tmp_path, server, "--raw", "anything")

    one, two, three = listen(tmp_path, server, "--count", "3")
    fourth = send(tmp_path, server)
    (four,) = listen(tmp_path, server, "--count", "1")

    assert [first, second, third, fourth] == [m["id"] for m in (one, two, three, four)]
    assert {m["from"] for m in (one, two, three, four)} == {alice.did}
    assert one["envelope"] == {
        "id": "one",
        "from": alice.did,
        "to": bob.did,
        "bucket": f"https://gaia.blockstack.org/hub/{alice.did.rpartition(':')[2]}/",
    }
    assert "one" not in one["payload"]
    assert two["envelope"]["id"] == "two"
    assert three["payload"] == "anything"
    assert three["envelope"] is None
    assert len(four["envelope"]["id"]) >= 22  # 128 bits in base64


def test_messages_stay_that_are_only_looked_at(
    tmp_path: Path, server: Server, alice: PrivateKey, bob: PrivateKey
) -> None:
    """With --no-ack the next listener hears them again."""
    send(tmp_path, server, "one")

    assert len(listen(tmp_path, server, "--count", "1", "--no-ack")) == 1
    assert len(listen(tmp_path, server, "--count", "1")) == 1


def test_more_than_enough_stays_unread(
    tmp_path: Path, server: Server, alice: PrivateKey, bob: PrivateKey
) -> None:
    """What was not shown was not acked, and comes next time."""
    for id in ("one", "two", "three"):
        send(tmp_path, server, id)
    state = ("--state-dir", "state")

    heard = [listen(tmp_path, server, "--count", "1", *state) for _ in range(3)]

    assert [m["envelope"]["id"] for (m,) in heard] == ["one", "two", "three"]


def test_a_listener_comes_back_by_itself(
    tmp_path: Path, server: Server, alice: PrivateKey, bob: PrivateKey
) -> None:
    """A server that restarts costs nothing but a line; Ctrl-C ends it, with status 0."""
    arguments = ["listen", "--key", "bob.json", "--server", server.url]
    with Program(arguments, tmp_path, name="listener") as listener:
        listener.says("Listening at")
        server.process.terminate()
        server.ends()
        listener.says("trying again in")
        port = server.url.rpartition(":")[2]
        with Server(tmp_path, "--port", port, name="again") as again:
            send(tmp_path, again, "after")
            listener.says("after")
            listener.signal_group(signal.SIGINT)

            assert listener.ends() == 0
            assert "Traceback" not in listener.output()


def test_a_long_backlog_shows_how_far_it_is(
    tmp_path: Path, server: Server, alice: PrivateKey, bob: PrivateKey
) -> None:
    """On a terminal there is a progress bar, and every message above it."""
    person = Person(server.url)
    deliveries = [{"to": bob.did, "payload": f"number {n}"} for n in range(BACKLOG)]
    answer = httpx2.post(
        f"{server.url}/v1/deliveries",
        headers=person.deliver(bob.did),
        json={"deliveries": deliveries},
    )
    assert answer.is_success
    shown = on_a_terminal(
        *("listen", "--key", "bob.json", "--server", server.url),
        *("--count", str(BACKLOG)),
        directory=tmp_path,
    )

    assert f"/{BACKLOG}" in shown
    assert re.findall(r"number (\d+)", shown) == [str(n) for n in range(BACKLOG)]


def on_a_terminal(*arguments: str, directory: Path) -> str:
    """Run `pushdctl` on a terminal, and return what is shown there."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [PUSHDCTL, *arguments],
        cwd=directory,
        env={**clean_environ(), "TERM": "xterm", "COLUMNS": "120"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with open(ours, "rb", buffering=0) as terminal:
        try:
            while piece := terminal.read(65536):
                shown += piece
        except OSError:  # how a terminal ends on Linux
            pass
    assert program.wait(30) == 0, shown
    return shown.decode()


@pytest.mark.parametrize("algorithm", [Algorithm.ES256K, Algorithm.EdDSA])
def test_a_refusal_is_one_sentence(
    tmp_path: Path, server: Server, alice: PrivateKey, algorithm: Algorithm
) -> None:
    """Somebody without a mailbox cannot be written to; it is said as the server says it."""
    nobody = create_key(tmp_path / "nobody.json", algorithm)
    arguments = ["send", "--key", "alice.json", "--server", server.url]

    refused = run([*arguments, "--to", nobody.did, "--raw", "text"], tmp_path)

    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("pushdctl: ")
    assert line.endswith("(unknown_mailbox)")


def test_another_server_is_not_believed(
    tmp_path: Path, server: Server, alice: PrivateKey, bob: PrivateKey
) -> None:
    """A token for another URL than the server's own is refused, and listening ends."""
    other = server.url.replace("127.0.0.1", "localhost")
    refused = run(["listen", "--key", "bob.json", "--server", other], tmp_path)

    assert refused.returncode == 1
    assert "(4401)" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unreachable_server_is_said_to_be(tmp_path: Path, alice: PrivateKey) -> None:
    """After a while, in one sentence."""
    away = ["--server", "http://127.0.0.1:1", "--give-up-after", "0"]
    to = ["--to", "alice.pub.json"]

    failed = run(["send", "--key", "alice.json", *to, *away], tmp_path)

    assert failed.returncode == 1
    assert failed.stderr.startswith("pushdctl: http://127.0.0.1:1 does not answer")


def test_a_state_directory_that_cannot_be_is_refused(
    tmp_path: Path, server: Server, bob: PrivateKey
) -> None:
    """A state directory that cannot be is said before anything is read."""
    (tmp_path / "state").touch()
    arguments = ["listen", "--key", "bob.json", "--server", server.url]

    refused = run([*arguments, "--state-dir", "state"], tmp_path)

    assert refused.returncode == 2
    assert refused.stderr.startswith("pushdctl: --state-dir: ")
