"""How often a sender may deliver, a mailbox be delivered to, an address show new tokens.

Theory of operation. Of each who did something lately there is one number: until when that
counts. What is done once counts for the time after which it may be done again, and a
minute's worth may count at once (GCRA, the leaky bucket as a meter). What may be done is
decided here and at once. What was done is told to the store a moment later, which answers
with what was done at all servers. So a limit costs a delivery no way to the store, and
whoever is over it costs the store nothing. At one server a limit is exact. Several pass it
by what they let through in that moment, which is a debt: no more is let through until it is
paid.

Nothing is kept of those who did nothing for a minute, and what is forgotten here for want
of room, the store still knows.
"""

import asyncio
import math
import time
from asyncio import Future
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import NamedTuple

from pushd.errors import PushdError, RateLimited
from pushd.mailbox.base import Meter
from pushd.metrics import Metrics

WINDOW = 60.0
"""Seconds that a rate is for."""
REPORT = 0.05
"""Seconds until the store is told what was done."""
PER_CALL = 200
"""Those of whom the store is told in one call."""
REMEMBERED = 100_000
"""Those who did something lately, of each kind; with more, all are forgotten here."""
FAILURE = 10
"""New tokens that one which does not verify counts for."""

_INSTANT = 0.001  # what rounding may add up to


class Standing(NamedTuple):
    """How somebody stands with a limit, as answers tell it.

    Attributes:
        name: Whose limit it is: `sender`, `mailbox` or `address`.
        most: How often in a minute.
        left: How often at once, now.
        seconds: Until it may be done once more than that.
    """

    name: str
    most: int
    left: int
    seconds: int


class Limited(RateLimited):
    """Somebody does something more often than it may be done."""

    def __init__(self, detail: str, standing: Standing) -> None:
        super().__init__(detail, retry_after=max(1, standing.seconds))
        self.standing = standing


class Rate:
    """So many a minute for each; what `now` is, in seconds, the caller says.

    Args:
        name: Whose limit it is.
        most: How often in a minute, at least once.

    Attributes:
        untold: For how many seconds that counts which the store was not told of, by who
            did it.
    """

    def __init__(self, name: str, most: int) -> None:
        self.untold: dict[str, float] = {}
        self._name = name
        self._most = most
        self._one = WINDOW / most
        self._counts_until: dict[str, float] = {}

    def exhausted(self, who: str, now: float) -> bool:
        """Tell whether somebody may not do it now."""
        until = self._counts_until.get(who)
        return until is not None and until + self._one > now + WINDOW + _INSTANT

    def count(self, who: str, now: float, times: int = 1) -> None:
        """Note that somebody did it."""
        counts = times * self._one
        self._set(who, max(now, self._counts_until.get(who, 0.0)) + counts, now)
        self.untold[who] = self.untold.get(who, 0.0) + counts

    def learn(self, who: str, seconds: float, now: float) -> None:
        """Take from the store for how many seconds all counts that it was told of."""
        self._set(who, now + seconds + self.untold.get(who, 0.0), now)

    def standing(self, who: str, now: float) -> Standing:
        """Tell how somebody stands."""
        counts = max(0.0, self._counts_until.get(who, 0.0) - now)
        left = max(0, math.floor((WINDOW - counts + _INSTANT) / self._one))
        seconds = counts + (left + 1) * self._one - WINDOW - _INSTANT
        return Standing(self._name, self._most, left, max(0, math.ceil(seconds)))

    def _set(self, who: str, until: float, now: float) -> None:
        self._counts_until[who] = until
        if len(self._counts_until) > REMEMBERED:
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Forget those of whom nothing counts; all, if that makes too little room."""
        kept = {who: until for who, until in self._counts_until.items() if until > now}
        self._counts_until = kept if len(kept) <= REMEMBERED // 2 else {}


class Rates:
    """The limits of one server, in step with those of all others on its store.

    Args:
        meter: Adds up what is done at all servers.
        sender: Deliveries of one sender in a minute; 0: any number.
        mailbox: Deliveries to one mailbox in a minute; 0: any number.
        address: New tokens from one address in a minute; 0: any number.
        metrics: Counts what is refused.
        clock: Returns seconds; nobody may set it, or who did something lately would have to
            wait until one that was set back has caught up.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        sender: int = 0,
        mailbox: int = 0,
        address: int = 0,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._meter = meter
        self._senders = Rate("sender", sender) if sender else None
        self._mailboxes = Rate("mailbox", mailbox) if mailbox else None
        self._addresses = Rate("address", address) if address else None
        self._metrics = metrics
        self._clock = clock
        self._reporting = False

    # --- deliveries ------------------------------------------------------------------

    def require(self, sender: str) -> None:
        """Refuse a sender who may deliver nothing now, whatever it is.

        Raises:
            Limited: If that is so.
        """
        now = self._clock()
        if self._senders is not None and self._senders.exhausted(sender, now):
            raise self._limited(
                self._senders, sender, now, "You deliver more often than you may here."
            )

    def deliver(self, sender: str, mailbox: str) -> None:
        """Count a delivery, for its sender and for its recipient.

        Raises:
            Limited: If one of them has had as many as it may; nothing is counted.
        """
        self.require(sender)
        now = self._clock()
        if self._mailboxes is not None:
            if self._mailboxes.exhausted(mailbox, now):
                raise self._limited(
                    self._mailboxes, mailbox, now, "This mailbox is delivered to too often."
                )
            self._mailboxes.count(mailbox, now)
        if self._senders is not None:
            self._senders.count(sender, now)
        self._report_soon()

    def sender(self, did: str) -> Standing | None:
        """Tell how a sender stands; None: senders have no limit."""
        if self._senders is None:
            return None
        return self._senders.standing(did, self._clock())

    # --- addresses -------------------------------------------------------------------

    @property
    def ask_addresses(self) -> bool:
        """Whether addresses have a limit, and have to be known."""
        return self._addresses is not None

    def knock(self, address: str) -> None:
        """Count a token that was never seen, before it is verified.

        Raises:
            Limited: If too many came from there; nothing is counted.
        """
        if self._addresses is None:
            return
        now = self._clock()
        if self._addresses.exhausted(address, now):
            raise self._limited(
                self._addresses, address, now, "Too many new tokens come from your address."
            )
        self._addresses.count(address, now)
        self._report_soon()

    def failed(self, address: str) -> None:
        """Count that there was no token, or one that does not verify."""
        if self._addresses is not None:
            self._addresses.count(address, self._clock(), FAILURE)
            self._report_soon()

    def _limited(self, rate: Rate, who: str, now: float, detail: str) -> Limited:
        standing = rate.standing(who, now)
        self._metrics.limited(standing.name)
        return Limited(f"{detail} It is {standing.most} a minute; wait a little.", standing)

    # --- all servers together --------------------------------------------------------

    def _report_soon(self) -> None:
        if not self._reporting:
            self._reporting = True
            asyncio.get_running_loop().call_later(REPORT, self._report)

    def _report(self) -> None:
        """Tell the store what was done since the last time."""
        self._reporting = False
        self._tell(self._senders, "sender:")
        self._tell(self._mailboxes, "mailbox:")
        self._tell(self._addresses, "address:")

    def _tell(self, rate: Rate | None, kind: str) -> None:
        if rate is None:
            return
        untold, rate.untold = rate.untold, {}
        did = iter(untold.items())
        while part := {kind + who: counts for who, counts in islice(did, PER_CALL)}:
            answer = self._meter.charge(part)
            answer.add_done_callback(partial(self._told, rate, len(kind)))

    def _told(self, rate: Rate, prefix: int, answer: Future[dict[str, float]]) -> None:
        """Learn what was done everywhere; without an answer what was done here counts."""
        if answer.cancelled() or isinstance(answer.exception(), PushdError):
            return
        now = self._clock()
        for who, seconds in answer.result().items():
            rate.learn(who[prefix:], seconds, now)
