"""Contact documents: how to write to the owner of a bucket, signed by its key.

    1Addr.../.well-known/messaging.json
    {"version": 1, "publicKey": "02...", "messagingServers": ["https://..."], "token": ...}

The hash of the key is the bucket's address, so nobody else can sign one: not who keeps
the bucket, nor who carries the document. The plain members are for people to read.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from pushd.errors import BadRequest, Unproven
from pushd.identity import jws
from pushd.identity.documents import LEEWAY, read_json, read_signed
from pushd.identity.keys import BTC_ADDR, Algorithm, PrivateKey, PublicKey
from pushd.identity.names import validate_app
from pushd.protocol.urls import canonical_url

PATH = ".well-known/messaging.json"
"""Where the document lies, relative to the bucket's read URL."""

VERSION = 1

MAX_SERVERS = 8
"""Message servers somebody may list."""

MAX_SERVER = 512
"""Characters of the longest entry in that list."""

_WHAT = "contact document"


class ContactDocument(Struct, frozen=True):
    """A verified contact document.

    Attributes:
        key: What to encrypt to; also who signed.
        servers: Message servers in order of preference, as they are listed, also those
            of kinds unknown here.
        app: Web origin of the app it is for.
        issued_at: Unix seconds; the newer document replaces the older.
        expires: Unix seconds, or None.
    """

    key: PublicKey
    servers: tuple[str, ...]
    app: str
    issued_at: float
    expires: float | None

    @property
    def did(self) -> str:
        """The identity it is about, and the name of its mailbox."""
        return self.key.did


def make_contact(
    key: PrivateKey,
    *,
    servers: Sequence[str],
    app: str,
    now: float,
    lifetime: float | None = None,
) -> bytes:
    """Make a contact document, as it is stored at `PATH`.

    Args:
        key: The secp256k1 key of the bucket.
        servers: 1 to 8 message servers in order of preference.
        app: Web origin of the app the bucket belongs to.
        now: Unix seconds; later than any document made before, or readers keep that one.
        lifetime: Seconds it counts; None sets no end.

    Raises:
        BadRequest: If one of these is not as it has to be.
    """
    if key.algorithm is not Algorithm.ES256K:
        raise BadRequest("A contact document is signed by a secp256k1 key, the bucket's.")
    try:
        listed = msgspec.convert(list(servers), _Servers)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The message servers: {error}.") from None
    public_key = key.public.raw.hex()
    issued_at = round(now, 3)
    claims = _Claims(
        iss=key.did,
        public_keys=[public_key],
        servers=listed,
        app=validate_app(app),
        iat=issued_at,
        exp=UNSET if lifetime is None else issued_at + lifetime,
    )
    document = {
        "version": VERSION,
        "publicKey": public_key,
        "messagingServers": listed,
        "token": jws.sign(key, msgspec.json.encode(claims)),
    }
    return msgspec.json.format(msgspec.json.encode(document)) + b"\n"


def read_contact(
    data: bytes,
    *,
    address: str,
    app: str,
    now: float,
    seen: ContactDocument | None = None,
) -> ContactDocument:
    """Read a contact document and verify that the owner of the bucket signed it.

    Args:
        data: The document as it was found.
        address: Address of the bucket it was found in.
        app: Web origin of the app the bucket was looked up for.
        now: Unix seconds.
        seen: The document last read there: one that is older, or another of the same
            time, was put back. None: none was.

    Raises:
        Unproven: If it is malformed, not signed by the bucket's key, for another app, of
            the future, expired, or older than `seen`.
    """
    document = read_json(data, _Document, _WHAT)
    if document.version != VERSION:
        raise Unproven(f"The contact document is not of version {VERSION}.")

    def signer(claims: _Claims) -> PublicKey:
        if len(claims.public_keys) != 1:
            raise Unproven("The public_keys of the contact document is not one key.")
        key = PublicKey.from_hex(claims.public_keys[0])
        if not key.did == claims.iss == BTC_ADDR + address:
            raise Unproven("The contact document is not of the owner of the bucket.")
        return key

    claims = read_signed(document.token, _Claims, signer, _WHAT)
    contact = ContactDocument(
        key=signer(claims),
        servers=tuple(claims.servers),
        app=claims.app,
        issued_at=claims.iat,
        expires=None if claims.exp is UNSET else claims.exp,
    )
    _check(contact, app, now, seen)
    return contact


def pushd_servers(servers: Iterable[str], *, plain: Callable[[str], bool]) -> list[str]:
    """Return those servers of a contact document that speak this protocol.

    Args:
        servers: Entries of the list, of any kind.
        plain: Tells of `host:port` whether http is good enough there.

    Returns:
        Canonical URLs in the same order, each once.
    """
    found: dict[str, None] = {}
    for entry in servers:
        try:
            url = canonical_url(entry)
        except BadRequest:
            continue
        if url.startswith("https://") or plain(_host_port(url)):
            found[url] = None
    return list(found)


def _host_port(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc if parts.port else f"{parts.netloc}:80"


# --- the document --------------------------------------------------------------------

_Servers = Annotated[
    list[Annotated[str, Meta(max_length=MAX_SERVER)]],
    Meta(min_length=1, max_length=MAX_SERVERS),
]


class _Document(Struct):
    """What counts of the document itself."""

    version: float
    token: str


class _Claims(Struct, omit_defaults=True):
    """The claims that mean something here; others are let be."""

    iss: str
    public_keys: list[str]
    servers: _Servers = field(name="messagingServers")
    app: str
    iat: float
    exp: float | UnsetType = UNSET


def _check(
    contact: ContactDocument, app: str, now: float, seen: ContactDocument | None
) -> None:
    if contact.app != app:
        raise Unproven("The contact document is for another app.")
    if contact.issued_at > now + LEEWAY:
        raise Unproven("The contact document is from the future; is the clock right?")
    if contact.expires is not None and contact.expires <= now:
        raise Unproven("The contact document has expired; its owner has to sign it again.")
    if seen is None or contact == seen:
        return
    if contact.issued_at <= seen.issued_at:
        raise Unproven("The contact document is older than one that was there before.")
