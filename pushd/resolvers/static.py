"""Names from a file of the operator's own: for development, and for names of a house.

    {
      "alice.id.blockstack": {
        "publicKey": "02...",
        "app": "https://app.example",
        "bucket": "https://gaia.example/hub/1Addr.../",
        "messagingServers": ["https://push.example"]
      }
    }

Only the key is needed. Without `app` the name is the same identity in any.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from pushd.errors import BadRequest, ConfigurationError, Unproven
from pushd.identity.keys import PublicKey
from pushd.identity.names import form_of, validate_app
from pushd.resolvers.base import Identity, Proof
from pushd.resolvers.places import bucket_of, listed_servers


class StaticNames:
    """Knows the names a file lists, of any form; it is read once.

    Args:
        path: The file.

    Raises:
        ConfigurationError: If it cannot be read, or is not as it should be.
    """

    def __init__(self, path: Path) -> None:
        try:
            entries = msgspec.json.decode(path.read_bytes(), type=dict[str, _Entry])
        except OSError as error:
            raise ConfigurationError(
                f"The file of names {path} cannot be read: {error.strerror}."
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigurationError(f"The file of names {path}: {error}.") from None
        self._entries: dict[str, tuple[str | None, Identity]] = {}
        for name, entry in entries.items():
            try:
                form_of(name)
                self._entries[name] = (entry.app, entry.identity())
            except (BadRequest, Unproven) as error:
                raise ConfigurationError(
                    f"The file of names {path}, {name!r}: {error}"
                ) from None

    def __contains__(self, name: str) -> bool:
        """Tell whether the file lists a name, for whatever app."""
        return name in self._entries

    async def identify(self, name: str, app: str, *, now: float) -> Identity:
        """Find out who a name is; see `Source`."""
        if name not in self._entries:
            raise Unproven("The file of names does not list the name.")
        only, identity = self._entries[name]
        if only not in (None, app):
            raise Unproven("The file of names lists the name for another app.")
        return identity


class _Entry(Struct, rename="camel", forbid_unknown_fields=True):
    """What the file says of a name."""

    public_key: str
    app: str | None = None
    bucket: str | None = None
    messaging_servers: list[str] = []

    def identity(self) -> Identity:
        if self.app is not None:
            validate_app(self.app)
        key = PublicKey.from_hex(self.public_key)
        return Identity(
            did=key.did,
            proof=Proof.FILE,
            key=key,
            bucket=None if self.bucket is None else bucket_of(key, self.bucket),
            servers=listed_servers(self.messaging_servers),
        )
