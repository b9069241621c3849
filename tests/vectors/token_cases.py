"""Cases of tokens.json: good tokens of every kind, and one for each way to be refused."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from pushd.identity.keys import Algorithm
from pushd.identity.tokens import make_token
from tests.vectors.files import Json
from tests.vectors.handmade import (
    ABSENT,
    ALICE,
    ALICE_ED,
    ALICE_P256,
    BOB,
    DIGEST,
    MAX_TOKEN,
    NOW,
    ORDERS,
    SERVER,
    address_of,
    deliver,
    der,
    flip,
    high_s,
    not_canonical,
    padded,
    receive,
    segment,
    signed,
    standard_base64,
    text_of,
    token,
    uncompressed,
)

DELIVER_LIFETIME = 3600
RECEIVE_LIFETIME = 86400
LEEWAY = 30
APP = "https://app.example"
NAMES = {"alice.id.blockstack": ALICE, "bob.id.blockstack": BOB}

# --- good tokens ---------------------------------------------------------------------


def valid() -> Iterator[tuple[str, str, str]]:
    """Name each good token: id, scope it is shown for, token."""
    yield "es256k-deliver", "deliver", token(deliver())
    yield "es256k-receive", "receive", token(receive())
    yield "es256k-high-s", "deliver", high_s(token(deliver()), ALICE)
    did_key = deliver(iss=ALICE.public.did_key, public_keys=ABSENT)
    yield "es256k-as-did-key", "deliver", token(did_key)
    yield "eddsa-deliver", "deliver", token(deliver(ALICE_ED), ALICE_ED)
    yield "eddsa-receive", "receive", token(receive(ALICE_ED), ALICE_ED)
    yield "es256-deliver", "deliver", token(deliver(ALICE_P256), ALICE_P256)
    yield "es256-receive", "receive", token(receive(ALICE_P256), ALICE_P256)
    yield (
        "es256-high-s",
        "deliver",
        high_s(token(deliver(ALICE_P256), ALICE_P256), ALICE_P256),
    )
    yield "typ-absent", "deliver", token(deliver(), header={"alg": "ES256K"})
    header = {"alg": "ES256K", "typ": "JWT", "kid": "app", "x": [1]}
    yield "unknown-header-members", "deliver", token(deliver(), header=header)
    yield "unknown-claims", "deliver", token(deliver(nonce="n", x={"y": [None]}))
    yield "white-space-in-json", "deliver", token(json.dumps(deliver(), indent=2))
    twice = text_of(deliver()).replace('"iss":', '"iss":"did:btc-addr:1","iss":')
    yield "duplicate-claim-the-last-counts", "deliver", token(twice)
    yield (
        "key-in-upper-case-hex",
        "deliver",
        token(deliver(public_keys=[ALICE.public.raw.hex().upper()])),
    )
    yield "aud-is-a-list", "deliver", token(deliver(aud=["https://other.example", SERVER]))
    yield "both-scopes-deliver", "deliver", token(deliver(scope="deliver receive"))
    yield "both-scopes-receive", "receive", token(deliver(scope="receive deliver"))
    yield "unknown-scope-beside", "receive", token(receive(scope="admin receive"))
    yield "to-is-a-list", "deliver", token(deliver(to=[ALICE.did, BOB.did]))
    yield "to-100-recipients", "deliver", token(deliver(to=recipients(100)))
    yield (
        "to-a-name-with-app",
        "deliver",
        token(deliver(to=["bob.id.blockstack", BOB.did], app="https://app.example")),
    )
    yield "app-without-a-name", "deliver", token(deliver(app="https://app.example"))
    yield "to-in-a-receive-token-is-let-be", "receive", token(receive(to=BOB.did))
    yield "fractional-times", "deliver", token(deliver(iat=NOW - 0.5, exp=NOW + 0.25))
    yield (
        "exponent-in-a-time",
        "deliver",
        token(text_of(deliver()).replace(str(NOW + 300), "17953491e2")),
    )
    yield "longest-life-to-deliver", "deliver", token(deliver(iat=NOW, exp=NOW + 3600))
    yield "longest-life-to-receive", "receive", token(receive(iat=NOW, exp=NOW + 86400))
    yield "iat-ahead-within-leeway", "deliver", token(deliver(iat=NOW + 30))
    yield "nbf-ahead-within-leeway", "deliver", token(deliver(nbf=NOW + 30))
    yield "nbf-past", "receive", token(receive(nbf=1.5))
    yield "exp-past-within-leeway", "deliver", token(deliver(exp=NOW - 29, iat=NOW - 90))
    yield "jti-beyond-ascii", "deliver", token(deliver(jti="\u20ac \U0001f511"))
    yield "digest", "deliver", token(deliver(digest=DIGEST))
    yield (
        "digest-with-the-longest-jti",
        "deliver",
        token(deliver(digest=DIGEST, jti="j" * 128)),
    )
    name: Json = {"sub": "alice.id.blockstack", "app": APP}
    yield "a-name", "deliver", token(deliver(**name))
    yield "an-owner-s-name", "receive", token(receive(**name))
    yield "longest-token", "deliver", padded(MAX_TOKEN)


def recipients(count: int) -> list[str]:
    """Return so many different names for recipients, short ones."""
    return [f"did:key:z{number}" for number in range(count)]


# --- bad tokens ----------------------------------------------------------------------


def invalid() -> Iterator[tuple[str, str, str, str]]:
    """Name each bad token: id, scope it is shown for, error, token."""
    for id, text in malformed():
        yield id, "deliver", "unauthorized", text
    for id, text in bad_headers():
        yield id, "deliver", "unauthorized", text
    for id, text in bad_issuers():
        yield id, "deliver", "unauthorized", text
    for id, changes in bad_claims():
        yield id, "deliver", "unauthorized", token(deliver(**changes))
    yield from bad_here()


def malformed() -> Iterator[tuple[str, str]]:
    """Texts that are no token."""
    good = token(deliver())
    header, claims, signature = good.split(".")
    yield "empty", ""
    yield "not-a-token", "hello"
    yield "two-segments", f"{header}.{claims}"
    yield "four-segments", f"{good}.{signature}"
    yield "five-segments-as-encrypted", f"{good}.{signature}.{signature}"
    yield "empty-segments", ".."
    yield "bearer-in-front", f"Bearer {good}"
    yield "line-feed-at-the-end", f"{good}\n"
    yield "padded-base64", f"{header}.{claims}.{signature}=="
    yield "standard-base64", standard_base64()
    yield "not-canonical-base64", not_canonical(good)
    yield "letters-beyond-ascii", f"{header}.{claims}.\u0436{signature[1:]}"
    yield "too-long-by-one", padded(MAX_TOKEN + 1)
    yield "header-not-json", token(deliver(), header="{")
    yield "header-an-array", token(deliver(), header="[]")
    yield "claims-not-json", token("{")
    yield "claims-an-array", token("[]")
    yield "claims-with-nan", token(text_of(deliver()).replace(str(NOW + 300), "NaN"))
    not_utf8 = segment(text_of(deliver(note="?")).encode().replace(b"?", b"\xff"))
    yield "claims-not-utf8", signed(header, not_utf8)
    yield (
        "claims-with-a-lone-surrogate",
        token(text_of(deliver(jti="?")).replace("?", "\\ud800")),
    )
    yield "signature-empty", f"{header}.{claims}."
    yield "signature-of-63-bytes", f"{header}.{claims}.{segment(bytes(63))}"
    yield "signature-of-zeros", f"{header}.{claims}.{segment(bytes(64))}"
    for name, key in (("es256k", ALICE), ("es256", ALICE_P256)):
        message, _, text = token(deliver(key), key).rpartition(".")
        both = urlsafe_b64decode(text + "==")
        yield (
            f"{name}-s-of-33-bytes",
            f"{message}.{segment(both[:32] + bytes(1) + both[32:])}",
        )
    yield "signature-changed", f"{header}.{claims}.{flip(signature)}"
    yield "signature-in-der", f"{header}.{claims}.{segment(der(good.rpartition('.')[0]))}"
    order = ORDERS[Algorithm.ES256K].to_bytes(32)
    yield "s-is-the-order", f"{header}.{claims}.{segment(bytes(31) + b'1' + order)}"
    other_claims = segment(text_of(deliver(jti="other")).encode())
    yield "claims-changed", f"{header}.{other_claims}.{signature}"
    other_header = segment(b'{"alg":"ES256K"}')
    yield "header-changed", f"{other_header}.{claims}.{signature}"


def bad_headers() -> Iterator[tuple[str, str]]:
    """Headers that ask for something else, under signatures that would verify."""
    for algorithm in ("none", "NONE", "HS256", "RS256", "es256k", "ES256", "EdDSA", ""):
        header = {"typ": "JWT", "alg": algorithm}
        yield f"alg-{algorithm or 'empty'}", token(deliver(), header=header)
    yield (
        "alg-es256k-for-an-ed25519-key",
        token(deliver(ALICE_ED), ALICE_ED, {"typ": "JWT", "alg": "ES256K"}),
    )
    yield "alg-absent", token(deliver(), header={"typ": "JWT"})
    yield "alg-not-a-string", token(deliver(), header={"typ": "JWT", "alg": ["ES256K"]})
    for typ in ("jwt", "at+jwt", "", None, 1):
        yield (
            f"typ-{json.dumps(typ)}",
            token(deliver(), header={"typ": typ, "alg": "ES256K"}),
        )
    members: tuple[tuple[str, Any], ...] = (
        ("crit", ["exp"]),
        ("crit", []),
        ("jku", "https://evil.example/keys"),
        ("x5u", "https://evil.example/cert"),
        ("jwk", {"kty": "EC"}),
        ("jwk", None),
    )
    for member, value in members:
        asking: Json = {"typ": "JWT", "alg": "ES256K", member: value}
        yield f"{member}-{json.dumps(value)}", token(deliver(), header=asking)


def bad_issuers() -> Iterator[tuple[str, str]]:
    """Issuers that are not who signed."""
    yield "iss-of-another-key", token(deliver(iss=BOB.did))
    yield "signed-by-another-key", token(deliver(BOB), ALICE)
    yield (
        "iss-did-key-of-another-key",
        token(deliver(iss=BOB.public.did_key, public_keys=ABSENT)),
    )
    yield "iss-absent", token(deliver(iss=ABSENT))
    yield "iss-a-name", token(deliver(iss="alice.id.blockstack"))
    yield "iss-did-web", token(deliver(iss="did:web:alice.example"))
    yield "iss-a-public-key", token(deliver(iss=ALICE.public.raw.hex()))
    yield "iss-malformed-did-key", token(deliver(iss="did:key:z0", public_keys=ABSENT))
    yield "public-keys-absent", token(deliver(public_keys=ABSENT))
    yield "public-keys-empty", token(deliver(public_keys=[]))
    keys = [ALICE.public.raw.hex(), BOB.public.raw.hex()]
    yield "public-keys-two", token(deliver(public_keys=keys))
    yield "public-keys-a-string", token(deliver(public_keys=keys[0]))
    yield "public-keys-not-hex", token(deliver(public_keys=["x" * 66]))
    yield "public-keys-with-a-space", token(deliver(public_keys=[keys[0] + " "]))
    yield "public-keys-not-on-the-curve", token(deliver(public_keys=["02" + "f" * 64]))
    yield "public-keys-uncompressed", token(deliver(public_keys=[uncompressed(ALICE)]))
    yield "public-keys-with-a-did-key", token(deliver(iss=ALICE.public.did_key))
    p256: Json = {
        "iss": address_of(ALICE_P256),
        "public_keys": [ALICE_P256.public.raw.hex()],
    }
    yield "did-btc-addr-of-a-p256-key", token(deliver(**p256), ALICE_P256)


def bad_claims() -> Iterator[tuple[str, Json]]:
    """Claims no server takes, well signed."""
    for claim in ("aud", "scope", "iat", "exp", "jti", "to"):
        yield f"{claim}-absent", {claim: ABSENT}
    for claim, value in (
        ("aud", 1),
        ("aud", [SERVER, 1]),
        ("scope", ["deliver"]),
        ("iat", str(NOW)),
        ("iat", True),
        ("iat", None),
        ("exp", str(NOW + 300)),
        ("exp", "2026-11-22T12:05:00.000Z"),
        ("exp", True),
        ("nbf", str(NOW)),
        ("nbf", None),
        ("jti", 1),
        ("jti", None),
        ("to", 1),
        ("to", [1]),
        ("to", []),
        ("sub", 1),
        ("app", None),
        ("digest", 1),
    ):
        yield f"{claim}-is-{json.dumps(value)}", {claim: value}
    yield "to-101-recipients", {"to": recipients(101)}
    yield "to-a-name-without-app", {"to": "bob.id.blockstack"}
    yield "iat-in-the-future", {"iat": NOW + 31, "exp": NOW + 300}
    yield "nbf-in-the-future", {"nbf": NOW + 31}
    yield "exp-before-iat", {"iat": NOW + 10, "exp": NOW + 5}
    yield "exp-is-iat", {"iat": NOW, "exp": NOW}
    yield "digest-of-another-kind", {"digest": "sha-512:" + DIGEST[8:]}
    yield "digest-in-hex", {"digest": "sha-256:" + sha256(b"{}").hexdigest()}
    yield "digest-padded", {"digest": DIGEST + "="}
    yield "digest-too-short", {"digest": DIGEST[:-1]}
    yield "digest-not-canonical-base64", {"digest": not_canonical(DIGEST)}
    yield "digest-with-an-empty-jti", {"digest": DIGEST, "jti": ""}
    yield "digest-with-a-jti-too-long", {"digest": DIGEST, "jti": "j" * 129}


def bad_here() -> Iterator[tuple[str, str, str, str]]:
    """Tokens that are good somewhere, or were, or for something else."""
    unauthorized, expired = "unauthorized", "token_expired"
    old: Json = {"iat": NOW - 400, "exp": NOW - 30}
    yield "expired", "deliver", expired, token(deliver(**old))
    yield "expired-to-receive", "receive", expired, token(receive(**old))
    yield "expired-long-ago", "deliver", expired, token(deliver(iat=1, exp=2))
    yield "expired-and-badly-signed", "deliver", unauthorized, token(deliver(BOB, **old))
    for id, aud in (
        ("of-another-server", "https://other.example"),
        ("with-a-slash", f"{SERVER}/"),
        ("with-the-default-port", f"{SERVER}:443"),
        ("in-upper-case", "https://Push.example"),
        ("by-http", "http://push.example"),
        ("of-a-page", f"{SERVER}/v1"),
        ("empty-list", []),
    ):
        yield f"aud-{id}", "deliver", unauthorized, token(deliver(aud=aud))
    yield "scope-receive-shown-to-deliver", "deliver", unauthorized, token(receive())
    yield "scope-deliver-shown-to-receive", "receive", unauthorized, token(deliver())
    for id, scope in (
        ("empty", ""),
        ("in-upper-case", "Receive"),
        ("with-a-comma", "receive,deliver"),
        ("with-a-tab", "receive\tdeliver"),
    ):
        yield f"scope-{id}", "receive", unauthorized, token(receive(scope=scope))
    long: Json = {"iat": NOW, "exp": NOW + 3601}
    longer: Json = {"iat": NOW, "exp": NOW + 86401}
    both: Json = {"scope": "deliver receive", **long}
    yield "life-too-long-to-deliver", "deliver", unauthorized, token(deliver(**long))
    yield "life-too-long-to-receive", "receive", unauthorized, token(receive(**longer))
    yield (
        "life-with-both-scopes-the-shorter-rules",
        "receive",
        unauthorized,
        token(deliver(**both)),
    )
    yield from bad_names()


def bad_names() -> Iterator[tuple[str, str, str, str]]:
    """Names that are claimed and not proven."""
    mismatch = "name_mismatch"
    claimed: list[tuple[str, Json]] = [
        ("of-another", {"sub": "bob.id.blockstack", "app": APP}),
        ("of-nobody", {"sub": "nobody.id.blockstack", "app": APP}),
        ("of-another-app", {"sub": "alice.id.blockstack", "app": "https://x.example"}),
        ("in-upper-case", {"sub": "Alice.id.blockstack", "app": APP}),
        ("that-is-a-did", {"sub": ALICE.did, "app": APP}),
        ("that-is-empty", {"sub": "", "app": APP}),
        ("for-an-app-with-a-slash", {"sub": "alice.id.blockstack", "app": f"{APP}/"}),
    ]
    for id, claims in claimed:
        yield f"a-name-{id}", "deliver", mismatch, token(deliver(**claims))
        yield f"an-owner-s-name-{id}", "receive", mismatch, token(receive(**claims))
    alone: Json = {"sub": "alice.id.blockstack"}
    yield "a-name-without-app", "deliver", "unauthorized", token(deliver(**alone))
    yield "an-owner-s-name-without-app", "receive", "unauthorized", token(receive(**alone))


# --- tokens to make ------------------------------------------------------------------


def made() -> Iterator[Json]:
    """Tell what a token is made of, and the token."""
    told: Json = {"audience": SERVER, "now": NOW + 0.75, "lifetime": 600, "jti": "6b1f"}
    whose: Json = {"name": "alice.id.blockstack", "app": APP}
    for id, more in (
        ("receive", {"scope": "receive"}),
        ("receive-by-name", {"scope": "receive", **whose}),
        ("deliver-to-one", {"scope": "deliver", "to": BOB.did}),
        ("deliver-to-one-in-a-list", {"scope": "deliver", "to": [BOB.did]}),
        ("deliver-by-name", {"scope": "deliver", "to": ["bob.id.blockstack"], **whose}),
        ("deliver-to-two", {"scope": "deliver", "to": [BOB.did, ALICE.did]}),
        ("deliver-one-body", {"scope": "deliver", "to": BOB.did, "digest": DIGEST}),
        ("both", {"scope": "deliver receive", "to": BOB.did}),
        ("two-servers", {"scope": "receive", "audience": [SERVER, f"{SERVER}/2"]}),
        ("as-did-key", {"scope": "receive", "issuer": ALICE.public.did_key}),
    ):
        arguments = told | more
        yield {
            "id": id,
            "private_key": ALICE.to_hex(),
            "told": arguments,
            "token": make_token(ALICE, **arguments),
        }


# --- the document --------------------------------------------------------------------


def document() -> Json:
    """Write tokens.json."""
    return {
        "about": "Tokens as one server sees them at one time. Each is shown to do what "
        "`scope` says. The server can prove `names`, and no others. Keys are those of "
        "keys.json.",
        "evaluate_at": NOW,
        "server": SERVER,
        "lifetimes": {"deliver": DELIVER_LIFETIME, "receive": RECEIVE_LIFETIME},
        "leeway": LEEWAY,
        "names": [
            {"name": name, "app": APP, "did": key.did} for name, key in NAMES.items()
        ],
        "valid": [
            {"id": id, "scope": scope, "did": _issuer(text), "token": text}
            for id, scope, text in valid()
        ],
        "invalid": [
            {"id": id, "scope": scope, "error": error, "token": text}
            for id, scope, error, text in invalid()
        ],
        "made": list(made()),
    }


def _issuer(text: str) -> str:
    did: str = json.loads(urlsafe_b64decode(text.split(".")[1] + "=="))["iss"]
    return did
