"""Every decoder of what strangers send, as a function of bytes, for fuzzers to feed.

A decoder may return anything, or raise what its callers expect. Whatever else comes out of
it is a bug. Where a signature or a seal stands before the part that is of interest, the
fuzzer's bytes are signed or sealed here, so that they reach it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from httptools import HttpRequestParser

from pushd.client.envelope import Envelope, open_sealed
from pushd.client.letter import open_letter
from pushd.errors import BadRequest, ConfigurationError, Unauthorized, Unproven
from pushd.identity import base58, ecies, jws
from pushd.identity.addresses import hash160_of
from pushd.identity.contact import read_contact
from pushd.identity.documents import read_json
from pushd.identity.ecies import CannotOpen
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey, hash160, validate_did
from pushd.identity.names import bucket_address, form_of, validate_app
from pushd.identity.profiles import read_profile
from pushd.identity.published import read_published_key
from pushd.identity.tokens import verify
from pushd.identity.zonefiles import profile_url
from pushd.protocol.client import ClientSession
from pushd.protocol.ids import Cursor, MessageId
from pushd.protocol.messages import Acks, Policy, ack_of, decode, decode_client_frame
from pushd.protocol.session import ServerSession, Terms
from pushd.protocol.urls import canonical_url
from pushd.resolvers.bns import _ZoneFile
from pushd.settings import Settings, variable
from pushd.web.deliver import decode_posted
from pushd.web.exchange import bearer_of
from pushd.web.handshake import parse_request
from pushd.web.heads import shape_of
from tests.unit.test_websocket import opened

VECTORS = Path(__file__).parents[2] / "spec/vectors"
NOW = 1795348800.0
APP = "https://app.example"
KEY = PrivateKey(Algorithm.ES256K, bytes([7] * 32))
ADDRESS = KEY.did.removeprefix("did:btc-addr:")
OWNER = hash160(KEY.public.raw)
FIELDS = list(Settings.model_fields)
LARGEST = 64 * 1024
"""Bytes of the largest input; what may be larger is bounded before it is decoded."""


class Decoder(NamedTuple):
    """A decoder to feed.

    Attributes:
        decode: Takes the bytes.
        expected: What it may raise.
        seeds: Inputs to begin with: good ones, and such as have been trouble.
    """

    decode: Callable[[bytes], object]
    expected: tuple[type[Exception], ...]
    seeds: list[bytes]


def _text(take: Callable[[str], object]) -> Callable[[bytes], object]:
    """Make a decoder of text one of bytes."""
    return lambda data: take(data.decode("utf-8", "replace"))


# --- bodies and frames ----------------------------------------------------------------


def _acks(data: bytes) -> object:
    acks = decode(data, msgspec.json.Decoder(Acks))
    return ack_of(acks.ids, acks.upto)


def _policy(data: bytes) -> object:
    return decode(data, msgspec.json.Decoder(Policy))


def _client_frames(data: bytes) -> object:
    """Say hello, and then whatever the bytes are: the session takes it, and closes."""
    session = ServerSession("s", Terms("https://push.example", 25), now=NOW)
    session.received(decode_client_frame(b'{"type":"hello","token":"x"}'), NOW)
    session.authenticated(KEY.did, NOW + 600, NOW)
    session.opened(MessageId(7, 9), 3, (), None)
    return session.received(decode_client_frame(data), NOW)


def _server_frames(data: bytes) -> object:
    session = ClientSession(lambda: 0.5)
    session.start()
    session.connected("token", NOW)
    session.frame(data, NOW)
    session.tick(NOW + 1)
    return session.commands()


def _websocket(data: bytes) -> object:
    """Let bytes come in as they like: two reads, cut where the first byte says."""
    wire = opened()
    cut = data[0] if data else 0
    wire.feed(data[:cut], data[cut:])
    return wire.frames()


class _Parsed:
    """What a parser makes of one request."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.ended = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended += 1


def _head(data: bytes) -> object:
    """Take the shape of a head; a parser must read every request of that shape alike."""
    shape = shape_of(data)
    if shape is None:
        return None
    for token, body in ((_TOKEN, b"{}"), (_TOKEN[:5], _ASK)):
        whole = shape.written(token.encode(), b"%d" % len(body)) + body
        parsed = _Parsed()
        HttpRequestParser(parsed).feed_data(whole)
        bearer = bearer_of(dict(parsed.fields)[b"authorization"])
        assert shape.read(whole) == (bearer, parsed.body) == (token, body)
        assert parsed.ended == 1
        assert shape.read(whole + b"x") is shape.read(whole[:-1]) is None
    return shape


# --- proofs ---------------------------------------------------------------------------


def _claims(data: bytes) -> object:
    return verify(jws.sign(KEY, data), now=NOW)


def _contact(data: bytes) -> object:
    return read_contact(data, address=ADDRESS, app=APP, now=NOW)


def _contact_claims(data: bytes) -> object:
    document = {"version": 1, "token": jws.sign(KEY, data)}
    document |= {"publicKey": KEY.public.raw.hex(), "messagingServers": []}
    return _contact(json.dumps(document).encode())


def _profile(data: bytes) -> object:
    return read_profile(data, owner=OWNER, now=NOW).bucket(APP)


def _profile_claims(data: bytes) -> object:
    return _profile(json.dumps([{"token": jws.sign(KEY, data)}]).encode())


def _bns_zone_file(data: bytes) -> object:
    return read_json(data, _ZoneFile, "zone file").values("messaging-public-key")


def _published_key(data: bytes) -> object:
    return read_published_key(data, ADDRESS)


# --- what is sealed -------------------------------------------------------------------

_ENVELOPE = Envelope("i" * 32, KEY.did, KEY.did, f"https://gaia.example/hub/{ADDRESS}/")


def _sealed(data: bytes) -> object:
    return ecies.decrypt(data, KEY)


def _signed(data: bytes) -> object:
    return ecies.decrypt_signed(data, KEY)


def _envelope(data: bytes) -> object:
    return open_sealed(ecies.encrypt(data, KEY.public), KEY, sender=KEY.did)


def _letter(data: bytes) -> object:
    sealed = ecies.encrypt_signed(data, KEY.public, KEY)
    return open_letter(sealed.encode(), KEY, _ENVELOPE)


# --- words ----------------------------------------------------------------------------


def _address(text: str) -> object:
    return hash160_of(text[:100])


def _base58(text: str) -> object:
    return base58.decode_check(text[:500])


def _setting(data: bytes) -> object:
    """Set the setting that the first byte chooses to the rest."""
    name = FIELDS[(data[0] if data else 0) % len(FIELDS)]
    return Settings.read({variable(name): data[1:].decode("utf-8", "replace")})


# --- seeds ----------------------------------------------------------------------------


def _strings(value: Any) -> Iterator[str]:
    """Yield every string in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def vectors(name: str, *, holding: str = "") -> list[bytes]:
    """Return the texts of a file of vectors that hold some text."""
    document = json.loads((VECTORS / f"{name}.json").read_text())
    texts = {text for text in _strings(document) if holding in text}
    return sorted(text.encode("utf-8", "replace") for text in texts if len(text) < 4096)


def claims_in(name: str) -> list[bytes]:
    """Return the claims of the tokens in a file of vectors."""
    found = []
    for text in vectors(name, holding="."):
        for word in text.decode().replace('"', " ").split():
            try:
                found.append(jws.read(word, limit=LARGEST).claims.encode())
            except (Unauthorized, UnicodeError):
                continue
    return found


_NESTED = b'{"to":' * 2000
_WORDS = [b"", b"0", b"-1", b"\xff", b"\x00", b"\xed\xa0\x80", b"[" * 2000, _NESTED]
_DELIVERY = b'{"to":"did:btc-addr:1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2","payload":"x"}'
_ZONE = b'$ORIGIN alice.id\n$TTL 3600\n_http._tcp URI 10 1 "https://gaia.example/p.json"\n'
_BNS = b'{"owner":"SP1","meta":[{"name":"messaging-public-key","value":"02ab"}]}'
_ASK = (
    b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_TOKEN = "eyJhbGciOiJFUzI1NksifQ.e30.AAAA-_"
_POST = (
    b"POST /v1/deliveries HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)
_POST_TWICE = _POST.replace(b"Content", b"Authorization: Bearer a\r\nContent")
_POST_OTHERWISE = (
    b"POST /v1/deliveries HTTP/1.1\r\ncontent-length: 2\r\nx: uthorization: Bearer a\r\n"
    b"authorization: bearer a\r\naccept: 1\r\nconnection: keep-alive\r\n\r\n{}"
)
_FRAMES = [
    b"\x06\x81\x82\x01\x02\x03\x04ab",
    b"\x03\x89\x80aaaa",
    b"\x04\x88\x82\0\0\0\0\3\xe8",
]

DECODERS: dict[str, Decoder] = {
    "delivery": Decoder(
        decode_posted, (BadRequest,), [_DELIVERY, b'{"deliveries":[%b]}' % _DELIVERY]
    ),
    "acks": Decoder(
        _acks,
        (BadRequest,),
        [b'{"ids":["1-1","1-2"]}', b'{"upto":"1-1"}', b'{"ids":["1-01"]}', b'{"upto":"x"}'],
    ),
    "policy": Decoder(
        _policy,
        (BadRequest,),
        [b'{"default":"accept","allow":["a.btc"],"block":[]}', b'{"default":"refuse"}'],
    ),
    "client frames": Decoder(
        _client_frames, (BadRequest,), vectors("frames", holding='"type"')
    ),
    "server frames": Decoder(_server_frames, (), vectors("frames", holding='"type"')),
    "websocket": Decoder(_websocket, (), _FRAMES),
    "head of a delivery": Decoder(_head, (), [_POST, _POST_TWICE, _POST_OTHERWISE]),
    "upgrade": Decoder(parse_request, (), [_ASK]),
    "token": Decoder(
        _text(lambda text: verify(text, now=NOW)),
        (Unauthorized,),
        vectors("tokens", holding="eyJ"),
    ),
    "claims": Decoder(_claims, (Unauthorized,), claims_in("tokens")),
    "contact document": Decoder(_contact, (Unproven,), vectors("contacts", holding="{")),
    "contact claims": Decoder(_contact_claims, (Unproven,), claims_in("contacts")),
    "profile": Decoder(_profile, (Unproven,), vectors("names-profile", holding="{")),
    "profile claims": Decoder(_profile_claims, (Unproven,), claims_in("names-profile")),
    "zone file": Decoder(_text(profile_url), (Unproven,), [_ZONE]),
    "bns zone file": Decoder(_bns_zone_file, (Unproven,), [_BNS]),
    "published key": Decoder(
        _published_key, (Unproven,), [KEY.public.raw.hex().encode(), b'{"publicKey":"02"}']
    ),
    "sealed": Decoder(_sealed, (CannotOpen,), vectors("ecies", holding='"iv"')),
    "signed": Decoder(_signed, (CannotOpen,), vectors("ecies", holding='"signature"')),
    "envelope": Decoder(
        _envelope, (CannotOpen,), [b'{"v":1,%b' % msgspec.json.encode(_ENVELOPE)[1:]]
    ),
    "letter": Decoder(
        _letter,
        (CannotOpen,),
        [b'{"v":1,"id":"%b","from":"%b","content":"x"}' % (b"i" * 32, KEY.did.encode())],
    ),
    "id": Decoder(_text(MessageId.parse), (BadRequest,), vectors("ids", holding="-")),
    "cursor": Decoder(_text(Cursor.parse), (BadRequest,), vectors("ids", holding="@")),
    "url": Decoder(_text(canonical_url), (BadRequest,), vectors("urls", holding="/")),
    "name": Decoder(_text(form_of), (BadRequest,), [b"alice.id", b"a.btc", b"did:web:a.b"]),
    "bucket": Decoder(
        _text(bucket_address), (BadRequest,), [f"https://a.b/{ADDRESS}/".encode()]
    ),
    "app": Decoder(_text(validate_app), (BadRequest,), [APP.encode(), b"http://a:1"]),
    "did": Decoder(_text(validate_did), (BadRequest,), vectors("keys", holding="did:")),
    "key of a did": Decoder(
        _text(PublicKey.from_did), (BadRequest,), vectors("keys", holding="did:key")
    ),
    "key": Decoder(
        _text(PublicKey.from_hex), (BadRequest,), [KEY.public.raw.hex().encode()]
    ),
    "point": Decoder(PublicKey.from_point, (BadRequest,), [KEY.public.raw]),
    "address": Decoder(
        _text(_address), (BadRequest,), [ADDRESS.encode(), b"SP8G3MAFD6RTHVZX50NDZ1AY8Q"]
    ),
    "base58": Decoder(_text(_base58), (ValueError,), [ADDRESS.encode()]),
    "setting": Decoder(_setting, (ConfigurationError,), [b"\x008480", b"\x02https://a.b"]),
}
"""By what they read."""


def seeds_of(decoder: Decoder) -> list[bytes]:
    """Return the seeds of a decoder, and what is trouble for many."""
    return [*decoder.seeds, *_WORDS]


def feed(decoder: Decoder, data: bytes) -> None:
    """Let a decoder take some bytes; what it may raise is no news."""
    with suppress(*decoder.expected):
        decoder.decode(data)
