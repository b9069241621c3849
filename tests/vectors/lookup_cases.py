"""Cases of lookups.json: who a name is, by what a DID document or a zone file tells."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, EllipticCurvePublicKey

from pushd.identity.keys import address
from tests.vectors.files import Json
from tests.vectors.key_cases import named

ALICE, BOB = named("alice").public, named("bob").public
BUCKET = f"https://gaia.example/hub/{address(BOB.raw)}"
SERVERS = ["https://push.example", "matrix:u/bob:example.org"]
DID = "did:web:example.org"
DOCUMENT_URL = "https://example.org/.well-known/did.json"
NAME = "bob.btc"
BNS_API = "https://bns.example"
NAME_URL = f"{BNS_API}/names/{NAME}"
ZONE_FILE_URL = f"{BNS_API}/zonefile/{NAME}/raw"
OWNER = "SP3MJ9VQM7S6BC2EBSJD0MATNM2C61Y1B7VGEWV08"
BOB_ALONE: Json = {
    "did": BOB.did,
    "publicKey": BOB.raw.hex(),
    "bucket": None,
    "servers": [],
}
BOB_REACHED: Json = BOB_ALONE | {
    "bucket": f"{BUCKET}/",
    "servers": SERVERS,
}

Case = tuple[str, str, dict[str, Any], Json | None]
"""An id, a name, what lies where, and who that is; None: nobody."""


def document() -> Json:
    """Write lookups.json."""
    found = [*web(), *bns()]
    return {
        "about": "Names of the kinds did:web and BNS V2, and the files that tell who they "
        "are. Keys are those of keys.json.",
        "bns_api": BNS_API,
        "valid": [
            {"id": id, "name": name, "files": files, "identity": identity}
            for id, name, files, identity in found
            if identity is not None
        ],
        "invalid": [
            {"id": id, "name": name, "files": files}
            for id, name, files, identity in found
            if identity is None
        ],
    }


# --- did:web -------------------------------------------------------------------------


def web() -> Iterator[Case]:
    """Yield the cases of did:web."""
    one = {"verificationMethod": [multikey(BOB.did_key)]}
    path = "https://example.org:8443/u/Bob/did.json"
    yield (*told("multibase", one), BOB_ALONE)
    yield (*told("jwk", {"verificationMethod": [jwk()]}), BOB_ALONE)
    yield (*told("hexadecimal", {"verificationMethod": [hexadecimal()]}), BOB_ALONE)
    yield (*told("path-and-port", one, f"{DID}%3A8443:u:Bob", path), BOB_ALONE)
    yield (*told("servers-and-bucket", one | {"service": services()}), BOB_REACHED)
    methods = [multikey(ALICE.did_key, "#old"), multikey(BOB.did_key, f"{DID}#bob")]
    uses: dict[str, Json] = {
        "key-agreement-first": {"keyAgreement": ["#bob"], "authentication": ["#old"]},
        "authentication-first": {"assertionMethod": ["#old"], "authentication": ["#bob"]},
        "absolute-reference": {"assertionMethod": [f"{DID}#bob"]},
        "embedded": {"authentication": [multikey(BOB.did_key, "#other")]},
        "others-are-passed-over": {"authentication": ["#missing", "#bob"]},
    }
    for id, use in uses.items():
        yield (*told(id, {"verificationMethod": methods} | use), BOB_ALONE)
    broken: dict[str, Json] = {
        "another-did": one | {"id": "did:web:example.com"},
        "no-key": {},
        "key-of-no-use": {"verificationMethod": methods, "authentication": ["#missing"]},
        "other-curve": {"verificationMethod": [jwk(crv="X25519")]},
        "hexadecimal-of-another-type": {"verificationMethod": [hexadecimal(type="Key")]},
        "short-coordinate": {"verificationMethod": [jwk(y="eA")]},
        "multibase-of-another-base": {"verificationMethod": [multikey("did:key:uAbc")]},
        "bucket-of-another": one | {"service": [bucket_of_alice()]},
        "no-bucket": one | {"service": [service("GaiaBucket", "https://x.example/")]},
        "nine-servers": one | {"service": [service("MessagingServer", ["https://x"] * 9)]},
        "long-server": one | {"service": [service("MessagingServer", "x" * 513)]},
        "methods-are-no-list": {"verificationMethod": "#key"},
    }
    for id, members in broken.items():
        yield (*told(id, members), None)
    yield "no-document", DID, {}, None
    yield "not-json", DID, {DOCUMENT_URL: "<html></html>"}, None


def told(
    id: str, members: Json, name: str = DID, url: str = DOCUMENT_URL
) -> tuple[str, str, Json]:
    """Make the beginning of a case, in which a document has these members."""
    return f"web-{id}", name, {url: json.dumps({"id": name} | members)}


def multikey(did_key: str, id: str = "#key") -> Json:
    """Make a verification method with a key in multibase."""
    return {
        "id": id,
        "type": "Multikey",
        "publicKeyMultibase": did_key.removeprefix("did:key:"),
    }


def jwk(**changes: str) -> Json:
    """Make a verification method with Bob's key as a JWK."""
    point = EllipticCurvePublicKey.from_encoded_point(SECP256K1(), BOB.raw).public_numbers()
    x, y = (
        urlsafe_b64encode(number.to_bytes(32)).rstrip(b"=").decode()
        for number in (point.x, point.y)
    )
    members = {"kty": "EC", "crv": "secp256k1", "x": x, "y": y} | changes
    return {"id": "#key", "type": "JsonWebKey2020", "publicKeyJwk": members}


def hexadecimal(type: str = "EcdsaSecp256k1VerificationKey2019") -> Json:
    """Make a verification method with Bob's key in hexadecimal."""
    return {"id": "#key", "type": type, "publicKeyHex": BOB.raw.hex()}


def service(type: str | list[str], endpoint: Any) -> Json:
    """Make a service of a DID document."""
    return {"id": "#service", "type": type, "serviceEndpoint": endpoint}


def services() -> list[Json]:
    """Make services among which are Bob's servers and bucket."""
    return [
        service("LinkedDomains", {"origins": ["https://example.org"]}),
        service("MessagingServer", SERVERS[0]),
        service(["Other", "MessagingServer"], [SERVERS[1], {"uri": "https://x.example"}]),
        service("GaiaBucket", BUCKET),
    ]


def bucket_of_alice() -> Json:
    """Make a service that claims somebody else's bucket."""
    return service("GaiaBucket", f"https://gaia.example/hub/{address(ALICE.raw)}")


# --- BNS V2 --------------------------------------------------------------------------


def bns() -> Iterator[Case]:
    """Yield the cases of BNS V2."""
    key = ("messaging-public-key", BOB.raw.hex())
    servers = [("messaging-server", server) for server in SERVERS]
    bucket = ("messaging-bucket", BUCKET)
    yield (*held("key-alone", [key]), BOB_ALONE)
    yield (*held("all", [("x", "y"), *servers, key, bucket]), BOB_REACHED)
    yield (*held("as-json", [*servers, key, bucket], text=False), BOB_REACHED)
    other = ("messaging-bucket", f"https://gaia.example/hub/{address(ALICE.raw)}")
    broken: dict[str, list[tuple[str, Any]]] = {
        "no-key": [],
        "two-keys": [key, key],
        "short-key": [(key[0], "02")],
        "value-of-another-type": [(key[0], 17)],
        "bucket-of-another": [key, other],
        "no-bucket": [key, ("messaging-bucket", "https://x.example/")],
        "nine-servers": [key, *[("messaging-server", "https://x")] * 9],
    }
    for id, pairs in broken.items():
        yield (*held(id, pairs), None)
    yield (*held("revoked", [key], revoked=True), None)
    yield (*held("expired", [key], is_valid=False), None)
    yield (*held("owner-before", [key], owner="SP000000000000000000002Q6VF78"), None)
    name = name_of()
    for id, file in (("null", "null"), ("no-json", '"$ORIGIN bob.btc"'), ("list", '"[]"')):
        files = {NAME_URL: name, ZONE_FILE_URL: f'{{"zonefile": {file}}}'}
        yield f"bns-zone-file-is-{id}", NAME, files, None
    yield "bns-no-name", NAME, {}, None
    yield "bns-no-zone-file", NAME, {NAME_URL: name}, None


def held(
    id: str,
    pairs: list[tuple[str, Any]],
    owner: str = OWNER,
    *,
    text: bool = True,
    **changes: Any,
) -> tuple[str, str, Json]:
    """Make the beginning of a case, in which the zone file has these pairs."""
    meta = [{"name": name, "value": value} for name, value in pairs]
    file: Any = {"owner": owner, "bio": "Bob", "meta": meta}
    zone_file = json.dumps({"zonefile": json.dumps(file) if text else file})
    return f"bns-{id}", NAME, {NAME_URL: name_of(**changes), ZONE_FILE_URL: zone_file}


def name_of(**changes: Any) -> str:
    """Make what the API says of the name."""
    data = {"owner": OWNER, "revoked": False, "is_valid": True} | changes
    return json.dumps({"status": "active", "data": data})
