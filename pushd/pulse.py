"""The pulse of this process: how long a small call to the store takes from here.

It waits in the same queues as everybody's calls, and is late when the event loop is, so it
tells what a client would have to wait. Each asks for another mailbox, so that in a Cluster
every primary is asked now and then.
"""

import asyncio
from asyncio import Future, TimerHandle
from itertools import count
from typing import Any

from pushd.admission import Admission
from pushd.mailbox.base import Mailboxes

INTERVAL = 0.2
"""Seconds between two calls; one that is not answered is not joined by another."""


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
        self._asked_at: float | None = None
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._timer = self._loop.call_later(INTERVAL, self._beat)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        now = self._loop.time()
        if self._asked_at is None:
            due = self._timer.when() if self._timer is not None else now
            self._asked_at = min(due, now)
            answer = self._mailboxes.tails([f"did:pulse:{next(self._numbers)}"])
            answer.add_done_callback(self._answered)
        else:
            self._admission.measured(now - self._asked_at, now)
        self._timer = self._loop.call_later(INTERVAL, self._beat)

    def _answered(self, answer: Future[Any]) -> None:
        """Take an answer; a store that is away is no delay, and for others to tell."""
        now, asked_at, self._asked_at = self._loop.time(), self._asked_at, None
        away = answer.cancelled() or answer.exception() is not None
        self._admission.measured(0.0 if away or asked_at is None else now - asked_at, now)
