"""Addresses: both texts of a hash, and what is neither."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.errors import BadRequest
from pushd.identity import base58
from pushd.identity.addresses import hash160_of, stacks_address

BITCOIN = "1NFkgskrapaaAHsLztEW4Sv3Ds5r7cWAAK"
STACKS = "SP3MJ9VQM7S6BC2EBSJD0MATNM2C61Y1B7VGEWV08"
HASH = bytes.fromhex("e924eef43e4cb609cbcc9a0a2b55a09860f82b3e")

hashes = st.builds(
    lambda zeros, rest: (bytes(zeros) + rest)[:20],
    st.integers(0, 20),
    st.binary(min_size=20, max_size=20),
)


def test_both_forms_hold_the_same_hash() -> None:
    """A name's owner is the same, however the chain writes its address."""
    assert HASH == hash160_of(BITCOIN) == hash160_of(STACKS)
    assert stacks_address(HASH) == STACKS


@settings(deadline=None)
@given(hashes, st.sampled_from([22, 20, 26, 21]))
def test_what_is_written_is_read(hash160: bytes, version: int) -> None:
    """Every hash comes back from each of its addresses, leading zeros too."""
    address = stacks_address(hash160, version)
    assert address[:2] == {22: "SP", 20: "SM", 26: "ST", 21: "SN"}[version]
    assert hash160 == hash160_of(address)
    assert hash160 == hash160_of(base58.encode_check(b"\0" + hash160))


@settings(deadline=None)
@given(hashes, st.data())
def test_one_wrong_letter_is_seen(hash160: bytes, data: st.DataObject) -> None:
    """No letter of an address can be another one."""
    address = stacks_address(hash160)
    place = data.draw(st.integers(1, len(address) - 1))
    letter = data.draw(st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
    if letter != address[place]:
        with pytest.raises(BadRequest):
            hash160_of(address[:place] + letter + address[place + 1 :])


@pytest.mark.parametrize(
    "address",
    [STACKS.lower(), STACKS.replace("0", "O"), STACKS.replace("0", "o").swapcase()],
)
def test_misread_letters(address: str) -> None:
    """A Stacks address is read in any case, and with O for 0."""
    assert hash160_of(address) == HASH


@pytest.mark.parametrize("letter", "ILil")
def test_ones(letter: str) -> None:
    """I and L are read as 1."""
    assert hash160_of(STACKS.replace("1", letter)) == HASH


@pytest.mark.parametrize(
    "address",
    [
        "",
        "S",
        "SP",
        "alice.id",
        STACKS[:-1],
        f"{STACKS}0",
        f"SP0{STACKS[2:]}",
        STACKS.replace("SP", "ST"),
        STACKS.replace("SP", "P"),
        STACKS.replace("V", "U"),
        f" {STACKS}",
        f"{STACKS}\n",
        "\u017f" + STACKS[1:],
        STACKS.replace("1", "\u0131"),
        "S" + "0" * 47,
        stacks_address(HASH, 0),
        stacks_address(HASH, 23),
        stacks_address(HASH[1:]),
        stacks_address(HASH + b"\0"),
        BITCOIN.lower(),
        BITCOIN[:-1] + "J",
        f"1{BITCOIN}",
        BITCOIN[1:],
        base58.encode_check(b"\x05" + HASH),
        base58.encode_check(b"\x6f" + HASH),
        base58.encode_check(b"\0" + HASH[1:]),
        base58.encode_check(b"\0" + HASH + b"\0"),
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    ],
)
def test_no_addresses(address: str) -> None:
    """Another kind of address, a mistyped or cut one is refused."""
    with pytest.raises(BadRequest):
        hash160_of(address)


@pytest.mark.parametrize("address", ["1" * 49, "S" * 49, "x" * 100_000])
def test_long_texts(address: str) -> None:
    """A text longer than an address is refused before it is read, which takes long."""
    with pytest.raises(BadRequest, match="at most"):
        hash160_of(address)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_junk_is_no_address(text: str) -> None:
    """Any text that is no address is refused without another error."""
    for address in (text, f"S{text}", f"SP{text}", f"1{text}"):
        with pytest.raises(BadRequest):
            hash160_of(address)
