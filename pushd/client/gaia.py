"""Gaia: the files of one key, on the hub that its owner chose.

    bucket = Bucket(key, "https://hub.example", fetcher=fetcher)
    etag = await bucket.store("notes/1.txt", b"hello", content_type="text/plain")
    file = await bucket.read("notes/1.txt")

A bucket is named by the hash of its owner's key. Only the owner writes, by the hub;
everybody reads, at the URL that the hub says (https://github.com/stacks-network/gaia).

Writes are tried again while that may help. None can go wrong by it: to store or to delete
the same twice is to do it once, and where a condition failed after an answer was lost,
what is there now tells whether the lost one had met it.
"""

import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from pushd.client.gaia_hub import (
    Busy,
    Changed,
    GaiaError,
    HubUnreachable,
    NotAllowed,
    ProofRequired,
    Request,
    TooLarge,
)
from pushd.client.gaia_owner import HubInfo, Owner
from pushd.client.paths import quote_path
from pushd.client.patience import Patience
from pushd.identity import ecies
from pushd.identity.ecies import CannotOpen
from pushd.identity.keys import PrivateKey, PublicKey
from pushd.resolvers.fetch import Fetcher

__all__ = [
    "NEW",
    "Bucket",
    "Busy",
    "Changed",
    "File",
    "GaiaError",
    "HubInfo",
    "HubUnreachable",
    "NotAllowed",
    "ProofRequired",
    "TooLarge",
]

NEW: Final = ""
"""The etag of a file that is not there: store only if that is so."""
MAX_PAGES = 10_000
"""Pages of the longest listing."""


class File(NamedTuple):
    """A file, as it was read.

    Attributes:
        content: Its bytes.
        etag: Stands for this content in `store`; None if the reader does not say.
        content_type: Its media type; None if the reader does not say.
    """

    content: bytes
    etag: str | None
    content_type: str | None


class _Stored(Struct):
    etag: Annotated[str, Meta(pattern="^[!-~]{1,256}$")]


class _Listing(Struct):
    entries: list[str | None]
    page: str | None


_stored = msgspec.json.Decoder(_Stored)
_listing = msgspec.json.Decoder(_Listing)


class Bucket:
    """One key's bucket on a Gaia hub.

    Etags are the hub's, to the letter: some hubs put quotes around them and compare those
    too, so they are passed back as they came. Every call is safe to cancel; whether a
    write was done is then unknown.

    Args:
        key: The owner's; of secp256k1.
        hub: URL at which the hub takes writes, from the owner's own settings.
        fetcher: The way out, as the URL is nobody's we know.
        give_up_after: Seconds all attempts of one call may take.
        clock: Returns Unix seconds.

    Attributes:
        address: The bucket's name on the hub, the hash of the key.
        hub: Canonical URL of the hub.

    Raises:
        BadRequest: If `hub` is no URL of a server.
        ValueError: If the key is not of secp256k1.
    """

    def __init__(
        self,
        key: PrivateKey,
        hub: str,
        *,
        fetcher: Fetcher,
        give_up_after: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._owner = Owner(key, hub, fetcher=fetcher, clock=clock)
        self.address = self._owner.address
        self.hub = self._owner.hub
        self._key = key
        self._give_up_after = give_up_after

    async def info(self) -> HubInfo:
        """Return what the hub says of itself; it is asked once.

        Raises:
            GaiaError: If it does not answer as a Gaia hub.
        """
        return await self._owner.learn(self._patience())

    async def url(self) -> str:
        """Return the URL at which everybody reads the bucket, with a slash at the end.

        Raises:
            GaiaError: As of `info`.
        """
        return await self._owner.read_url(self._patience())

    async def store(
        self,
        path: str,
        content: bytes,
        *,
        content_type: str = "application/octet-stream",
        match: str | None = None,
    ) -> str:
        """Store a file.

        Args:
            path: Where in the bucket, as in `notes/1.txt`.
            content: Its bytes.
            content_type: Media type with which it will be read.
            match: Etag of what it replaces; `NEW`: it replaces nothing; None: it
                replaces whatever is there.

        Returns:
            Its etag.

        Raises:
            Changed: If what is there is not what `match` says.
            TooLarge: If it is larger than the hub takes.
            GaiaError: If the hub refuses it for another reason, or cannot be reached.
            ValueError: If there can be no such path.
        """
        patience = self._patience()
        headers = [("Content-Type", content_type), *_condition(match)]
        url = f"{self.hub}/store/{self.address}/{quote_path(path)}"
        largest = (await self._owner.learn(patience)).max_bytes
        if largest is not None and len(content) > largest:
            raise TooLarge(f"The hub takes files of at most {largest} bytes.")
        request = Request("POST", url, content, headers)
        answer = await self._owner.ask_with_token(patience, request)
        if answer.status == 412 and answer.in_doubt:
            etag = await self._etag_of(patience, path, content)
            if etag is not None:
                return etag
        return answer.decode(_stored).etag

    async def read(self, path: str, *, limit: int = 64 * 1024) -> File | None:
        """Read a file of this bucket, None if there is none.

        Args:
            path: Where in the bucket.
            limit: Bytes it may have.

        Raises:
            TooLarge: If it has more.
            GaiaError: If it cannot be read.
            ValueError: If there can be no such path.
        """
        return await self._read(self._patience(), path, limit)

    async def delete(self, path: str) -> bool:
        """Delete a file; False: there was none.

        Raises:
            GaiaError: If the hub refuses, or cannot be reached.
            ValueError: If there can be no such path.
        """
        url = f"{self.hub}/delete/{self.address}/{quote_path(path)}"
        answer = await self._owner.ask_with_token(self._patience(), Request("DELETE", url))
        if answer.status == 404:
            return answer.in_doubt
        if not answer.is_success:
            raise answer.error()
        return True

    async def list(self) -> AsyncIterator[str]:
        """Iterate over the paths of all files, in the hub's order.

        A file that is stored or deleted meanwhile may be missed, or come twice.

        Raises:
            GaiaError: If the hub refuses, cannot be reached, or does not come to an end.
        """
        url = f"{self.hub}/list-files/{self.address}"
        headers = [("Content-Type", "application/json")]
        page: str | None = None
        for _ in range(MAX_PAGES):
            body = msgspec.json.encode({"page": page})
            request = Request("POST", url, body, headers)
            answer = await self._owner.ask_with_token(self._patience(), request)
            listing = answer.decode(_listing)
            for path in listing.entries:
                if path:  # hubs fill pages with null, and empty buckets with ""
                    yield path
            page = listing.page
            # A hub on a disk offers one more page for ever; only an empty one ends it.
            if not page or not listing.entries:
                return
        raise GaiaError(f"The listing has more than {MAX_PAGES} pages.")

    # --- sealed files ----------------------------------------------------------------

    async def store_encrypted(
        self,
        path: str,
        content: str | bytes,
        *,
        recipient: PublicKey | None = None,
        sign: bool = False,
        match: str | None = None,
    ) -> str:
        """Store a file that only `recipient` can open, as `putFile` does.

        Args:
            path: Where in the bucket.
            content: Text, or bytes; opening gives back the same.
            recipient: A secp256k1 key; None is the owner's own.
            sign: Sign it too. Then `getFile` needs `{verify: true}`.
            match: As of `store`.

        Returns:
            Its etag.

        Raises:
            GaiaError: As of `store`.
            ValueError: If there can be no such path, or the key is not of secp256k1.
        """
        to = self._key.public if recipient is None else recipient
        if sign:
            text = ecies.encrypt_signed(content, to, self._key)
        else:
            text = ecies.encrypt(content, to)
        return await self.store(
            path, text.encode(), content_type="application/json", match=match
        )

    async def read_encrypted(
        self, path: str, *, signed: bool = False, limit: int = 64 * 1024
    ) -> str | bytes | None:
        """Read and open a file sealed to the owner, None if there is none.

        Args:
            path: Where in the bucket.
            signed: It has to be signed, by the owner.
            limit: Bytes it may have, sealed: twice the content's, and 1 KiB.

        Raises:
            CannotOpen: If it is not what it has to be.
            GaiaError: As of `read`.
            ValueError: If there can be no such path.
        """
        file = await self.read(path, limit=limit)
        if file is None:
            return None
        if not signed:
            return ecies.decrypt(file.content, self._key)
        opened = ecies.decrypt_signed(file.content, self._key)
        if opened.signer != self._key.public:
            raise CannotOpen("The file is not signed by the owner of the bucket.")
        return opened.content

    # --- the parts -------------------------------------------------------------------

    def _patience(self) -> Patience:
        return Patience(self._give_up_after)

    async def _read(self, patience: Patience, path: str, limit: int) -> File | None:
        quoted = quote_path(path)
        url = await self._owner.read_url(patience) + quoted
        request = Request("GET", url, limit=limit)
        answer = await self._owner.ask(patience, request)
        if answer.status in (404, 410):
            return None
        if answer.status != 200:
            raise answer.error()
        headers = answer.headers
        if headers.get("content-encoding", "identity") != "identity":
            raise HubUnreachable("The file comes compressed, which nobody asked for.")
        if answer.body is None:
            raise TooLarge(f"The file has more than {limit} bytes.")
        return File(answer.body, headers.get("etag"), headers.get("content-type"))

    async def _etag_of(self, patience: Patience, path: str, content: bytes) -> str | None:
        """Return the etag of a file if its content is this, None if it is not."""
        try:
            there = await self._read(patience, path, limit=len(content))
        except TooLarge:
            return None
        return there.etag if there is not None and there.content == content else None


def _condition(match: str | None) -> list[tuple[str, str]]:
    """Return the header that makes a hub store only under a condition."""
    if match is None:
        return []
    return [("If-None-Match", "*")] if match == NEW else [("If-Match", match)]
