"""What `pushdctl` offers, and what it makes of keys."""

import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pushd.cli import app
from pushd.cli.server import PANELS
from pushd.errors import BadRequest, ConfigurationError, Unproven
from pushd.identity.contact import make_contact
from pushd.identity.keys import Algorithm
from pushd.identity.tokens import verify
from pushd.keyfiles import Account, create_key, read_account, read_key
from pushd.settings import Settings, variable


def invoke(*arguments: str | Path) -> Result:
    """Run a command that succeeds, on a wide terminal."""
    wide = {"COLUMNS": "200"}
    result = CliRunner().invoke(app, [str(a) for a in arguments], env=wide)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# --- help ----------------------------------------------------------------------------


COMMANDS = [
    *("serve", "demo", "devhub", "keygen", "token", "contact"),
    *("send", "listen", "policy"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    """Each command is listed, and has a help of its own."""
    assert f" {command} " in invoke("--help").output
    assert f" {command} [OPTIONS]" in invoke(command, "--help").output


def test_every_setting_is_a_flag_of_serve() -> None:
    """The help of serve is whole: each setting with its variable and its default."""
    shown = invoke("serve", "--help").output
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert f"[env var: {variable(name)}]" in shown
        if type(field.default) is int:
            assert f"[default: ({field.default})]" in shown


def test_the_panels_of_serve_name_settings() -> None:
    """A panel does not name a setting that is gone."""
    named = {name for names in PANELS.values() for name in names}

    assert named <= set(Settings.model_fields)


# --- keys and tokens -----------------------------------------------------------------


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_keygen_shows_only_what_is_public(tmp_path: Path, algorithm: Algorithm) -> None:
    """The private key is in the file, which its owner alone can read, and nowhere else."""
    path = tmp_path / "me.json"

    shown = invoke("keygen", path, "--algorithm", algorithm).output

    key = read_key(path)
    assert key.algorithm is algorithm
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.did in shown
    assert key.public.raw.hex() in shown
    assert key.to_hex() not in shown


def test_keygen_overwrites_nothing(tmp_path: Path) -> None:
    """A key that is there stays."""
    path = tmp_path / "me.json"
    invoke("keygen", path)
    before = path.read_text()

    with pytest.raises(ConfigurationError, match="stays as it is"):
        invoke("keygen", path)
    assert path.read_text() == before


def test_keygen_keeps_where_one_is_at_home(tmp_path: Path) -> None:
    """With the private key, so that no other command needs to be told."""
    path = tmp_path / "me.json"
    invoke(
        *("keygen", path, "--app", "https://app.example", "--name", "alice.id.blockstack"),
        *("--hub", "https://hub.example", "--names-api", "https://names.example"),
        *("--server", "HTTPS://A.Example/", "--server", "https://b.example"),
        *("--bns-api", "https://bns.example", "--dev-host", "127.0.0.1:8481"),
    )

    assert read_account(path) == Account(
        app="https://app.example",
        name="alice.id.blockstack",
        hub="https://hub.example",
        servers=("https://a.example", "https://b.example"),
        names_api="https://names.example",
        bns_api="https://bns.example",
        dev_hosts=("127.0.0.1:8481",),
    )
    token = invoke("token", "--key", path, "--scope", "receive").output.strip()
    audience = {"https://a.example", "https://b.example"}
    assert verify(token, now=time.time()).audience == audience


@pytest.mark.parametrize(
    "flags", [("--app", "https://app.example/"), ("--name", "Alice Smith")]
)
def test_keygen_refuses_a_home_that_cannot_be(
    tmp_path: Path, flags: tuple[str, str]
) -> None:
    """Before there is a file that would have to be made again."""
    with pytest.raises(BadRequest):
        invoke("keygen", tmp_path / "me.json", *flags)
    assert list(tmp_path.iterdir()) == []


def test_a_token_says_what_was_asked(tmp_path: Path) -> None:
    """Scope, recipients, audience and lifetime are in the token, and it verifies."""
    alice, bob = tmp_path / "alice.json", create_key(tmp_path / "bob.json")
    key = create_key(alice)
    server = ("--server", "HTTPS://Push.Example:443/")

    printed = invoke(
        *("token", "--key", alice, "--scope", "receive deliver", "--lifetime", "60"),
        *("--to", tmp_path / "bob.pub.json", "--to", key.did, *server),
    ).output

    token = verify(printed.strip(), now=time.time())
    assert token.did == key.did
    assert token.scope == {"deliver", "receive"}
    assert token.to == {bob.did, key.did}
    assert token.audience == {"https://push.example"}
    assert token.expires - token.issued_at == 60


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--scope", "deliver"), "--to belongs to the scope deliver"),
        (("--scope", "receive", "--to", "did:key:zzz"), "--to belongs to the scope"),
        (("--scope", "everything"), "--scope is deliver, receive"),
        (("--scope", ""), "--scope is deliver, receive"),
        (("--scope", "deliver", "--to", "did:web:bob"), "did:web:bob"),
        (("--scope", "receive", "--server", "ftp://push.example"), "--server ftp://"),
    ],
)
def test_a_token_that_no_server_takes_is_not_made(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """What would be refused there is refused here, with a reason."""
    create_key(tmp_path / "me.json")

    with pytest.raises(ConfigurationError, match=sentence):
        invoke("token", "--key", tmp_path / "me.json", *arguments)


# --- sending -------------------------------------------------------------------------


def test_a_payload_is_raw_or_sealed(tmp_path: Path) -> None:
    """Asked for both, it does neither."""
    create_key(tmp_path / "me.json")
    to = ("--to", tmp_path / "me.pub.json")

    with pytest.raises(ConfigurationError, match="not both"):
        invoke("send", "--key", tmp_path / "me.json", *to, "--raw", "text", "an-id")


def test_nothing_is_encrypted_to_a_key_of_another(tmp_path: Path) -> None:
    """The key given has to be that of the DID, and to be given for an address."""
    create_key(tmp_path / "me.json")
    bob, mallory = create_key(tmp_path / "bob.json"), create_key(tmp_path / "mallory.json")
    to = ("send", "--key", tmp_path / "me.json", "--to", bob.did)

    with pytest.raises(ConfigurationError, match="--to-key"):
        invoke(*to)
    with pytest.raises(ConfigurationError, match="not that of"):
        invoke(*to, "--to-key", mallory.public.raw.hex())


def test_a_key_without_a_bucket_has_to_name_one(tmp_path: Path) -> None:
    """Only the bucket of a secp256k1 key follows from the key."""
    create_key(tmp_path / "me.json", Algorithm.EdDSA)
    create_key(tmp_path / "bob.json")
    to = ("--to", tmp_path / "bob.pub.json")

    with pytest.raises(ConfigurationError, match="--bucket"):
        invoke("send", "--key", tmp_path / "me.json", *to)


def test_a_key_that_cannot_be_encrypted_to_is_refused(tmp_path: Path) -> None:
    """Version 1 encrypts to secp256k1 alone."""
    create_key(tmp_path / "me.json")
    create_key(tmp_path / "bob.json", Algorithm.EdDSA)
    to = ("--to", tmp_path / "bob.pub.json")

    with pytest.raises(ConfigurationError, match="secp256k1"):
        invoke("send", "--key", tmp_path / "me.json", *to)


# --- home ----------------------------------------------------------------------------

HOME = Account(app="https://app.example", hub="https://hub.example")


def test_what_is_not_said_is_asked_for(tmp_path: Path) -> None:
    """Each in one sentence, before anything is tried."""
    me = tmp_path / "me.json"
    create_key(me)
    create_key(tmp_path / "home.json", account=HOME)
    home = ("--key", tmp_path / "home.json")

    with pytest.raises(ConfigurationError, match="--app"):
        invoke("contact", "show", "alice.id.blockstack")
    with pytest.raises(ConfigurationError, match="--app"):
        invoke("contact", "publish", "--key", me, "--server", "https://push.example")
    with pytest.raises(ConfigurationError, match="--server"):
        invoke("contact", "publish", *home)
    with pytest.raises(ConfigurationError, match="text"):
        invoke("send", *home, "--to", "bob.id.blockstack")
    with pytest.raises(ConfigurationError, match="hub"):
        invoke("send", "--key", me, "--to", "bob.id.blockstack", "Hello")


def test_a_contact_document_is_verified(tmp_path: Path) -> None:
    """Whose it is, and for which app; a file that is none says why."""
    key, app = create_key(tmp_path / "me.json"), "https://app.example"
    document = make_contact(key, servers=["https://push.example"], app=app, now=time.time())
    path = tmp_path / "messaging.json"
    path.write_bytes(document)
    verify = ("contact", "verify", path)

    shown = invoke(*verify, "--app", app).output
    assert f"Good: {key.did} is at https://push.example." in shown
    assert invoke(*verify, "--app", app, "--of", key.did).output == shown
    with pytest.raises(Unproven, match="another app"):
        invoke(*verify, "--app", "https://chat.example")
    other = create_key(tmp_path / "other.json").did
    with pytest.raises(Unproven, match="owner"):
        invoke(*verify, "--app", app, "--of", other)
    path.write_bytes(document.replace(b"ey", b"xy", 1))
    with pytest.raises(Unproven):
        invoke(*verify, "--app", app)
    path.write_text("{}")
    with pytest.raises(Unproven, match="publicKey"):
        invoke(*verify, "--app", app)
    with pytest.raises(ConfigurationError, match="No such file"):
        invoke("contact", "verify", tmp_path / "none.json", "--app", app)
