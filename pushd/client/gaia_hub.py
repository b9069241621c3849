"""One question to a Gaia hub: asked until it is answered, and what each refusal means."""

import asyncio
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import httpx2
import msgspec
from msgspec import Struct

from pushd.client.patience import TRANSIENT, Patience
from pushd.resolvers.guard import Refused
from pushd.resolvers.transport import Unfit

MAX_ANSWER = 1024 * 1024
"""Bytes of the longest answer of a hub; a page of a listing is the longest there is."""
SLOWEST = 64 * 1024
"""Bytes per second below which a connection is given up."""
SLACK = 64 * 1024
"""Bytes the guard is told beyond a limit, as it counts small parts for more."""
TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
"""Seconds a hub may be silent; the cloud behind it may take long over a large file."""
BUSY = frozenset({409, 429})
"""Another write to this path is under way; too many requests, or too much stored."""
BROKEN = frozenset({500, 502, 503, 504})
"""The hub, or a proxy before it, cannot answer now; it may have done what was asked."""

T = TypeVar("T")


# --- what may go wrong ---------------------------------------------------------------


class GaiaError(Exception):
    """A hub did not do what was asked; the sentence says why.

    It holds nothing of a token, and nothing the hub wrote.
    """


class Changed(GaiaError):
    """The file is not as expected: it exists already, or was written since (412).

    Attributes:
        etag: Of what is there; None if the hub did not tell, which most do not.
    """

    def __init__(self, message: str, etag: str | None = None) -> None:
        super().__init__(message)
        self.etag = etag


class Busy(GaiaError):
    """Others write to this path, or the hub wants fewer requests (409, 429)."""


class TooLarge(GaiaError):
    """The file is larger than the hub takes, or than the caller wants to read (413)."""


class ProofRequired(GaiaError):
    """The hub wants to know more of the owner, or to be paid, before it stores (402)."""


class NotAllowed(GaiaError):
    """The hub does not let this key write (401, 403)."""


class HubUnreachable(GaiaError):
    """No hub answered, or not as a Gaia hub does."""


# --- asking --------------------------------------------------------------------------


class Request(NamedTuple):
    """What is asked.

    Attributes:
        method: HTTP method.
        url: Where.
        content: The body.
        headers: What else the hub has to know.
        limit: Bytes the answer may have.
    """

    method: str
    url: str
    content: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    limit: int = MAX_ANSWER

    @property
    def seconds(self) -> float:
        """Seconds it may take."""
        return 30 + max(len(self.content), self.limit) / SLOWEST


class _Conflict(Struct):
    etag: str | None = None


_conflict = msgspec.json.Decoder(_Conflict)


class Answer(NamedTuple):
    """An answer that asking again would not change.

    Attributes:
        status: Its HTTP status.
        headers: Its headers.
        body: Its body; None if it is longer than allowed, or packed.
        in_doubt: Whether an earlier attempt may have had its effect.
    """

    status: int
    headers: httpx2.Headers
    body: bytes | None
    in_doubt: bool = False

    @property
    def is_success(self) -> bool:
        """Tell whether it says that what was asked is done."""
        return 200 <= self.status < 300

    def decode(self, decoder: msgspec.json.Decoder[T]) -> T:
        """Read what the hub says of what it did.

        Raises:
            GaiaError: If it did not, or does not answer as a Gaia hub.
        """
        if not self.is_success:
            raise self.error()
        try:
            return decoder.decode(self.body or b"")
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise HubUnreachable("The answer is not that of a Gaia hub.") from None

    def error(self) -> GaiaError:
        """Return what it means where it is no success."""
        match self.status:
            case 401 | 403:
                return NotAllowed("The hub does not let this key do that.")
            case 402:
                return ProofRequired("The hub asks for proof of who writes, or for money.")
            case 409:
                return Busy("Another write to this path is under way.")
            case 412:
                return Changed("The file is not what it was expected to be.", self._etag())
            case 413:
                return TooLarge("The file is larger than the hub takes.")
            case 429:
                return Busy("The hub wants fewer requests, or less stored.")
            case status:
                return HubUnreachable(f"The hub answers with {status}.")

    def retry_after(self) -> float:
        """Return the seconds a busy hub asks for; a date is as good as nothing."""
        text = self.headers.get("retry-after", "")
        return float(text) if re.fullmatch("[0-9]{1,9}", text) else 0.0

    def _etag(self) -> str | None:
        try:
            return _conflict.decode(self.body or b"").etag
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None


async def ask(http: httpx2.AsyncClient, patience: Patience, request: Request) -> Answer:
    """Ask until it is answered in a way that does not pass by itself.

    Raises:
        Busy: If the hub is, for too long.
        HubUnreachable: If it does not answer, for too long.
    """
    in_doubt = False
    while True:
        failure: GaiaError
        retry_after = 0.0
        try:
            answer = await _attempt(http, request)
        except Refused as refused:
            if refused.reason != "lookup":  # which may be the network's fault
                raise HubUnreachable("The URL is not one to connect to.") from None
            failure = HubUnreachable("The hub's name cannot be looked up.")
        except (TimeoutError, *TRANSIENT) as error:
            failure = HubUnreachable(f"The hub does not answer ({type(error).__name__}).")
            in_doubt = True
        except httpx2.TransportError:
            raise HubUnreachable("What answers does not speak HTTP.") from None
        else:
            if answer.status not in BUSY | BROKEN:
                return answer._replace(in_doubt=in_doubt)
            failure = answer.error()
            retry_after = answer.retry_after()
            in_doubt = in_doubt or answer.status in BROKEN
        if not await patience.pause(retry_after):
            raise failure


async def _attempt(http: httpx2.AsyncClient, request: Request) -> Answer:
    """Ask once."""
    extensions = {"limit": request.limit + SLACK}
    async with (
        asyncio.timeout(request.seconds),
        http.stream(
            request.method,
            request.url,
            content=request.content,
            headers=list(request.headers),
            timeout=TIMEOUT,
            extensions=extensions,
        ) as response,
    ):
        try:
            body = await response.aread()
        except Unfit:
            return Answer(response.status_code, response.headers, None)
    fits = len(body) <= request.limit
    return Answer(response.status_code, response.headers, body if fits else None)
