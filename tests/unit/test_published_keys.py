"""Published keys: every form that apps wrote, and only the key of the bucket."""

import json

import coincurve
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.errors import Unproven
from pushd.identity.keys import address
from pushd.identity.published import MAX_KEY_FILE, PATHS, read_published_key
from tests.vectors.handmade import ALICE, BOB

ADDRESS = address(ALICE.public.raw)
SHORT = ALICE.public.raw.hex()
LONG = coincurve.PublicKey(ALICE.public.raw).format(compressed=False).hex()


@pytest.mark.parametrize("digits", [SHORT, LONG, LONG[2:]], ids=["66", "130", "128"])
@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "0x{}",
        " {}\r\n",
        "\t0x{}\n",
        '"{}"',
        ' "{}"\n',
        '" 0x{}\\n"',
        '{{"publicKey":"{}"}}',
        '{{"publicKey":"0x{}","appPublicKey":null}}',
        ' {{"appPublicKey":"{}"}}\n',
        '{{"publicKey":null,"appPublicKey":"{}","more":[1]}}',
    ],
)
@pytest.mark.parametrize("upper", [False, True], ids=["lower", "upper"])
def test_forms(digits: str, form: str, upper: bool) -> None:
    """A key is read from each form, and always given compressed."""
    text = form.format(digits.upper() if upper else digits)
    assert read_published_key(text.encode(), ADDRESS) == ALICE.public


def test_0x_in_upper_case() -> None:
    """0X is let be as well."""
    assert read_published_key(f"0X{SHORT.upper()}".encode(), ADDRESS) == ALICE.public


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        '""',
        "{}",
        "[]",
        "null",
        f'["{SHORT}"]',
        '{"publicKey":7}',
        '{"publicKey":""}',
        f'{{"key":"{SHORT}"}}',
        f'"{SHORT}',
        f'{{"publicKey":"{SHORT}"',
        f"'{SHORT}'",
        SHORT[:-1],
        SHORT[:-2],
        SHORT[2:],
        f"{SHORT}00",
        f"{SHORT[:10]} {SHORT[10:]}",
        f"0x0x{SHORT}",
        f"05{LONG[2:]}",
        f"{'06' if int(LONG[-1], 16) % 2 == 0 else '07'}{LONG[2:]}",
        "02" + "f" * 64,
        "0" * 128,
        "\u0660" * 66,
        SHORT.replace("0", "\u00bd"),
        "<html>",
        SHORT.ljust(MAX_KEY_FILE + 1),
        "{" * 2000,
        '{"publicKey":' + "[" * 4000,
    ],
)
def test_no_keys(text: str) -> None:
    """What holds no key in a known form is refused."""
    with pytest.raises(Unproven):
        read_published_key(text.encode(), ADDRESS)


def test_the_longest_file() -> None:
    """A file as long as may be is read."""
    data = SHORT.ljust(MAX_KEY_FILE).encode()
    assert read_published_key(data, ADDRESS) == ALICE.public


@pytest.mark.parametrize("digits", [SHORT, LONG, LONG[2:]])
def test_another_s_key(digits: str) -> None:
    """A key counts only in the bucket whose address is its hash."""
    with pytest.raises(Unproven, match="hash"):
        read_published_key(digits.encode(), address(BOB.public.raw))


def test_the_address_is_that_of_the_compressed_key() -> None:
    """A bucket is named by the compressed key, however that was published."""
    with pytest.raises(Unproven, match="hash"):
        read_published_key(LONG.encode(), address(bytes.fromhex(LONG)))


def test_nothing_of_a_wrong_key_is_repeated() -> None:
    """What was found instead, perhaps a private key, is not in the error."""
    secret = ALICE.to_hex()
    for text in (secret, json.dumps(secret), json.dumps({"publicKey": secret})):
        with pytest.raises(Unproven) as caught:
            read_published_key(text.encode(), ADDRESS)
        assert secret not in str(caught.value)


@settings(deadline=None)
@given(st.binary(max_size=200), st.text(max_size=140))
def test_junk_is_refused(data: bytes, text: str) -> None:
    """Any other bytes are refused without another error."""
    for junk in (data, text.encode(), json.dumps(text).encode()):
        with pytest.raises(Unproven):
            read_published_key(junk, ADDRESS)


def test_paths() -> None:
    """The files are looked for in the order the protocol gives."""
    assert PATHS == ("key.json", "public_key.json", "public_key.txt", "pk.txt")
