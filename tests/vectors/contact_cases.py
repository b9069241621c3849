"""Cases of contacts.json: contact documents as one reader finds them at one time."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any

from pushd.identity.keys import PrivateKey, address
from tests.vectors.files import Json
from tests.vectors.handmade import (
    ABSENT,
    ALICE,
    ALICE_ED,
    ALICE_P256,
    BOB,
    NOW,
    flip,
    high_s,
    segment,
    signed,
    text_of,
    token,
    uncompressed,
)

APP = "https://app.example"
SERVER = "https://push.example"
ADDRESS = address(ALICE.public.raw)
KEY = ALICE.public.raw.hex()
LEEWAY = 300
MAX_SERVER = 512
DEVELOPMENT = ["127.0.0.1:8481", "hub.test:80", "[::1]:8481"]


def claims(key: PrivateKey = ALICE, **changes: Any) -> Json:
    """Return the claims of a contact document, some changed or `ABSENT`."""
    made: Json = {
        "iss": key.did,
        "public_keys": [key.public.raw.hex()],
        "messagingServers": [SERVER],
        "app": APP,
        "iat": NOW - 60,
    }
    made.update(changes)
    return {name: value for name, value in made.items() if value is not ABSENT}


def wrapped(text: Any, **changes: Any) -> str:
    """Return the document that holds a token, some members changed or `ABSENT`."""
    members: Json = {
        "version": 1,
        "publicKey": KEY,
        "messagingServers": [SERVER],
        "token": text,
    }
    members.update(changes)
    found = {name: value for name, value in members.items() if value is not ABSENT}
    return json.dumps(found, ensure_ascii=False)


def document_of(key: PrivateKey = ALICE, **changes: Any) -> str:
    """Return a contact document with these claims, signed by the key."""
    return wrapped(token(claims(key, **changes), key))


# --- good documents ------------------------------------------------------------------


def valid() -> Iterator[tuple[str, str, str | None]]:
    """Name each good document: id, document, the one seen before."""
    yield from ((id, text, None) for id, text in good())
    yield from good_after_another()


def good() -> Iterator[tuple[str, str]]:
    """Documents that are good by themselves."""
    good = token(claims())
    yield "plain", wrapped(good)
    yield "pretty", json.dumps(json.loads(wrapped(good)), indent=2) + "\r\n"
    yield "with-an-end", document_of(exp=NOW + 1)
    yield "exp-just-ahead", document_of(exp=NOW + 0.001)
    yield "fractional-iat", document_of(iat=NOW - 0.125)
    yield "iat-ahead-within-leeway", document_of(iat=NOW + LEEWAY)
    yield "iat-long-ago", document_of(iat=1)
    servers = [f"https://push{number}.example" for number in range(7)]
    yield "eight-servers", document_of(messagingServers=[*servers, "matrix:u/alice:x"])
    long = "https://push.example/".ljust(MAX_SERVER, "p")
    yield "longest-server", document_of(messagingServers=[long])
    yield (
        "longest-server-beyond-ascii",
        document_of(messagingServers=["\u20ac" * MAX_SERVER]),
    )
    yield "unknown-servers-are-kept", document_of(messagingServers=["x:y", "", SERVER])
    yield "same-server-twice", document_of(messagingServers=[SERVER, SERVER])
    yield "high-s", wrapped(high_s(good, ALICE))
    yield "typ-absent", wrapped(token(claims(), header={"alg": "ES256K"}))
    yield "key-in-upper-case-hex", document_of(public_keys=[KEY.upper()])
    yield "unknown-claims", document_of(jti="1", x={"y": [None]}, sub="alice.id", scope=1)
    twice = text_of(claims()).replace('"app":', '"app":"https://other.example","app":')
    yield "duplicate-claim-the-last-counts", wrapped(token(twice))
    yield (
        "plain-members-disagree",
        wrapped(good, publicKey=BOB.public.raw.hex(), messagingServers=["https://x.test"]),
    )
    yield "plain-members-of-other-types", wrapped(good, publicKey=1, messagingServers={})
    yield "plain-members-absent", wrapped(good, publicKey=ABSENT, messagingServers=ABSENT)
    yield "unknown-members", wrapped(good, x=[{}], exp=1)
    yield "version-as-1.0", wrapped(good, version=1.0)


def good_after_another() -> Iterator[tuple[str, str, str]]:
    """Documents that may follow what was seen before."""
    plain = document_of()
    yield "seen-the-same", plain, plain
    yield "seen-the-same-signed-again", wrapped(high_s(token(claims()), ALICE)), plain
    yield "seen-an-older", plain, document_of(iat=NOW - 61, messagingServers=["x"])
    yield "seen-one-older-by-a-moment", plain, document_of(iat=NOW - 60.001)


# --- bad documents -------------------------------------------------------------------


def invalid() -> Iterator[tuple[str, str, str | None]]:
    """Name each bad document: id, document, the one seen before."""
    for source in (malformed(), bad_tokens(), bad_signers(), bad_claims()):
        yield from ((id, text, None) for id, text in source)
    yield from bad_after_another()


def malformed() -> Iterator[tuple[str, str]]:
    """Texts that are no contact document."""
    good = token(claims())
    yield "empty", ""
    yield "not-json", "<!doctype html>"
    yield "cut-short", wrapped(good)[:-1]
    yield "trailing-text", wrapped(good) + "x"
    yield "byte-order-mark", "\ufeff" + wrapped(good)
    yield "null", "null"
    yield "a-token-alone", json.dumps(good)
    yield "an-array", f"[{wrapped(good)}]"
    yield "nested-without-end", '{"x":' + "[" * 2000
    yield "version-absent", wrapped(good, version=ABSENT)
    yield "version-0", wrapped(good, version=0)
    yield "version-2", wrapped(good, version=2)
    yield "version-a-string", wrapped(good, version="1")
    yield "version-true", wrapped(good, version=True)
    yield "token-absent", wrapped(ABSENT)
    yield "token-null", wrapped(None)
    yield "token-an-object", wrapped(claims())
    yield "token-empty", wrapped("")
    yield "a-legacy-key", json.dumps(KEY)
    yield "a-legacy-key-file", json.dumps({"publicKey": KEY})


def bad_tokens() -> Iterator[tuple[str, str]]:
    """Tokens that do not verify."""
    good = token(claims())
    header, body, signature = good.split(".")
    yield "token-with-two-segments", wrapped(f"{header}.{body}")
    yield "token-in-padded-base64", wrapped(f"{good}==")
    yield "signature-changed", wrapped(f"{header}.{body}.{flip(signature)}")
    yield "signature-empty", wrapped(f"{header}.{body}.")
    other = segment(text_of(claims(messagingServers=["https://evil.example"])).encode())
    yield "claims-changed", wrapped(f"{header}.{other}.{signature}")
    yield "claims-not-json", wrapped(token("{"))
    yield "claims-an-array", wrapped(token("[]"))
    not_utf8 = segment(text_of(claims(x="?")).encode().replace(b"?", b"\xff"))
    yield "claims-not-utf8", wrapped(signed(header, not_utf8))
    for algorithm in ("none", "HS256", "ES256", "EdDSA", "es256k"):
        asking = {"typ": "JWT", "alg": algorithm}
        yield f"alg-{algorithm}", wrapped(token(claims(), header=asking))
    for member in ("crit", "jku", "x5u", "jwk"):
        asking = {"typ": "JWT", "alg": "ES256K", member: "x"}
        yield f"header-with-{member}", wrapped(token(claims(), header=asking))


def bad_signers() -> Iterator[tuple[str, str]]:
    """Documents of somebody else than the owner of the bucket."""
    bob = BOB.public.raw.hex()
    yield "of-another-owner", document_of(BOB)
    yield "signed-by-another-key", wrapped(token(claims(), BOB))
    yield (
        "iss-of-the-owner-with-another-key",
        wrapped(token(claims(public_keys=[bob]), BOB)),
    )
    yield "iss-of-another-with-the-owner-s-key", document_of(iss=BOB.did)
    yield "iss-absent", document_of(iss=ABSENT)
    yield "iss-the-bare-address", document_of(iss=ADDRESS)
    yield "iss-the-did-key-of-the-same-key", document_of(iss=ALICE.public.did_key)
    yield "public-keys-absent", document_of(public_keys=ABSENT)
    yield "public-keys-empty", document_of(public_keys=[])
    yield "public-keys-two", document_of(public_keys=[KEY, bob])
    yield "public-keys-the-same-twice", document_of(public_keys=[KEY, KEY])
    yield "public-keys-a-string", document_of(public_keys=KEY)
    yield "public-key-uncompressed", document_of(public_keys=[uncompressed(ALICE)])
    yield "public-key-with-0x", document_of(public_keys=[f"0x{KEY}"])
    yield "public-key-with-a-space", document_of(public_keys=[f"{KEY} "])
    yield "public-key-no-point", document_of(public_keys=["02" + "ff" * 32])
    yield "of-an-ed25519-key", document_of(ALICE_ED)
    yield "of-a-p-256-key", document_of(ALICE_P256)


def bad_claims() -> Iterator[tuple[str, str]]:
    """Claims that break a rule each, well signed."""
    for id, servers in (
        ("absent", ABSENT),
        ("none", []),
        ("nine", [f"https://push{number}.example" for number in range(9)]),
        ("null", None),
        ("a-string", SERVER),
        ("an-object", {"0": SERVER}),
        ("one-a-number", [SERVER, 1]),
        ("one-null", [SERVER, None]),
        ("one-too-long", [SERVER, "https://push.example/".ljust(MAX_SERVER + 1, "p")]),
    ):
        yield f"messaging-servers-{id}", document_of(messagingServers=servers)
    for id, app in (
        ("absent", ABSENT),
        ("null", None),
        ("another", "https://other.example"),
        ("with-a-slash", f"{APP}/"),
        ("in-upper-case", "https://App.example"),
        ("by-http", "http://app.example"),
        ("a-list", [APP]),
    ):
        yield f"app-{id}", document_of(app=app)
    for id, iat in (
        ("absent", ABSENT),
        ("null", None),
        ("a-string", str(NOW)),
        ("a-date", "2026-11-22T12:00:00.000Z"),
        ("true", True),
        ("ahead-beyond-leeway", NOW + LEEWAY + 0.001),
    ):
        yield f"iat-{id}", document_of(iat=iat)
    yield "iat-infinite", wrapped(token(text_of(claims()).replace(f"{NOW - 60}", "1e999")))
    for id, exp in (
        ("null", None),
        ("a-string", str(NOW + 60)),
        ("now", NOW),
        ("past", NOW - 1),
        ("before-iat", NOW - 120),
    ):
        yield f"exp-{id}", document_of(exp=exp)


def bad_after_another() -> Iterator[tuple[str, str, str]]:
    """Documents that were good until another was seen."""
    plain = document_of()
    other = ["https://other.example"]
    yield "seen-a-newer", plain, document_of(iat=NOW - 59, messagingServers=other)
    yield "seen-one-newer-by-a-moment", plain, document_of(iat=NOW - 59.999)
    yield "seen-another-of-the-same-time", plain, document_of(messagingServers=other)
    yield "seen-the-same-with-an-end", plain, document_of(exp=NOW + 60)


# --- servers -------------------------------------------------------------------------


def servers() -> Iterator[tuple[str, list[str], list[str]]]:
    """Lists of servers, and those of them that speak this protocol: id, list, those."""
    yield "https", [SERVER], [SERVER]
    yield (
        "made-canonical",
        ["HTTPS://Push.example:443/", "https://push.example:8443/pushd/"],
        [SERVER, "https://push.example:8443/pushd"],
    )
    yield (
        "each-once",
        [SERVER, "https://b.example", f"{SERVER}/"],
        [SERVER, "https://b.example"],
    )
    yield "order-is-kept", ["https://b.example", SERVER], ["https://b.example", SERVER]
    yield (
        "other-kinds-are-left-out",
        ["matrix:u/alice:example.org", "gaia-inbox:https://hub.example", SERVER, "x", ""],
        [SERVER],
    )
    yield (
        "not-canonical-at-all",
        [
            "https://user@push.example",
            f"{SERVER}?x",
            f"{SERVER}#x",
            "https://",
            "//x",
            SERVER,
        ],
        [SERVER],
    )
    yield "http-is-left-out", ["http://push.example", "http://127.0.0.1:8482"], []
    yield (
        "http-for-development",
        [
            "http://127.0.0.1:8481",
            "http://hub.test",
            "HTTP://Hub.test:80/",
            "http://[::1]:8481",
        ],
        ["http://127.0.0.1:8481", "http://hub.test", "http://[::1]:8481"],
    )
    yield "http-on-another-port", ["http://127.0.0.1", "http://hub.test:8080"], []


# --- the document --------------------------------------------------------------------


def document() -> Json:
    """Write contacts.json."""
    return {
        "about": "Contact documents as found in the bucket of `address`, looked up for "
        "`app`, by a reader whose clock says `evaluate_at`. Keys are those of keys.json.",
        "evaluate_at": NOW,
        "address": ADDRESS,
        "app": APP,
        "leeway": LEEWAY,
        "valid": [
            {"id": id, **_found(text, seen), "claims": _claims(text)}
            for id, text, seen in valid()
        ],
        "invalid": [{"id": id, **_found(text, seen)} for id, text, seen in invalid()],
        "development": DEVELOPMENT,
        "servers": [
            {"id": id, "messagingServers": listed, "servers": found}
            for id, listed, found in servers()
        ],
    }


def _found(text: str, seen: str | None) -> Json:
    return {"document": text} if seen is None else {"document": text, "seen": seen}


def _claims(text: str) -> Json:
    """Return the claims that count, read without looking at what is under test."""
    body = json.loads(text)["token"].split(".")[1]
    found: Json = json.loads(urlsafe_b64decode(body + "=="))
    return {
        "did": found["iss"],
        "publicKey": found["public_keys"][0].lower(),
        "messagingServers": found["messagingServers"],
        "app": found["app"],
        "iat": found["iat"],
        "exp": found.get("exp"),
    }
