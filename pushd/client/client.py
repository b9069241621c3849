"""The client: send to a name, listen as oneself; keys and servers find themselves.

    async with Client(key, app="https://calendar.example", name="alice.id.blockstack",
                      hub="https://hub.example", servers=["https://push.example"],
                      names_api="https://names.example") as client:
        await client.publish()
        client.listen(on_message)
        await client.send("bob.id.blockstack", "Hello Bob")

It puts together what each part does alone: the `outbox` sends, a `Receiver` for each
server listens, the `inbox` opens what comes, the `Directory` finds and proves names.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Self, TypeVar, cast

from pushd.client.cursors import CursorStore, FileCursors, MemoryCursors
from pushd.client.envelope import new_id
from pushd.client.gaia import Bucket
from pushd.client.handled import Handled
from pushd.client.inbox import Accept, Inbox, Incoming
from pushd.client.listeners import (
    ErrorCallback,
    Listener,
    Listeners,
    Received,
    log_failure,
    tell,
)
from pushd.client.outbox import Draft, Outbox, Recipient, Sent
from pushd.client.policy import OwnPolicy
from pushd.client.publisher import Publisher
from pushd.client.receiver import Receiver
from pushd.client.servers import OVERLAP, Servers
from pushd.client.state import State, StateFile
from pushd.client.tasks import cancel
from pushd.errors import BadRequest
from pushd.identity.keys import Algorithm, PrivateKey
from pushd.identity.names import form_of, validate_app
from pushd.protocol.client_commands import Status
from pushd.protocol.messages import Overflow, Policy, check_device
from pushd.protocol.urls import canonical_url
from pushd.resolvers.compose import make_directory
from pushd.resolvers.directory import Directory
from pushd.resolvers.fetch import Fetcher

LOOK_EVERY = 5.0
"""Seconds between two looks at what is to be saved, and at the servers that were left."""
Callback = Callable[[Incoming], object]
"""Takes a message; may be a coroutine function."""
Filter = Callable[[Incoming], bool]
"""Tells whether a listener wants a message."""
StateCallback = Callable[[str, Status], object]
"""Takes a server's canonical URL, and how the connection to it stands."""
OverflowCallback = Callable[[str, Overflow], object]
"""Takes a server's canonical URL, and what the mailbox there refused."""

OnError = TypeVar("OnError", bound=ErrorCallback)
OnState = TypeVar("OnState", bound=StateCallback)
OnOverflow = TypeVar("OnOverflow", bound=OverflowCallback)


class NoBucket(Exception):
    """A client without a hub has nowhere to keep what it sends or publishes."""

    def __init__(self) -> None:
        super().__init__("Without a hub there is no bucket to keep this in; name one.")


class Client:
    """Sends and listens for one identity in one app.

    Args:
        key: The identity's; of secp256k1.
        app: Web origin of the app, in which names have their meaning.
        name: Name the identity claims; None claims none.
        hub: URL of the Gaia hub that takes the identity's files; None can only listen.
        servers: The identity's message servers in order of preference.
        names_api: URL of the API that knows Blockstack names; None knows none.
        bns_api: URL of the API that knows `.btc` names; None knows none.
        dev_hosts: Development hosts as `host:port`, where http is allowed.
        state_dir: Where to keep what was handled, and the servers that were left; None
            keeps it in memory.
        device: Name of this installation, see `Receiver`.
        ack: `auto` acks a message once its listeners returned; `manual` leaves that to
            `message.ack()`.
        accept: Asked for each sender, by DID, before anything of theirs is fetched: a
            stranger's bucket learns when and from where it is read. What is declined
            stays unread. None accepts everybody.
        give_up_after: Seconds a recipient's server that is away or busy is tried.
        overlap: Seconds to go on listening at a server that was left.
        directory: Finds and proves names; None makes one of the settings above.
        fetcher: The way out, shared with others; None makes one, and closes it.
        clock: Returns Unix seconds.

    Attributes:
        identity: DID of the identity, and of its mailboxes.
        app: Web origin of the app.
        name: Name the identity claims.
        bucket: Where the identity keeps its files; None without a hub.
        directory: Finds and proves names.
        fetcher: The guarded way out, also for what an app fetches of others.

    Raises:
        BadRequest: If a URL, the app, the name or the device is not as it has to be.
        ValueError: If the key is not of secp256k1.
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        app: str,
        name: str | None = None,
        hub: str | None = None,
        servers: Sequence[str] = (),
        names_api: str | None = None,
        bns_api: str | None = None,
        dev_hosts: Collection[str] = (),
        state_dir: Path | str | None = None,
        device: str | None = None,
        ack: Literal["auto", "manual"] = "auto",
        accept: Accept | None = None,
        give_up_after: float = 30.0,
        overlap: float = OVERLAP,
        directory: Directory | None = None,
        fetcher: Fetcher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if key.algorithm is not Algorithm.ES256K:
            raise ValueError("Only to secp256k1 keys (ES256K) can be encrypted.")
        if name is not None:
            form_of(name)
        if device is not None:
            check_device(device)
        self.identity = key.did
        self.app = validate_app(app)
        self.name = name
        self._key = key
        self._device = device
        self._clock = clock
        self._own_fetcher = fetcher is None
        self.fetcher = fetcher or Fetcher(dev_hosts=dev_hosts)
        self.directory = directory or make_directory(
            fetcher=self.fetcher,
            names_api=names_api,
            bns_api=bns_api,
            names_file=None,
            clock=clock,
        )
        self.bucket = (
            None if hub is None else Bucket(key, hub, fetcher=self.fetcher, clock=clock)
        )
        self._give_up_after = give_up_after
        self._outbox: Outbox | None = None
        self._publisher: Publisher | None = None
        if self.bucket is not None:
            self._outbox = self._make_outbox(self.bucket)
            self._publisher = Publisher(key, app=app, bucket=self.bucket, clock=clock)
        self._handled = Handled()
        inbox = Inbox(
            key,
            app=self.app,
            directory=self.directory,
            fetcher=self.fetcher,
            handled=self._handled,
            accept=accept,
        )
        self._listeners = Listeners(ack, inbox.open)
        self._on_state: list[StateCallback] = []
        self._on_overflow: list[OverflowCallback] = []
        self._cursors: CursorStore = (
            MemoryCursors() if state_dir is None else FileCursors(state_dir)
        )
        self._file = StateFile(state_dir, key.did)
        self._own = _canonical(servers)
        self._servers = Servers(self._make_receiver, overlap=overlap, clock=clock)
        self._keeper: asyncio.Task[None] | None = None
        self._saving = asyncio.Lock()
        self._unsaved = True  # that it listens

    def _make_outbox(self, bucket: Bucket) -> Outbox:
        return Outbox(
            self._key,
            app=self.app,
            bucket=bucket,
            directory=self.directory,
            fetcher=self.fetcher,
            name=self.name,
            servers=lambda: self.servers,
            give_up_after=self._give_up_after,
            clock=self._clock,
        )

    def _make_receiver(self, server: str) -> Receiver:
        receiver = Receiver(
            self._key,
            server=server,
            cursor_store=self._cursors,
            device=self._device,
            listeners=self._listeners,
            name=self.name,
            app=self.app,
            clock=self._clock,
        )

        @receiver.on_state
        def stands(status: Status) -> None:
            tell([partial(callback, server) for callback in self._on_state], status)

        @receiver.on_overflow
        def overflows(overflow: Overflow) -> None:
            tell([partial(callback, server) for callback in self._on_overflow], overflow)

        return receiver

    @property
    def servers(self) -> tuple[str, ...]:
        """The identity's message servers in order of preference."""
        return self._own

    # --- sending ---------------------------------------------------------------------

    async def send(
        self,
        to: str | Recipient,
        content: str,
        *,
        content_type: str | None = None,
        id: str | None = None,
        ttl: int | None = None,
    ) -> Sent:
        """Send a message, and return once the recipient's server keeps it.

        The message stays in this identity's bucket; what is delivered is the encrypted
        word of where it is. Safe to cancel; whether it was delivered is then unknown.

        Args:
            to: A name; the did:key of somebody at this identity's own servers; or a
                recipient whose key and servers the app knows.
            content: Text.
            content_type: Its media type; None is plain text.
            id: The message's ID, which no other message has; None makes a random one.
            ttl: Seconds until its delivery expires; None is the server's maximum.

        Raises:
            NotReachable: If there is no way to the recipient.
            Unproven: If the name proves to be nobody's in this app.
            PushdError: If a server refuses it or is busy for too long, the name cannot
                be looked up or is none; `KeyConflict` if the ID was delivered before.
            Unreachable: If no server of the recipient answers.
            GaiaError: If the message cannot be stored.
            NoBucket: If this client has no hub.
            ValueError: If the content is too long.
        """
        if self._outbox is None:
            raise NoBucket
        return await self._outbox.send(
            to, Draft(id or new_id(), content, content_type, ttl)
        )

    # --- listening -------------------------------------------------------------------

    def listen(self, callback: Callback, filter: Filter | None = None) -> Listener:
        """Call `callback` with every message that `filter` lets through.

        Args:
            callback: A function or a coroutine function. The message is acked after it
                returned, unless it raised.
            filter: A quick predicate of the message; None lets every message through.
        """

        def call(message: Received) -> object:
            return callback(cast(Incoming, message.content))

        def wants(message: Received) -> bool:
            return filter is None or filter(cast(Incoming, message.content))

        return self._listeners.add(call, wants)

    def on_error(self, callback: OnError) -> OnError:
        """Call back with what was not handled, as it came, and why.

        It stays unread and comes again, unless the callback acks it. Without an error
        listener the error is logged.
        """
        self._listeners.on_error.append(callback)
        return callback

    def on_state(self, callback: OnState) -> OnState:
        """Call back with a server whenever the connection to it stands otherwise."""
        self._on_state.append(callback)
        return callback

    def on_overflow(self, callback: OnOverflow) -> OnOverflow:
        """Call back with a server when the mailbox there was full."""
        self._on_overflow.append(callback)
        return callback

    async def wait(self) -> None:
        """Listen until no server wants this client back.

        Safe to cancel: it only waits, and the client goes on listening.

        Raises:
            StreamClosed: If it is so.
            OSError: If the progress cannot be read or kept.
            ValueError: If what was kept is no progress.
        """
        await self._servers.wait()

    # --- who may write ---------------------------------------------------------------

    async def policy(self) -> Policy:
        """Return who may write to this identity, as its preferred server has it.

        Safe to cancel.

        Raises:
            NoServer: If this client has no server.
            PushdError: If the server refuses, or is busy for too long.
            Unreachable: If it does not answer.
        """
        async with self._own_policy(self._own) as own:
            return await own.get()

    async def set_policy(
        self,
        default: Literal["accept", "refuse"],
        *,
        allow: Sequence[str] = (),
        block: Sequence[str] = (),
    ) -> None:
        """Say who may write to this identity; it counts at once, at all its servers.

        It takes the place of what was said before. Safe to repeat, as has to be done after
        an error, or where it was cancelled.

        Args:
            default: What holds for whom neither list names.
            allow: Who may write: DIDs and names.
            block: Who may not, whatever else is said.

        Raises:
            NoServer: If this client has no server.
            PushdError: If a server refuses, or is busy for too long; `BadRequest` if an
                entry is neither a DID nor somebody's name.
            Unreachable: If one does not answer.
        """
        async with self._own_policy(self._own) as own:
            await own.set(Policy(default, list(allow), list(block)))

    def _own_policy(self, servers: Sequence[str]) -> OwnPolicy:
        return OwnPolicy(
            self._key,
            servers=servers,
            name=self.name,
            app=self.app,
            give_up_after=self._give_up_after,
            clock=self._clock,
        )

    # --- being found -----------------------------------------------------------------

    async def publish(self) -> list[str]:
        """Say in the bucket how to write to this identity, where that is not said yet.

        Safe to cancel, and to repeat.

        Returns:
            Paths of the files that were written.

        Raises:
            BadRequest: If this client has too many servers.
            NoBucket: If this client has no hub.
            GaiaError: If the hub refuses, or cannot be reached.
        """
        return await self._publish(self._own)

    async def move_to(
        self, servers: Sequence[str], *, policy: Policy | None = None
    ) -> None:
        """Change the servers: others write to the new ones from now on.

        The contact document says so first; when that cannot be written, nothing changes.
        What is still sent to the old ones arrives: they are listened at until two hours
        have passed and nothing is there. Who may write is taken along, unless all may.
        Where it was cancelled, do it again, and `set_policy` if not all may write.

        Args:
            servers: The new ones in order of preference.
            policy: Who may write at those that are new; None asks the preferred one of the
                old servers, which has to answer then. Say it where that one is gone.

        Raises:
            BadRequest: If one of them is no URL of a server, or there are none or too many.
            NoBucket: If this client has no hub.
            GaiaError: If the hub refuses, or cannot be reached.
            PushdError: If the old server does not tell the policy, and nothing changed; or
                a new one does not take it, and all else is done: set it again then.
            Unreachable: If one of them does not answer; as above.
        """
        own = _canonical(servers)
        if not own:
            raise BadRequest("An identity moves to at least one server.")
        fresh = [server for server in own if server not in self._own]
        if policy is None and fresh and self._own:
            policy = await self.policy()
        await self._publish(own)
        self._own = own
        if self._keeper is not None:
            self._servers.move_to(own)
            await self._save_or_later()
        if fresh and policy not in (None, Policy("accept")):
            async with self._own_policy(fresh) as there:
                await there.set(policy)

    async def _publish(self, servers: Sequence[str]) -> list[str]:
        if self._publisher is None:
            raise NoBucket
        return await self._publisher.publish(servers)

    # --- its life --------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            state = await self._file.load()
        except BaseException:  # cancelled too
            await self._close()
            raise
        self._handled.recall(state.handled)
        self._servers.begin(self._own, before=state.servers, left=state.left)
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel(self._keeper)
        try:
            await self._servers.stop()
            await self._save()
        finally:
            await self._close()

    async def _close(self) -> None:
        if self._own_fetcher:
            await self.fetcher.close()

    async def _keep(self) -> None:
        """Leave servers when it is time to, and save what changed until it is saved."""
        while True:
            if self._unsaved or self._handled.changed:
                await self._save_or_later()
            await asyncio.sleep(LOOK_EVERY)
            if await self._servers.leave():
                self._unsaved = True

    async def _save_or_later(self) -> None:
        """Save, or let `_keep` do it."""
        try:
            await self._save()
        except OSError as error:
            log_failure("What was handled is not saved", error)

    async def _save(self) -> None:
        async with self._saving:  # what is written last is the newest
            self._unsaved = self._handled.changed = False
            own, left = list(self._servers.own), dict(self._servers.left)
            try:
                await self._file.save(State(own, left, self._handled.marks))
            except BaseException:  # cancelled too
                self._unsaved = True
                raise


def _canonical(servers: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(canonical_url, servers)))
