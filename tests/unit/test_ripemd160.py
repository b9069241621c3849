"""RIPEMD-160 with OpenSSL and without."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.identity.ripemd160 import begun, in_python, ripemd160

KNOWN = [
    (b"", "9c1185a5c5e9fc54612808977ee8f548b2258d31"),
    (b"a", "0bdc9d2d256b3ee9daae347be6f4dc835a467ffe"),
    (b"abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
    (b"message digest", "5d0689ef49d2fae572b881b123a85ffa21595f36"),
    (b"1234567890" * 8, "9b752e45573d4b39f4dbd3323cab82bf63326bfb"),
]
"""From appendix B of the paper."""


@pytest.mark.parametrize(("data", "digest"), KNOWN)
def test_known_digests(data: bytes, digest: str) -> None:
    """The digests its inventors publish come out."""
    assert digest == ripemd160(data).hex()
    assert digest == in_python(data).hex()


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_both_are_the_same(data: bytes) -> None:
    """Python's own gives what OpenSSL's gives, across the borders of its blocks."""
    assert ripemd160(data) == in_python(data)


def test_a_hardened_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where OpenSSL leaves it out, it is there all the same."""

    def without(name: str, *_: object, **__: object) -> None:
        raise ValueError(f"unsupported hash type {name}")

    monkeypatch.setattr(hashlib, "new", without)
    monkeypatch.setattr("pushd.identity.ripemd160._BEGUN", begun())
    assert KNOWN[2][1] == ripemd160(b"abc").hex()
