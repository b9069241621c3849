"""`pushdctl` with names: be found, write to a name, read what that says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pushd.cli import app
from pushd.client import GaiaError, NotReachable, Unproven
from pushd.identity.keys import PrivateKey
from pushd.keyfiles import read_key
from tests.devhub import RunningHub, running_devhub
from tests.harness import RunningServer, serving
from tests.processes import run

APP = "https://app.example"
ALICE, BOB = "alice.id.blockstack", "bob.id.blockstack"


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    """Run a hub."""
    with running_devhub() as hub:
        yield hub


@pytest.fixture
def server(store_url: str, hub: RunningHub) -> Iterator[RunningServer]:
    """Run a server that knows the hub's names."""
    with serving(store_url, names_api=hub.url, dev_hosts=hub.host_port) as server:
        yield server


@pytest.fixture(autouse=True)
def people(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hub: RunningHub,
    server: RunningServer,
) -> None:
    """Make Alice and Bob, with key files here that know where they are at home."""
    monkeypatch.chdir(tmp_path)
    for name in (ALICE, BOB):
        file = f"{name.partition('.')[0]}.json"
        say(
            *("keygen", file, "--app", APP, "--name", name, "--hub", hub.url),
            *("--server", server.url, "--names-api", hub.url),
            *("--dev-host", hub.host_port),
            *("--dev-host", server.url.removeprefix("http://")),
        )
        owner = PrivateKey.generate()
        hub.hub.register(name, owner, {APP: read_key(Path(file))})


def say(*arguments: str) -> Result:
    """Run a command, and return what it printed.

    Raises:
        Exception: What `pushdctl` would say in one sentence.
    """
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result


def said(*arguments: str) -> str:
    """Return what a command prints."""
    return say(*arguments).stdout.strip()


def test_publish_send_listen(server: RunningServer) -> None:
    """Three commands are all it takes, and a fourth to read it as text."""
    published = said("contact", "publish", "--key", "bob.json")
    assert published.splitlines() == [".well-known/messaging.json", "key.json"]
    assert said("contact", "publish", "--key", "bob.json") == ""

    said("send", "--key", "alice.json", "--to", BOB, "Hello\nBob")
    said("send", "--key", "alice.json", "--to", "bob.pub.json", "by file")

    listen = ("listen", "--key", "bob.json", "--count", "1")
    first = json.loads(said(*listen, "--json"))
    alice = read_key(Path("alice.json")).did
    assert (first["from"], first["name"], first["app"]) == (alice, ALICE, APP)
    assert (first["content"], first["contentType"]) == ("Hello\nBob", "text/plain")
    assert first["server"] == server.url
    assert f"{ALICE}  by file" in said(*listen)


def test_who_somebody_is(server: RunningServer) -> None:
    """Shown with how it is known."""
    said("contact", "publish", "--key", "bob.json")
    bob = read_key(Path("bob.json"))
    key = ("--key", "alice.json")

    assert said("contact", "show", *key, BOB).splitlines() == [
        f"did         {bob.did}",
        "proof       profile",
        f"public key  {bob.public.raw.hex()}",
        f"server      {server.url}",
    ]
    verified = said("contact", "verify", *key, BOB)
    assert verified == f"Good: {bob.did} is at {server.url}."
    assert "cannot be reached by push" in said("contact", "show", *key, ALICE)


def test_what_cannot_be_is_said() -> None:
    """A name of nobody, somebody without a server, a hub that is away."""
    key = ("--key", "alice.json")
    nobody = "carol.id.blockstack"

    with pytest.raises(Unproven):
        say("contact", "show", *key, nobody)
    with pytest.raises(Unproven):
        say("contact", "verify", *key, nobody)
    with pytest.raises(Unproven):
        say("send", *key, "--to", nobody, "Hello")
    with pytest.raises(NotReachable):
        say("send", *key, "--to", ALICE, "Hello")
    with pytest.raises(GaiaError):
        say("contact", "publish", *key, "--hub", "https://127.0.0.1")


def test_it_is_said_in_one_sentence(tmp_path: Path) -> None:
    """The program ends with status 1, and shows no traceback."""
    show = ["contact", "show", "--key", "alice.json", "carol.id.blockstack"]
    refused = run(show, tmp_path)

    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("pushdctl: ")


def test_what_cannot_be_opened_is_told_and_stays() -> None:
    """It does not keep the rest from being shown."""
    said("contact", "publish", "--key", "bob.json")
    send = ("send", "--key", "alice.json", "--to")
    said(*send, BOB, "one")
    said(*send, "bob.pub.json", "--raw", "anything")
    said(*send, BOB, "two")

    heard = say("listen", "--key", "bob.json", "--count", "2")
    said(*send, BOB, "three")
    again = say("listen", "--key", "bob.json", "--count", "1")

    words = [line.split()[-1] for line in (heard.stdout + again.stdout).splitlines()]
    assert words == ["one", "two", "three"]
    assert "stays unread" in heard.stderr
    assert "stays unread" in again.stderr
