"""The outbox: a message to whoever a name leads to, stored first, then delivered.

Theory of operation. The directory tells the recipient's key and servers. The letter is
stored in the sender's bucket before anything is delivered, so that whoever opens the
envelope finds it. Then the servers are tried in the recipient's order. The next one is
tried only where the one before cannot have wanted to refuse: it does not answer, is busy
for too long, or nobody has a mailbox there. What was remembered of the recipient may be
out of date; so the name is looked up once more where no server answers, or one knows no
such mailbox, or puts the delivery into another one than it is encrypted to.

The delivery's key is the message's ID, and its payload is sealed once for each
recipient: however often it is tried, and at however many servers, a mailbox takes it once.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import UNSET

from pushd.client.envelope import Envelope, seal
from pushd.client.gaia import Bucket
from pushd.client.letter import Letter, letter_path, seal_letter
from pushd.client.line import GATEWAY, Unreachable
from pushd.client.sender import Sender
from pushd.errors import BadRequest, PushdError
from pushd.identity.contact import pushd_servers
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey
from pushd.identity.names import is_name
from pushd.protocol.messages import Accepted
from pushd.resolvers.directory import Directory
from pushd.resolvers.fetch import Fetcher

SENDERS = 100
"""Servers whose tokens are kept for the next message."""
BRIEFLY = 3.0
"""Seconds a server is tried at first where there are others."""

_UNDECIDED = frozenset({None, 404}) | GATEWAY
"""Statuses with which a server does not refuse, so that the next one is tried."""


class NotReachable(Exception):
    """There is no way to the recipient; the sentence says why."""


class Recipient(NamedTuple):
    """Somebody to write to, by what the app itself knows of them.

    Attributes:
        key: Their key, of secp256k1.
        servers: Their message servers in order of preference.
    """

    key: PublicKey
    servers: tuple[str, ...]

    @property
    def did(self) -> str:
        """The identity, and the name of its mailbox."""
        return self.key.did


class Sent(NamedTuple):
    """A message on its way.

    Attributes:
        id: The message's ID, which is also the name of its letter.
        did: Whom it is encrypted to.
        server: Canonical URL of the server that keeps it for them.
        accepted: Where it is kept there.
    """

    id: str
    did: str
    server: str
    accepted: Accepted


class Draft(NamedTuple):
    """What is to be said, before it is known to whom.

    Attributes:
        id: The message's ID.
        content: Text.
        content_type: Its media type; None is plain text.
        ttl: Seconds until its delivery expires; None is the server's maximum.
    """

    id: str
    content: str
    content_type: str | None
    ttl: int | None


class _Parcel(NamedTuple):
    """A message, sealed for one recipient."""

    id: str
    did: str
    payload: str
    ttl: int | None


class _Stale(Exception):
    """What was remembered of a recipient seems out of date.

    Attributes:
        failure: What there is to raise if it is not; None: then it is tried once more.
    """

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure


class Outbox:
    """Sends the messages of one identity.

    Args:
        key: The sender's; of secp256k1.
        app: Web origin of the app.
        bucket: The sender's, where the messages stay.
        directory: Finds recipients.
        fetcher: The way out to their servers.
        name: Name the sender claims; None claims none.
        servers: The sender's own, at which a recipient is expected who is known by
            nothing but a key.
        give_up_after: Seconds a server that is away or busy is tried.
        clock: Returns Unix seconds.
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        app: str,
        bucket: Bucket,
        directory: Directory,
        fetcher: Fetcher,
        name: str | None,
        servers: Callable[[], Sequence[str]],
        give_up_after: float,
        clock: Callable[[], float],
    ) -> None:
        self._key = key
        self._app = app
        self._bucket = bucket
        self._directory = directory
        self._fetcher = fetcher
        self._name = name
        self._servers = servers
        self._give_up_after = give_up_after
        self._clock = clock
        self._senders: OrderedDict[str, Sender] = OrderedDict()

    async def send(self, to: str | Recipient, draft: Draft) -> Sent:
        """Store a message, and deliver what leads to it.

        Args:
            to: A name, the did:key of somebody at the sender's own servers, or a
                recipient.
            draft: What to say.

        Raises:
            NotReachable: If there is no way to the recipient.
            Unproven: If the name proves to be nobody's.
            PushdError: If a server refuses, the name cannot be looked up, or is none.
            Unreachable: If no server answers.
            GaiaError: If the message cannot be stored.
        """
        if isinstance(to, str) and is_name(to):
            return await self._send_by_name(to, draft)
        recipient = self._known_by_key(to) if isinstance(to, str) else to
        parcel = await self._pack(recipient, draft)
        return await self._deliver(parcel, recipient, recipient.did)

    async def _send_by_name(self, name: str, draft: Draft) -> Sent:
        recipient = await self._reach(name)
        parcel = await self._pack(recipient, draft)
        try:
            return await self._deliver(parcel, recipient, name, remembered=True)
        except _Stale as stale:
            failure = stale.failure
        self._directory.forget(name, self._app)
        again = await self._reach(name)
        if failure is not None and again == recipient:
            raise failure
        if again.did != parcel.did:
            # Another key: another letter, and another payload needs a key of its own.
            parcel = await self._pack(again, draft._replace(id=f"{draft.id}-2"))
        return await self._deliver(parcel, again, name)

    # --- to whom ---------------------------------------------------------------------

    async def _reach(self, name: str) -> Recipient:
        destination = await self._directory.reach(name, self._app)
        if destination.key is None:
            raise NotReachable(f"{name} has not published a key to encrypt to.")
        return Recipient(destination.key, destination.servers)

    def _known_by_key(self, did: str) -> Recipient:
        try:
            return Recipient(PublicKey.from_did(did), tuple(self._servers()))
        except BadRequest:
            raise NotReachable(
                f"{did} alone does not tell a key, nor where to send; a name does."
            ) from None

    def _usable(self, recipient: Recipient) -> list[str]:
        servers = pushd_servers(recipient.servers, plain=self._fetcher.plain)
        if not servers:
            # Quoted, for a stranger wrote them and somebody may print them.
            listed = ", ".join(map(ascii, recipient.servers)) or "none"
            raise NotReachable(
                f"{recipient.did} lists no message server to be used from here: {listed}."
            )
        return servers

    # --- what is said ----------------------------------------------------------------

    async def _pack(self, recipient: Recipient, draft: Draft) -> _Parcel:
        """Seal a message for a recipient, and store it."""
        self._usable(recipient)
        if recipient.key.algorithm is not Algorithm.ES256K:
            raise NotReachable(f"{recipient.did} has no key that can be encrypted to.")
        letter = Letter(
            id=draft.id,
            from_=self._key.did,
            to=recipient.did,
            at=round(self._clock(), 3),
            content=draft.content,
            content_type=draft.content_type or UNSET,
            app=self._app,
        )
        sealed = seal_letter(letter, recipient.key, self._key)
        envelope = Envelope(
            id=draft.id,
            from_=self._key.did,
            to=recipient.did,
            bucket=await self._bucket.url(),
            app=self._app,
            name=self._name or UNSET,
        )
        payload = seal(envelope, recipient.key)
        await self._bucket.store(
            letter_path(draft.id), sealed, content_type="application/json"
        )
        return _Parcel(draft.id, recipient.did, payload, draft.ttl)

    # --- the way ---------------------------------------------------------------------

    async def _deliver(
        self, parcel: _Parcel, recipient: Recipient, to: str, *, remembered: bool = False
    ) -> Sent:
        """Deliver to the first server that keeps it.

        Args:
            parcel: What to deliver.
            recipient: Whom to.
            to: The recipient as the server is told.
            remembered: Whether the recipient may have moved meanwhile.

        Raises:
            _Stale: If it seems that the recipient did.
            NotReachable: If a server puts it into another's mailbox.
            PushdError: If a server refuses it.
            Unreachable: If none answers.
        """
        failures: list[PushdError | Unreachable] = []
        for server, seconds in self._rounds(self._usable(recipient)):
            try:
                accepted = await self._sender(server).send(
                    to,
                    parcel.payload,
                    key=parcel.id,
                    ttl=parcel.ttl,
                    give_up_after=seconds,
                )
            except (PushdError, Unreachable) as error:
                if remembered and error.status == 404:
                    raise _Stale from error
                if error.status not in _UNDECIDED:
                    raise
                failures.append(error)
                continue
            if accepted.mailbox == parcel.did:
                return Sent(parcel.id, parcel.did, server, accepted)
            if remembered:
                raise _Stale
            raise NotReachable(f"{server} takes {to} for another than is found here.")
        raise _Stale(failures[-1]) if remembered else failures[-1]

    def _rounds(self, servers: Sequence[str]) -> list[tuple[str, float]]:
        """Return which servers to try, and how many seconds each.

        Where there are several, one that is away does not keep the next one waiting: it
        gets the rest of its time when all were tried.
        """
        rounds = [self._give_up_after]
        if len(servers) > 1 and self._give_up_after > BRIEFLY:
            rounds.insert(0, BRIEFLY)
        return [(server, seconds) for seconds in rounds for server in servers]

    def _sender(self, server: str) -> Sender:
        sender = self._senders.pop(server, None) or Sender(
            self._key,
            server=server,
            name=self._name,
            app=self._app,
            give_up_after=self._give_up_after,
            http=self._fetcher.http,
            clock=self._clock,
        )
        self._senders[server] = sender
        if len(self._senders) > SENDERS:
            self._senders.popitem(last=False)
        return sender
