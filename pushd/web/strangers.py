"""Connections that have not said who they are: so many, and no more.

A stranger becomes known by a good token, whatever it asks for. Until then it costs a
socket and some memory that anybody can make this process spend. Where there is no room
for a newcomer, the one who has been silent longest gives way; if none has been for a
second, then many come at once, and the newcomer is told to come back.
"""

from asyncio import BaseTransport
from collections import Counter, OrderedDict
from time import monotonic
from typing import Protocol

from pushd.bounds import Bound
from pushd.web.addresses import Addresses

PATIENCE = 1.0
"""Seconds in which a stranger need not give way: who is in earnest needs less."""


class Stranger(Protocol):
    """A connection that has not shown a good token."""

    def turn_away(self) -> None:
        """Close, telling the client to come back later."""


class Strangers:
    """The strangers of one process.

    Args:
        bound: How many there may be.
        each: How many from one address, that of a trusted proxy excepted; 0: any number.
        addresses: Tells where a connection comes from, if that matters.
    """

    def __init__(self, bound: Bound, *, each: int, addresses: Addresses) -> None:
        self._bound = bound
        self._each = each
        self._addresses = addresses
        self._since: OrderedDict[Stranger, float] = OrderedDict()
        self._from: dict[Stranger, str] = {}
        self._at: Counter[str] = Counter()

    def enter(self, stranger: Stranger, transport: BaseTransport) -> bool:
        """Let a connection in, if there is room for it or somebody gives way."""
        if self._each and not self._has_room_at(stranger, transport):
            self._bound.turned_away += 1
            return False
        bound, now = self._bound, monotonic()
        if bound.held >= bound.most and not self._make_room(now):
            bound.turned_away += 1
            self._forget(stranger)
            return False
        bound.held += 1
        self._since[stranger] = now
        return True

    def rename(self, stranger: Stranger, other: Stranger) -> None:
        """Let another object stand for a connection that just said what it is for."""
        if self._since.pop(stranger, None) is not None:
            self._since[other] = monotonic()
            if self._each and (address := self._from.pop(stranger, None)) is not None:
                self._from[other] = address

    def leave(self, stranger: Stranger) -> None:
        """Take note that a connection is known now, or gone; idempotent."""
        if self._since.pop(stranger, None) is not None:
            self._bound.held -= 1
            if self._each:
                self._forget(stranger)

    def _make_room(self, now: float) -> bool:
        longest, since = next(iter(self._since.items()))
        if now - since < PATIENCE:
            return False
        self._bound.turned_away += 1
        self.leave(longest)
        longest.turn_away()
        return True

    def _has_room_at(self, stranger: Stranger, transport: BaseTransport) -> bool:
        """Count a connection at its address, if there is room."""
        address = self._addresses.of_stranger(transport.get_extra_info("peername"))
        if address is None:
            return True
        if self._at[address] >= self._each:
            return False
        self._at[address] += 1
        self._from[stranger] = address
        return True

    def _forget(self, stranger: Stranger) -> None:
        address = self._from.pop(stranger, None)
        if address is not None:
            self._at[address] -= 1
            if not self._at[address]:
                del self._at[address]
