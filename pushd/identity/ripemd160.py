"""RIPEMD-160, which bitcoin addresses need and hardened builds of OpenSSL leave out.

OpenSSL's is used where there is one. The other follows Dobbertin, Bosselaers, Preneel:
"RIPEMD-160: A Strengthened Version of RIPEMD" (1996), appendix A.
"""

import hashlib
from struct import pack, unpack

_MASK = 0xFFFFFFFF
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)

# Two parallel lines of five rounds. Per round: the constant added in every step, and for
# each of its 16 steps one hexadecimal digit of message word and one of rotation.
_LEFT = (
    (0x00000000, "0123456789abcdef", "befc5879bdef6798"),
    (0x5A827999, "74d1a6f3c0952eb8", "768db97f7cf9b7dc"),
    (0x6ED9EBA1, "3ae49f812706db5c", "bd67e9dfe8d65c75"),
    (0x8F1BBCDC, "19ba08c4d37fe562", "bcefef989e56865c"),
    (0xA953FD4E, "40597c2ae138b6fd", "9f5b68dc5cdeb856"),
)
_RIGHT = (
    (0x50A28BE6, "5e7092b4d6f81a3c", "899bdff5778beec6"),
    (0x5C4DD124, "6b370d5aef8c4912", "9df7c89b77c76fdb"),
    (0x6D703EF3, "f5137e69b8c2a04d", "97fb866ecd5edd75"),
    (0x7A6D76E9, "86413bf05c2d97ae", "f58bee6e69c9c5f8"),
    (0x00000000, "cfa4158762de039b", "85c9c5e68d65fdbb"),
)


def begun() -> "hashlib._Hash | None":
    """Begin a digest by OpenSSL; None where it has none."""
    try:
        return hashlib.new("ripemd160", usedforsecurity=False)
    except ValueError:
        return None


_BEGUN = begun()  # to find the algorithm by its name takes longer than the digest


def ripemd160(data: bytes) -> bytes:
    """Return the 20-byte RIPEMD-160 digest of `data`."""
    if _BEGUN is None:
        return in_python(data)
    digest = _BEGUN.copy()
    digest.update(data)
    return digest.digest()


def in_python(data: bytes) -> bytes:
    """Do the same without OpenSSL, slowly."""
    state: tuple[int, ...] = _START
    padding = b"\x80" + bytes(-(len(data) + 9) % 64)
    padded = data + padding + pack("<Q", 8 * len(data))
    for start in range(0, len(padded), 64):
        words = unpack("<16I", padded[start : start + 64])
        left = _line(state, words, _LEFT, (0, 1, 2, 3, 4))
        right = _line(state, words, _RIGHT, (4, 3, 2, 1, 0))
        state = tuple(
            (state[(i + 1) % 5] + left[(i + 2) % 5] + right[(i + 3) % 5]) & _MASK
            for i in range(5)
        )
    return pack("<5I", *state)


def _line(
    state: tuple[int, ...],
    words: tuple[int, ...],
    rounds: tuple[tuple[int, str, str], ...],
    functions: tuple[int, ...],
) -> tuple[int, ...]:
    a, b, c, d, e = state
    for (constant, order, rotations), function in zip(rounds, functions, strict=True):
        for word, rotation in zip(order, rotations, strict=True):
            mixed = a + _mix(function, b, c, d) + words[int(word, 16)] + constant
            a, b, c, d, e = (
                e,
                _rotate(mixed, int(rotation, 16)) + e & _MASK,
                b,
                _rotate(c, 10),
                d,
            )
    return a, b, c, d, e


def _mix(function: int, x: int, y: int, z: int) -> int:
    match function:
        case 0:
            return x ^ y ^ z
        case 1:
            return (x & y) | (~x & z)
        case 2:
            return (x | ~y) ^ z
        case 3:
            return (x & z) | (y & ~z)
        case _:
            return x ^ (y | ~z)


def _rotate(number: int, bits: int) -> int:
    number &= _MASK
    return (number << bits | number >> (32 - bits)) & _MASK
