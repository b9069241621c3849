"""Who may have a mailbox here: the one place that knows whose the server opens.

That governs openings alone: who has a mailbox keeps the way to what is in it, also where
it would not be opened any more, for nothing accepted may be lost.
"""

from collections.abc import Iterable
from typing import Literal

from pushd.identity.tokens import Token
from pushd.names import Names

Openings = Literal["open", "declared", "listed"]
"""Whose mailbox is opened: everyone's; of those whose contact document names this server;
of those on a list."""

NO_MAILBOX = "This identity may have no mailbox here."
"""What an owner is told whose mailbox is not opened."""


class Owners:
    """The identities for whom a mailbox is opened.

    Args:
        openings: Whose mailbox is opened.
        listed: DIDs, for `listed`.
        names: Finds out what an identity's own documents say.
    """

    def __init__(self, openings: Openings, listed: Iterable[str], names: Names) -> None:
        self._openings = openings
        self._listed = frozenset(listed)
        self._names = names

    def welcome(self, did: str) -> bool:
        """Tell whether a mailbox may be opened for an identity that nobody vouches for."""
        return self._openings == "open" or (
            self._openings == "listed" and did in self._listed
        )

    async def may_open(self, token: Token) -> bool:
        """Tell whether an owner who comes with this receive token may open a mailbox.

        Raises:
            RateLimited: If the owner had too many names looked up.
            ResolverUnavailable: If the owner's documents cannot be read right now.
        """
        if self.welcome(token.did):
            return True
        if self._openings != "declared" or token.name is None or token.app is None:
            return False
        return await self._names.declares(token.name, token.app, token.did, asker=token.did)

    async def may_be_given(self, did: str, name: str, app: str, *, asker: str) -> bool:
        """Tell whether a sender who writes to a name may open the mailbox it leads to.

        Only into a server of the recipient's own choice: its documents have to name this
        one. And only where the owner could open it.

        Args:
            did: The recipient.
            name: What the sender calls the recipient.
            app: Web origin the name belongs to.
            asker: DID of the sender.

        Raises:
            RateLimited: If the sender had too many names looked up.
            ResolverUnavailable: If the documents cannot be read right now.
        """
        if self._openings == "listed" and did not in self._listed:
            return False
        return await self._names.declares(name, app, did, asker=asker)
