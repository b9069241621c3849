"""What `pushdctl` offers, and what it makes of keys."""

import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pushd.cli import PANELS, app
from pushd.errors import ConfigurationError
from pushd.identity.keys import Algorithm
from pushd.identity.tokens import verify
from pushd.keyfiles import create_key, read_key
from pushd.settings import Settings, variable


def invoke(*arguments: str | Path) -> Result:
    """Run a command that succeeds, on a wide terminal."""
    wide = {"COLUMNS": "200"}
    result = CliRunner().invoke(app, [str(a) for a in arguments], env=wide)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# --- help ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "demo", "keygen", "token", "send", "listen"])
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
        if isinstance(field.default, int):
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
