"""Names of the kind did:web: which key of a DID document counts, and which servers."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    SECP256R1,
    EllipticCurvePublicKey,
)

from pushd.errors import ResolverUnavailable, Unproven
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey, address
from pushd.resolvers.base import Identity, Proof
from pushd.resolvers.fetch import FetchFailed
from pushd.resolvers.web import WebNames
from tests.unit.places import NOW, Places

DID = "did:web:example.org"
URL = "https://example.org/.well-known/did.json"
BOB = PrivateKey(Algorithm.ES256K, bytes([9] * 32)).public
EVE = PrivateKey(Algorithm.ES256K, bytes([6] * 32)).public
ED25519 = PrivateKey(Algorithm.EdDSA, bytes([9] * 32)).public
P256 = PrivateKey(Algorithm.ES256, bytes([9] * 32)).public
BUCKET = f"https://gaia.example/hub/{address(BOB.raw)}/"


def base64url(data: bytes) -> str:
    """Write bytes as JWKs do."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def multikey(key: PublicKey, id: str = "#key", type: str = "Multikey") -> dict[str, Any]:
    """Make a verification method with a key in multibase."""
    multibase = key.did_key.removeprefix("did:key:")
    return {"id": id, "type": type, "controller": DID, "publicKeyMultibase": multibase}


def jwk(key: PublicKey, id: str = "#key") -> dict[str, Any]:
    """Make a verification method with a key as a JWK."""
    if key.algorithm is Algorithm.EdDSA:
        members = {"kty": "OKP", "crv": "Ed25519", "x": base64url(key.raw)}
    else:
        curve = SECP256K1() if key.algorithm is Algorithm.ES256K else SECP256R1()
        point = EllipticCurvePublicKey.from_encoded_point(curve, key.raw).public_numbers()
        members = {
            "kty": "EC",
            "crv": "secp256k1" if key.algorithm is Algorithm.ES256K else "P-256",
            "x": base64url(point.x.to_bytes(32)),
            "y": base64url(point.y.to_bytes(32)),
        }
    return {"id": id, "type": "JsonWebKey2020", "controller": DID, "publicKeyJwk": members}


def hexadecimal(key: PublicKey, id: str = "#key") -> dict[str, Any]:
    """Make a verification method with a key in hexadecimal."""
    type = "EcdsaSecp256k1VerificationKey2019"
    return {"id": id, "type": type, "controller": DID, "publicKeyHex": key.raw.hex()}


async def identify(found: Places | dict[str, Any], did: str = DID) -> Identity:
    """Find out who a did:web is, whose document holds these members."""
    if not isinstance(found, Places):
        found = Places({URL: json.dumps({"id": DID} | found).encode()})
    return await WebNames(found).identify(did, "https://app.example", now=NOW)


# --- where it lies -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("did", "url"),
    [
        (DID, URL),
        ("did:web:example.org:alice", "https://example.org/alice/did.json"),
        ("did:web:example.org:u:Alice", "https://example.org/u/Alice/did.json"),
        ("did:web:example.org%3A8443", "https://example.org:8443/.well-known/did.json"),
        ("did:web:localhost%3A8481:bob", "http://localhost:8481/bob/did.json"),
        ("did:web:dev.example:bob", "http://dev.example/bob/did.json"),
    ],
)
async def test_where_the_document_lies(did: str, url: str) -> None:
    """A did:web is a URL: https, but for hosts listed for development."""
    document = {"id": did, "verificationMethod": [multikey(BOB)]}
    found = Places(
        {url: json.dumps(document).encode()},
        plain_hosts=["localhost:8481", "dev.example:80"],
    )
    assert (await identify(found, did)).did == BOB.did
    assert found.asked == [url]


# --- which key -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "key"),
    [
        (multikey(BOB), BOB),
        (multikey(ED25519, type="Ed25519VerificationKey2020"), ED25519),
        (multikey(P256), P256),
        (jwk(BOB), BOB),
        (jwk(EVE), EVE),
        (jwk(ED25519), ED25519),
        (jwk(P256), P256),
        (hexadecimal(BOB), BOB),
    ],
)
async def test_spellings_of_keys(method: dict[str, Any], key: PublicKey) -> None:
    """A key counts in every spelling; secp256k1 makes a did:btc-addr, others a did:key."""
    assert await identify({"verificationMethod": [method]}) == Identity(
        did=key.did, proof=Proof.DID_DOCUMENT, key=key
    )


METHODS = [multikey(ED25519, "#ed"), multikey(EVE, "#old"), multikey(BOB, f"{DID}#bob")]


@pytest.mark.parametrize(
    ("relationships", "key"),
    [
        ({}, EVE),
        ({"keyAgreement": ["#bob"], "authentication": ["#old"]}, BOB),
        ({"authentication": ["#bob"], "assertionMethod": ["#old"]}, BOB),
        ({"assertionMethod": [f"{DID}#bob"]}, BOB),
        ({"authentication": [multikey(BOB, "#embedded")]}, BOB),
        ({"authentication": ["#ed", "#bob"]}, BOB),
        ({"keyAgreement": ["#ed"], "assertionMethod": ["#bob"]}, BOB),
        ({"authentication": ["#ed"]}, ED25519),
        ({"authentication": ["#missing", "#ed"]}, ED25519),
        ({"authentication": [f"{DID}x#old", "#ed"]}, ED25519),
    ],
)
async def test_which_key(relationships: dict[str, Any], key: PublicKey) -> None:
    """Keys that are good for something count, first one that can be encrypted to."""
    found = await identify({"verificationMethod": METHODS} | relationships)
    assert found.key == key


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"verificationMethod": []},
        {"verificationMethod": METHODS, "authentication": ["#missing"]},
        {"verificationMethod": [{"id": "#key"}]},
        {"verificationMethod": [{"id": "#key", "publicKeyMultibase": "z" + "1" * 100}]},
        {"verificationMethod": [{"id": "#key", "publicKeyMultibase": "uAbc"}]},
        {"verificationMethod": [{"id": "#key", "publicKeyHex": BOB.raw.hex()}]},
        {"verificationMethod": [{**hexadecimal(BOB), "publicKeyHex": "02"}]},
        {"verificationMethod": [{"id": "#key", "publicKeyJwk": {"kty": "RSA", "n": "x"}}]},
        {
            "verificationMethod": [
                {"id": "#key", "publicKeyJwk": {"crv": "X25519", "x": "eA"}}
            ]
        },
        {"verificationMethod": [{"id": "#key", "publicKeyJwk": {"crv": "Ed25519"}}]},
        {
            "verificationMethod": [
                {**jwk(P256), "publicKeyJwk": {**jwk(P256)["publicKeyJwk"], "crv": "P-384"}}
            ]
        },
    ],
)
async def test_no_key(members: dict[str, Any]) -> None:
    """A document without a key of a type known here, good for something, proves nothing."""
    with pytest.raises(Unproven, match="no key"):
        await identify(members)


# --- which servers -------------------------------------------------------------------

KEYS = {"verificationMethod": [multikey(BOB)]}


def service(type: str | list[str], endpoint: Any) -> dict[str, Any]:
    """Make a service of a DID document."""
    return {"id": "#service", "type": type, "serviceEndpoint": endpoint}


async def test_servers_and_bucket() -> None:
    """Message servers come in their order, of services of that type alone."""
    found = await identify(
        KEYS
        | {
            "service": [
                service("LinkedDomains", {"origins": ["https://example.org"]}),
                service("OldMessagingServer", "https://old.example"),
                service("MessagingServer", "https://a.example"),
                service(["Other", "MessagingServer"], ["https://b.example", {"uri": "x"}]),
                service("MessagingServer", {"uri": "https://c.example"}),
                service("GaiaBucket", BUCKET.rstrip("/")),
            ]
        }
    )
    assert found.servers == ("https://a.example", "https://b.example")
    assert found.bucket == BUCKET


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"id": "did:web:example.com"}, "another DID"),
        ({"id": 17}, "DID document"),
        ({"service": [service("GaiaBucket", "https://x.example/")]}, "bucket"),
        (
            {"service": [service("GaiaBucket", f"https://x.example/{address(EVE.raw)}")]},
            "not the hash of the key",
        ),
        (
            {
                "verificationMethod": [multikey(ED25519)],
                "service": [service("GaiaBucket", BUCKET)],
            },
            "not the hash of the key",
        ),
        ({"service": [service("MessagingServer", ["https://x"] * 9)]}, "more than 8"),
        ({"service": [service("MessagingServer", "x" * 513)]}, "512"),
        ({"verificationMethod": "#key"}, "DID document"),
    ],
)
async def test_what_proves_nothing(members: dict[str, Any], why: str) -> None:
    """A document counts that is about the DID, and claims no bucket but its key's."""
    with pytest.raises(Unproven, match=why):
        await identify(KEYS | members)


@pytest.mark.parametrize("text", [b"", b"<html></html>", b"[]", b"[" * 60_000, b"\xff"])
async def test_no_document(text: bytes) -> None:
    """What lies there is no DID document, so nothing is proven."""
    with pytest.raises(Unproven, match="DID document"):
        await identify(Places({URL: text}))


async def test_nothing_there() -> None:
    """The host answers that there is no document."""
    with pytest.raises(Unproven, match="no DID document"):
        await identify(Places({}))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(FetchFailed("connect"), id="down"),
        pytest.param(FetchFailed("redirect"), id="a redirect"),
        pytest.param(b" " * 10_000_000, id="10 MB"),
    ],
)
async def test_a_host_that_is_down(answer: bytes | FetchFailed) -> None:
    """A host that does not answer, or not within the limits, tells nothing."""
    with pytest.raises(ResolverUnavailable):
        await identify(Places({URL: answer}))
