"""What sources said, remembered as long as it may be believed, and asked for only once.

An answer is what a source said (a value) or that there is nothing (`Unproven`). A newer
answer replaces the older one, whatever either says. How long one counts, in seconds since
the source was asked:

    a value       600   then it is asked anew; while the source is down, until 3600
    Unproven       60   then it is asked anew, and never used again
    no answer       5   since it failed; 10, where there is an old value to go on with

Memory is bounded and resists a scan: of what was asked for once the oldest makes place,
never what was asked for again, unless more of that kind comes than there is room for; and
what has no value has room of its own. So names nobody asks for twice push out none that
are in use (a segmented LRU: Karedla, Love, Wherry: "Caching strategies to improve disk
system performance", 1994).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

from pushd.errors import ResolverUnavailable, Unproven

SIZE = 10_000
"""Entries a cache has room for."""
FRESH = 600.0
"""Seconds for which a value is not asked for again."""
STALE = 3600.0
"""Seconds for which a value may be used while its source does not answer."""
NEGATIVE = 60.0
"""Seconds for which it is believed that there is nothing."""
RETRY = 10.0
"""Seconds a source of which an old value is at hand is left alone after it was asked."""
FAILURE = 5.0
"""Seconds a source that failed, without an old value at hand, is left alone."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """What was added or moved to the end last, as much as there is room for."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def add(self, key: K, value: V) -> tuple[K, V] | None:
        """Put a value at the end; returns what had to leave for it, or None."""
        self[key] = value
        self.move_to_end(key)
        return self.popitem(last=False) if len(self) > self._size else None


class Outdated(Unproven):
    """A source said what is older than what was known: no news, as if it were down."""


class Cache(Generic[K, V]):
    """Remembers answers by key, and asks for each only once at a time.

    A key must determine the answer, so that nobody can choose a key that others use and
    have it answered from a place of their own.

    Args:
        clock: Returns Unix seconds.
        expires: Returns the Unix seconds up to which a value may be used at all.
        size: Entries there is room for.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        expires: Callable[[V], float] = lambda _: inf,
        size: int = SIZE,
    ) -> None:
        self._clock = clock
        self._expires = expires
        # A fifth for what has no value, a fifth at least for what was asked for once.
        self._nothing = Recent[K, _Entry[V]](size // 5)
        self._again = Recent[K, _Entry[V]](size - 2 * (size // 5))
        self._once = Recent[K, _Entry[V]](size)
        self._values = size - size // 5
        self._flights: dict[K, _Flight[V]] = {}

    def __len__(self) -> int:
        """Count what is remembered."""
        return len(self._again) + len(self._once) + len(self._nothing)

    def known(self, key: K) -> V | None:
        """Return a value from memory if it need not be asked for; None: it has to be.

        Raises:
            Unproven: If it is remembered that there is nothing.
        """
        entry = self._use(key)
        if entry is None or not entry.is_current(self._clock()):
            return None
        if entry.failure is not None:
            return None
        return entry.answer()

    def believed(self, key: K) -> V | None:
        """Return the value last learnt, however old, or None. It counts as no use."""
        entry = self._find(key)
        return None if entry is None else entry.value

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """Return a value from memory, or ask for it.

        Who comes while it is being asked for waits for the same answer. Safe to cancel:
        the asking goes on for the others, and for memory.

        Args:
            key: What is asked for.
            ask: Asks for it. What it raises beyond the errors below reaches all who wait
                and is not remembered.

        Raises:
            Unproven: If there is nothing.
            ResolverUnavailable: If the source does not answer, and nothing it said is
                recent enough to go on with.
        """
        entry = self._use(key)
        if entry is not None and entry.is_current(self._clock()):
            return entry.answer()
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(self._ask(key, ask)))
            flight.task.add_done_callback(lambda _: self._flights.pop(key))
        else:
            flight.shared = True
        outcome = await asyncio.shield(flight.task)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome.answer()

    def forget(self, key: K) -> None:
        """Have it asked for anew, not earlier than 10 s after it was last asked for."""
        if key in self._flights:
            self._flights[key].doubted = True
        entry = self._find(key)
        if entry is not None:
            entry.doubt()

    # --- asking ----------------------------------------------------------------------

    async def _ask(
        self, key: K, ask: Callable[[], Awaitable[V]]
    ) -> "_Entry[V] | Exception":
        """Ask, and remember; never raises, as perhaps nobody waits for it any more."""
        asked = self._clock()
        try:
            entry = self._learn(asked, await ask())
        except (Unproven, ResolverUnavailable) as error:
            entry = self._fail(key, asked, error)
        except Exception as error:  # a bug: whoever still waits raises it
            return error
        flight = self._flights[key]
        if flight.doubted:
            entry.doubt()
        self._remember(key, entry, again=flight.shared)
        return entry

    def _learn(self, asked: float, value: V) -> "_Entry[V]":
        usable = min(asked + STALE, self._expires(value))
        return _Entry(asked, min(asked + FRESH, usable), value=value, usable=usable)

    def _fail(
        self, key: K, asked: float, error: Unproven | ResolverUnavailable
    ) -> "_Entry[V]":
        now = self._clock()
        if isinstance(error, ResolverUnavailable | Outdated):
            last = self._find(key)
            if last is not None and last.is_usable(now):
                until = min(now + RETRY, last.usable)
                return _Entry(asked, until, value=last.value, usable=last.usable)
        if isinstance(error, ResolverUnavailable):
            return _Entry(asked, now + FAILURE, failure=error.detail)
        return _Entry(asked, asked + NEGATIVE, refusal=str(error))

    # --- memory ----------------------------------------------------------------------

    def _find(self, key: K) -> "_Entry[V] | None":
        return self._again.get(key) or self._once.get(key) or self._nothing.get(key)

    def _use(self, key: K) -> "_Entry[V] | None":
        """Find an entry that is asked for, and note that it is."""
        entry = self._again.get(key)
        if entry is not None:
            self._again.move_to_end(key)
            return entry
        entry = self._once.pop(key, None)
        if entry is not None:
            self._keep(key, entry)
            return entry
        return self._nothing.get(key)

    def _remember(self, key: K, entry: "_Entry[V]", *, again: bool) -> None:
        again = again or key in self._again
        for segment in (self._again, self._once, self._nothing):
            segment.pop(key, None)
        if entry.value is None:
            self._nothing.add(key, entry)
        elif again:
            self._keep(key, entry)
        else:
            self._once.add(key, entry)
        if len(self._again) + len(self._once) > self._values:
            self._once.popitem(last=False)

    def _keep(self, key: K, entry: "_Entry[V]") -> None:
        """Put an entry among those asked for again; who must leave gets a last chance."""
        leaving = self._again.add(key, entry)
        if leaving is not None:
            self._once.add(*leaving)


@dataclass(slots=True)
class _Entry(Generic[V]):
    """What was learnt when a source was last asked."""

    asked: float
    current: float
    """When to ask anew."""
    value: V | None = None
    usable: float = -inf
    """Until when the value may be used if its source is down."""
    refusal: str | None = None
    """Why there is nothing. A text, as an error would hold on to all that led to it."""
    failure: str | None = None
    """Why nobody can tell."""

    def is_current(self, now: float) -> bool:
        # An entry of the future is from before the clock was set back.
        return self.asked <= now < self.current

    def is_usable(self, now: float) -> bool:
        return self.value is not None and self.asked <= now < self.usable

    def answer(self) -> V:
        if self.value is not None:
            return self.value
        if self.refusal is not None:
            raise Unproven(self.refusal)
        raise ResolverUnavailable(self.failure)

    def doubt(self) -> None:
        self.current = min(self.current, self.asked + RETRY)


@dataclass(slots=True)
class _Flight(Generic[V]):
    """An asking under way."""

    task: "asyncio.Task[_Entry[V] | Exception]"
    shared: bool = False
    doubted: bool = False
