"""`pushdctl` with names, from one terminal to another."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushd.identity.keys import PrivateKey
from pushd.keyfiles import read_key
from tests.devhub import RunningHub, running_devhub
from tests.processes import Server, run

APP = "https://app.example"
ALICE, BOB = "alice.id.blockstack", "bob.id.blockstack"


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    """Run a hub."""
    with running_devhub() as hub:
        yield hub


@pytest.fixture
def server(tmp_path: Path, hub: RunningHub) -> Iterator[Server]:
    """Run a server that knows the hub's names."""
    names = ("--names-api", hub.url, "--dev-hosts", hub.host_port)
    with Server(tmp_path, "--drain-seconds", "0", *names) as server:
        yield server


@pytest.fixture(autouse=True)
def people(tmp_path: Path, hub: RunningHub, server: Server) -> None:
    """Make Alice and Bob, with key files that know where they are at home."""
    for name in (ALICE, BOB):
        file = f"{name.partition('.')[0]}.json"
        said(
            tmp_path,
            *("keygen", file, "--app", APP, "--name", name, "--hub", hub.url),
            *("--server", server.url, "--names-api", hub.url),
            *("--dev-host", hub.host_port),
            *("--dev-host", server.url.removeprefix("http://")),
        )
        owner = PrivateKey.generate()
        hub.hub.register(name, owner, {APP: read_key(tmp_path / file)})


def said(directory: Path, *arguments: str) -> str:
    """Return what a command prints that succeeds."""
    done = run(arguments, directory)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_publish_send_listen(tmp_path: Path, server: Server) -> None:
    """Three commands: be found, write to a name, read what that says."""
    published = said(tmp_path, "contact", "publish", "--key", "bob.json")
    assert published.splitlines() == [".well-known/messaging.json", "key.json"]
    assert said(tmp_path, "contact", "publish", "--key", "bob.json") == ""

    said(tmp_path, "send", "--key", "alice.json", "--to", BOB, "Hello\nBob")
    said(tmp_path, "send", "--key", "alice.json", "--to", "bob.pub.json", "by file")

    listen = ("listen", "--key", "bob.json", "--count", "1", "--json")
    first = json.loads(said(tmp_path, *listen))
    alice = read_key(tmp_path / "alice.json").did
    assert (first["from"], first["name"], first["app"]) == (alice, ALICE, APP)
    assert (first["content"], first["contentType"]) == ("Hello\nBob", "text/plain")
    assert first["server"] == server.url
    assert f"{ALICE}  by file" in said(tmp_path, *listen[:-1])


def test_who_somebody_is(tmp_path: Path, server: Server) -> None:
    """Shown with how it is known; a name that is nobody's is said to be."""
    said(tmp_path, "contact", "publish", "--key", "bob.json")
    bob = read_key(tmp_path / "bob.json")
    key = ("--key", "alice.json")

    assert said(tmp_path, "contact", "show", *key, BOB).splitlines() == [
        f"did         {bob.did}",
        "proof       profile",
        f"public key  {bob.public.raw.hex()}",
        f"server      {server.url}",
    ]
    verified = said(tmp_path, "contact", "verify", *key, BOB)
    assert verified == f"Good: {bob.did} is at {server.url}."
    assert "cannot be reached by push" in said(tmp_path, "contact", "show", *key, ALICE)
    for arguments in (
        ("contact", "show", *key, "carol.id.blockstack"),
        ("contact", "verify", *key, "carol.id.blockstack"),
        ("send", *key, "--to", "carol.id.blockstack", "Hello"),
        ("send", *key, "--to", ALICE, "Hello"),
        (
            "contact",
            "publish",
            *key,
            "--hub",
            "http://127.0.0.1:1",
            "--dev-host",
            "127.0.0.1:1",
        ),
    ):
        refused = run(arguments, tmp_path)
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert line.startswith("pushdctl: ")


def test_what_cannot_be_opened_is_told_and_stays(tmp_path: Path, server: Server) -> None:
    """It does not keep the rest from being shown."""
    said(tmp_path, "contact", "publish", "--key", "bob.json")
    send = ("send", "--key", "alice.json", "--to")
    said(tmp_path, *send, BOB, "one")
    said(tmp_path, *send, "bob.pub.json", "--raw", "anything")
    said(tmp_path, *send, BOB, "two")

    heard = run(["listen", "--key", "bob.json", "--count", "2"], tmp_path)
    said(tmp_path, *send, BOB, "three")
    again = run(["listen", "--key", "bob.json", "--count", "1"], tmp_path)

    assert (heard.returncode, again.returncode) == (0, 0)
    words = [line.split()[-1] for line in (heard.stdout + again.stdout).splitlines()]
    assert words == ["one", "two", "three"]
    assert "stays unread" in heard.stderr
    assert "stays unread" in again.stderr
