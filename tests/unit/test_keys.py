"""Keys and DIDs: made, written, read, and refused when they are none."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.errors import BadRequest
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey, address, validate_did

ALGORITHMS = pytest.mark.parametrize("algorithm", list(Algorithm))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

algorithms = st.sampled_from(list(Algorithm))
secret_numbers = st.integers(1, 2**255 - 1)


def key_of(number: int, algorithm: Algorithm) -> PrivateKey:
    """Return the private key that is this number."""
    return PrivateKey(algorithm, number.to_bytes(32))


@settings(deadline=None)
@given(algorithms, secret_numbers, st.binary(max_size=200))
def test_sign_and_verify(algorithm: Algorithm, number: int, message: bytes) -> None:
    """A key's signature is good for its message and for no other."""
    key = key_of(number, algorithm)
    signature = key.sign(message)
    assert len(signature) == 64
    assert key.public.verify(signature, message)
    assert not key.public.verify(signature, message + b".")


@settings(deadline=None)
@given(algorithms, secret_numbers)
def test_dids(algorithm: Algorithm, number: int) -> None:
    """A did:key gives the key back, and both of its DIDs name a mailbox."""
    key = key_of(number, algorithm).public
    assert key == PublicKey.from_did(key.did_key)
    assert key.did == validate_did(key.did)
    assert key.did_key == validate_did(key.did_key)


@ALGORITHMS
@given(signature=st.binary(max_size=80), message=st.binary(max_size=8))
@settings(deadline=None)
def test_junk_is_no_signature(
    algorithm: Algorithm, signature: bytes, message: bytes
) -> None:
    """Any bytes are refused as a signature without an error."""
    assert not key_of(7, algorithm).public.verify(signature, message)


@ALGORITHMS
@given(raw=st.binary(max_size=70))
@settings(deadline=None)
def test_junk_is_a_key_or_refused(algorithm: Algorithm, raw: bytes) -> None:
    """Any bytes are a public key of the right length or are refused, nothing else."""
    try:
        key = PublicKey(algorithm, raw)
    except BadRequest:
        return
    assert (32 if algorithm is Algorithm.EdDSA else 33) == len(key.raw)


@given(st.text(max_size=90))
@settings(deadline=None)
def test_junk_is_no_did(text: str) -> None:
    """Any text that is no DID is refused without another error."""
    for did in (text, f"did:key:z{text}", f"did:btc-addr:{text}"):
        with pytest.raises(BadRequest):
            validate_did(did)


def test_addresses_of_the_generator() -> None:
    """The private key 1 has the address everybody knows it by."""
    key = key_of(1, Algorithm.ES256K)
    assert address(key.public.raw) == "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"
    assert key.did == "did:btc-addr:1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"


@pytest.mark.parametrize(
    ("algorithm", "did"),
    [
        (Algorithm.ES256K, "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"),
        (Algorithm.EdDSA, "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"),
        (Algorithm.ES256, "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"),
    ],
)
def test_dids_of_the_specification(algorithm: Algorithm, did: str) -> None:
    """The examples of the did:key specification are read and written the same."""
    key = PublicKey.from_did(did)
    assert (algorithm, did) == (key.algorithm, key.did_key)


@ALGORITHMS
def test_generate(algorithm: Algorithm) -> None:
    """Two new keys are two keys, and each is written and read as itself."""
    one, two = PrivateKey.generate(algorithm), PrivateKey.generate(algorithm)
    assert one != two
    assert one == PrivateKey.from_hex(one.to_hex(), algorithm)


@ALGORITHMS
def test_nothing_shows_the_private_key(algorithm: Algorithm) -> None:
    """Neither the repr of a key nor an error about one holds its bytes."""
    key = PrivateKey.generate(algorithm)
    assert key.to_hex() not in repr(key)
    assert repr(key.raw) not in repr(key)
    with pytest.raises(ValueError, match="private key") as caught:
        PrivateKey.from_hex(key.to_hex() + "ff", algorithm)
    assert key.to_hex() not in str(caught.value)


def test_hex_with_the_compression_flag() -> None:
    """A private key followed by 01, as Blockstack writes some, is that key."""
    key = PrivateKey.generate()
    assert key == PrivateKey.from_hex(f"{key.to_hex()}01")
    assert key == PrivateKey.from_hex(f" {key.to_hex().upper()}\n")


@pytest.mark.parametrize(
    "text", ["", "00" * 32, "ff" * 32, f"{ORDER:064x}", "01" * 31, "x" * 64]
)
def test_no_private_key(text: str) -> None:
    """What is no number below the order of the curve, and not zero, is no key."""
    with pytest.raises(ValueError, match="private key"):
        PrivateKey.from_hex(text)


@pytest.mark.parametrize("algorithm", [Algorithm.ES256K, Algorithm.ES256])
def test_both_s_verify(algorithm: Algorithm) -> None:
    """An ECDSA signature verifies with either of its two s."""
    order = ORDER if algorithm is Algorithm.ES256K else int(ec.SECP256R1().group_order)
    key = key_of(99, algorithm)
    signature = key.sign(b"message")
    other = (order - int.from_bytes(signature[32:])).to_bytes(32)
    assert key.public.verify(signature, b"message")
    assert key.public.verify(signature[:32] + other, b"message")


@pytest.mark.parametrize("algorithm", [Algorithm.ES256K, Algorithm.ES256])
def test_s_beyond_the_order(algorithm: Algorithm) -> None:
    """A number that is only equal to r or s modulo the order, or zero, is refused."""
    order = ORDER if algorithm is Algorithm.ES256K else int(ec.SECP256R1().group_order)
    key = key_of(99, algorithm)
    r, s = key.sign(b"message")[:32], key.sign(b"message")[32:]
    for bad in (0, order, 2**256 - 1):
        assert not key.public.verify(r + bad.to_bytes(32), b"message")
        assert not key.public.verify(bad.to_bytes(32) + s, b"message")


def test_openssl_agrees() -> None:
    """What libsecp256k1 signs here, OpenSSL verifies."""
    key = key_of(1234, Algorithm.ES256K)
    signature = key.sign(b"message")
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key.public.raw)
    public.verify(encode_dss_signature(r, s), b"message", ec.ECDSA(SHA256()))


def test_a_key_signs_only_for_its_kind() -> None:
    """The same bytes on another curve are another key."""
    number = 4711
    one, two = key_of(number, Algorithm.ES256K), key_of(number, Algorithm.ES256)
    assert one.public.did_key != two.public.did_key
    assert not two.public.verify(one.sign(b"message"), b"message")


@pytest.mark.parametrize("text", ["", "zz" * 33, "02" * 32, "0x" + "02" * 33, "02 " * 33])
def test_no_public_key(text: str) -> None:
    """A public key is 33 bytes in hexadecimal and nothing around."""
    with pytest.raises(BadRequest):
        PublicKey.from_hex(text)
