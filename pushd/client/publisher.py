"""What an identity says of itself in its bucket, so that others find its key and servers.

The contact document is for whoever writes by this protocol; `key.json`, its key alone, for
apps that were there before. What is right already is not written again.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from pushd.client.gaia import Bucket
from pushd.errors import Unproven
from pushd.identity.contact import PATH, ContactDocument, make_contact, read_contact
from pushd.identity.keys import PrivateKey
from pushd.identity.published import PATHS, read_published_key

KEY_FILE = PATHS[0]
"""Where older apps look for a key first."""
JSON = "application/json"


class Publisher:
    """Writes contact documents and key files.

    Args:
        key: The identity's; of secp256k1.
        app: Web origin of the app the bucket belongs to.
        bucket: The identity's.
        clock: Returns Unix seconds.
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        app: str,
        bucket: Bucket,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._app = app
        self._bucket = bucket
        self._clock = clock
        self._newest = 0.0

    async def publish(self, servers: Sequence[str]) -> list[str]:
        """Say how to write to this identity, where that is not said yet.

        Args:
            servers: Its message servers in order of preference; without any only the
                key is told.

        Returns:
            Paths of the files that were written.

        Raises:
            BadRequest: If there are too many servers.
            GaiaError: If the hub refuses, or cannot be reached.
        """
        written = []
        if servers and await self._publish_contact(tuple(servers)):
            written.append(PATH)
        if await self._publish_key():
            written.append(KEY_FILE)
        return written

    async def _publish_contact(self, servers: tuple[str, ...]) -> bool:
        there = await self._contact()
        if there is not None:
            put_back = there.issued_at < self._newest
            if there.servers == servers and not put_back:
                return False
            self._newest = max(self._newest, there.issued_at)
        # Newer than whatever was there, or those who saw that would not believe it.
        self._newest = round(max(self._clock(), self._newest + 0.001), 3)
        contact = make_contact(self._key, servers=servers, app=self._app, now=self._newest)
        await self._bucket.store(PATH, contact, content_type=JSON)
        return True

    async def _contact(self) -> ContactDocument | None:
        """Return the contact document that is there, if it is good."""
        file = await self._bucket.read(PATH)
        if file is None:
            return None
        with suppress(Unproven):
            return read_contact(
                file.content,
                address=self._bucket.address,
                app=self._app,
                now=self._clock(),
            )
        return None

    async def _publish_key(self) -> bool:
        file = await self._bucket.read(KEY_FILE)
        if file is not None:
            with suppress(Unproven):
                read_published_key(file.content, self._bucket.address)
                return False
        key = msgspec.json.encode(self._key.public.raw.hex())
        await self._bucket.store(KEY_FILE, key, content_type=JSON)
        return True
