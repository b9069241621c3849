"""The link: one connection to the store at a time, made anew whenever it is lost."""

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


class Link:
    """Keep one connection to the store, whatever happens to it.

    Args:
        address: Where the store is.
        prepare: Checks a fresh connection before it is used; may raise `Unavailable` or
            `ConfigurationError`, and the link tries again.
        opened: Called when a connection is ready.
        lost: Called when it is gone.
        pushed: Called with the pushes of one network read.

    Attributes:
        connection: The connection, or None while there is none.
        trouble: Why there is none, in a sentence.
    """

    def __init__(
        self,
        address: Address,
        *,
        prepare: Callable[[Connection], Awaitable[None]],
        opened: Callable[[], None],
        lost: Callable[[], None],
        pushed: Callable[[list[list[bytes]]], None],
    ) -> None:
        self.connection: Connection | None = None
        self.trouble = f"The store at {address} was not asked yet."
        self._address = address
        self._prepare = prepare
        self._opened = opened
        self._lost = lost
        self._pushed = pushed
        self._task: asyncio.Task[None] | None = None

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
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            try:
                await self._connect()
                delay = 0.0
            except ConfigurationError as error:
                self._note(error)
                delay = MISCONFIGURED_SECONDS
            except Exception as error:  # the link outlives every surprise
                self._note(error)
                delay = min(max(2 * delay, BACKOFF[0]), BACKOFF[1])

    async def _connect(self) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await Connection.open(self._address, self._pushed)
            try:
                await self._prepare(connection)
            except hiredis.ReplyError as error:
                connection.abort()
                raise refused(error, self._address) from None
            except BaseException:
                connection.abort()
                raise
        if connection.lost.is_set():
            raise Unavailable(f"The store at {self._address} closed the connection.")
        self.connection, self.trouble = connection, ""
        if self._task is not None:  # at the start there is nothing to tell
            log.info("store is back", extra={"store": str(self._address)})
        self._opened()

    def _gone(self) -> None:
        self.connection = None
        self.trouble = f"The connection to the store at {self._address} is lost."
        self._lost()

    def _note(self, error: Exception) -> None:
        if isinstance(error, ConfigurationError | Unavailable):
            sentence = str(error)
        else:
            reason = str(error) or "no answer in time"
            sentence = f"The store at {self._address} does not answer: {reason}."
        if sentence != self.trouble:
            log.warning("store is away", extra={"reason": sentence})
        self.trouble = sentence
