"""Frames of RFC 6455 section 5 as bytes: what a server reads and writes; pure.

    0      FIN, three reserved bits, opcode (4 bits)
    1      mask bit, length (7 bits): 126 and 127 say that 2 or 8 bytes of length follow
    ..     masking key (4 bytes), from a client only
    ..     payload

What a connection remembers of all this is for `websocket.py` to say.
"""

from struct import Struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

FINAL = 0x80
RESERVED = 0x70
OPCODE = 0x0F
MASKED = 0x80
LENGTH = 0x7F

WHOLE_TEXT = FINAL | TEXT
"""The first byte of almost every frame."""
MAX_CONTROL = 125
"""Bytes of the largest payload of a control frame (5.5)."""

PROTOCOL_ERROR = 1002
UNSUPPORTED = 1003
NO_STATUS = 1005
INVALID_TEXT = 1007
POLICY = 1008
TOO_BIG = 1009

_OPCODES = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))
_SMALL = {
    opcode: [bytes((FINAL | opcode, length)) for length in range(MAX_CONTROL + 1)]
    for opcode in _OPCODES
}
_MEDIUM = Struct("!BBH")
_LARGE = Struct("!BBQ")


class Violation(Exception):
    """The peer broke a rule; `code` is the close code that names it (7.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(code, reason)


def lone_text(data: bytes) -> int:
    """Find the payload in one whole text of moderate length, with nothing before or behind.

    That is what almost every read brings, told apart in a few steps.

    Returns:
        Where the payload begins, with the mask in the four bytes before it; 0: it is
        something else, or nothing yet.
    """
    size = len(data)
    if size < 6 or data[0] != WHOLE_TEXT:
        return 0
    length = data[1] - MASKED
    if length == size - 6 <= MAX_CONTROL:
        return 6
    if length == 126 and size > 8 + MAX_CONTROL and data[2] << 8 | data[3] == size - 8:
        return 8
    return 0


def parse_header(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Read the header of the frame that begins at `at`.

    Returns:
        The first byte, which is `FINAL` and the opcode; where the payload begins, with
        the mask in the four bytes before it; and bytes of payload, announced but not yet
        seen. None if the header is not all there.

    Raises:
        Violation: If no frame of a client may begin like that.
    """
    if len(data) < at + 2:
        return None
    first, second = data[at], data[at + 1]
    length = second & LENGTH
    if first != WHOLE_TEXT or second < MASKED:
        _check(first, second, length)
    at += 2
    if length > MAX_CONTROL:
        size = 2 if length == 126 else 8
        if len(data) < at + size:
            return None
        length = _long(data[at : at + size])
        at += size
    return first, at + 4, length


def _check(first: int, second: int, length: int) -> None:
    """Refuse what 5.1, 5.2 and 5.5 forbid in the first two bytes."""
    if first & RESERVED:
        raise Violation(PROTOCOL_ERROR, "a reserved bit is set")
    opcode = first & OPCODE
    if opcode not in _OPCODES:
        raise Violation(PROTOCOL_ERROR, "unknown opcode")
    if not second & MASKED:
        raise Violation(PROTOCOL_ERROR, "a client masks its frames")
    if opcode & CLOSE and (length > MAX_CONTROL or not first & FINAL):
        raise Violation(PROTOCOL_ERROR, "a control frame is short and whole")


def _long(digits: bytes) -> int:
    """Read an extended length, which must be the shortest form of it (5.2)."""
    length = int.from_bytes(digits, "big")
    if length <= (MAX_CONTROL if len(digits) == 2 else 0xFFFF) or length >> 63:
        raise Violation(PROTOCOL_ERROR, "malformed length")
    return length


class Fragments:
    """A message of which only a part has come (5.4)."""

    __slots__ = ("count", "data", "opcode")

    def __init__(self, opcode: int) -> None:
        self.opcode = opcode
        self.data = bytearray()
        self.count = 0

    def add(self, payload: bytes, *, most: int) -> None:
        """Add the payload of the next frame, of which there may be `most`.

        Raises:
            Violation: If there are more.
        """
        self.data += payload
        self.count += 1
        if self.count > most:
            raise Violation(POLICY, "too many fragments")


def prefix(opcode: int, length: int) -> bytes:
    """Make the header of a whole, unmasked frame."""
    if length <= MAX_CONTROL:
        return _SMALL[opcode][length]
    if length <= 0xFFFF:
        return _MEDIUM.pack(FINAL | opcode, 126, length)
    return _LARGE.pack(FINAL | opcode, 127, length)


def make_close(code: int, reason: str = "") -> bytes:
    """Make the payload of a close frame (5.5.1).

    Args:
        code: `NO_STATUS` makes it empty.
        reason: For people; cut where it would be too long.
    """
    if code == NO_STATUS:
        return b""
    text = reason.encode()[: MAX_CONTROL - 2].decode(errors="ignore")
    return code.to_bytes(2, "big") + text.encode()


def parse_close(payload: bytes) -> int:
    """Return the code of a close frame, `NO_STATUS` for an empty one.

    Raises:
        Violation: If the code is none a peer may send (7.4), or the reason is not UTF-8.
    """
    if not payload:
        return NO_STATUS
    code = int.from_bytes(payload[:2], "big")
    if code not in _CODES and not 3000 <= code <= 4999:
        raise Violation(PROTOCOL_ERROR, "invalid close code")
    check_text(payload[2:])
    return code


def check_text(payload: bytes) -> None:
    """Refuse text that is not UTF-8 (8.1).

    Raises:
        Violation: If this is not.
    """
    if payload.isascii():
        return
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise Violation(INVALID_TEXT, "text is not UTF-8") from None
