"""Whose the names are that deliveries are for: from memory, or found out first.

A delivery to a DID needs none of this.
"""

from collections.abc import Iterable, Mapping
from functools import partial

from pushd.errors import PushdError, ResolverUnavailable
from pushd.futures import each
from pushd.identity.names import is_name
from pushd.identity.tokens import Token
from pushd.names import Names
from pushd.protocol.messages import Delivery

Found = Mapping[str, str | PushdError]
"""Whose the names are that were not in memory: a DID, or why nobody's."""


class Recipients:
    """The recipients that have a name.

    Args:
        names: Finds them.
    """

    def __init__(self, names: Names) -> None:
        self._names = names

    def mailbox(self, token: Token, name: str, found: Found) -> str:
        """Return whose a name is.

        Args:
            token: The sender's.
            name: Of the recipient.
            found: What `find` has returned.

        Raises:
            BadRequest: If it is no name.
            UnknownMailbox: If it is nobody's.
            ResolverUnavailable, RateLimited: If nobody found out whose it is.
        """
        known = found.get(name) or self._names.mailbox(name, app_of(token))
        if known is None:  # it was in memory a moment ago
            raise ResolverUnavailable
        if isinstance(known, PushdError):
            raise known
        return known

    def unknown(
        self, token: Token, deliveries: Iterable[Delivery | PushdError]
    ) -> set[str]:
        """Return the names of which nobody knows yet whose they are."""
        names = {
            delivery.to
            for delivery in deliveries
            if isinstance(delivery, Delivery) and is_name(delivery.to)
        }
        return {name for name in names & token.to if self._is_unknown(token, name)}

    def _is_unknown(self, token: Token, name: str) -> bool:
        try:
            return self._names.mailbox(name, app_of(token)) is None
        except PushdError:
            return False  # no name, or known to be nobody's

    async def find(self, token: Token, names: Iterable[str]) -> Found:
        """Find out whose these are, all at once."""
        return await each(names, partial(self._find, token))

    async def _find(self, token: Token, name: str) -> str | PushdError:
        try:
            return await self._names.find(name, app_of(token), asker=token.did)
        except PushdError as error:
            return error


def app_of(token: Token) -> str:
    """Return the app of names; a token with a name in `to` has one."""
    return token.app or ""
