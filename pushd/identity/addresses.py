"""Addresses of keys, as chains write them: two texts around the same 20 bytes.

    1NFkgskrapaaAHsLztEW4Sv3Ds5r7cWAAK           Bitcoin: base58check, version 0
    SP3MJ9VQM7S6BC2EBSJD0MATNM2C61Y1B7VGEWV08    Stacks: c32check (SIP-005)

A name's owner may be written either way, so owners are compared by the hash inside.
"""

from hashlib import sha256

from pushd.errors import BadRequest
from pushd.identity import base58

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = {letter: digit for digit, letter in enumerate(_ALPHABET)}
_DIGITS |= {"O": 0, "I": 1, "L": 1}  # as people misread them
_BITCOIN_VERSION = 0
_STACKS_VERSIONS = {22, 20, 26, 21}  # SP, SM of the main network; ST, SN of test networks
_MAX_ADDRESS = 48


def hash160_of(address: str) -> bytes:
    """Return the 20 bytes an address stands for, the hash of a key or of a script.

    Args:
        address: A Bitcoin address of version 0, `1...`, or a Stacks address, `S...`,
            in upper or lower case.

    Raises:
        BadRequest: If it is neither.
    """
    # Some letters beyond ASCII have an upper case within it.
    if not address.isascii() or len(address) > _MAX_ADDRESS:
        raise BadRequest("An address is at most 48 letters and digits.")
    try:
        if address.startswith(("S", "s")):
            return _read_stacks(address.upper())
        return _read_bitcoin(address)
    except ValueError as error:
        raise BadRequest(f"This is no address (1... or S...): {error}.") from None


def stacks_address(hash160: bytes, version: int = 22) -> str:
    """Write the Stacks address of a hash.

    Args:
        hash160: 20 bytes.
        version: 22 is a key's on the main network (SP), 26 on a test network (ST).
    """
    return f"S{_ALPHABET[version]}{_encode(hash160 + _checksum(version, hash160))}"


def _read_bitcoin(address: str) -> bytes:
    data = base58.decode_check(address)
    if len(data) != 21 or data[0] != _BITCOIN_VERSION:
        raise ValueError("it is not one of a key, 1...")
    return data[1:]


def _read_stacks(address: str) -> bytes:
    version = _digit(address[1:2])
    data = _decode(address[2:])
    if len(data) != 24 or version not in _STACKS_VERSIONS:
        raise ValueError("it is none of SP, SM, ST and SN with 20 bytes")
    hash160, checksum = data[:20], data[20:]
    if checksum != _checksum(version, hash160):
        raise ValueError("the c32check checksum differs")
    return hash160


def _checksum(version: int, hash160: bytes) -> bytes:
    return sha256(sha256(bytes([version]) + hash160).digest()).digest()[:4]


def _encode(data: bytes) -> str:
    """Write bytes in c32; each leading zero byte becomes a leading `0`."""
    zeros = len(data) - len(data.lstrip(b"\0"))
    number = int.from_bytes(data)
    letters = []
    while number:
        number, digit = divmod(number, 32)
        letters.append(_ALPHABET[digit])
    return "0" * zeros + "".join(reversed(letters))


def _decode(text: str) -> bytes:
    digits = [_digit(letter) for letter in text]
    zeros = next((place for place, digit in enumerate(digits) if digit), len(digits))
    number = 0
    for digit in digits:
        number = number * 32 + digit
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)


def _digit(letter: str) -> int:
    digit = _DIGITS.get(letter)
    if digit is None:
        raise ValueError("not a c32 character")
    return digit
