"""What a Gaia hub refuses, by the class names its clients know, and how it says so.

HubError                               500  anything else, without a name
├── ValidationError                    401  the token, or what it allows
├── AuthTokenTimestampValidationError  401  the bucket's owner revoked the token
├── NotEnoughProofError                402  the hub wants a profile with social proofs
├── BadPathError                       403  a path no file can have
├── DoesNotExist                       404  no file to delete
├── ConflictError                      409  another write to the path is on its way
├── PreconditionFailedError            412  If-Match or If-None-Match does not hold
└── PayloadTooLargeError               413  a file over the limit
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response


class HubError(Exception):
    """Base of what a hub answers with an error; by itself its nameless 500.

    Attributes:
        status: The HTTP status.
        body: The members of the JSON it is told in.
    """

    status: ClassVar[int] = 500

    @property
    def body(self) -> dict[str, str]:
        """The message and the class, which clients tell errors by."""
        if type(self) is HubError:
            return {"message": "Server Error"}
        return {"message": str(self), "error": type(self).__name__}


class ValidationError(HubError):
    """The token is not good, or does not allow this."""

    status = 401


class AuthTokenTimestampValidationError(HubError):
    """The token is older than its bucket's owner allows."""

    status = 401


class NotEnoughProofError(HubError):
    """The hub wants a profile with social proofs before it keeps anything."""

    status = 402


class BadPathError(HubError):
    """No file can have this path."""

    status = 403


class DoesNotExist(HubError):
    """There is no such file to delete."""

    status = 404


class ConflictError(HubError):
    """Another write to the same path is on its way."""

    status = 409


class PreconditionFailedError(HubError):
    """What the writer believes of the file is not so."""

    status = 412


class PayloadTooLargeError(HubError):
    """The file is over the limit."""

    status = 413


class NothingHere(Exception):
    """A path leads nowhere."""


class Throttled(Exception):
    """A bucket has too much, or is written too often; the hub behind does not see it."""


# --- answers -------------------------------------------------------------------------


def nothing_here(request: Request, error: Exception) -> Response:
    """Answer a path or a method that leads nowhere: 404, whichever of the two it is."""
    return PlainTextResponse(f"Cannot {request.method} this path", status_code=404)


def refused(request: Request, error: Exception) -> Response:
    """Answer what the hub refuses."""
    if not isinstance(error, HubError):
        raise error
    return JSONResponse(error.body, status_code=error.status)


def throttled(request: Request, error: Exception) -> Response:
    """Answer what never gets to the hub: no JSON, and no word on how long to wait."""
    return PlainTextResponse("Too Many Requests", status_code=429)


ANSWERS: Mapping[Any, Callable[[Request, Exception], Response]] = {
    HubError: refused,
    NothingHere: nothing_here,
    405: nothing_here,
    Throttled: throttled,
}
"""How the app answers, by what was raised."""
