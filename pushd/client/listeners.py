"""Listeners: who is called with a message, and whether it counts as handled then."""

import asyncio
import inspect
import logging
import traceback
from collections.abc import Callable
from typing import Literal, TypeVar

from msgspec import UNSET

from pushd.client.transports import Transport
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Message

logger = logging.getLogger("pushd.client")


class Received:
    """A message as listeners get it.

    Attributes:
        id: Its place in the mailbox.
        sender: DID of the sender, verified by the server.
        name: Name of the sender, if the server verified one.
        app: Web origin of the app the name belongs to.
        payload: Opaque text, as it was delivered.
        at: When it was accepted, in Unix seconds.
        expires: When the server forgets it anyway, in Unix seconds.
        server: Canonical URL of the server that brought it.
        content: What the receiver's `open` made of it; None without one.
        acked: Whether `ack` was called.
        held: Whether the app, or a later attempt to open it, settles it.
        left: Whether it was left unread.
        on_ack: Called once, when `ack` is; None calls nothing.
    """

    __slots__ = (
        "__weakref__",
        "_place",
        "_transport",
        "acked",
        "app",
        "at",
        "content",
        "expires",
        "held",
        "id",
        "left",
        "name",
        "on_ack",
        "payload",
        "sender",
        "server",
    )

    def __init__(
        self, place: MessageId, message: Message, transport: Transport, server: str
    ) -> None:
        self.id = message.id
        self.sender = message.from_.did
        self.name = None if message.from_.name is UNSET else message.from_.name
        self.app = None if message.app is UNSET else message.app
        self.payload = message.payload
        self.at = message.at
        self.expires = message.expires
        self.server = server
        self.content: object = None
        self.acked = self.held = self.left = False
        self.on_ack: Callable[[], object] | None = None
        self._place = place
        self._transport = transport

    def ack(self) -> None:
        """Tell the server to forget the message: it is safe with the app.

        Needed when the receiver acks manually; also gives up a message that an error
        listener decides nobody can handle. More than once is once.
        """
        if not self.acked:
            self.acked = True
            self._transport.handled(self._place)
            if self.on_ack is not None:
                self.on_ack()

    def hold(self) -> None:
        """Leave the ack to the app, or to a later attempt to open it."""
        if not self.acked:
            self.held = True
            self._transport.held(self._place)

    def leave(self) -> None:
        """Leave the message unread, to come again with the next connection."""
        if not self.acked:
            self.left = True
            self._transport.failed(self._place)


class NotHandled(Exception):
    """Raised by a listener: leave the message unread, and do not call that an error."""


class NotYet(Exception):
    """Raised by an `open`: the message cannot be opened now, and is tried again.

    Attributes:
        seconds: When.
        reason: What the error listeners are told, the first time; None tells nothing.
    """

    def __init__(self, seconds: float, reason: Exception | None = None) -> None:
        self.seconds = seconds
        self.reason = reason
        super().__init__(f"Try again in {seconds:.0f} seconds.")


class Duplicate(Exception):
    """Raised by an `open`: this was handled before, so it is acked and nobody called."""


Callback = Callable[[Received], object]
"""Takes a message; may be a coroutine function."""
Filter = Callable[[Received], bool]
"""Tells whether a listener wants a message."""
ErrorCallback = Callable[[Received, Exception], object]
"""Takes a message and why it was not handled; may be a coroutine function."""

T = TypeVar("T")


class Listener:
    """One callback, until it is cancelled.

    Args:
        listeners: Where it is listed until then.
        callback: Called with every message that it wants.
        filter: Tells which those are; None: all of them.
    """

    def __init__(
        self, listeners: "Listeners", callback: Callback, filter: Filter | None
    ) -> None:
        self.callback = callback
        self._filter = filter
        self._listeners = listeners

    def wants(self, message: Received) -> bool:
        """Tell whether the filter lets a message through."""
        return self._filter is None or self._filter(message)

    def cancel(self) -> None:
        """Call it no more."""
        self._listeners.remove(self)


class Listeners:
    """All callbacks of a receiver, and the rule by which a message is settled.

    Args:
        ack: Whether a message is acked once its listeners returned, or by the app.
        open: Makes `content` of a message before any filter sees it; None does not.

    Attributes:
        unwanted: Whether a message came that no listener handled, and none refused.
        on_error: Called with what was not handled, and why.
        on_add: Called when somebody began to listen, with whether a message had come
            that nobody wanted.
    """

    def __init__(
        self, ack: Literal["auto", "manual"], open: Callable[[Received], object] | None
    ) -> None:
        self.unwanted = False
        self.on_error: list[ErrorCallback] = []
        self.on_add: list[Callable[[bool], None]] = []
        self._ack = ack
        self._open = open
        self._all: list[Listener] = []

    def add(self, callback: Callback, filter: Filter | None) -> Listener:
        """Call back with the messages a filter lets through; None lets all."""
        listener = Listener(self, callback, filter)
        self._all.append(listener)
        unwanted, self.unwanted = self.unwanted, False
        for follow in list(self.on_add):
            follow(unwanted)
        return listener

    def remove(self, listener: Listener) -> None:
        """Call it no more; more than once is once."""
        if listener in self._all:
            self._all.remove(listener)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all)

    async def open(self, message: Received) -> bool:
        """Make the content of a message, or settle it without.

        Returns:
            Whether the listeners can be called with it.

        Raises:
            NotYet: If it is to be opened later; until then it is held.
        """
        if self._open is None:
            return True
        try:
            message.content = await result(self._open(message))
        except Duplicate:
            message.ack()
        except NotYet as later:
            again = message.held
            message.hold()
            if later.reason is not None and not again:
                await self._report(message, later.reason)
            raise
        except Exception as error:  # the app's, which is told; others are opened
            message.leave()
            await self._report(message, error)
        else:
            return True
        return False

    async def call(self, message: Received) -> None:
        """Take an opened message to everybody who wants it, then settle it."""
        errors: list[Exception] = []
        handled = await self._call(message, errors)
        if errors:
            message.leave()
            for reason in errors:
                await self._report(message, reason)
        elif not handled:
            self.unwanted = True
            message.leave()
        elif self._ack == "auto":
            message.ack()
        else:
            message.hold()

    async def _call(self, message: Received, errors: list[Exception]) -> bool:
        """Call who wants it; one that fails keeps no other from being called.

        Returns:
            Whether anybody handled it.
        """
        asked: list[Listener] = []
        handled = False
        # Whoever came to listen while all others declined is asked as well.
        while not (handled or errors or message.acked) and (
            new := [listener for listener in self._all if listener not in asked]
        ):
            asked += new
            for listener in new:
                handled = await self._ask(listener, message, errors) or handled
        return handled or message.acked

    async def _ask(
        self, listener: Listener, message: Received, errors: list[Exception]
    ) -> bool:
        try:
            if not listener.wants(message):
                return False
            await result(listener.callback(message))
        except NotHandled:
            return False
        except Exception as error:  # the app's, of this listener alone
            errors.append(error)
            return False
        return True

    async def _report(self, message: Received, reason: Exception) -> None:
        if not self.on_error:
            log_failure(f"Message {message.id} was not handled", reason)
        for callback in list(self.on_error):
            try:
                await result(callback(message, reason))
            except Exception as error:  # the app's, and nobody is left to tell
                log_failure("An error listener failed", error)


def tell(callbacks: list[Callable[[T], object]], what: T) -> None:
    """Call callbacks that cannot keep anything from going on."""
    for callback in list(callbacks):
        try:
            callback(what)
        except Exception as error:  # the app's, not ours
            log_failure("A callback failed", error)


def log_failure(sentence: str, error: Exception) -> None:
    """Log what failed and where, but not its text, which may quote what was opened."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "nowhere"
    logger.error("%s: %s at %s.", sentence, type(error).__name__, where)


async def result(value: object) -> object:
    """Return what a function returned, or what its coroutine did.

    Raises:
        RuntimeError: If the coroutine was cancelled, though nobody wants to stop.
    """
    if not inspect.isawaitable(value):
        return value
    try:
        return await value
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("The listener was cancelled.") from None
