"""Messages on their way to the listeners: some are opened ahead, all are called in order.

What cannot be opened yet is put off, and comes again at the end of the line.
"""

import asyncio

from pushd.client.listeners import Listeners, NotYet, Received
from pushd.client.tasks import cancel

OPENED_AHEAD = 8
"""Messages that are opened at once, ahead of those the listeners have."""
PUT_OFF = 1000
"""Messages that wait to be opened again; more are left for the next connection."""

_Arrival = asyncio.Task[Received | None]
"""A message that is being opened; None when the listeners do not get it."""


class Arrivals:
    """The line of messages before the listeners.

    Args:
        listeners: Open the messages, and are called with them.
        concurrency: How many messages may be with the listeners at once; with 1 they
            come one after the other, in order.
    """

    def __init__(self, listeners: Listeners, concurrency: int) -> None:
        self._listeners = listeners
        self._concurrency = concurrency
        self._line: asyncio.Queue[_Arrival | None] = asyncio.Queue()
        self._opening: set[_Arrival] = set()
        self._openers = asyncio.Semaphore(concurrency + OPENED_AHEAD)
        self._put_off: dict[Received, asyncio.TimerHandle] = {}
        self._workers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Call the listeners with what is taken, until the line is dropped."""
        self._workers = [
            asyncio.create_task(self._work()) for _ in range(self._concurrency)
        ]
        try:
            await asyncio.gather(*self._workers)
        finally:
            await cancel(*self._workers, *self._opening)
            for again in self._put_off.values():
                again.cancel()

    def take(self, message: Received) -> None:
        """Begin to open a message; the listeners get it when its turn comes."""
        opening = asyncio.create_task(self._open(message))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        self._line.put_nowait(opening)

    async def drop(self, patience: float) -> None:
        """Drop what waits, and let the listeners finish what they have.

        Args:
            patience: Seconds they have for it.
        """
        while not self._line.empty():
            self._line.get_nowait()
        for _ in self._workers:
            self._line.put_nowait(None)
        if self._workers:
            await asyncio.wait(self._workers, timeout=patience)

    async def _work(self) -> None:
        while (opened := await self._line.get()) is not None:
            if (message := await opened) is not None:
                await self._listeners.call(message)
            self._openers.release()

    async def _open(self, message: Received) -> Received | None:
        # Released by the worker: what was opened takes memory until it was listened to.
        await self._openers.acquire()
        try:
            return message if await self._listeners.open(message) else None
        except NotYet as later:
            self._open_later(message, later.seconds)
            return None

    def _open_later(self, message: Received, seconds: float) -> None:
        if len(self._put_off) >= PUT_OFF:
            message.leave()
            return
        loop = asyncio.get_running_loop()
        self._put_off[message] = loop.call_later(seconds, self._open_again, message)

    def _open_again(self, message: Received) -> None:
        del self._put_off[message]
        if not message.acked:
            self.take(message)
