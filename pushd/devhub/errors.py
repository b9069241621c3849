"""What a Gaia hub refuses, by the class names its clients know.

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

from typing import ClassVar


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
