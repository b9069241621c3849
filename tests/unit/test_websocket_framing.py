"""Frames: every header read back, every forbidden one refused."""

from contextlib import suppress
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.utils import apply_mask

from pushd.web import framing
from pushd.web.framing import Fragments, Violation, parse_header
from tests.websocket_peer import FIN, MASK, Judge, client_frame

OPCODES = [
    framing.CONTINUATION,
    framing.TEXT,
    framing.BINARY,
    framing.CLOSE,
    framing.PING,
    framing.PONG,
]
LENGTHS = [0, 1, 125, 126, 127, 65535, 65536, 200_000]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_header_is_read_back(length: int) -> None:
    """What a client's header says is what is read, wherever it begins."""
    payload = bytes(length)
    data = b"before" + client_frame(framing.BINARY, payload)
    header = parse_header(data, 6)
    assert header is not None
    first, start, announced = header
    assert (framing.BINARY | FIN, length) == (first, announced)
    assert data[start - 4 : start] == MASK
    assert payload == apply_mask(data[start:], MASK)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_header_waits_for_its_length(length: int) -> None:
    """A header is not read before its last byte of length has come."""
    data = client_frame(framing.TEXT, b"", length=length)
    without_mask = data[:-4]
    assert [None] * len(without_mask) == [
        parse_header(data[:size], 0) for size in range(len(without_mask))
    ]
    assert parse_header(without_mask, 0) is not None


@pytest.mark.parametrize(
    "data",
    [
        *(client_frame(framing.TEXT, reserved=bits) for bits in range(1, 8)),
        *(client_frame(opcode) for opcode in range(16) if opcode not in OPCODES),
        *(client_frame(opcode, mask=None) for opcode in OPCODES),
        *(client_frame(opcode, bytes(126)) for opcode in OPCODES if opcode & 8),
        *(client_frame(opcode, fin=False) for opcode in OPCODES if opcode & 8),
        bytes((FIN | framing.TEXT, 0x80 | 126)) + (125).to_bytes(2, "big"),
        bytes((FIN | framing.TEXT, 0x80 | 127)) + (65535).to_bytes(8, "big"),
        bytes((FIN | framing.TEXT, 0x80 | 127)) + (1 << 63).to_bytes(8, "big"),
    ],
)
def test_a_forbidden_header_is_refused(data: bytes) -> None:
    """Sections 5.1, 5.2 and 5.5 each forbid some headers; the error says 1002."""
    with pytest.raises(Violation) as caught:
        parse_header(data, 0)
    assert caught.value.code == framing.PROTOCOL_ERROR


def test_our_headers_are_the_shortest() -> None:
    """A length takes 7 bits, or 2 bytes more, or 8 (5.2)."""
    sizes = [len(framing.prefix(framing.TEXT, length)) for length in LENGTHS]
    assert sizes == [2, 2, 2, 4, 4, 4, 10, 10]


@settings(deadline=None)
@given(st.lists(st.sampled_from(LENGTHS) | st.integers(0, 300), max_size=5))
def test_frames_are_what_a_client_expects(lengths: list[int]) -> None:
    """Another implementation reads our frames as we meant them."""
    frames = [framing.prefix(framing.TEXT, length) + b"x" * length for length in lengths]
    expected = [(framing.TEXT, b"x" * length) for length in lengths]
    assert Judge().read(b"".join(frames)) == expected


@settings(deadline=None)
@given(st.sampled_from([1000, 1001, 1012, 3000, 4400, 4999]), st.text(max_size=200))
def test_a_close_frame_is_short_and_valid(code: int, reason: str) -> None:
    """Any reason is cut to 123 bytes of whole characters; the code is read back."""
    payload = framing.make_close(code, reason)
    assert framing.parse_close(payload) == code
    assert reason.startswith(payload[2:].decode())
    assert len(payload) <= 125
    assert len(payload) > 125 - 4 or payload[2:] == reason.encode()


def test_an_empty_close_frame_has_no_status() -> None:
    """A close frame without a code reads as 1005, and 1005 writes as one without."""
    assert framing.parse_close(b"") == framing.NO_STATUS
    assert framing.make_close(framing.NO_STATUS) == b""


def test_close_codes_are_those_of_the_table() -> None:
    """Section 7.4 and its registry say which codes a peer may send."""
    allowed = []
    for code in range(65536):
        with suppress(Violation):
            allowed.append(framing.parse_close(code.to_bytes(2, "big")))
    assert allowed == [*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)]


def test_a_close_frame_of_one_byte_is_refused() -> None:
    """There is no half of a close code (5.5.1)."""
    with pytest.raises(Violation):
        framing.parse_close(b"\x03")


@settings(deadline=None)
@given(st.binary(max_size=12))
def test_text_is_utf8(payload: bytes) -> None:
    """What Python cannot decode is refused with 1007, in text and in close reasons."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        with pytest.raises(Violation) as caught:
            framing.check_text(payload)
        assert caught.value.code == framing.INVALID_TEXT
        with pytest.raises(Violation):
            framing.parse_close(b"\x03\xe8" + payload)
    else:
        framing.check_text(payload)
        assert framing.parse_close(b"\x03\xe8" + payload) == 1000


def test_a_message_has_at_most_so_many_fragments() -> None:
    """Empty fragments count as well."""
    message = Fragments(framing.TEXT)
    for _ in range(3):
        message.add(b"", most=3)
    with pytest.raises(Violation) as caught:
        message.add(b"", most=3)
    assert caught.value.code == framing.POLICY


@pytest.mark.parametrize("first", [framing.WHOLE_TEXT, framing.TEXT, framing.PING | FIN])
def test_what_is_taken_for_a_lone_text_is_one(first: int) -> None:
    """The short way reads every frame as the long one does, or leaves it to that."""
    for second, size in product(range(256), range(264)):
        data = bytes((first, second)) + max(size - 8, 0).to_bytes(2) + bytes(256)
        start = framing.lone_text(data[:size])
        if start:
            expected = (framing.WHOLE_TEXT, start, size - start)
            assert parse_header(data[:size], 0) == expected


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535])
def test_a_lone_text_is_found(size: int) -> None:
    """Of every length whose header is short; not with a byte more, nor with one less."""
    frame = client_frame(framing.TEXT, bytes(size))
    assert framing.lone_text(frame) == len(frame) - size
    assert framing.lone_text(frame + b"x") == framing.lone_text(frame[:-1]) == 0
