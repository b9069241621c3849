"""What one process holds at most, of each thing that others can make it hold.

A bound counts what there is and what it turned away; the metrics show both beside what
may be. Whoever takes gives back, whatever happens in between.
"""

import random
from collections.abc import Iterator

from pushd.errors import Overloaded

COME_BACK = (2, 10)
"""Seconds between which a client is told to come back, so that not all do at once."""

MIB = 1024 * 1024
BODY_BYTES = 64 * MIB
"""Bytes of bodies that have not all arrived."""
CATCHUPS = 10_000
"""Openings and pages of history, asked for or waiting in line."""
DELAY_MS = 500
"""Milliseconds that a small call to the store may take, again and again."""
LOOKUPS = 256
"""Names that are being looked up."""
STORE_CALLS = 100_000
"""Mailboxes in calls that wait for the store."""


class Bound:
    """So much of one thing, and no more.

    Args:
        name: Of the thing, as the metrics show it.
        most: How much there may be.

    Attributes:
        held: How much there is.
        turned_away: How often there was no room, since the metrics last took it.
    """

    __slots__ = ("held", "most", "name", "turned_away")

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self.held = 0
        self.turned_away = 0

    def take(self, amount: int = 1) -> bool:
        """Take some, if there is room for it; tell whether there was."""
        if self.held + amount > self.most:
            self.turned_away += 1
            return False
        self.held += amount
        return True

    def give(self, amount: int = 1) -> None:
        """Give back what was taken."""
        self.held -= amount

    @property
    def spent(self) -> bool:
        """Whether there is no room at all."""
        return self.held >= self.most


class Bounds:
    """The bounds of one process.

    Args:
        sessions: Streams, event streams and waiting requests.
        strangers: Connections that have not shown a good token.
        unsent_bytes: Bytes that wait for clients that do not keep up.
    """

    def __init__(
        self,
        *,
        sessions: int = 50_000,
        strangers: int = 2_000,
        unsent_bytes: int = 64 * MIB,
    ) -> None:
        self.sessions = Bound("sessions", sessions)
        self.strangers = Bound("strangers", strangers)
        self.unsent = Bound("unsent_bytes", unsent_bytes)
        self.bodies = Bound("body_bytes", BODY_BYTES)
        self.catchups = Bound("catchups", CATCHUPS)
        self.delay = Bound("delay_ms", DELAY_MS)
        self.lookups = Bound("lookups", LOOKUPS)
        self.store_calls = Bound("store_calls", STORE_CALLS)

    def __iter__(self) -> Iterator[Bound]:
        yield from (self.sessions, self.strangers, self.unsent, self.bodies)
        yield from (self.catchups, self.delay, self.lookups, self.store_calls)


def come_back_later(detail: str) -> Overloaded:
    """Return the error for who finds no room, with a time of its own to come back."""
    return Overloaded(detail, retry_after=random.randint(*COME_BACK))  # noqa: S311 - jitter
