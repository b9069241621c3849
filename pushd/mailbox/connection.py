"""One RESP3 connection to the store, and the link that keeps one alive.

A `Connection` is what is left of a Redis client when every call is a Function call: bytes
out, replies in their order to whoever waits for them, pushes to one listener. Nothing a
listener does may harm it: a connection is shared by everybody in the process, so an
exception in somebody's callback is logged and goes no further.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import hiredis
from redis.asyncio.connection import parse_url

from pushd.errors import ConfigurationError

log = logging.getLogger("pushd.store")

CONNECT_SECONDS = 5.0
"""How long a connection may take until it is ready."""
STUCK_SECONDS = 5.0
"""How long a reply may take; then the connection is given up."""
BACKOFF = (0.05, 1.0)
"""Seconds between attempts to connect: the first, and the most."""
MISCONFIGURED_SECONDS = 5.0
"""Seconds until a store that will not do is looked at again."""

Argument = str | bytes | int
Reply = Any
Receiver = Callable[[Reply], None]

# hiredis' stub describes a tuple of one.
pack = cast(Callable[[tuple[Argument, ...]], bytes], hiredis.pack_command)
"""Encode one command."""


class Unavailable(Exception):
    """The store cannot serve right now; the sentence says why."""


@dataclass(frozen=True)
class Address:
    """Where the store is, and who we are there. Shown without the password."""

    url: str
    path: str | None
    host: str
    port: int
    db: int
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read a `redis://`, `rediss://` or `unix://` URL.

        Raises:
            ConfigurationError: If it is none of them.
        """
        try:
            parts = cast(dict[str, Any], parse_url(url))
            db = int(parts.get("db") or 0)
        except (ValueError, TypeError):
            raise ConfigurationError(
                "The store's URL is redis://host:port/db, rediss://... for TLS, or"
                " unix:///path/to/socket; set PUSHD_REDIS_URL."
            ) from None
        return cls(
            url=url,
            path=parts.get("path"),
            host=parts.get("host") or "127.0.0.1",
            port=parts.get("port") or 6379,
            db=db,
            username=parts.get("username"),
            password=parts.get("password"),
            tls=_tls(parts) if url.startswith("rediss:") else None,
        )

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def _tls(parts: dict[str, Any]) -> ssl.SSLContext:
    """Verify the store's certificate, unless the URL says `ssl_cert_reqs=none`."""
    context = ssl.create_default_context(cafile=parts.get("ssl_ca_certs"))
    if parts.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


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
                lambda: cls(pushed), address.host, address.port, ssl=address.tls
            )
        try:
            await connection._greet(address)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _greet(self, address: Address) -> None:
        login: tuple[str, ...] = ()
        if address.password is not None:
            login = ("AUTH", address.username or "default", address.password)
        try:
            await self.command("HELLO", 3, *login, "SETNAME", "pushd")
            if address.db:
                await self.command("SELECT", address.db)
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

    async def command(self, *args: Argument) -> Reply:
        """Send one command and wait for its reply.

        Raises:
            hiredis.ReplyError: If the store says so.
            Unavailable: If the connection is lost.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.send(pack(args), [lambda reply: _settle(future, reply)])
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
    except Exception:
        log.exception("a listener of the store's connection failed")


def _settle(future: asyncio.Future[Reply], reply: Reply) -> None:
    if future.done():
        return
    if isinstance(reply, Exception):
        future.set_exception(reply)
    else:
        future.set_result(reply)


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
        log.info("connected to the store at %s", self._address)
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
            log.warning("%s", sentence)
        self.trouble = sentence
