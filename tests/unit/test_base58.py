"""Base58 and base58check: both ways, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.identity import base58


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\0", "1"),
        (b"\0\0\1", "112"),
        (b"Hello World!", "2NEpo7TZRRrLZSi2U"),
        (bytes.fromhex("0000287fb4cd"), "11233QC4"),
    ],
)
def test_known_texts(data: bytes, text: str) -> None:
    """The examples of the base58 draft (draft-msporny-base58-03) come out."""
    assert text == base58.encode(data)
    assert data == base58.decode(text)


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_round_trip(data: bytes) -> None:
    """Whatever is written is read again, leading zeros too."""
    assert data == base58.decode(base58.encode(data))
    assert data == base58.decode_check(base58.encode_check(data))


@settings(deadline=None)
@given(st.text(base58.ALPHABET, max_size=64))
def test_one_text_for_the_same_bytes(text: str) -> None:
    """Every base58 text is the only one of its bytes."""
    assert text == base58.encode(base58.decode(text))


@pytest.mark.parametrize("text", ["0", "O", "I", "l", "1 ", "1\n", "\u0661", "+"])
def test_other_letters(text: str) -> None:
    """Letters that look like others are not in the alphabet."""
    with pytest.raises(ValueError, match="base58"):
        base58.decode(text)


@settings(deadline=None)
@given(st.binary(max_size=40), st.data())
def test_checksum(data: bytes, draw: st.DataObject) -> None:
    """One letter changed is noticed."""
    text = base58.encode_check(data)
    place = draw.draw(st.integers(0, len(text) - 1))
    letter = draw.draw(st.sampled_from(base58.ALPHABET.replace(text[place], "")))
    with pytest.raises(ValueError, match="checksum"):
        base58.decode_check(text[:place] + letter + text[place + 1 :])


@pytest.mark.parametrize("text", ["", "1", "2g"])
def test_shorter_than_a_checksum(text: str) -> None:
    """A text without room for a checksum is refused."""
    with pytest.raises(ValueError, match="checksum"):
        base58.decode_check(text)
