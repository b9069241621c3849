"""Keys on disk: private ones stay private, contacts fit their identity."""

import json
import stat
from pathlib import Path

import pytest

from pushd.errors import ConfigurationError
from pushd.identity.keys import Algorithm, PrivateKey
from pushd.keyfiles import (
    Account,
    contact_path,
    create_key,
    is_file,
    read_account,
    read_contact,
    read_key,
    write_account,
)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_key_comes_back_as_it_was_written(tmp_path: Path, algorithm: Algorithm) -> None:
    """Every kind of key, and its contact, can be written and read."""
    path = tmp_path / "deeper" / "bob.json"
    key = create_key(path, algorithm)

    assert read_key(path) == key
    contact = read_contact(str(contact_path(path)))
    assert contact.did == key.did
    assert contact.key() == key.public


def test_only_the_owner_can_read_a_key(tmp_path: Path) -> None:
    """A key file has mode 0600, and the contact beside it holds nothing private."""
    path = tmp_path / "bob.json"
    key = create_key(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.to_hex() not in contact_path(path).read_text()


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """A second key for the same path is refused, the first stays."""
    path = tmp_path / "bob.json"
    key = create_key(path)

    with pytest.raises(ConfigurationError, match="stays as it is"):
        create_key(path)
    assert read_key(path) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"algorithm": "RSA", "did": "", "public_key": "", "private_key": ""}',
        '{"algorithm": "ES256K", "did": "", "public_key": "", "private_key": "secret"}',
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    """A file that holds no key is named, what it holds is not."""
    path = tmp_path / "bob.json"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=r"bob\.json") as refusal:
        read_key(path)
    assert "secret" not in str(refusal.value)


def test_a_file_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """No file to read and no place to write are said as they are."""
    with pytest.raises(ConfigurationError, match="No such file"):
        read_key(tmp_path / "nobody.json")
    with pytest.raises(ConfigurationError, match="No such file"):
        read_contact(str(tmp_path / "nobody.pub.json"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="File exists"):
        create_key(tmp_path / "file" / "bob.json")


def test_a_did_key_tells_its_key() -> None:
    """A did:key needs no public key beside it."""
    key = PrivateKey.generate()

    assert read_contact(key.public.did_key).key() == key.public


def test_an_address_needs_its_key_and_no_other() -> None:
    """A did:btc-addr is only the hash of a key: the key must be given, and must fit."""
    bob, mallory = PrivateKey.generate(), PrivateKey.generate()

    assert read_contact(bob.did, bob.public.raw.hex()).key() == bob.public
    with pytest.raises(ConfigurationError, match="--to-key"):
        read_contact(bob.did).key()
    with pytest.raises(ConfigurationError, match="not that of"):
        read_contact(bob.did, mallory.public.raw.hex()).key()
    with pytest.raises(ConfigurationError, match="hexadecimal"):
        read_contact(bob.did, "key").key()


def test_a_contact_file_cannot_lie(tmp_path: Path) -> None:
    """A contact whose key is another's is refused before anything is encrypted to it."""
    bob, mallory = PrivateKey.generate(), PrivateKey.generate()
    path = tmp_path / "bob.pub.json"
    path.write_text(json.dumps({"did": bob.did, "public_key": mallory.public.raw.hex()}))

    with pytest.raises(ConfigurationError, match="not that of"):
        read_contact(str(path)).key()


@pytest.mark.parametrize("did", ["did:web:bob.example", "did:btc-addr:1", "did:key:z6"])
def test_a_did_that_is_no_mailbox_is_refused(did: str) -> None:
    """Only the DID of a mailbox can be written to."""
    with pytest.raises(ConfigurationError, match=did):
        read_contact(did)


def test_an_account_is_replaced_and_the_key_stays(tmp_path: Path) -> None:
    """Only its owner can read the file before and after, and nothing is left beside it."""
    path = tmp_path / "bob.json"
    key = create_key(path)
    account = Account(app="https://app.example", servers=("https://a.example",))

    assert read_account(path) == Account()
    write_account(path, account)
    write_account(path, account)

    assert read_account(path) == account
    assert read_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(tmp_path.iterdir()) == [path, contact_path(path)]


def test_a_file_from_before_there_were_accounts_is_read(tmp_path: Path) -> None:
    """And one without an account says nothing of it."""
    path = tmp_path / "bob.json"
    create_key(path)

    assert set(json.loads(path.read_text())) == {
        *("algorithm", "did", "public_key", "private_key")
    }
    assert read_account(path) == Account()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bob.pub.json", True),
        ("people/bob.json", True),
        ("bob.id.blockstack", False),
        ("https://hub.example/hub/1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2/", False),
        ("did:web:example.org", False),
    ],
)
def test_a_file_is_told_from_a_name(text: str, expected: bool) -> None:
    """Though a file may be called like a name."""
    assert is_file(text) == expected


def test_a_file_of_any_name_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is there."""
    monkeypatch.chdir(tmp_path)
    Path("bob.contact").touch()

    assert is_file("bob.contact")
    assert not is_file("alice.contact")
