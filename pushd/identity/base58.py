"""Base58 and base58check, the text forms of bitcoin addresses and of did:key."""

from hashlib import sha256

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {letter: digit for digit, letter in enumerate(ALPHABET)}
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]


def encode(data: bytes) -> str:
    """Write bytes in base58; each leading zero byte becomes a leading `1`."""
    zeros = len(data) - len(data.lstrip(b"\0"))
    number = int.from_bytes(data)
    text = ""
    while number:
        number, five = divmod(number, 58**5)  # one digit of Python's, so quickly divided
        first, second, last = five // 58**3, five // 58 % 58**2, five % 58
        text = f"{_PAIRS[first]}{_PAIRS[second]}{ALPHABET[last]}{text}"
    return "1" * zeros + text.lstrip("1")


def decode(text: str) -> bytes:
    """Read base58. Takes time quadratic in the length, so callers bound that first.

    Raises:
        ValueError: If a character is not of the alphabet.
    """
    number = 0
    for letter in text:
        digit = _DIGITS.get(letter)
        if digit is None:
            raise ValueError("not a base58 character")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)


def encode_check(data: bytes) -> str:
    """Write bytes in base58check: with the first 4 bytes of their double SHA-256."""
    return encode(data + _checksum(data))


def decode_check(text: str) -> bytes:
    """Read base58check.

    Raises:
        ValueError: If it is not base58, or the checksum differs.
    """
    data = decode(text)
    if len(data) < 4 or _checksum(data[:-4]) != data[-4:]:
        raise ValueError("the base58check checksum differs")
    return data[:-4]


def _checksum(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()[:4]
