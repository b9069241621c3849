"""The inbox: what a server brings, opened, fetched, verified, and given a name.

Theory of operation. The payload is decrypted and compared with what the server verified.
Then the app may decline the sender; until here nothing was fetched, so no stranger learns
when and from where their message is read. The letter is fetched from the sender's bucket,
verified and compared with the envelope. A name is shown only if this client itself finds
that it leads to the sender's key, within its own app: that somebody is Alice in another
app proves nothing here.

What can be told apart is told apart. A bucket that does not answer is asked again, less
and less often, and meanwhile nothing else of it is tried. A letter that is not there, or
does not verify, stays unread, and the app is told.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from msgspec import UNSET

from pushd.client.envelope import Envelope, open_sealed
from pushd.client.handled import Handled
from pushd.client.letter import MAX_LETTER, letter_url, open_letter
from pushd.client.listeners import NotYet, Received, result
from pushd.errors import BadRequest, ResolverUnavailable, Unproven
from pushd.identity.ecies import CannotOpen
from pushd.identity.keys import PrivateKey
from pushd.resolvers.directory import Directory
from pushd.resolvers.fetch import ANY_TYPE, Fetcher, FetchFailed

FETCH_SECONDS = 10.0
"""Seconds a bucket has to answer with a letter."""
AGAIN = 15.0
"""Seconds after which a bucket that did not answer is asked again; twice as many later."""
AGAIN_AT_MOST = 900.0
"""Seconds between two attempts at the longest."""
BUCKETS = 1000
"""Buckets that did not answer which are remembered."""

Accept = Callable[[str], object]
"""Tells of a sender's DID whether to read on; may be a coroutine function."""


class NotAccepted(Exception):
    """The app does not want to read what this sender wrote."""


class NoLetter(Exception):
    """The sender's bucket does not have the message."""


class BucketUnreachable(Exception):
    """The sender's bucket does not answer; it is asked again."""


class Incoming:
    """A message, as it was written to be read.

    Attributes:
        id: The message's ID, given by its sender.
        sender: DID of the sender: the server verified it, and so did the signature.
        name: The sender's name in this app, proven by this client; None if none was
            claimed, or none could be proven.
        bucket: Read URL of the sender's bucket; also a name under which to answer.
        app: Web origin of the app, if the sender named it.
        at: Unix seconds when it was written, as the sender says.
        content: Text.
        content_type: Its media type.
        server: Canonical URL of the server that brought it.
        received: How it came.
    """

    __slots__ = (
        *("app", "at", "bucket", "content", "content_type", "id"),
        *("name", "received", "sender", "server"),
    )

    def __init__(
        self,
        received: Received,
        *,
        id: str,
        name: str | None,
        bucket: str,
        app: str | None,
        at: float,
        content: str,
        content_type: str,
    ) -> None:
        self.received = received
        self.id = id
        self.sender = received.sender
        self.name = name
        self.bucket = bucket
        self.app = app
        self.at = at
        self.content = content
        self.content_type = content_type
        self.server = received.server

    def ack(self) -> None:
        """Tell the server to forget the message: it is safe with the app."""
        self.received.ack()


class Inbox:
    """Opens the messages of one identity.

    Args:
        key: The recipient's; of secp256k1.
        app: Web origin of the app.
        directory: Proves names.
        fetcher: The way out to buckets.
        handled: What was handled before.
        accept: Asked about a sender before anything of theirs is fetched; None accepts
            everybody.
        clock: Returns seconds of a clock that does not jump.
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        app: str,
        directory: Directory,
        fetcher: Fetcher,
        handled: Handled,
        accept: Accept | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = key
        self._app = app
        self._directory = directory
        self._fetcher = fetcher
        self._handled = handled
        self._accept = accept
        self._silent = _Silent(clock)

    async def open(self, message: Received) -> Incoming:
        """Open a message.

        Raises:
            Duplicate: If it was handled before.
            NotYet: If its bucket does not answer, or a copy is being handled.
            CannotOpen: If envelope or letter do not verify.
            NotAccepted: If the app declines the sender.
            NoLetter: If the letter is not where the envelope says.
        """
        envelope = open_sealed(
            message.payload, self._key, sender=message.sender, app=message.app
        )
        if envelope.app not in (UNSET, self._app):
            raise CannotOpen("The message is of another app.")
        self._handled.enter(message, envelope.id)
        if self._accept is not None and not await result(self._accept(message.sender)):
            raise NotAccepted("The app does not accept this sender.")
        letter = open_letter(await self._fetch(envelope), self._key, envelope)
        return Incoming(
            message,
            id=letter.id,
            name=await self._proven_name(message, envelope),
            bucket=envelope.bucket,
            app=None if letter.app is UNSET else letter.app,
            at=letter.at,
            content=letter.content,
            content_type=(
                "text/plain" if letter.content_type is UNSET else letter.content_type
            ),
        )

    async def _fetch(self, envelope: Envelope) -> bytes:
        bucket = envelope.bucket
        url = letter_url(envelope)
        if wait := self._silent.wait(bucket):
            raise NotYet(wait, BucketUnreachable(_AWAY))
        try:
            letter = await self._fetcher.get(
                url, limit=MAX_LETTER, seconds=FETCH_SECONDS, types=ANY_TYPE
            )
        except FetchFailed:
            raise NotYet(self._silent.failed(bucket), BucketUnreachable(_AWAY)) from None
        self._silent.answered(bucket)
        if letter is None:
            raise NoLetter("The message is not in the sender's bucket.")
        return letter

    async def _proven_name(self, message: Received, envelope: Envelope) -> str | None:
        """Return the name that the sender claims and has."""
        for name in {message.name: None, envelope.name or None: None}:
            if name is not None and await self._is_of(message.sender, name):
                return name
        return None

    async def _is_of(self, did: str, name: str) -> bool:
        try:
            return (await self._directory.identify(name, self._app)).did == did
        except (Unproven, ResolverUnavailable, BadRequest):
            return False


_AWAY = "The sender's bucket does not answer; it is asked again."


class _Silent:
    """Buckets that do not answer, and when to ask them again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, bucket: str) -> float:
        """Return seconds until a bucket may be asked; 0 for at once."""
        until, _ = self._until.get(bucket, (0.0, 0.0))
        return max(0.0, until - self._clock())

    def failed(self, bucket: str) -> float:
        """Note that a bucket did not answer, and return when to ask again, in seconds."""
        if wait := self.wait(bucket):
            return wait  # others failed at the same time
        _, last = self._until.pop(bucket, (0.0, AGAIN / 2))
        pause = min(AGAIN_AT_MOST, 2 * last)
        self._until[bucket] = self._clock() + pause, pause
        if len(self._until) > BUCKETS:
            self._until.popitem(last=False)
        return pause

    def answered(self, bucket: str) -> None:
        """Note that a bucket is there."""
        self._until.pop(bucket, None)
