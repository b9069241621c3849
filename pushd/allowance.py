"""How often each of many may do something, and all of them together.

For what costs others: a lookup that a token of no worth can cause. Nothing ticks and
nothing is stored but one time for each who did it lately.
"""

WINDOW = 60.0
"""Seconds an allowance is for; nothing done for so long means the whole of it again."""


class Allowance:
    """So many a minute for each, and so many for all (GCRA, the leaky bucket as a meter).

    Args:
        each: How often one may do it in a minute; 0: as often as they like.
        together: How often all may.
    """

    def __init__(self, *, each: int, together: int) -> None:
        self._each = each
        self._together = together
        # When each will have the whole allowance back, by the caller's clock.
        self._whole_at: dict[str, float] = {}
        self._all_whole_at = 0.0

    def take(self, who: str, now: float) -> float:
        """Do it once, if that is allowed.

        Args:
            who: Who does it.
            now: Seconds, by a clock that nobody sets.

        Returns:
            0.0 if it is; else the seconds after which it will be, and nothing is counted.
        """
        wait = self.wait(who, now)
        if wait > 0 or not self._each:
            return wait
        self._whole_at[who] = max(now, self._whole_at.get(who, 0.0)) + WINDOW / self._each
        self._all_whole_at = max(now, self._all_whole_at) + WINDOW / self._together
        if len(self._whole_at) > 2 * self._together:
            self._forget(now)
        return 0.0

    def wait(self, who: str, now: float) -> float:
        """Return the seconds after which it is allowed, 0.0 if it is, without doing it."""
        if not self._each:
            return 0.0
        own = max(now, self._whole_at.get(who, 0.0)) + WINDOW / self._each
        wait = own - now - WINDOW
        if wait <= 0:
            wait = max(now, self._all_whole_at) + WINDOW / self._together - now - WINDOW
        return max(0.0, wait)

    def _forget(self, now: float) -> None:
        """Forget who has the whole allowance; at most `together` are left."""
        self._whole_at = {who: at for who, at in self._whole_at.items() if at > now}
