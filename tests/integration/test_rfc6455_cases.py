"""The cases of Autobahn's fuzzing client, as a table: bytes in, frames out.

Numbers are those of Autobahn's test suite, so that a failure can be looked up in its
reports; the words and bytes are our own. `autobahn.py` runs the suite itself, where there
is a Python 2.7 for it. Each case is a new connection. Unless the case breaks a rule, it
ends with a close frame of the client, which the server echoes.
"""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import pytest

from pushd.web.framing import BINARY, CLOSE, PING, PONG, TEXT
from tests.integration.echo_server import EchoServer, echo_server
from tests.websocket_peer import (
    Peer,
    Seen,
    client_frame,
    close,
    closing,
    fragments,
    more,
    pieces,
    ping,
    pong,
    text,
)


class Case(NamedTuple):
    """What a client sends, and what it then hears.

    Attributes:
        number: The case of the suite.
        sent: Frames of the client.
        heard: Frames of the server before its close frame.
        code: That the server closes with, None for an empty close frame.
        chop: Bytes sent in one write; None sends all in one.
    """

    number: str
    sent: list[bytes]
    heard: list[Seen]
    code: int | None
    chop: int | None = None


def good(
    number: str, sent: list[bytes], heard: list[Seen], chop: int | None = None
) -> Case:
    """Make a case in which the client breaks no rule."""
    return Case(number, [*sent, close(1000)], heard, 1000, chop)


def bad(
    number: str,
    sent: list[bytes],
    heard: list[Seen] | None = None,
    chop: int | None = None,
    *,
    code: int = 1002,
) -> Case:
    """Make a case in which the client breaks a rule, and goes on."""
    return Case(number, [*sent, ping(b"too late")], heard or [], code, chop)


def said(payload: bytes) -> Seen:
    """Make the echo of a text."""
    return TEXT, payload


HELLO = b"Hello, world!"
SIZES = [0, 125, 126, 127, 128, 65535, 65536, 65536]
PARTS = [b"one ", b"two ", b"three ", b"four ", b"five"]
WHOLE = b"".join(PARTS)


def echoes() -> Iterator[Case]:
    """1: messages of every form of length."""
    for group, opcode in ((1, TEXT), (2, BINARY)):
        for number, size in enumerate(SIZES, 1):
            payload = b"*" * size
            frame = client_frame(opcode, payload)
            chop = 997 if number == 8 else None
            yield good(f"1.{group}.{number}", [frame], [(opcode, payload)], chop)


def pings() -> Iterator[Case]:
    """2: every ping has its pong, a pong means nothing."""
    junk = bytes((0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF))
    for number, payload in enumerate([b"", HELLO, junk, b"\xfe" * 125], 1):
        yield good(f"2.{number}", [ping(payload)], [(PONG, payload)])
    yield bad("2.5", [ping(b"\xfe" * 126)])
    yield good("2.6", [ping(b"\xfe" * 125)], [(PONG, b"\xfe" * 125)], 1)
    yield good("2.7", [pong()], [])
    yield good("2.8", [pong(b"unasked")], [])
    yield good("2.9", [pong(b"unasked"), ping(b"asked")], [(PONG, b"asked")])
    many = [b"ping %d" % number for number in range(10)]
    answers = [(PONG, payload) for payload in many]
    yield good("2.10", [ping(payload) for payload in many], answers)
    yield good("2.11", [ping(payload) for payload in many], answers, 1)


def reserved_bits() -> Iterator[Case]:
    """3: no extension was agreed on, so nobody may use them."""
    spoilt = client_frame(TEXT, HELLO, reserved=2)
    yield bad("3.1", [client_frame(TEXT, HELLO, reserved=1)])
    for number, chop in ((2, None), (3, 19), (4, 1)):
        sent = [text(HELLO), spoilt, ping()]
        yield bad(f"3.{number}", sent, [said(HELLO)], chop)
    yield bad("3.5", [client_frame(BINARY, b"\x00\xff", reserved=5)])
    yield bad("3.6", [client_frame(PING, HELLO, reserved=6)])
    yield bad("3.7", [client_frame(CLOSE, closing(1000), reserved=7)])


def opcodes() -> Iterator[Case]:
    """4: ten of the sixteen mean nothing yet."""
    for group, first in ((1, 3), (2, 11)):
        yield bad(f"4.{group}.1", [client_frame(first)])
        yield bad(f"4.{group}.2", [client_frame(first + 1, b"reserved")])
        for number, payload, chop in ((3, b"", None), (4, b"reserved", None), (5, b"", 1)):
            unknown = client_frame(first + number - 1, payload)
            sent = [text(HELLO), unknown, ping()]
            yield bad(f"4.{group}.{number}", sent, [said(HELLO)], chop)


def fragmentation() -> Iterator[Case]:
    """5: messages in parts, control frames between them but never in parts."""
    for number, opcode in ((1, PING), (2, PONG)):
        yield bad(f"5.{number}", [fragments(opcode, [b"one", b"two"])])
    two, whole = PARTS[:2], said(b"".join(PARTS[:2]))
    for number, chop in ((3, None), (4, 10), (5, 1)):
        yield good(f"5.{number}", [fragments(TEXT, two)], [whole], chop)
    for number, chop in ((6, None), (7, 10), (8, 1)):
        sent = [text(two[0], fin=False), ping(b"now"), more(two[1], fin=True)]
        yield good(f"5.{number}", sent, [(PONG, b"now"), whole], chop)
    numbers = count(9)
    for fin in (True, False):
        for chop in (None, 10, 1):
            sent = [more(HELLO, fin=fin), text(HELLO)]
            yield bad(f"5.{next(numbers)}", sent, chop=chop)
    yield bad("5.15", [fragments(TEXT, two), more(b"three"), text(b"four")], [whole])
    for number, fin in ((16, False), (17, True)):
        sent = [more(b"one", fin=fin), text(b"two", fin=False), more(b"three", fin=True)]
        yield bad(f"5.{number}", sent * 2)
    yield bad("5.18", [text(b"one", fin=False), text(b"two")])
    for number, chop in ((19, None), (20, 10)):
        sent = [text(PARTS[0], fin=False), more(PARTS[1]), ping(b"1")]
        sent += [more(PARTS[2]), more(PARTS[3]), ping(b"2"), more(PARTS[4], fin=True)]
        heard = [(PONG, b"1"), (PONG, b"2"), said(WHOLE)]
        yield good(f"5.{number}", sent, heard, chop)


KOSME = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()
CUT = KOSME + b"\xf4\x90\x80\x80" + b"edited"

VALID: list[list[bytes]] = [
    [
        b"hello$world",
        "hello¢world".encode(),
        "hello€world".encode(),
        "hello𤭢world".encode(),
    ],
    [KOSME[:size] for size in (2, 5, 7, 9, 11)],
    [b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
    [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
    [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf"],
    [chr(plane << 16 | low).encode() for plane in range(17) for low in (0xFFFE, 0xFFFF)],
    [chr(code).encode() for code in range(0xFFF9, 0x10000)],
]
"""UTF-8, by the kinds of 6.5 to 6.23: text, prefixes, first and last of each length,
boundaries, non-characters, specials."""

INVALID: list[list[bytes]] = [
    [KOSME[:size] for size in (1, 3, 4, 6, 8, 10)],
    [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
    [b"\xf4\x90\x80\x80"],
    [b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80", bytes(range(0x80, 0xBF))],
    [bytes((lead, 0x20)) for lead in range(0xC0, 0xFE)],
    [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf"],
    [b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf"],
    [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf"],
    [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf"],
    [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80"],
    [bytes((0xED, middle, last)) for middle in (0xA0, 0xAD, 0xBE) for last in (0x80, 0xBF)],
    [b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf"],
]
"""Not UTF-8: cut short, too long, too high, stray and missing continuations, impossible
bytes, overlong forms, surrogates alone and in pairs."""


def utf8() -> Iterator[Case]:
    """6: text is UTF-8, as a whole."""
    yield good("6.1.1", [text(b"")], [said(b"")])
    yield good("6.1.2", [fragments(TEXT, [b"", b"", b""])], [said(b"")])
    yield good("6.1.3", [fragments(TEXT, [b"", HELLO, b""])], [said(HELLO)])
    sample = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    yield good("6.2.1", [text(sample)], [said(sample)])
    yield good("6.2.2", [fragments(TEXT, [sample[:12], sample[12:]])], [said(sample)])
    single = [sample[at : at + 1] for at in range(len(sample))]
    yield good("6.2.3", [fragments(TEXT, single)], [said(sample)])
    single = [KOSME[at : at + 1] for at in range(len(KOSME))]
    yield good("6.2.4", [fragments(TEXT, single)], [said(KOSME)])
    yield bad("6.3.1", [text(CUT)], code=1007)
    single = [CUT[at : at + 1] for at in range(len(CUT))]
    yield bad("6.3.2", [fragments(TEXT, single)], code=1007)
    for number, place in ((1, 11), (2, 12)):
        parts = [CUT[:place], CUT[place:15], CUT[15:]]
        yield bad(f"6.4.{number}", [fragments(TEXT, parts)], code=1007)
        yield bad(f"6.4.{number + 2}", [text(CUT)], chop=place, code=1007)
    for kind, payloads in enumerate(VALID):
        echoed = [said(payload) for payload in payloads]
        yield good(f"6.5+ valid {kind}", [text(payload) for payload in payloads], echoed)
    for kind, payloads in enumerate(INVALID):
        for payload in payloads:
            yield bad(f"6.5+ invalid {kind} {payload.hex()}", [text(payload)], code=1007)


def closes() -> Iterator[Case]:
    """7: the last frame of each side."""
    yield good("7.1.1", [text(HELLO)], [said(HELLO)])
    yield good("7.1.2", [close(1000)], [])
    yield good("7.1.3", [close(1000), ping()], [])
    yield good("7.1.4", [close(1000), text(HELLO)], [])
    yield good("7.1.5", [text(b"a", fin=False), close(1000), more(b"b", fin=True)], [])
    large = b"x" * 65536
    yield good(
        "7.1.6", [text(large)] * 4 + [text(HELLO)], [said(large)] * 4 + [said(HELLO)]
    )
    yield Case("7.3.1", [close(None)], [], None)
    yield bad("7.3.2", [close(None, b"a")])
    yield good("7.3.3", [close(1000)], [])
    yield good("7.3.4", [close(1000, HELLO)], [])
    yield good("7.3.5", [close(1000, b"*" * 123)], [])
    yield bad("7.3.6", [close(1000, b"*" * 124)])
    yield bad("7.5.1", [close(1000, CUT)], code=1007)
    registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011]
    for number, code in enumerate([*registered, 3000, 3999, 4000, 4999], 1):
        yield Case(f"7.7.{number}", [close(code)], [], code)
    for number, code in enumerate([0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999], 1):
        yield bad(f"7.9.{number}", [close(code)])
    for number, code in enumerate([5000, 65535], 1):
        yield bad(f"7.13.{number}", [close(code)])


def limits() -> Iterator[Case]:
    """9 and 10, within what a message may have here: 64 KiB in 1024 frames."""
    numbers = count(1)
    for opcode in (TEXT, BINARY):
        payload = b"*" * 65536
        for size in (64, 256, 1024, 4096, 16384):
            parts = list(pieces(payload, size))
            sent = [fragments(opcode, parts)]
            yield good(f"9.{next(numbers)} {size}", sent, [(opcode, payload)])
        for chop in (64, 128, 256, 512, 1024, 2048):
            sent = [client_frame(opcode, payload)]
            yield good(f"9.{next(numbers)} {chop}", sent, [(opcode, payload)], chop)
    for size in (0, 16, 64, 256, 1024, 4096, 16384):
        sent = [text(b"*" * size)] * 50
        yield good(f"9.7 {size}", sent, [said(b"*" * size)] * 50)
    parts = list(pieces(b"*" * 65536, 1300))
    yield good("10.1.1", [fragments(TEXT, parts)], [said(b"*" * 65536)])


CASES = [
    *echoes(),
    *pings(),
    *reserved_bits(),
    *opcodes(),
    *fragmentation(),
    *utf8(),
    *closes(),
    *limits(),
]


@pytest.fixture(scope="module")
def server() -> Iterator[EchoServer]:
    """Run one server for all cases."""
    with echo_server() as server:
        yield server


@pytest.mark.parametrize("case", CASES, ids=[case.number for case in CASES])
def test_case(case: Case, server: EchoServer) -> None:
    """The server says what it should, closes as it should, and nothing after that."""
    sent = b"".join(case.sent)
    with Peer(server.port).open() as peer:
        for piece in pieces(sent, case.chop or len(sent)):
            peer.send(piece)
        heard = peer.rest()
    assert heard[:-1] == case.heard
    opcode, payload = heard[-1]
    assert (opcode, payload[:2]) == (CLOSE, closing(case.code))


@pytest.mark.parametrize(("group", "last"), [(2, 11), (3, 7), (5, 20)])
def test_the_table_is_whole(group: int, last: int) -> None:
    """Every case of these groups is there, once and in order."""
    row = [case.number for case in CASES if case.number.startswith(f"{group}.")]
    assert row == [f"{group}.{number}" for number in range(1, last + 1)]
