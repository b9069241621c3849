"""A pushd server's stream: drives a `ClientSession` over a websocket.

The session decides, this file carries out. One task, the pump, executes the session's
commands whenever something happened; another, for each connection, reads frames. So what
happens in one turn of the event loop is answered together.
"""

import asyncio
import random
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from pushd.client.credentials import Credentials
from pushd.client.cursors import CursorStore
from pushd.client.tasks import cancel
from pushd.client.transports import Recipient
from pushd.protocol.client import ClientSession
from pushd.protocol.client_commands import (
    Close,
    Command,
    Connect,
    Dispatch,
    MakeToken,
    Save,
    Send,
    Stop,
    Tell,
)
from pushd.protocol.closing import CloseCode
from pushd.protocol.ids import MessageId
from pushd.protocol.ledger import Progress
from pushd.protocol.messages import MAX_SERVER_FRAME, SUBPROTOCOL, encode

ABNORMAL = 1006
"""RFC 6455 section 7.4.1: there was no close frame."""
TICK = 1.0
"""Seconds between two looks at the clock."""
CLOSE_TIMEOUT = 5.0
"""Seconds a server has to answer a close frame."""
STUCK_TIMEOUT = 20.0
"""Seconds a write may take before the connection is given up."""

_REFUSALS: Mapping[int, int] = {
    401: CloseCode.UNAUTHORIZED,
    403: CloseCode.FORBIDDEN,
    429: CloseCode.TOO_MANY_SESSIONS,
    503: CloseCode.OVERLOADED,
}
"""What a refused upgrade says in close codes; any other is a connection that failed."""


class PushdStream:
    """Brings the messages of one mailbox from one server.

    Args:
        identity: DID of the mailbox.
        server: Canonical URL.
        credentials: Makes tokens to receive.
        cursors: Keeps the progress.
        window: How many messages may be under way.
        device: Name under which a newer session replaces this one; None for none.
    """

    def __init__(
        self,
        *,
        identity: str,
        server: str,
        credentials: Credentials,
        cursors: CursorStore,
        window: int,
        device: str | None = None,
    ) -> None:
        self._identity = identity
        self._server = server
        self._credentials = credentials
        self._cursors = cursors
        self._window = window
        self._device = device
        self._wake = asyncio.Event()
        self._session = self._make_session(None)
        self._socket: _Socket | None = None
        self._connection: asyncio.Task[None] | None = None
        # Whether the next token shown is a new one, however many attempts that takes.
        self._wants_new_token = False
        self._to_save: Progress | None = None
        self._save_due = asyncio.Event()
        self._end: Stop | None = None
        self._broken: BaseException | None = None
        self._over = False

    def _make_session(self, progress: Progress | None) -> ClientSession:
        return ClientSession(
            random.random,
            progress=progress,
            window=self._window,
            device=self._device,
        )

    @property
    def empty(self) -> bool:
        """Whether the mailbox is known to hold nothing: all came, and all is acked."""
        return self._session.empty

    async def run(self, recipient: Recipient) -> None:
        """Bring messages until `stop`, or until coming back would be wrong.

        Raises:
            StreamClosed: If the server does not want this client back.
            OSError: If the progress cannot be read or kept.
        """
        progress = await self._cursors.load(self._identity, self._server)
        self._session = self._make_session(progress)
        saver = self._start(self._keep_saved())
        ticker = self._start(self._keep_time())
        try:
            self._session.start()
            while self._end is None:
                for command in self._session.commands():
                    await self._execute(command, recipient)
                await self._wake.wait()
                self._wake.clear()
                if self._broken is not None:
                    raise self._broken
        finally:
            await cancel(ticker, self._connection)
            self._over = True
            self._save_due.set()
            await asyncio.gather(saver, return_exceptions=True)
        if self._broken is not None:
            raise self._broken
        if self._end.error is not None:
            raise self._end.error

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin something beside the pump, which ends when that fails."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._broken = task.exception()
            self._wake.set()

    def handled(self, id: MessageId) -> None:
        """Ack a message: it is safe with the app."""
        self._session.handled(id)
        self._wake.set()

    def held(self, id: MessageId) -> None:
        """Wait for the app to ack: the listeners are done."""
        self._session.held(id)
        self._wake.set()

    def failed(self, id: MessageId) -> None:
        """Leave a message unread; it comes again with the next connection."""
        self._session.failed(id)
        self._wake.set()

    def reopen(self) -> None:
        """Be sent again what is unread."""
        self._session.reopen()
        self._wake.set()

    def stop(self) -> None:
        """End, after what is owed was said."""
        self._session.stop()
        self._wake.set()

    # --- commands --------------------------------------------------------------------

    async def _execute(self, command: Command, recipient: Recipient) -> None:
        match command:
            case Dispatch(id, message):
                recipient.arrived(id, message)
            case Send(frame):
                await self._send(encode(frame))
            case Save(progress):
                self._to_save = progress
                self._save_due.set()
            case Tell(what):
                recipient.told(what)
            case Connect():
                self._connection = self._start(self._converse(command))
            case MakeToken():
                self._session.renewed(self._credentials.token(new=True))
                self._wake.set()
            case Close(code, reason):
                self._close(code, reason)
            case Stop():
                self._end = command
                self._wake.set()

    async def _send(self, frame: bytes) -> None:
        if self._socket is None:
            return
        try:
            async with asyncio.timeout(STUCK_TIMEOUT):
                await self._socket.send(frame, text=True)
        except ConnectionClosed:
            pass  # the reading task learns of it too, and tells the session
        except TimeoutError:
            self._socket.transport.abort()

    def _close(self, code: CloseCode, reason: str) -> None:
        if self._socket is not None:
            self._socket.closing = asyncio.create_task(self._socket.close(code, reason))

    # --- one connection --------------------------------------------------------------

    async def _converse(self, how: Connect) -> None:
        """Connect, read to the end, and tell the session about the end."""
        self._wants_new_token = self._wants_new_token or how.new_token
        await asyncio.sleep(how.delay)
        try:
            socket = await _connect(self._server)
        except InvalidStatus as error:
            status = error.response.status_code
            retry_after = _seconds(error.response.headers.get("Retry-After"))
            reason = f"The server answered with {status}."
            self._closed(_REFUSALS.get(status, ABNORMAL), reason, retry_after)
            return
        except (OSError, WebSocketException, EOFError) as error:
            # The kind only: the text would add addresses, not meaning.
            self._closed(ABNORMAL, f"No connection ({type(error).__name__}).")
            return
        self._socket = socket
        try:
            await self._read(socket, self._token())
        finally:
            self._socket = None
            if socket.closing is None:
                socket.transport.abort()
        self._closed(socket.close_code or ABNORMAL, socket.close_reason or "")

    def _token(self) -> str:
        token = self._credentials.token(new=self._wants_new_token)
        self._wants_new_token = False
        return token

    async def _read(self, socket: "_Socket", token: str) -> None:
        self._session.connected(token, socket.heard)
        self._wake.set()
        with suppress(ConnectionClosed):
            while True:
                text = await socket.recv(decode=False)
                self._session.frame(text, socket.heard)
                self._wake.set()

    def _closed(self, code: int, reason: str, retry_after: float = 0.0) -> None:
        if self._session.server_time is not None:
            self._credentials.correct(self._session.server_time)
        another = code == CloseCode.FORBIDDEN and self._credentials.claim_name()
        self._session.closed(code, reason, retry_after, another_token=another)
        self._wake.set()

    # --- what goes on beside ---------------------------------------------------------

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if self._socket is not None:
                self._session.heard(self._socket.heard)
            self._session.tick(asyncio.get_running_loop().time())
            self._wake.set()

    async def _keep_saved(self) -> None:
        """Save the latest progress, and while that is under way nothing else."""
        while not self._over or self._to_save is not None:
            await self._save_due.wait()
            self._save_due.clear()
            progress, self._to_save = self._to_save, None
            if progress is not None:
                await self._cursors.save(self._identity, self._server, progress)


class _Socket(ClientConnection):
    """A websocket that knows when it last heard from the server, pings included."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.heard = self.loop.time()
        self.closing: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Take bytes, and note the time."""
        self.heard = self.loop.time()
        super().data_received(data)


class _Opening(connect):
    """Connects without following redirects: tokens are for one server alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Keep the answer as what it is."""
        return exc


async def _connect(server: str) -> _Socket:
    """Open a websocket.

    Raises:
        InvalidStatus: If the server refuses the upgrade.
        OSError: If it does not answer, a time-out included.
        WebSocketException: If it answers something else.
    """
    socket = await _Opening(
        f"{server.replace('http', 'ws', 1)}/v1/stream",
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        max_size=2 * MAX_SERVER_FRAME,
        close_timeout=CLOSE_TIMEOUT,
        ping_interval=None,  # the server pings; the session watches that it does
        create_connection=_Socket,
    )
    assert isinstance(socket, _Socket)  # noqa: S101 # for the type checker
    return socket


def _seconds(header: str | None) -> float:
    return float(header) if header is not None and header.isdecimal() else 0.0
