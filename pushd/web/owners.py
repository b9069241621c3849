"""Who may have a mailbox here: the one place that knows the server's policy for owners."""

from collections.abc import Iterable


class Owners:
    """The identities for whom a mailbox is opened.

    The policy governs openings alone: who has a mailbox keeps the way to what is in it,
    also when no longer listed, for nothing accepted may be lost.
    """

    def __init__(self, listed: Iterable[str] | None) -> None:
        """Set the policy.

        Args:
            listed: DIDs that may have a mailbox; None: everyone may.
        """
        self._listed = None if listed is None else frozenset(listed)

    def may_open(self, did: str) -> bool:
        """Tell whether a mailbox may be opened for this identity."""
        return self._listed is None or did in self._listed
