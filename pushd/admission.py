"""Admission: what is let in when this process, or its store, cannot serve in time.

Three rules, and no more:

- **The delay.** What counts is how long a small call to the store takes from here, and of
  the last seconds the shortest of those times: a peak is no overload, a delay that does not
  go away is. Where that is longer than it may be, a share of what is new is refused, such
  that the rest can be served in time: half where it is twice as long.
- **The line.** Openings and pages of history are dear, and a restart makes everybody want
  them at once. So many are asked of the store at a time, and the others wait in the order
  in which they came; deliveries pass by them. So a mass of clients comes back as fast as
  the store can serve it, and holds no more pages in memory than are under way.
- **The pace.** To verify a token takes the processor long, and after a restart nobody's is
  known. So a few are verified in each turn of the event loop, and the others wait in the
  order in which they came: a thousand hellos at once hold up nobody's news.

What was let in is served: acks, and sessions that are open, are never refused here.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from pushd.bounds import Bound, come_back_later
from pushd.errors import PushdError
from pushd.futures import Done
from pushd.incidents import tell

T = TypeVar("T")

WINDOW = 2.0
"""Seconds in which a delay has to go away for a moment."""
AT_ONCE = 128
"""Openings and pages that are asked of the store at a time."""
IN_A_TURN = 8
"""Tokens of streams that are verified in a turn of the event loop: a millisecond's work."""


class Admission:
    """Whether something new can be served in time.

    Args:
        bound: The delay, in milliseconds, beyond which not all can be.
    """

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._since: float | None = None
        # When each was measured, and the delay; what a later one undercuts is dropped.
        self._delays: deque[tuple[float, float]] = deque()

    def measured(self, delay: float, now: float) -> None:
        """Take how long a call took, or takes already, in seconds.

        Args:
            delay: The seconds.
            now: When that was, on a clock that only goes forward.
        """
        delays = self._delays
        if self._since is None:
            self._since = now
        while delays and delays[-1][1] >= delay:
            delays.pop()
        delays.append((now, delay))
        while delays[0][0] <= now - WINDOW:
            delays.popleft()
        whole = now - self._since >= WINDOW
        self._bound.held = round(delays[0][1] * 1000) if whole else 0

    def refuses(self, chance: float) -> bool:
        """Decide about something new.

        Args:
            chance: A random number from 0 to 1.
        """
        bound = self._bound
        if bound.held <= bound.most or chance >= 1 - bound.most / bound.held:
            return False
        bound.turned_away += 1
        return True


class Line:
    """Those who want something dear of the store.

    Args:
        bound: How many there may be, those whose turn it is included.
        at_once: Whose turn it is at a time.
    """

    def __init__(self, bound: Bound, at_once: int = AT_ONCE) -> None:
        self._bound = bound
        self._free = at_once
        self._waiting: deque[tuple[Callable[[Done[Any]], None], Done[Any]]] = deque()

    def run(self, call: Callable[[Done[T]], None], done: Done[T]) -> None:
        """Call when it is time, and pass on what the call tells.

        Raises:
            Overloaded: If too many wait.
        """
        bound = self._bound
        if bound.held >= bound.most:
            bound.turned_away += 1
            raise come_back_later("Too many clients come back at once.")
        bound.held += 1
        if self._free:
            self._free -= 1
            call(partial(self._end, done))
        else:
            self._waiting.append((call, done))

    def _end(self, done: Done[T], answer: T | PushdError) -> None:
        """Give the turn to the next, whatever came of this one."""
        self._bound.held -= 1
        if self._waiting:
            following, told = self._waiting.popleft()
            following(partial(self._end, told))
        else:
            self._free += 1
        tell(done, answer)  # a turn ends once, also where that fails


class Pace:
    """Those who want something of this process that takes the processor long.

    Args:
        in_a_turn: How many have it in one turn of the event loop.
    """

    def __init__(self, in_a_turn: int = IN_A_TURN) -> None:
        self._in_a_turn = in_a_turn
        self._free = in_a_turn
        self._waiting: deque[Callable[[], None]] = deque()

    def allows(self) -> bool:
        """Tell whether it may be had in this turn; if not, it is for `later`."""
        if not self._free:
            return False
        if self._free == self._in_a_turn:
            asyncio.get_running_loop().call_soon(self._next)
        self._free -= 1
        return True

    def later(self, call: Callable[[], None]) -> None:
        """Call in the next turn that has time for it, behind those who wait already."""
        self._waiting.append(call)

    def _next(self) -> None:
        """Begin a turn with those who wait."""
        few = min(self._in_a_turn, len(self._waiting))
        self._free = self._in_a_turn - few
        if few:  # else nothing is taken, and the next who comes begins anew
            asyncio.get_running_loop().call_soon(self._next)
        for _ in range(few):
            self._waiting.popleft()()
