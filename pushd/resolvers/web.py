"""Names of the kind did:web: a DID document on the host tells key and servers.

    did:web:example.org          https://example.org/.well-known/did.json
    did:web:example.org:alice    https://example.org/alice/did.json

Of the document (https://www.w3.org/TR/did-core/) the keys count, and the services of the
types `MessagingServer` and `GaiaBucket`. It says the same for all apps, and nobody signs
it: it is as good as the host and TLS (https://w3c-ccg.github.io/did-method-web/).
"""

from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from pushd.errors import BadRequest, Unproven
from pushd.identity.documents import read_json
from pushd.identity.keys import Algorithm, PublicKey
from pushd.resolvers.base import Identity, Proof
from pushd.resolvers.fetch import Fetcher
from pushd.resolvers.places import bucket_of, fetch, listed_servers


class WebNames:
    """Knows `did:web:example.org:alice`.

    Args:
        fetcher: The way out.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    async def identify(self, name: str, app: str, *, now: float) -> Identity:
        """Find out who a name is; see `Source`."""
        data = await fetch(self._fetcher, self._url(name))
        if data is None:
            raise Unproven("There is no DID document on the host.")
        document = read_json(data, _Document, "DID document")
        if document.id != name:
            raise Unproven("The DID document is about another DID.")
        key = document.key()
        buckets = document.endpoints("GaiaBucket")
        return Identity(
            did=key.did,
            proof=Proof.DID_DOCUMENT,
            key=key,
            bucket=bucket_of(key, buckets[0]) if buckets else None,
            servers=listed_servers(document.endpoints("MessagingServer")),
        )

    def _url(self, name: str) -> str:
        host, *path = name.removeprefix("did:web:").split(":")
        host = host.replace("%3A", ":")
        plain = self._fetcher.plain(host if ":" in host else f"{host}:80")
        place = "/".join(path) or ".well-known"
        return f"{'http' if plain else 'https'}://{host}/{place}/did.json"


class _Jwk(Struct):
    """A public key as JSON (RFC 7517); of other types, not of interest here."""

    crv: str = ""
    x: str = ""
    y: str = ""


class _Method(Struct, rename="camel"):
    """A verification method: a key, in one of three spellings."""

    id: str
    type: str = ""
    public_key_multibase: str | None = None
    public_key_hex: str | None = None
    public_key_jwk: _Jwk | None = None

    def key(self) -> PublicKey | None:
        """Return its key; None if it is of a type or in a spelling unknown here."""
        try:
            if self.public_key_multibase is not None:
                return PublicKey.from_did(f"did:key:{self.public_key_multibase}")
            if self.public_key_jwk is not None:
                return _from_jwk(self.public_key_jwk)
            if self.public_key_hex is not None and "Secp256k1" in self.type:
                return PublicKey.from_hex(self.public_key_hex)
        except BadRequest:
            pass
        return None


class _Service(Struct, rename="camel"):
    type: str | list[str]
    service_endpoint: Any = None

    def types(self) -> list[str]:
        return [self.type] if isinstance(self.type, str) else self.type

    def endpoints(self) -> list[str]:
        listed = self.service_endpoint
        if not isinstance(listed, list):
            listed = [listed]
        return [endpoint for endpoint in listed if isinstance(endpoint, str)]


class _Document(Struct, rename="camel"):
    """What counts of a DID document."""

    id: str
    verification_method: list[_Method] = []
    key_agreement: list[str | _Method] = []
    authentication: list[str | _Method] = []
    assertion_method: list[str | _Method] = []
    service: list[_Service] = []

    def key(self) -> PublicKey:
        """Return the key to use: the first that can be encrypted to, else the first.

        Raises:
            Unproven: If there is none of a type known here.
        """
        keys = [key for method in self._methods() if (key := method.key()) is not None]
        for key in keys:
            if key.algorithm is Algorithm.ES256K:
                return key
        if not keys:
            raise Unproven("The DID document tells no key of a type known here.")
        return keys[0]

    def endpoints(self, type: str) -> list[str]:
        """List the endpoints of all services of a type, in their order."""
        return [
            endpoint
            for service in self.service
            if type in service.types()
            for endpoint in service.endpoints()
        ]

    def _methods(self) -> Iterator[_Method]:
        """Yield the methods that are good for something, the best use first.

        One that no relationship refers to may be there only for what it signed once; but
        a document that knows no relationships at all means them all.
        """
        relationships = [*self.key_agreement, *self.authentication, *self.assertion_method]
        if not relationships:
            yield from self.verification_method
        by_id = {self._absolute(method.id): method for method in self.verification_method}
        for relation in relationships:
            if isinstance(relation, _Method):
                yield relation
            elif (method := by_id.get(self._absolute(relation))) is not None:
                yield method

    def _absolute(self, url: str) -> str:
        return self.id + url if url.startswith("#") else url


def _from_jwk(jwk: _Jwk) -> PublicKey:
    """Read a key of the types known here (RFC 7518 section 6.2, RFC 8037, RFC 8812).

    Raises:
        BadRequest: If it is of another type, or not its bytes.
    """
    x = _coordinate(jwk.x)
    if jwk.crv == "Ed25519":
        return PublicKey(Algorithm.EdDSA, x)
    # Compressed, as keys are here: x, and whether y is odd.
    point = bytes([2 + _coordinate(jwk.y)[-1] % 2]) + x
    if jwk.crv == "secp256k1":
        return PublicKey(Algorithm.ES256K, point)
    if jwk.crv == "P-256":
        return PublicKey(Algorithm.ES256, point)
    raise BadRequest("This is a key of another type.")


def _coordinate(text: str) -> bytes:
    try:
        data = urlsafe_b64decode(text + "==")
    except ValueError:
        data = b""
    if len(data) != 32:
        raise BadRequest("A coordinate of a key is 32 bytes in base64url.")
    return data
