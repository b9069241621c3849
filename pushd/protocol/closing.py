"""Close codes of the stream, and what a client does about each.

Codes of RFC 6455 keep their meaning. Those from 4400 echo the HTTP status that says the
same thing. One table serves the server, the Python client and the documentation.
"""

from enum import IntEnum
from typing import NamedTuple

from pushd.errors import PushdError


class CloseCode(IntEnum):
    """Why a stream was closed."""

    NORMAL = 1000
    GOING_AWAY = 1001
    RESTARTING = 1012
    OVERLOADED = 1013
    PROTOCOL_ERROR = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    TIMEOUT = 4408
    DISPLACED = 4409
    TOO_MANY_SESSIONS = 4429


class Advice(NamedTuple):
    """What a client does after a close.

    Attributes:
        reconnect: Whether it connects again by itself, with full-jitter backoff.
        new_token: Whether only a newly made token may be tried, once.
        meaning: One sentence for people.
    """

    reconnect: bool
    new_token: bool
    meaning: str


ADVICE: dict[CloseCode, Advice] = {
    CloseCode.NORMAL: Advice(True, False, "The conversation ended."),
    CloseCode.GOING_AWAY: Advice(True, False, "The peer went away."),
    CloseCode.RESTARTING: Advice(True, False, "The server restarts; come back later."),
    CloseCode.OVERLOADED: Advice(True, False, "The server has too much to do."),
    CloseCode.PROTOCOL_ERROR: Advice(True, False, "A frame broke the protocol."),
    CloseCode.UNAUTHORIZED: Advice(True, True, "The token is not, or no longer, valid."),
    CloseCode.FORBIDDEN: Advice(False, False, "This identity may not listen here."),
    CloseCode.TIMEOUT: Advice(True, False, "The client fell silent, or too far behind."),
    CloseCode.DISPLACED: Advice(False, False, "Another session of this device took over."),
    CloseCode.TOO_MANY_SESSIONS: Advice(True, False, "The mailbox has its sessions."),
}

UNKNOWN = Advice(True, False, "The connection was lost.")


def advice(code: int) -> Advice:
    """Return what to do after a close with `code`; reconnect if the code is unknown."""
    try:
        return ADVICE[CloseCode(code)]
    except ValueError:
        return UNKNOWN


def close_code(error: PushdError) -> CloseCode:
    """Return the code with which a stream closes because of `error`."""
    return _CODES.get(error.status, CloseCode.OVERLOADED)


_CODES = {
    400: CloseCode.PROTOCOL_ERROR,
    413: CloseCode.PROTOCOL_ERROR,
    401: CloseCode.UNAUTHORIZED,
    403: CloseCode.FORBIDDEN,
    404: CloseCode.FORBIDDEN,
    429: CloseCode.TOO_MANY_SESSIONS,
}
