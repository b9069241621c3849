"""Names at this server: those that tokens claim are proven, those of recipients found.

The directory knows whom to ask and remembers the answers. This file says what an answer
means here, and how much one sender can make this server ask: a name costs nothing to
make up, so whoever shows many pays for it, and not the rest of the world.
"""

import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn, TypeVar

from pushd.allowance import Allowance
from pushd.bounds import LOOKUPS, Bound, come_back_later
from pushd.errors import (
    BadRequest,
    NameMismatch,
    RateLimited,
    ResolverUnavailable,
    UnknownMailbox,
    Unproven,
)
from pushd.identity.tokens import Token
from pushd.metrics import Metrics
from pushd.protocol.urls import canonical_url
from pushd.resolvers.base import Identity
from pushd.resolvers.directory import Directory

T = TypeVar("T")

TOGETHER = 20
"""How many times the lookups of one sender all senders may cause."""


class Names:
    """Proves and finds names.

    Args:
        directory: Resolves them.
        server: Canonical URL of this server.
        lookups: Names not remembered that one identity may have looked up in a minute;
            0: any number.
        metrics: Counts what is looked up.
        under_way: How many lookups there may be at a time; None: a bound of its own.
        clock: Returns seconds; nobody may set it.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        server: str,
        lookups: int,
        metrics: Metrics,
        under_way: Bound | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._metrics = metrics
        self._server = server
        self._lookups = Allowance(each=lookups, together=TOGETHER * lookups)
        self._under_way = under_way or Bound("lookups", LOOKUPS)
        self._clock = clock

    # --- who somebody claims to be ---------------------------------------------------

    def proven(self, token: Token) -> bool:
        """Tell from memory whether a token's name is that of its issuer.

        Returns:
            True if it is, or if none is claimed; False: nobody knows yet, see `prove`.

        Raises:
            NameMismatch: If it is not.
        """
        if token.name is None:
            return True
        try:
            identity = self._directory.known(token.name, token.app or "")
        except (BadRequest, Unproven) as error:
            _mismatch(error)
        return identity is not None and _belongs(token, identity)

    async def prove(self, token: Token) -> None:
        """Find out whether a token's name is that of its issuer.

        Raises:
            NameMismatch: If it is not.
            RateLimited: If its issuer had too many names looked up.
            ResolverUnavailable: If nobody can tell right now.
        """
        if token.name is None or self.proven(token):
            return
        identify = partial(self._directory.identify, token.name, token.app or "")
        try:
            identity = await self._look_up(identify, token.did)
        except (BadRequest, Unproven) as error:
            _mismatch(error)
        _belongs(token, identity)

    # --- who is meant ----------------------------------------------------------------

    def mailbox(self, name: str, app: str) -> str | None:
        """Return from memory whose name it is, a DID; None: nobody knows yet, see `find`.

        Raises:
            BadRequest: If it is no name.
            UnknownMailbox: If it is nobody's.
        """
        try:
            identity = self._directory.known(name, app)
        except Unproven as error:
            _unknown(error)
        return None if identity is None else identity.did

    async def find(self, name: str, app: str, *, asker: str, anew: bool = False) -> str:
        """Find out whose name it is.

        Args:
            name: The recipient's.
            app: Web origin it belongs to.
            asker: DID of who wants to know.
            anew: Not from memory, unless that is some seconds old.

        Raises:
            BadRequest: If it is no name.
            UnknownMailbox: If it is nobody's.
            RateLimited: If the asker had too many names looked up.
            ResolverUnavailable: If nobody can tell right now.
        """
        if anew:
            self._directory.forget(name, app)
        did = self.mailbox(name, app)
        if did is not None:
            return did
        identify = partial(self._directory.identify, name, app)
        try:
            return (await self._look_up(identify, asker)).did
        except Unproven as error:
            _unknown(error)

    async def declares(self, name: str, app: str, did: str, *, asker: str) -> bool:
        """Tell whether an identity's own documents name this server as one of its own.

        Args:
            name: A name of the identity; its documents are found by it.
            app: Web origin the name belongs to.
            did: The identity.
            asker: DID of who wants to know.

        Raises:
            RateLimited: If the asker had too many names looked up.
            ResolverUnavailable: If nobody can tell right now.
        """
        reach = partial(self._directory.reach, name, app)
        try:
            destination = await self._look_up(reach, asker)
        except (BadRequest, Unproven):
            return False
        return destination.did == did and any(map(self._is_here, destination.servers))

    def _is_here(self, server: str) -> bool:
        try:
            return canonical_url(server) == self._server
        except BadRequest:
            return False  # an account of another kind, `matrix:` for one

    async def _look_up(self, ask: Callable[[], Awaitable[T]], asker: str) -> T:
        """Let the directory ask, if the asker may cause that."""
        wait = self._lookups.take(asker, self._clock())
        if wait > 0:
            self._metrics.looked_up("limited")
            raise RateLimited(
                "Too many names had to be looked up; wait a little, or write to DIDs.",
                retry_after=math.ceil(wait),
            )
        if not self._under_way.take():
            raise come_back_later("Too many names are being looked up.")
        try:
            answer = await ask()
        except ResolverUnavailable:
            self._metrics.looked_up("unavailable")
            raise
        except (BadRequest, Unproven):
            self._metrics.looked_up("unproven")
            raise
        finally:
            self._under_way.give()
        self._metrics.looked_up("found")
        return answer


def _belongs(token: Token, identity: Identity) -> bool:
    if identity.did != token.did:
        raise NameMismatch
    return True


def _mismatch(error: BadRequest | Unproven) -> NoReturn:
    raise NameMismatch(f"The name in sub is not proven: {error}") from None


def _unknown(error: Unproven) -> NoReturn:
    raise UnknownMailbox(f"There is nobody by that name: {error}") from None
