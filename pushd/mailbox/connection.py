"""One RESP3 connection to the store.

A `Connection` is what is left of a Redis client when every call is a Function call: bytes
out, replies in their order to whoever waits for them, pushes to one listener. Nothing a
listener does may harm it: a connection is shared by everybody in the process, so an
exception in somebody's callback is logged and goes no further.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from pushd.errors import ConfigurationError
from pushd.futures import settle
from pushd.mailbox.address import Address

log = logging.getLogger("pushd.store")

Argument = str | bytes | int
Reply = Any
Receiver = Callable[[Reply], None]

# hiredis' stub describes a tuple of one.
pack = cast(Callable[[tuple[Argument, ...]], bytes], hiredis.pack_command)
"""Encode one command."""


class Unavailable(Exception):
    """The store cannot serve right now; the sentence says why."""


class Connection(asyncio.Protocol):
    """One connection; `command` for the rare, `send` for the hot path.

    Args:
        pushed: Called with all pushes of one network read, in order.
    """

    def __init__(self, pushed: Callable[[list[list[bytes]]], None]) -> None:
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._pushed = pushed
        self._receivers: deque[Receiver] = deque()
        self._transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()

    @classmethod
    async def open(
        cls, address: Address, pushed: Callable[[list[list[bytes]]], None]
    ) -> "Connection":
        """Connect, authenticate and choose the database.

        Raises:
            OSError: If nobody listens there.
            ConfigurationError: If the store refuses us, or is too old to speak RESP3.
        """
        loop = asyncio.get_running_loop()
        if address.path is not None:
            _, connection = await loop.create_unix_connection(
                lambda: cls(pushed), address.path
            )
        else:
            _, connection = await loop.create_connection(
                lambda: cls(pushed), address.host, address.port, ssl=address.access.tls
            )
        try:
            await connection._greet(address)
        except BaseException:  # cancelled too
            connection.abort()
            raise
        return connection

    async def _greet(self, address: Address) -> None:
        access = address.access
        login: tuple[str, ...] = ()
        if access.password is not None:
            login = ("AUTH", access.username or "default", access.password)
        try:
            await self.command("HELLO", 3, *login, "SETNAME", "pushd")
            if access.db:
                await self.command("SELECT", access.db)
        except hiredis.ReplyError as error:
            raise refused(error, address) from None

    def send(self, commands: bytes, receivers: list[Receiver]) -> None:
        """Write packed commands; each receiver is called with one reply, in order.

        What a receiver gets is the reply, an error in it (`hiredis.ReplyError`), or an
        `Unavailable` if the connection was lost.
        """
        if self._transport is None or self.lost.is_set():
            for receiver in receivers:
                _call(receiver, Unavailable("The connection to the store is lost."))
            return
        self._receivers.extend(receivers)
        self._transport.write(commands)

    def await_again(self, receiver: Receiver) -> None:
        """Let a receiver that is being called get the next reply too."""
        self._receivers.appendleft(receiver)

    async def command(self, *args: Argument) -> Reply:
        """Send one command and wait for its reply.

        Raises:
            hiredis.ReplyError: If the store says so.
            Unavailable: If the connection is lost.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.send(pack(args), [lambda reply: settle(future, reply)])
        return await future

    def abort(self) -> None:
        """Close at once; whoever waits for a reply learns that there is none."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand out what arrived; called by the event loop."""
        pushes: list[list[bytes]] = []
        receivers, gets = self._receivers, self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := gets()) is not _MORE:
                if type(reply) is hiredis.PushNotification:
                    pushes.append(reply)
                else:
                    _call(receivers.popleft(), reply)
        except (hiredis.ProtocolError, IndexError):
            log.warning("the store sent what nobody asked for; connecting anew")
            self.abort()
        if pushes:
            _call(self._pushed, pushes)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits; called by the event loop."""
        self.lost.set()
        receivers, self._receivers = self._receivers, deque()
        for receiver in receivers:
            _call(receiver, Unavailable("The connection to the store is lost."))


_MORE = object()


def _call(receiver: Callable[[Any], None], value: Any) -> None:
    """Call a listener; what it raises is its own affair, not the connection's."""
    try:
        receiver(value)
    except Exception:  # its bug is not the connection's
        log.exception("a listener of the store's connection failed")


def pairs(reply: Any) -> dict[bytes, bytes]:
    """Read a map, which an old protocol gives as a flat list."""
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


def refused(error: hiredis.ReplyError, address: Address) -> Exception:
    """Turn an error of the store while we connect into what the operator should know."""
    text = str(error)
    match text.partition(" ")[0]:
        case "LOADING" | "BUSY" | "MASTERDOWN" | "MISCONF" | "READONLY":
            return Unavailable(f"The store at {address} is not ready: {text}")
        case "WRONGPASS" | "NOAUTH":
            return ConfigurationError(
                f"The store at {address} refuses the user name or password; set them in"
                " PUSHD_REDIS_URL."
            )
        case "NOPERM":
            return ConfigurationError(
                f"The store at {address} does not permit this user what pushd needs: {text}"
            )
    if "ACL failure" in text:
        return ConfigurationError(
            f"The store at {address} does not permit this user what pushd's functions do:"
            f" {text.partition(' script:')[0]}; permit all commands on keys and channels"
            " pushd:*."
        )
    if "unknown command" in text.lower():
        return ConfigurationError(
            f"The store at {address} is too old or lacks a command ({text}); pushd needs"
            " Valkey or Redis 7.0 or newer."
        )
    return Unavailable(f"The store at {address} answers with an error: {text}")
