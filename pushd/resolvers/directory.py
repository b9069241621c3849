"""The directory: who a name is and how to write to them, from all sources, with memory.

    name, app -- a source --> identity -- contact document in its bucket --> destination

Identities are remembered by name and app, contact documents by bucket and app. Not by
identity: anybody can name a bucket on a host of their own whose address is Bob's, and say
there that he has no contact document. What is signed cannot be made up, but put back: so
of each signer the newest that was seen is remembered longer than it is believed, and what
is older is no news, wherever it lies. One goes on with what was known then, as if the
source were down; with nothing known, the name is unproven.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from math import inf

from msgspec import Struct

from pushd.errors import ResolverUnavailable, Unproven
from pushd.identity.contact import PATH, ContactDocument, read_contact
from pushd.identity.keys import PublicKey
from pushd.identity.names import Form, bucket_address, form_of, validate_app
from pushd.identity.published import MAX_KEY_FILE, PATHS, read_published_key
from pushd.resolvers.base import Destination, Identity, Source
from pushd.resolvers.cache import NEGATIVE, SIZE, Cache, Outdated, Recent
from pushd.resolvers.fetch import ANY_TYPE, Fetcher
from pushd.resolvers.places import fetch
from pushd.resolvers.static import StaticNames


class Directory:
    """Resolves names of every form, and remembers who they are.

    Args:
        sources: Who knows the names of a form; names of other forms are unproven.
        fetcher: The way out to buckets.
        static: Names that are known beforehand, of which no source is asked; None: there
            are none.
        clock: Returns Unix seconds.
    """

    def __init__(
        self,
        sources: Mapping[Form, Source],
        fetcher: Fetcher,
        *,
        static: StaticNames | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources = sources
        self._fetcher = fetcher
        self._static = static
        self._clock = clock
        self._identities = Cache[tuple[str, str], Identity](clock=clock)
        self._published = Cache[tuple[str, str], _Published](
            clock=clock, expires=lambda published: published.expires
        )
        self._newest_proofs = Recent[tuple[str, str | None], float](SIZE)
        self._newest_contacts = Recent[tuple[str, str], ContactDocument](SIZE)

    def known(self, name: str, app: str) -> Identity | None:
        """Return from memory who a name is; None: it has to be asked for.

        Raises:
            Unproven: If it is remembered that it is nobody.
        """
        return self._identities.known((name, app))

    async def identify(self, name: str, app: str) -> Identity:
        """Find out who a name is. Safe to cancel.

        Args:
            name: A name of any form.
            app: Web origin of the app it is used in.

        Raises:
            BadRequest: If that is no name, or no web origin.
            Unproven: If the name is nobody's in that app, or not proven.
            ResolverUnavailable: If nobody can tell right now.
        """
        return await self._identities.get((name, app), partial(self._ask_source, name, app))

    async def reach(self, name: str, app: str) -> Destination:
        """Find out how to write to who a name is. Safe to cancel.

        Key and servers are those the source tells; else those of the contact document in
        the bucket; without one there are no servers, and the key is the one that profile
        or bucket tell in an older way.

        Args:
            name: A name of any form.
            app: Web origin of the app it is used in.

        Raises:
            BadRequest: If that is no name, or no web origin.
            Unproven: If the name is nobody's in that app, or not proven, or its contact
                document does not verify or is for another app.
            ResolverUnavailable: If nobody can tell right now.
        """
        identity = await self.identify(name, app)
        key, servers = identity.key, identity.servers
        if identity.bucket is not None and not (key is not None and servers):
            published = await self._published.get(
                (identity.bucket, app),
                partial(self._ask_bucket, identity.bucket, app, identity.key),
            )
            key, servers = key or published.key, servers or published.servers
        return Destination(did=identity.did, key=key, servers=servers, proof=identity.proof)

    def forget(self, name: str, app: str) -> None:
        """Have all about a name asked for anew, 10 s after it was last asked for."""
        identity = self._identities.believed((name, app))
        self._identities.forget((name, app))
        if identity is not None and identity.bucket is not None:
            self._published.forget((identity.bucket, app))

    # --- asking ----------------------------------------------------------------------

    async def _ask_source(self, name: str, app: str) -> Identity:
        source = self._source(name)
        identity = await source.identify(name, validate_app(app), now=self._clock())
        if identity.signed_at is not None:
            # Who gets a name from another signs anew, so the owner need not be known.
            proof = (name, identity.signer)
            if identity.signed_at < self._newest_proofs.get(proof, -inf):
                raise Outdated("The proof of the name is older than one seen before.")
            self._newest_proofs.add(proof, identity.signed_at)
        return identity

    def _source(self, name: str) -> Source:
        form = form_of(name)
        if self._static is not None and name in self._static:
            return self._static
        source = self._sources.get(form)
        if source is None:
            raise Unproven(f"No {form.value} is looked up here.")
        return source

    async def _ask_bucket(
        self, bucket: str, app: str, key: PublicKey | None
    ) -> "_Published":
        """Ask a bucket for its contact document, or else for the key if it is not known."""
        address = bucket_address(bucket)
        data = await fetch(self._fetcher, bucket + PATH)
        now = self._clock()
        if data is not None:
            contact = self._read_contact(data, address, app, now)
            return _Published(
                key=contact.key,
                servers=contact.servers,
                expires=inf if contact.expires is None else contact.expires,
            )
        key = key or await self._ask_for_key(bucket, address)
        # That there is no document is believed no longer than that there is no name.
        return _Published(key=key, servers=(), expires=now + NEGATIVE)

    def _read_contact(
        self, data: bytes, address: str, app: str, now: float
    ) -> ContactDocument:
        read = partial(read_contact, data, address=address, app=app, now=now)
        seen = self._newest_contacts.get((address, app))
        try:
            contact = read(seen=seen)
        except Unproven as error:
            read()  # if it is worse than old, that is what is wrong with it
            raise Outdated(str(error)) from None
        self._newest_contacts.add((address, app), contact)
        return contact

    async def _ask_for_key(self, bucket: str, address: str) -> PublicKey | None:
        """Look for a key as apps published them once; None if there is none."""
        unavailable = None
        for path in PATHS:
            try:
                data = await fetch(
                    self._fetcher, bucket + path, limit=MAX_KEY_FILE, types=ANY_TYPE
                )
                if data is not None:
                    return read_published_key(data, address)
            except Unproven:
                continue  # another file may hold the right one
            except ResolverUnavailable as error:
                unavailable = error
        if unavailable is not None:
            raise unavailable
        return None


class _Published(Struct, frozen=True):
    """What a bucket tells of how to write to its owner.

    Attributes:
        key: The key; None if there is none.
        servers: Message servers; empty without a contact document.
        expires: Unix seconds up to which that may be used.
    """

    key: PublicKey | None
    servers: tuple[str, ...]
    expires: float
