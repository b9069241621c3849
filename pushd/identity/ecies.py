"""Sealing content to a secp256k1 key, in exactly the form of blockstack.js.

What `encrypt` makes, `decryptContent` of blockstack.js and @stacks/encryption reads, and
the reverse. The form is one ephemeral key E for each text (ECIES):

    S   = x coordinate of e * recipient, 32 bytes        the shared secret
    H   = SHA-512(S)                                     encryption key, then MAC key
    C   = AES-256-CBC(H[:32], iv, content in PKCS#7)
    mac = HMAC-SHA-256(H[32:], iv, E compressed, C)

It tells nothing of the sender, which the signed form adds, has no forward secrecy and
does not hide the length; and `wasString` is outside the MAC, so nothing may depend on it.
"""

import hmac
import secrets
from base64 import b64decode, b64encode
from functools import lru_cache
from hashlib import sha512
from typing import Literal, NamedTuple, TypeVar

import coincurve
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import UNSET, Struct, UnsetType, field

from pushd.errors import BadRequest
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey

T = TypeVar("T")


class CannotOpen(Exception):
    """The text is not content sealed to this key; the message says what was wrong.

    It holds nothing of the text, of its content or of a key.
    """


class SignedContent(NamedTuple):
    """Content, and the key that signed for it."""

    content: str | bytes
    signer: PublicKey


def encrypt(
    content: str | bytes,
    recipient: PublicKey,
    *,
    base64: bool = False,
    ephemeral: PrivateKey | None = None,
    iv: bytes | None = None,
) -> str:
    """Seal content so that only `recipient` can open it.

    Args:
        content: Text, or bytes; opening gives back the same.
        recipient: A secp256k1 key.
        base64: Write the ciphertext in base64 rather than hexadecimal: shorter, but
            blockstack.js before version 21 cannot read it.
        ephemeral: A secp256k1 key for this one use; None draws one.
        iv: 16 bytes for this one use; None draws them.

    Raises:
        ValueError: If a key is not of secp256k1.
    """
    ephemeral = ephemeral or PrivateKey.generate()
    _require_secp256k1(recipient.algorithm, ephemeral.algorithm)
    iv = secrets.token_bytes(16) if iv is None else iv
    # This multiplication may take longer for one secret than another, which betrays
    # nothing as each secret is used once; OpenSSL's even one takes 30 times as long.
    point = coincurve.PublicKey(recipient.raw).multiply(ephemeral.raw)
    encryption_key, mac_key = _derive(point.format()[1:])
    padder, cipher = PKCS7(128).padder(), _cipher(encryption_key, iv).encryptor()
    plain = content.encode() if isinstance(content, str) else content
    padded = padder.update(plain) + padder.finalize()
    ciphertext = cipher.update(padded) + cipher.finalize()
    sealed = _Sealed(
        iv=iv.hex(),
        ephemeral_key=ephemeral.public.raw.hex(),
        ciphertext=b64encode(ciphertext).decode() if base64 else ciphertext.hex(),
        mac=_mac(mac_key, iv, ephemeral.public.raw, ciphertext).hex(),
        was_string=isinstance(content, str),
        encoding="base64" if base64 else UNSET,
    )
    return msgspec.json.encode(sealed).decode()


def decrypt(text: str | bytes, key: PrivateKey) -> str | bytes:
    """Open content that was sealed to `key`.

    Raises:
        CannotOpen: If the text is no sealed content, is sealed to another key, or was
            changed on the way.
        ValueError: If the key is not of secp256k1.
    """
    _require_secp256k1(key.algorithm)
    sealed = _decode(text, _decode_sealed)
    iv, mac = _from_hex(sealed.iv, "iv"), _from_hex(sealed.mac, "mac")
    ciphertext = _ciphertext(sealed)
    point = _point(sealed.ephemeral_key)
    encryption_key, mac_key = _derive(_exchange_key(key).exchange(ec.ECDH(), point))
    # The sender may have written the point in another form; the MAC is over this one.
    compressed = point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    if not hmac.compare_digest(mac, _mac(mac_key, iv, compressed, ciphertext)):
        raise CannotOpen("The MAC differs: sealed to another key, or changed on the way.")
    try:
        cipher, unpadder = _cipher(encryption_key, iv).decryptor(), PKCS7(128).unpadder()
        padded = cipher.update(ciphertext) + cipher.finalize()
        plain = unpadder.update(padded) + unpadder.finalize()
        return plain.decode() if sealed.was_string else plain
    except ValueError:  # a sender who knows the key can still send nonsense
        raise CannotOpen("The content is not what the form says it is.") from None


def encrypt_signed(
    content: str | bytes,
    recipient: PublicKey,
    signer: PrivateKey,
    *,
    base64: bool = False,
    ephemeral: PrivateKey | None = None,
    iv: bytes | None = None,
) -> str:
    """Seal content and sign for the sealed text; arguments as of `encrypt`.

    Raises:
        ValueError: If a key is not of secp256k1.
    """
    _require_secp256k1(signer.algorithm)
    sealed = encrypt(content, recipient, base64=base64, ephemeral=ephemeral, iv=iv)
    signature = signer.sign(sealed.encode())
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    signed = _Signed(encode_dss_signature(r, s).hex(), signer.public.raw.hex(), sealed)
    return msgspec.json.encode(signed).decode()


def decrypt_signed(text: str | bytes, key: PrivateKey) -> SignedContent:
    """Open content that was sealed to `key` and signed.

    Returns:
        The content and the key that signed. Whose key that is, the caller has to find
        out: anybody can sign with a key of their own.

    Raises:
        CannotOpen: If the signature is not good, or as in `decrypt`.
        ValueError: If the key is not of secp256k1.
    """
    signed = _decode(text, _decode_signed)
    try:
        signer = PublicKey.from_hex(signed.public_key)
        r, s = decode_dss_signature(_from_hex(signed.signature, "signature"))
        signature = r.to_bytes(32) + s.to_bytes(32)
    except (BadRequest, ValueError, OverflowError):
        raise CannotOpen("The signature or its key is malformed.") from None
    if not signer.verify(signature, signed.ciphertext.encode()):
        raise CannotOpen("The signature does not verify.")
    return SignedContent(decrypt(signed.ciphertext, key), signer)


# --- the form, members in the order of blockstack.js ---------------------------------


class _Sealed(Struct):
    iv: str
    ephemeral_key: str = field(name="ephemeralPK")
    ciphertext: str = field(name="cipherText")
    mac: str
    was_string: bool = field(name="wasString", default=False)
    encoding: Literal["hex", "base64"] | UnsetType = field(
        name="cipherTextEncoding", default=UNSET
    )


class _Signed(Struct):
    signature: str
    public_key: str = field(name="publicKey")
    ciphertext: str = field(name="cipherText")


_decode_sealed = msgspec.json.Decoder(_Sealed)
_decode_signed = msgspec.json.Decoder(_Signed)


def _decode(text: str | bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Not even the decoder's sentence is repeated: it may name members of a text
        # that was never meant to be sealed.
        raise CannotOpen("This is not the JSON of sealed content.") from None


def _ciphertext(sealed: _Sealed) -> bytes:
    if sealed.encoding != "base64":
        return _from_hex(sealed.ciphertext, "cipherText")
    try:
        return b64decode(sealed.ciphertext, validate=True)
    except ValueError:
        raise CannotOpen("The cipherText is not in base64.") from None


def _from_hex(text: str, name: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise CannotOpen(f"The {name} is not in hexadecimal.") from None


# --- the parts -----------------------------------------------------------------------


def _require_secp256k1(*algorithms: Algorithm) -> None:
    if any(algorithm is not Algorithm.ES256K for algorithm in algorithms):
        raise ValueError("Only secp256k1 keys (ES256K) can seal and open.")


def _point(text: str) -> ec.EllipticCurvePublicKey:
    """Read a point, compressed or not; one that is not on the curve is refused."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(
            ec.SECP256K1(), _from_hex(text, "ephemeralPK")
        )
    except ValueError:
        raise CannotOpen("The ephemeralPK is not a point of secp256k1.") from None


@lru_cache(maxsize=16)
def _exchange_key(key: PrivateKey) -> ec.EllipticCurvePrivateKey:
    # OpenSSL multiplies in constant time, which a key used again and again needs.
    # Handing it the key takes longer than using it, so it is kept.
    return ec.derive_private_key(int.from_bytes(key.raw), ec.SECP256K1())


def _derive(shared: bytes) -> tuple[bytes, bytes]:
    digest = sha512(shared).digest()
    return digest[:32], digest[32:]


def _cipher(key: bytes, iv: bytes) -> Cipher[CBC]:
    return Cipher(AES256(key), CBC(iv))


def _mac(key: bytes, iv: bytes, ephemeral: bytes, ciphertext: bytes) -> bytes:
    return hmac.digest(key, iv + ephemeral + ciphertext, "sha256")
