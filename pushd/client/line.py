"""Ask: requests to one server, tried until they are answered or refused for good.

Whatever leaves in doubt whether a request arrived is tried again: a connection that failed
or broke, a time-out, a server that is busy. So only what may arrive twice is asked this
way. What the server refuses for a reason is an error of the table in `pushd/errors.py`,
raised as its class.

A refused token may be mended, and then is: by the clock of the server, by the name of who
asks, or, where the server takes a delivery only with a token for its one body, by that.
"""

from collections.abc import Sequence
from typing import TypeVar

import httpx2
import msgspec
from msgspec import Struct

from pushd.client.credentials import Credentials
from pushd.client.patience import TRANSIENT, Patience
from pushd.errors import ERRORS, BadRequest, Forbidden, Internal, PushdError, Unauthorized
from pushd.protocol.messages import DIGEST_ONLY, Problem, decode
from pushd.resolvers.guard import Refused

BUSY = frozenset({429, 503})
"""Statuses of errors that pass by themselves."""
GATEWAY = frozenset({502, 503, 504})
"""Statuses with which a proxy says that the server behind it does not answer."""
NOT_PUSHD = "The answer is not that of a pushd server."

T = TypeVar("T")


class Unreachable(Exception):
    """No pushd server answered, as often as it was tried.

    Attributes:
        status: HTTP status of what did answer; None if nothing did.
    """

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class _Problem(Struct):
    """What matters of a problem document (RFC 9457)."""

    code: str
    detail: str = ""
    retry_after: int | None = None
    now: float | None = None


class _About(Struct):
    """What matters of what a server says about itself."""

    features: list[str] = []


_problem = msgspec.json.Decoder(_Problem)
_about = msgspec.json.Decoder(_About)


class Line:
    """Asks one server in the name of one identity.

    Args:
        server: Canonical URL.
        credentials: Makes the tokens.
        timeout: Seconds one attempt may take.
        http: Client to use; None makes one, and closes it.
    """

    def __init__(
        self,
        server: str,
        credentials: Credentials,
        *,
        timeout: float,
        http: httpx2.AsyncClient | None,
    ) -> None:
        self._server = server
        self._credentials = credentials
        self._timeout = timeout
        self._own_http = http is None
        self._http = http or httpx2.AsyncClient()
        self._digest_only = False

    async def close(self) -> None:
        """Close the connections."""
        if self._own_http:
            await self._http.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        patience: Patience,
        *,
        body: bytes = b"",
        to: Sequence[str] = (),
    ) -> httpx2.Response:
        """Ask until it is answered with success.

        Args:
            method: Of HTTP.
            path: Of the server.
            patience: How long to try.
            body: JSON, or nothing.
            to: The recipients, if it is a delivery.

        Raises:
            PushdError: If it is refused for good, or the server is busy for too long.
            Unreachable: If no server answered.
        """
        while True:
            failure: PushdError | Unreachable
            once = self._digest_only and bool(to)
            try:
                answer = await self._attempt(method, path, body, to, once=once)
                if answer.is_success:
                    return answer
                problem = _read_problem(answer)
                if await self._mended(problem, once=once or not to):
                    continue
            except Refused:
                sentence = f"{self._server} is not a place that may be reached from here."
                raise Unreachable(sentence) from None
            except TRANSIENT as error:
                failure = Unreachable(_lost(self._server, error))
            else:
                failure = _failure(self._server, answer, problem)
                if not _passes(answer, failure):
                    raise failure
            if not await patience.pause(getattr(failure, "retry_after", None) or 0):
                raise failure

    async def _attempt(
        self, method: str, path: str, body: bytes, to: Sequence[str], *, once: bool
    ) -> httpx2.Response:
        credentials = self._credentials
        token = credentials.token_once(to, body) if once else credentials.token(to)
        return await self._http.request(
            method,
            f"{self._server}{path}",
            content=body,
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
            },
            timeout=self._timeout,
            follow_redirects=False,
        )

    # --- tokens that are mended ------------------------------------------------------

    async def _mended(self, problem: _Problem | None, *, once: bool) -> bool:
        """Tell whether another token than the refused one may be accepted.

        Args:
            problem: Why it was refused, if that was said.
            once: Whether it was as narrow as a token can be.
        """
        error = PushdError if problem is None else ERRORS.get(problem.code, PushdError)
        if error is Forbidden:
            return self._credentials.claim_name()
        if problem is None or not issubclass(error, Unauthorized):
            return False
        if problem.now is not None and self._credentials.correct(problem.now):
            return True
        if once:
            return False
        self._digest_only = self._digest_only or DIGEST_ONLY in await self._features()
        return self._digest_only

    async def _features(self) -> list[str]:
        answer = await self._http.get(
            f"{self._server}/.well-known/pushd",
            timeout=self._timeout,
            follow_redirects=False,
        )
        try:
            return decode(answer.content, _about).features
        except BadRequest:
            return []


# --- what an answer means ------------------------------------------------------------


def read(answer: httpx2.Response, decoder: msgspec.json.Decoder[T]) -> T:
    """Read what a server answered.

    Raises:
        Unreachable: If no pushd server did.
    """
    try:
        return decode(answer.content, decoder)
    except BadRequest:
        raise Unreachable(NOT_PUSHD, answer.status_code) from None


def error_of(problem: Problem | _Problem) -> PushdError:
    """Return the error that a problem tells of."""
    if problem.code not in ERRORS:
        return Internal(f"{problem.code}: {problem.detail}")
    return ERRORS[problem.code](problem.detail or None, retry_after=problem.retry_after)


def _read_problem(answer: httpx2.Response) -> _Problem | None:
    try:
        return decode(answer.content, _problem)
    except BadRequest:
        return None


def _failure(
    server: str, answer: httpx2.Response, problem: _Problem | None
) -> PushdError | Unreachable:
    if problem is None:
        sentence = f"{server} answers with {answer.status_code}, and not as pushd."
        return Unreachable(sentence, answer.status_code)
    return error_of(problem)


def _passes(answer: httpx2.Response, failure: PushdError | Unreachable) -> bool:
    """Tell whether it is worth trying again."""
    if isinstance(failure, PushdError):
        return failure.status in BUSY
    return answer.status_code in GATEWAY


def _lost(server: str, error: httpx2.TransportError) -> str:
    # The kind of error only: its text could repeat what was sent.
    return f"{server} does not answer ({type(error).__name__})."
