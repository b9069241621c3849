"""Private event invitations: the event stays with its owner, and its guests alone read it.

The event lies in the owner's bucket, encrypted to a key of its own. Each guest is sent that
key in a message that only the guest can open, so the owner can change the event without
writing to anybody. A guest answers with a message of the same kind.
"""

import asyncio
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from pushd.client import CannotOpen, Client, Incoming, PrivateKey, new_id
from pushd.identity import ecies
from pushd.identity.keys import PublicKey, address
from pushd.identity.names import bucket_address

CONTENT_TYPE = "application/vnd.example.invitation+json"


class Event(Struct):
    """What there is to come to."""

    title: str
    start: str
    place: str


class Invitation(Struct, tag="invitation"):
    """Tells a guest where an event is, and the key that opens it."""

    uid: str
    bucket: str
    key: str


class Answer(Struct, tag="answer"):
    """Tells the owner whether a guest comes."""

    uid: str
    coming: bool


class Calendar:
    """The events somebody holds, and those they are invited to.

    Args:
        key: The key of the client.
        client: Whose bucket keeps the events, and who writes to guests and owners.

    Attributes:
        invitations: What somebody was invited to, by event, and whom to answer.
        guests: Who comes, by event and name; None has not answered.
        news: Set when an invitation or an answer came.
    """

    def __init__(self, key: PrivateKey, client: Client) -> None:
        if client.bucket is None:
            raise ValueError("Events are kept in a bucket: the client needs a hub.")
        self._key, self._client, self._bucket = key, client, client.bucket
        self.invitations: dict[str, tuple[Invitation, str]] = {}
        self.guests: dict[str, dict[str, bool | None]] = {}
        self.news = asyncio.Event()
        client.listen(self._take, lambda message: message.content_type == CONTENT_TYPE)

    # --- the owner -------------------------------------------------------------------

    async def invite(self, event: Event, guests: Iterable[str]) -> str:
        """Store an event, invite guests by name, and return its ID."""
        uid, key = new_id(), PrivateKey.generate()
        await self._store(f"shared/{uid}/key.json", key.to_hex(), self._key.public)
        await self.change(uid, event)
        invitation = Invitation(uid, await self._bucket.url(), key.to_hex())
        self.guests[uid] = dict.fromkeys(guests)
        for guest in self.guests[uid]:
            await self._send(guest, invitation)
        return uid

    async def change(self, uid: str, event: Event) -> None:
        """Store an event anew; who was invited reads it so from now on."""
        file = await self._bucket.read(f"shared/{uid}/key.json")
        key = _opened(file and file.content, self._key, self._bucket.address)
        text = msgspec.json.encode(event).decode()
        public = PrivateKey.from_hex(key).public
        await self._store(f"shared/{uid}/event.json", text, public)

    async def _store(self, path: str, text: str, reader: PublicKey) -> None:
        sealed = ecies.encrypt_signed(text, reader, self._key).encode()
        await self._bucket.store(path, sealed, content_type="application/json")

    # --- a guest ---------------------------------------------------------------------

    async def read(self, uid: str) -> Event:
        """Fetch an event one was invited to, as it is now."""
        invitation, _ = self.invitations[uid]
        key, bucket = PrivateKey.from_hex(invitation.key), invitation.bucket
        sealed = await self._client.fetcher.get(f"{bucket}shared/{uid}/event.json")
        text = _opened(sealed, key, bucket_address(bucket))
        return msgspec.json.decode(text, type=Event)

    async def answer(self, uid: str, *, coming: bool) -> None:
        """Tell the owner of an event whether one comes."""
        _, owner = self.invitations[uid]
        await self._send(owner, Answer(uid, coming))

    # --- both ------------------------------------------------------------------------

    async def _send(self, to: str, what: Invitation | Answer) -> None:
        content = msgspec.json.encode(what).decode()
        await self._client.send(to, content, content_type=CONTENT_TYPE)

    def _take(self, message: Incoming) -> None:
        match msgspec.json.decode(message.content, type=Invitation | Answer):
            case Invitation() as invitation if invitation.bucket == message.bucket:
                owner = message.name or message.bucket
                self.invitations.setdefault(invitation.uid, (invitation, owner))
            case Answer(uid, coming) if message.name in self.guests.get(uid, {}):
                self.guests[uid][message.name] = coming
        self.news.set()


def _opened(sealed: bytes | None, key: PrivateKey, owner: str) -> str:
    """Open what the owner of a bucket sealed, and nobody else."""
    if sealed is None:
        raise CannotOpen("It is not in the bucket.")
    text, signer = ecies.decrypt_signed(sealed, key)
    if address(signer.raw) != owner:
        raise CannotOpen("Another than the owner of the bucket wrote it.")
    return str(text)
