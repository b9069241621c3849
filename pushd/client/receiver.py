"""Listen: one socket to one server, many listeners, and an ack once they are done.

A message is acked after every listener whose filter matched has returned. It stays unread,
and comes again with the next connection, when a listener raised, when it could not be
opened, or when no listener wanted it; the first two are told to the error listeners. A
listener that is added later is sent what nobody wanted before.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self, TypeVar

from pushd.client.arrivals import Arrivals
from pushd.client.credentials import Credentials
from pushd.client.cursors import CursorStore, MemoryCursors
from pushd.client.listeners import (
    Callback,
    ErrorCallback,
    Filter,
    Listener,
    Listeners,
    NotHandled,
    Received,
    tell,
)
from pushd.client.tasks import cancel
from pushd.client.transports import Transport
from pushd.client.transports.pushd import PushdStream
from pushd.identity.keys import PrivateKey
from pushd.protocol.client_commands import Status
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import DEFAULT_WINDOW, Message, Overflow, Read
from pushd.protocol.urls import canonical_url

GRACE = 5.0
"""Seconds listeners have to finish when the receiver stops, and then the server."""
OnError = TypeVar("OnError", bound=ErrorCallback)
OnState = TypeVar("OnState", bound=Callable[[Status], object])
OnRead = TypeVar("OnRead", bound=Callable[[Read], object])
OnOverflow = TypeVar("OnOverflow", bound=Callable[[Overflow], object])


class Receiver:
    """Listens for one identity at one server.

        receiver = Receiver(key, server="https://push.example")
        receiver.listen(print)
        await receiver.run()

    It connects once there is a listener, and comes back by itself, with more and more
    patience, as the server advises.

    Args:
        key: The mailbox owner's.
        server: The owner's server, from the app's own settings.
        cursor_store: Keeps what was handled across restarts; None keeps it in memory,
            so that a new process begins at the first unread message.
        device: Name of this installation; a newer session with it replaces this one.
            None lets several run beside each other.
        window: How many messages may be under way, 1 to 1000.
        concurrency: How many messages may be with the listeners at once; with 1 they
            come one after the other, in order.
        ack: `auto` acks a message once its listeners returned; `manual` leaves that to
            `message.ack()`.
        open: Called with each message before any filter; what it returns becomes
            `message.content`. May be a coroutine function, of which several run at once,
            and raises for what cannot be opened: `NotYet` to be called again.
        listeners: Who is called, shared with other receivers; None makes them, of `ack`
            and `open`.
        name: Name the owner claims, by which a server may find the owner's contact
            document; None claims none.
        app: Web origin the name belongs to; needed with a name.
        token_lifetime: Seconds a token is valid; renewed while the session lasts.
        clock: Returns Unix seconds; one that is wrong is corrected by the server's.

    Attributes:
        identity: DID of the mailbox.
        server: Canonical URL of the server.
        status: How the connection stands; None before it was tried.

    Raises:
        BadRequest: If `server` is no URL of a server, or no server would take `window` or
            `device`.
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        server: str,
        cursor_store: CursorStore | None = None,
        device: str | None = None,
        window: int = DEFAULT_WINDOW,
        concurrency: int = 1,
        ack: Literal["auto", "manual"] = "auto",
        open: Callable[[Received], object] | None = None,
        listeners: Listeners | None = None,
        name: str | None = None,
        app: str | None = None,
        token_lifetime: float = 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.identity = key.did
        self.server = canonical_url(server)
        self.status: Status | None = None
        self._transport: Transport = PushdStream(
            identity=self.identity,
            server=self.server,
            credentials=Credentials(
                key,
                audience=self.server,
                scope="receive",
                lifetime=token_lifetime,
                name=name,
                app=app,
                clock=clock,
            ),
            cursors=MemoryCursors() if cursor_store is None else cursor_store,
            window=window,
            device=device,
        )
        self._listeners = Listeners(ack, open) if listeners is None else listeners
        self._listeners.on_add.append(self._listened)
        self._on_state: list[Callable[[Status], object]] = []
        self._on_read: list[Callable[[Read], object]] = []
        self._on_overflow: list[Callable[[Overflow], object]] = []
        self._concurrency = concurrency
        self._arrivals = Arrivals(self._listeners, concurrency)
        self._begin = asyncio.Event()
        if len(self._listeners):
            self._begin.set()
        self._stopping = False
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._iterators: list[asyncio.Queue[Received | None]] = []

    @property
    def empty(self) -> bool:
        """Whether the mailbox is known to hold nothing: all came, and all is acked."""
        return self._transport.empty

    # --- who listens -----------------------------------------------------------------

    def listen(self, callback: Callback, filter: Filter | None = None) -> Listener:
        """Call `callback` with every message that `filter` lets through.

        Args:
            callback: A function or a coroutine function. The message is acked after it
                returned, unless it raised.
            filter: A quick predicate of the message; None lets every message through.
        """
        return self._listeners.add(callback, filter)

    def _listened(self, unwanted: bool) -> None:
        self._begin.set()
        if unwanted:
            self._transport.reopen()

    def on_error(self, callback: OnError) -> OnError:
        """Call back with each message that was not handled, and why.

        The message stays unread and comes again, unless the callback acks it. Without
        an error listener the error is logged.
        """
        self._listeners.on_error.append(callback)
        return callback

    def on_state(self, callback: OnState) -> OnState:
        """Call back whenever the connection stands otherwise, and while it catches up."""
        self._on_state.append(callback)
        return callback

    def on_read(self, callback: OnRead) -> OnRead:
        """Call back with what other sessions of this mailbox acked."""
        self._on_read.append(callback)
        return callback

    def on_overflow(self, callback: OnOverflow) -> OnOverflow:
        """Call back when the mailbox was full and refused deliveries."""
        self._on_overflow.append(callback)
        return callback

    async def messages(self, filter: Filter | None = None) -> AsyncIterator[Received]:
        """Iterate over the messages; each is acked when the next one is asked for.

        The message at which the loop is left stays unread, unless it was acked.

        Args:
            filter: A quick predicate of the message; None lets every message through.

        Raises:
            StreamClosed: If the server does not want this client back.
        """
        arrived: asyncio.Queue[Received | None] = asyncio.Queue()
        done = asyncio.Semaphore(0)
        left = False

        async def hand_over(message: Received) -> None:
            arrived.put_nowait(message)
            await done.acquire()
            if left:
                raise NotHandled

        listener = self.listen(hand_over, filter)
        self._iterators.append(arrived)
        if self._ended.is_set():
            arrived.put_nowait(None)
        try:
            while (message := await arrived.get()) is not None:
                yield message
                done.release()
        finally:
            left = True
            listener.cancel()
            self._iterators.remove(arrived)
            for _ in range(self._concurrency):
                done.release()
        if isinstance(self._failure, Exception):
            raise self._failure

    # --- its life --------------------------------------------------------------------

    async def run(self) -> None:
        """Listen, once, until `stop` is called or coming back would be wrong.

        Cancelling it closes the connection; what is with the listeners stays unread.

        Raises:
            StreamClosed: If the server does not want this client back: it is refused,
                or another session of this device took over.
            OSError: If the progress cannot be read or kept.
            ValueError: If what was kept is no progress.
        """
        try:
            await self._begin.wait()
            if not self._stopping:
                await self._run()
        except BaseException as error:  # who waits for the end has to learn why
            self._failure = error
            raise
        finally:
            self._ended.set()
            self._listeners.on_add.remove(self._listened)
            for arrived in self._iterators:
                arrived.put_nowait(None)

    async def _run(self) -> None:
        """Run until the stream ends or anything fails."""
        stream = asyncio.create_task(self._transport.run(self))
        arrivals = asyncio.create_task(self._arrivals.run())
        try:
            await asyncio.wait({stream, arrivals}, return_when=asyncio.FIRST_COMPLETED)
            if arrivals.done():
                await arrivals
            await stream
        finally:
            await cancel(stream, arrivals)

    async def stop(self) -> None:
        """Let the listeners finish, say the last acks, and close."""
        self._stopping = True
        self._begin.set()
        await self._arrivals.drop(GRACE)
        self._transport.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * GRACE):
                await self._ended.wait()

    async def wait(self) -> None:
        """Wait until it ends. Safe to cancel.

        Raises:
            StreamClosed, OSError, ValueError: As `run` does.
        """
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and not self._ended.is_set():
            await self.stop()
        await cancel(self._task)
        if error is None and isinstance(self._failure, Exception):
            raise self._failure

    # --- what the transport brings ---------------------------------------------------

    def arrived(self, id: MessageId, message: Message) -> None:
        """Take a message of the transport."""
        self._arrivals.take(Received(id, message, self._transport, self.server))

    def told(self, what: Status | Read | Overflow) -> None:
        """Take what the transport says beside messages."""
        match what:
            case Status():
                self.status = what
                tell(self._on_state, what)
            case Read():
                tell(self._on_read, what)
            case Overflow():
                tell(self._on_overflow, what)
