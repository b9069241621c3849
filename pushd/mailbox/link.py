"""The link: one connection to the store at a time, made anew whenever it is lost.

Where to, is asked before each attempt: the primary may be another one meanwhile.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

import hiredis

from pushd.errors import ConfigurationError
from pushd.mailbox.address import Address
from pushd.mailbox.connection import Connection, Unavailable, refused

log = logging.getLogger("pushd.store")

CONNECT_SECONDS = 5.0
"""How long a connection may take until it is ready."""
BACKOFF = (0.05, 1.0)
"""Seconds between attempts to connect: the first, and the most."""
MISCONFIGURED_SECONDS = 5.0
"""Seconds until a store that will not do is looked at again."""
LEFT = 0.0
"""When an attempt ends that was given up: a time long past."""


class Link:
    """Keep one connection to the store, whatever happens to it.

    Args:
        find: Tells where the store is; may raise `Unavailable`.
        prepare: Checks a fresh connection before it is used; may raise `Unavailable` or
            `ConfigurationError`, and the link tries again.
        opened: Called when a connection is ready.
        lost: Called when it is gone.
        pushed: Called with the pushes of one network read.

    Attributes:
        connection: The connection, or None while there is none.
        address: Where it leads to, or led to last.
        trouble: Why there is none, in a sentence.
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[Address]],
        *,
        prepare: Callable[[Connection], Awaitable[None]],
        opened: Callable[[], None],
        lost: Callable[[], None],
        pushed: Callable[[list[list[bytes]]], None],
    ) -> None:
        self.connection: Connection | None = None
        self.address: Address | None = None
        self.trouble = "The store was not asked yet."
        self._find = find
        self._prepare = prepare
        self._opened = opened
        self._lost = lost
        self._pushed = pushed
        self._task: asyncio.Task[None] | None = None
        self._attempt: asyncio.Timeout | None = None
        self._hurried = asyncio.Event()

    async def start(self) -> None:
        """Try to connect once, and from then on keep trying in the background.

        Raises:
            ConfigurationError: If the store answers, and will not do.
        """
        delay = 0.0
        try:
            await self._connect()
        except ConfigurationError:
            raise
        except Exception as error:  # whatever it is, the background tries again
            self._note(error)
            delay = BACKOFF[0]
        self._task = asyncio.create_task(self._keep(delay))

    def keep(self) -> None:
        """Try from now on, in the background, whatever the store says."""
        self._task = asyncio.create_task(self._keep(0.0))

    def hurry(self) -> None:
        """Try now, if there is no connection: there is reason to hope."""
        self._hurried.set()

    def leave(self) -> None:
        """Give up the connection, or the attempt at one; the next may lead elsewhere."""
        if self.connection is not None:
            self.connection.abort()
        elif self._attempt is not None and not self._attempt.expired():
            self._attempt.reschedule(LEFT)

    async def close(self) -> None:
        """Give up the connection and stop trying."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self.connection is not None:
            self.connection.abort()
            await self.connection.lost.wait()
            self._gone()

    async def _keep(self, delay: float) -> None:
        """Wait for the loss of the connection, make another, and so on."""
        while True:
            if self.connection is not None:
                await self.connection.lost.wait()
                self._gone()
            await self._pause(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            try:
                await self._connect()
                delay = 0.0
            except ConfigurationError as error:
                self._note(error)
                delay = MISCONFIGURED_SECONDS
            except Exception as error:  # the link outlives every surprise
                self._note(error)
                delay = min(max(2 * delay, BACKOFF[0]), BACKOFF[1])

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()
        self._hurried.clear()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS) as attempt:
                self._attempt = attempt
                address, connection = await self._reach()
        finally:
            self._attempt = None
        left = attempt.when() == LEFT  # in the very moment in which it succeeded
        if left or connection.lost.is_set():
            connection.abort()
            raise Unavailable(f"The connection to the store at {address} is lost.")
        self.connection, self.trouble = connection, ""
        if self._task is not None:  # at the start there is nothing to tell
            log.info("store is back", extra={"store": str(address)})
        self._opened()

    async def _reach(self) -> tuple[Address, Connection]:
        """Ask where to, connect there, and prepare the connection."""
        address = self.address = await self._find()
        connection = await Connection.open(address, self._pushed)
        try:
            await self._prepare(connection)
        except hiredis.ReplyError as error:
            connection.abort()
            raise refused(error, address) from None
        except BaseException:  # cancelled too
            connection.abort()
            raise
        return address, connection

    def _gone(self) -> None:
        self.connection = None
        self.trouble = f"The connection to the store at {self.address} is lost."
        self._lost()

    def _note(self, error: Exception) -> None:
        if isinstance(error, ConfigurationError | Unavailable):
            sentence = str(error)
        else:
            reason = str(error) or "no answer in time"
            sentence = f"The store at {self.address} does not answer: {reason}."
        if sentence != self.trouble:
            log.warning("store is away", extra={"reason": sentence})
        self.trouble = sentence
