"""Keys on disk: a private one its owner alone can read, a contact to give to others.

Beside the private key stands what its owner always says with it: name, app, hub, servers.
"""

import os
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pushd.errors import BadRequest, ConfigurationError
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey, validate_did

T = TypeVar("T", bound=Struct)


class Account(Struct, frozen=True, omit_defaults=True):
    """Where an identity is at home; nothing of it is secret.

    Attributes:
        app: Web origin of the app; None: the key is used without any.
        name: Name the identity claims there; None claims none.
        hub: URL of the Gaia hub that keeps its files; None: it keeps none.
        servers: Its message servers in order of preference.
        names_api: URL of the API that knows Blockstack names; None knows none.
        bns_api: URL of the API that knows `.btc` names; None knows none.
        dev_hosts: Development hosts as `host:port`, where http is allowed.
    """

    app: str | None = None
    name: str | None = None
    hub: str | None = None
    servers: tuple[str, ...] = ()
    names_api: str | None = None
    bns_api: str | None = None
    dev_hosts: tuple[str, ...] = ()


class KeyFile(Struct, omit_defaults=True):
    """What the file of a private key holds, keys in hexadecimal."""

    algorithm: Algorithm
    did: str
    public_key: str
    private_key: str
    account: Account | UnsetType = UNSET


class Contact(Struct):
    """What the file of a contact holds; nothing of it is secret.

    Attributes:
        did: The identity, and its mailbox.
        public_key: Its key in hexadecimal; None if only the DID is known.
        algorithm: Of that key.
    """

    did: str
    public_key: str | None = None
    algorithm: Algorithm = Algorithm.ES256K

    def key(self) -> PublicKey:
        """Return the key to encrypt to.

        Raises:
            ConfigurationError: If it is not known, or another identity's.
        """
        if self.public_key is None:
            raise ConfigurationError(
                f"{self.did} does not tell its public key: name it with --to-key,"
                " or give --to a contact file."
            )
        try:
            key = PublicKey.from_hex(self.public_key, self.algorithm)
        except BadRequest as error:
            raise ConfigurationError(error.detail) from None
        if self.did not in (key.did, key.did_key):
            raise ConfigurationError(f"The public key is not that of {self.did}.")
        return key


def contact_path(path: Path) -> Path:
    """Return where the contact of a key file is: `name.pub.json` beside `name.json`."""
    return path.with_suffix(".pub.json")


def create_key(
    path: Path,
    algorithm: Algorithm = Algorithm.ES256K,
    account: Account | None = None,
) -> PrivateKey:
    """Make a key and write it where nothing is yet, with the contact beside it.

    Args:
        path: Of the key file; `contact_path` tells that of the contact.
        algorithm: Of the key.
        account: What stands beside the key; None: nothing.

    Raises:
        ConfigurationError: If a file is there already, or cannot be written.
    """
    key = PrivateKey.generate(algorithm)
    public = key.public.raw.hex()
    file = KeyFile(algorithm, key.did, public, key.to_hex(), account or UNSET)
    _write(path, file, mode=0o600)
    _write(contact_path(path), Contact(key.did, public, algorithm), mode=0o644)
    return key


def read_key(path: Path) -> PrivateKey:
    """Read a private key.

    Raises:
        ConfigurationError: If there is none in this file.
    """
    file = _read(path, KeyFile)
    try:
        return PrivateKey.from_hex(file.private_key, file.algorithm)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def read_account(path: Path) -> Account:
    """Read what stands beside a private key.

    Raises:
        ConfigurationError: If there is none in this file.
    """
    account = _read(path, KeyFile).account
    return Account() if account is UNSET else account


def write_account(path: Path, account: Account) -> None:
    """Replace what stands beside a private key; the key stays.

    Raises:
        ConfigurationError: If there is none in this file, or it cannot be written.
    """
    file = _read(path, KeyFile)
    if file.account == account:
        return
    file.account = account
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    _write(draft, file, mode=0o600)
    draft.replace(path)


def is_file(text: str) -> bool:
    """Tell the path of a file from a name, which may look alike: `bob.pub.json`."""
    return text.endswith(".json") or Path(text).is_file()


def read_contact(to: str, public_key: str | None = None) -> Contact:
    """Find out who is meant.

    Args:
        to: The path of a contact file, or the DID of a mailbox.
        public_key: The key in hexadecimal, where `to` is a DID that does not tell it;
            None: it is not known.

    Raises:
        ConfigurationError: If it is neither.
    """
    if not to.startswith("did:"):
        return _read(Path(to), Contact)
    try:
        validate_did(to)
        if to.startswith("did:key:"):
            key = PublicKey.from_did(to)
            return Contact(to, key.raw.hex(), key.algorithm)
    except BadRequest as error:
        raise ConfigurationError(f"--to {to}: {error.detail}") from None
    return Contact(to, public_key)


def _write(path: Path, content: Struct, *, mode: int) -> None:
    text = msgspec.json.format(msgspec.json.encode(content)) + b"\n"
    if path.exists():
        raise ConfigurationError(f"{path} is there already and stays as it is.")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, flags, mode), "wb") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}.") from None


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigurationError(f"{path} is not a {_NAMES[kind]} file.") from None


_NAMES: dict[type[Struct], str] = {KeyFile: "key", Contact: "contact"}
