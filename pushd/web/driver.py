"""What drives a session, whatever its transport: between the hub, the store and the client.

The session decides, a driver carries out: it hands what the hub says to the session,
turns commands into calls to the store, and brings the store's answers back as events.
Nothing waits here: what a session awaits calls a function when it is there, so an idle
session is one object, without task, timer or queue. A transport (`stream.py`, `events.py`)
adds how commands are written and what its client may say.
"""

import asyncio
import math
import time
from asyncio import Future
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pushd.bounds import come_back_later
from pushd.errors import (
    Forbidden,
    Internal,
    Overloaded,
    PushdError,
    StoreUnavailable,
    UnknownMailbox,
)
from pushd.futures import Done
from pushd.identity.tokens import Token
from pushd.mailbox.base import Opened, Page
from pushd.owners import NO_MAILBOX
from pushd.protocol.commands import Commands, Open, ReadPage, Told
from pushd.protocol.flow import State
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Overflow, StoredMessage
from pushd.protocol.session import ServerSession
from pushd.web.parts import Parts

T = TypeVar("T")

SLOTS = (
    *("_claim", "_history", "_holds", "_joined", "_parts", "_session", "_welcomed_at"),
    *("deadline", "due", "entered"),
)
"""What a driver's class names among its slots, as only one base may have any."""


class Driver:
    """A session on its way; a `hub.Listener` once it joined.

    Attributes:
        deadline: When `tick` wants to be called, in Unix seconds; infinite at the end.
        due: The hub's.
        entered: The hub's.
    """

    if not TYPE_CHECKING:  # else mypy takes it that there are no attributes
        __slots__ = ()

    _parts: Parts
    _session: ServerSession
    # The owner's token, until the mailbox is open.
    _claim: Token | None
    _joined: bool
    _welcomed_at: float
    _history: int  # messages pushed since
    _holds: int  # bytes that wait for a client that does not keep up
    deadline: float
    due: int
    entered: bool

    def _begin(self, parts: Parts, session: ServerSession) -> None:
        """Take the session to drive."""
        self._parts = parts
        self._session = session
        self._claim = None
        self._joined = False
        self._welcomed_at = 0.0
        self._history = 0
        self._holds = 0
        self.deadline = session.deadline
        self.due = 0
        self.entered = False

    def _run(self, commands: Commands) -> None:
        """Carry out commands; the frames among them leave in one write."""
        raise NotImplementedError

    # --- what the hub sees -----------------------------------------------------------

    @property
    def mailbox(self) -> str:
        """The mailbox of the session."""
        return self._session.mailbox

    @property
    def session(self) -> str:
        """The session's name."""
        return self._session.id

    @property
    def device(self) -> str:
        """The client's name for itself."""
        return self._session.device

    @property
    def heard(self) -> float:
        """When the client was last heard, in Unix seconds."""
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """Let time act on the session."""
        raise NotImplementedError

    def clock_set(self, seconds: float, now: float) -> None:
        """Have the session's times, or the end of a close, move along with the clock."""
        self._session.clock_set(seconds, now)
        closing = self._session.deadline == math.inf
        self.deadline = self.deadline + seconds if closing else self._session.deadline

    def published(self, messages: Sequence[StoredMessage]) -> None:
        """Push what was accepted; or leave it in the mailbox while too much waits."""
        if self._parts["bounds"].unsent.spent:
            self._run(self._session.postponed(messages, time.time()))
        else:
            self._run(self._session.published(messages))

    def acknowledged(self, what: Sequence[MessageId] | MessageId, origin: str) -> None:
        """Tell what was acked elsewhere."""
        self._run(self._session.acknowledged(what, origin))

    def overflowed(self, overflow: Overflow) -> None:
        """Tell that the mailbox is full."""
        self._run(self._session.overflowed(overflow))

    def tail(self, tail: MessageId | None) -> None:
        """Compare with the store."""
        self._run(self._session.tail(tail))

    def displaced(self) -> None:
        """Give way to a newer session."""
        self._run(self._session.displaced())

    def drain(self, retry_after: float, close_at: float) -> None:
        """Tell the client that the server stops, and when to come back."""
        self._run(self._session.drain(retry_after, close_at, time.time()))

    # --- carrying out ----------------------------------------------------------------

    def _authenticated(self, token: Token) -> None:
        """Go on as the owner that the token proved."""
        if not self._joined:
            self._claim = token
        self._run(self._session.authenticated(token.did, token.expires, time.time()))

    def _do_open(self, command: Open) -> None:
        """Join the hub, subscribe, and only then open the mailbox."""
        if not self._joined:
            try:
                self._parts["hub"].join(self)
            except PushdError as error:
                self._failed(error)
                return
            self._joined = True
        subscribed = partial(self._subscribed, command.holding)
        self._parts["mailboxes"].hear(self._session.mailbox, subscribed)

    def _refuse(self, error: PushdError) -> None:
        """Refuse a hello, or a renewal."""
        if not self.mailbox:
            self._parts["metrics"].connect_refused(error.code)
        self._run(self._session.refused(error, time.time()))

    def _subscribed(self, holding: Sequence[MessageId], error: PushdError | None) -> None:
        if error is not None:
            self._failed(error)
        elif self._joined:
            create = self._parts["owners"].welcome(self._session.mailbox)
            self._open(holding, create=create)

    def _open(self, holding: Sequence[MessageId], *, create: bool) -> None:
        session = self._session
        call = partial(
            self._parts["mailboxes"].enter,
            session.mailbox,
            create=create,
            holding=holding,
            device=session.device,
            session=session.id,
        )
        self._stand_in_line(call, partial(self._opened, holding))

    def _stand_in_line(self, call: Callable[[Done[T]], None], done: Done[T]) -> None:
        try:
            self._parts["line"].run(call, done)
        except Overloaded as error:
            self._failed(error)

    def _opened(self, holding: Sequence[MessageId], opened: Opened | PushdError) -> None:
        claim, self._claim = self._claim, None
        if isinstance(opened, UnknownMailbox):
            if claim is not None:
                allowed = asyncio.ensure_future(self._parts["owners"].may_open(claim))
                allowed.add_done_callback(partial(self._allowed, holding))
                return
            # It was open and is gone: the store lost it. A new hello may make it anew.
            opened = StoreUnavailable()
        if isinstance(opened, PushdError):
            self._failed(opened)
            return
        now = time.time()
        self._welcomed_at, self._history = now, 0
        self._run(
            self._session.opened(opened.tail, opened.unread, opened.gone, opened.overflow)
        )
        self._note_caught_up()

    def _allowed(self, holding: Sequence[MessageId], answer: Future[bool]) -> None:
        """Open the mailbox that is not there, if its owner's documents allow it."""
        error = failure(answer)
        if error is None and not answer.result():
            error = Forbidden(NO_MAILBOX)
        if error is not None:
            self._failed(error)
        elif self._joined:
            self._open(holding, create=True)

    def _do_read(self, command: ReadPage) -> None:
        """Read a page, unless too much waits for others; the session asks again."""
        if self._parts["bounds"].unsent.spent:
            self._failed(come_back_later("Too much waits for slow readers."))
            return
        call = partial(
            self._parts["mailboxes"].fetch,
            self._session.mailbox,
            after=command.after,
            limit=command.limit,
        )
        self._stand_in_line(call, self._page)

    def _page(self, page: Page | PushdError) -> None:
        if isinstance(page, PushdError):
            self._failed(page)
            return
        self._run(
            self._session.page(
                page.messages, page.complete, page.tail, page.unread, page.overflow
            )
        )
        self._note_caught_up()

    def _failed(self, error: PushdError) -> None:
        """Take that opening or reading failed; who was never let in is refused."""
        session = self._session
        if not session.epoch and session.state is not State.CLOSING:
            self._parts["metrics"].connect_refused(error.code)
        self._run(self._session.failed(error, time.time()))

    def _note_caught_up(self) -> None:
        if self._welcomed_at and self._session.state in (State.LIVE, State.LAGGING):
            seconds = time.time() - self._welcomed_at
            self._parts["metrics"].caught_up(seconds, self._history)
            self._welcomed_at = 0.0

    def _do_tell(self, command: Told) -> None:
        self._parts["mailboxes"].told(self.mailbox, command.overflow)

    def _hold(self, unsent: int) -> None:
        """Note how much waits for a client that does not keep up; 0 once it does."""
        self._parts["bounds"].unsent.held += unsent - self._holds
        self._holds = unsent

    def _leave(self) -> None:
        if self._joined:
            self._joined = False
            self._parts["hub"].leave(self)


def failure(answer: Future[Any]) -> PushdError | None:
    """Return why a call failed, as an error a peer may be told; None if it did not."""
    if answer.cancelled():
        return StoreUnavailable()
    error = answer.exception()
    if error is None or isinstance(error, PushdError):
        return error
    return Internal()
