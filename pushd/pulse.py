"""The pulse of this process: how long a small call to the store takes from here.

It waits in the same queues as everybody's calls, and is late when the event loop is, so it
tells what a client would have to wait. Each asks for another mailbox, so that in a Cluster
every primary is asked now and then; none waits for the answer to the one before, so one
primary that hangs does not speak for the others.
"""

import asyncio
from asyncio import Future, TimerHandle
from functools import partial
from itertools import count
from typing import Any

from pushd.admission import Admission
from pushd.mailbox.base import Mailboxes

INTERVAL = 0.2
"""Seconds between two calls."""
UNANSWERED = 50
"""Calls that may be unanswered; with more there is no other."""


class Pulse:
    """Measures for the admission.

    Args:
        mailboxes: Of the store.
        admission: Is told what was measured.
    """

    def __init__(self, mailboxes: Mailboxes, admission: Admission) -> None:
        self._mailboxes = mailboxes
        self._admission = admission
        self._loop = asyncio.get_running_loop()
        self._numbers = count()
        # When each was asked that is not answered, the oldest first.
        self._asked: dict[int, float] = {}
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._timer = self._loop.call_later(INTERVAL, self._beat)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        """Ask once more; what takes long counts before it is answered."""
        now = self._loop.time()
        due = min(self._timer.when(), now) if self._timer is not None else now
        for asked_at in self._asked.values():
            self._admission.measured(now - asked_at, now)
            break
        if len(self._asked) < UNANSWERED:
            number = next(self._numbers)
            self._asked[number] = due
            answer = self._mailboxes.tails([f"did:pulse:{number}"])
            answer.add_done_callback(partial(self._answered, number))
        self._timer = self._loop.call_later(INTERVAL, self._beat)

    def _answered(self, number: int, answer: Future[Any]) -> None:
        """Take an answer; a store that is away is no delay, and for others to tell."""
        now, asked_at = self._loop.time(), self._asked.pop(number)
        away = answer.cancelled() or answer.exception() is not None
        self._admission.measured(0.0 if away else now - asked_at, now)
