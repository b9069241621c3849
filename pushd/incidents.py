"""Our own bugs: each has a number, under which the log knows where it happened.

The log gets no message of the exception, because that may quote what a peer sent.
"""

import logging
import secrets
import traceback
from typing import TypeVar

from pushd.errors import Internal, PushdError
from pushd.futures import Done

T = TypeVar("T")

log = logging.getLogger(__name__)


class Incident(Internal):
    """Our bug, and the number under which the log knows where it happened."""

    def __init__(self, incident: str) -> None:
        super().__init__(f"Something went wrong here; its number is {incident}.")
        self.incident = incident


def incident(error: BaseException) -> Incident:
    """Give our bug a number, and write down where it happened."""
    bug = Incident(secrets.token_hex(8))
    frames = traceback.extract_tb(error.__traceback__)
    log.error(
        "incident",
        extra={
            "incident": bug.incident,
            "error": type(error).__name__,
            "at": " > ".join(f"{f.filename}:{f.lineno} {f.name}" for f in frames[-8:]),
        },
    )
    return bug


def tellable(error: BaseException) -> PushdError:
    """Return an error as a client may be told of it: a bug by its number."""
    return error if isinstance(error, PushdError) else incident(error)


def tell(done: Done[T], answer: T | PushdError) -> None:
    """Answer one caller; what that raises must not cost the others their answers.

    It is told of its own bug too, once, for somebody waits behind it.
    """
    try:
        done(answer)
    except Exception as error:  # a caller's bug is not the others'
        bug = incident(error)
        if not isinstance(answer, Incident):
            tell(done, bug)
