"""Cases of keys.json: keys, addresses and DIDs, and what is none of them."""

from hashlib import sha256

from pushd.identity import base58
from pushd.identity.keys import Algorithm, PrivateKey
from tests.vectors.files import Json

MESSAGE = "The quick brown fox jumps over the lazy dog"


def named(name: str, algorithm: Algorithm = Algorithm.ES256K) -> PrivateKey:
    """Return the throw-away key of a name: SHA-256 of a phrase with it."""
    phrase = f"pushd vector key: {name} {algorithm}"
    return PrivateKey(algorithm, sha256(phrase.encode()).digest())


def document() -> Json:
    """Write keys.json."""
    return {
        "about": "Keys and the DIDs that name them. Private keys are throw-away: "
        "SHA-256 of 'pushd vector key: <name> <algorithm>'.",
        "keys": [
            _key(name, algorithm) for algorithm in Algorithm for name in ("alice", "bob")
        ],
        "mailboxes": _mailboxes(),
        "invalid_mailboxes": [
            {"id": id, "did": did, "error": "bad_request"} for id, did in _no_mailboxes()
        ],
    }


def _key(name: str, algorithm: Algorithm) -> Json:
    key = named(name, algorithm)
    return {
        "id": f"{name}-{algorithm}",
        "algorithm": str(algorithm),
        "private_key": key.to_hex(),
        "public_key": key.public.raw.hex(),
        "did": key.did,
        "did_key": key.public.did_key,
        "message": MESSAGE,
        "signature": key.sign(MESSAGE.encode()).hex(),
    }


def _mailboxes() -> list[str]:
    keys = [named("alice", algorithm) for algorithm in Algorithm]
    dids = {did for key in keys for did in (key.did, key.public.did_key)}
    zeros = "did:btc-addr:" + base58.encode_check(bytes(21))
    return [*sorted(dids), zeros]


def _no_mailboxes() -> list[tuple[str, str]]:
    address = named("alice").did.removeprefix("did:btc-addr:")
    raw = named("alice").public.raw
    did_key = named("alice").public.did_key
    hash160 = base58.decode_check(address)[1:]

    def btc(data: bytes) -> str:
        return "did:btc-addr:" + base58.encode_check(data)

    def key(data: bytes) -> str:
        return "did:key:z" + base58.encode(data)

    return [
        ("empty", ""),
        ("a-name", "alice.id.blockstack"),
        ("a-bare-address", address),
        ("did-web", "did:web:example.org"),
        ("upper-case-method", f"did:BTC-ADDR:{address}"),
        ("no-address", "did:btc-addr:"),
        ("checksum-differs", f"did:btc-addr:{address[:-1]}{_other(address[-1])}"),
        ("letter-outside-base58", f"did:btc-addr:{address[:-1]}0"),
        ("one-leading-1-too-many", f"did:btc-addr:1{address}"),
        ("script-address-version-5", btc(b"\x05" + hash160)),
        ("testnet-version-111", btc(b"\x6f" + hash160)),
        ("hash-too-short", btc(b"\0" + hash160[:-1])),
        ("hash-too-long", btc(b"\0" + hash160 + b"\0")),
        ("space-at-the-end", f"did:btc-addr:{address} "),
        ("fragment", f"{did_key}#{did_key[8:]}"),
        ("line-feed-at-the-end", f"{did_key}\n"),
        ("not-multibase", f"did:key:{did_key[9:]}"),
        ("multibase-base16", "did:key:fe701" + raw.hex()),
        ("unknown-multicodec-x25519", key(b"\xec\x01" + bytes(32))),
        ("no-key-after-multicodec", key(b"\xe7\x01")),
        ("key-too-short", key(b"\xe7\x01" + raw[:-1])),
        ("key-too-long", key(b"\xe7\x01" + raw + b"\0")),
        ("ed25519-key-too-long", key(b"\xed\x01" + bytes(33))),
        ("point-not-on-secp256k1", key(b"\xe7\x01\x02" + b"\xff" * 32)),
        ("point-not-on-p256", key(b"\x80\x24\x02" + b"\xff" * 32)),
        ("hybrid-point", key(b"\xe7\x01\x06" + raw[1:])),
        ("leading-zero-byte", key(b"\0\xe7\x01" + raw)),
        ("very-long", "did:key:z" + "2" * 10_000),
        ("letters-beyond-ascii", "did:key:z\u0436\u0436\u0436"),
    ]


def _other(letter: str) -> str:
    return "2" if letter != "2" else "3"
