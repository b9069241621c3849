"""The one table of errors: each has a stable code, an HTTP status and a helpful sentence.

    PushdError
    ├── BadRequest           400 bad_request          not what the protocol says
    ├── Unauthorized         401 unauthorized         no token, or one that does not verify
    │   └── TokenExpired     401 token_expired        the token was good once
    ├── Forbidden            403 forbidden            a good token that does not allow this
    │   └── NameMismatch     403 name_mismatch        the name is another identity's
    ├── UnknownMailbox       404 unknown_mailbox      nobody here by that name or DID
    ├── NotFound             404 not_found            no such path
    ├── MethodNotAllowed     405 method_not_allowed   no such method on this path
    ├── KeyConflict          409 key_conflict         the key was used for another payload
    ├── PayloadTooLarge      413 payload_too_large    payload or body over the limit
    ├── RateLimited          429 rate_limited         too many requests
    ├── TooManySessions      429 too_many_sessions    the mailbox has its sessions
    ├── MailboxFull          507 mailbox_full         a quota of the mailbox is reached
    ├── ResolverUnavailable  503 resolver_unavailable a name cannot be looked up right now
    ├── StoreUnavailable     503 store_unavailable    the mailbox store does not answer
    ├── Overloaded           503 overloaded           this server has too much to do
    └── Internal             500 internal             our bug, known by an incident number

`web/problems.py` turns them into RFC 9457 problem documents, the stream into `error`
frames and close codes (`protocol/closing.py`). What `detail` says is shown to the peer,
so it never holds a token, a key or a payload.
"""

from typing import ClassVar


class PushdError(Exception):
    """Base of every error a peer may be told about.

    Attributes:
        code: Stable name of the error; part of the protocol.
        status: HTTP status that goes with it.
        title: What the code means, the same for every occurrence.
        detail: What happened this time, and what to do about it.
        retry_after: Seconds after which a retry may help; None where a retry cannot.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    default_retry_after: ClassVar[int | None] = None

    def __init__(self, detail: str | None = None, *, retry_after: int | None = None):
        self.detail = detail if detail is not None else self.title
        self.retry_after = (
            retry_after if retry_after is not None else self.default_retry_after
        )
        super().__init__(self.detail)


class BadRequest(PushdError):
    """The request is not JSON, has wrong types, or a malformed DID, id or cursor."""

    code = "bad_request"
    status = 400
    title = "The request is not what the protocol says."


class Unauthorized(PushdError):
    """The token is missing, malformed, badly signed, or of wrong audience or scope."""

    code = "unauthorized"
    status = 401
    title = "A valid token is needed."


class TokenExpired(Unauthorized):
    """The token verified but its time is over."""

    code = "token_expired"
    title = "The token has expired; make a new one."


class Forbidden(PushdError):
    """The token is good, and does not allow this."""

    code = "forbidden"
    status = 403
    title = "The token does not allow this."


class NameMismatch(Forbidden):
    """The claimed name does not resolve to the token's identity."""

    code = "name_mismatch"
    title = "The claimed name does not resolve to this identity."


class UnknownMailbox(PushdError):
    """Nobody here by that name or DID."""

    code = "unknown_mailbox"
    status = 404
    title = "There is no mailbox here for that recipient."


class NotFound(PushdError):
    """No such path."""

    code = "not_found"
    status = 404
    title = "There is nothing at this path."


class MethodNotAllowed(PushdError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    status = 405
    title = "This path does not know that method."


class KeyConflict(PushdError):
    """The idempotency key was already used with another payload."""

    code = "key_conflict"
    status = 409
    title = "This key was already used for another payload; a retry resends the same one."


class PayloadTooLarge(PushdError):
    """The payload, or the whole body, is over the limit."""

    code = "payload_too_large"
    status = 413
    title = "The payload or the body is over the limit."


class RateLimited(PushdError):
    """Too many requests from this sender, to this mailbox or from this address."""

    code = "rate_limited"
    status = 429
    title = "Too many requests; wait a little."
    default_retry_after = 1


class TooManySessions(PushdError):
    """The mailbox has as many sessions as it may."""

    code = "too_many_sessions"
    status = 429
    title = "This mailbox has as many sessions as it may have."
    default_retry_after = 30


class MailboxFull(PushdError):
    """A quota of the mailbox is reached; nothing was stored."""

    code = "mailbox_full"
    status = 507
    title = "The mailbox is full; it accepts again once it has drained below half."
    default_retry_after = 60


class ResolverUnavailable(PushdError):
    """A name cannot be looked up right now."""

    code = "resolver_unavailable"
    status = 503
    title = "The name cannot be looked up right now; with a key the retry is safe."
    default_retry_after = 5


class StoreUnavailable(PushdError):
    """The mailbox store does not answer, or not at the promised durability."""

    code = "store_unavailable"
    status = 503
    title = "The mailbox store does not answer; with a key the retry is safe."
    default_retry_after = 2


class Overloaded(PushdError):
    """This server has too much to do."""

    code = "overloaded"
    status = 503
    title = "This server has too much to do; with a key the retry is safe."
    default_retry_after = 2


class Internal(PushdError):
    """Our bug. The peer is told an incident number, the log the rest."""

    code = "internal"
    status = 500
    title = "Something went wrong here."


ERRORS: dict[str, type[PushdError]] = {
    error.code: error
    for error in (
        BadRequest,
        Unauthorized,
        TokenExpired,
        Forbidden,
        NameMismatch,
        UnknownMailbox,
        NotFound,
        MethodNotAllowed,
        KeyConflict,
        PayloadTooLarge,
        RateLimited,
        TooManySessions,
        MailboxFull,
        ResolverUnavailable,
        StoreUnavailable,
        Overloaded,
        Internal,
    )
}
"""Every code of the protocol and its class; a client builds errors from it."""


class ConfigurationError(Exception):
    """The operator asked for something that cannot be; the sentence says what to set.

    Not a `PushdError`: no peer ever sees it. `pushdctl` prints it and exits with 2.
    """


class Unproven(Exception):
    """What was found does not prove what was claimed; the message says what is wrong.

    Not a `PushdError`: the same finding means another thing to whoever delivers, listens
    or reads a bucket. The message holds nothing of a key or a token.
    """
