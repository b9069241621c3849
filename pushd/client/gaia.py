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

import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from pushd.client.gaia_hub import (
    Answer,
    Busy,
    Changed,
    GaiaError,
    HubUnreachable,
    NotAllowed,
    ProofRequired,
    Request,
    TooLarge,
    ask,
)
from pushd.client.paths import quote_path
from pushd.client.patience import Patience
from pushd.errors import BadRequest
from pushd.identity import ecies, jws
from pushd.identity.ecies import CannotOpen
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey, address
from pushd.identity.names import bucket_address
from pushd.protocol.urls import canonical_url
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
TOKEN_LIFETIME = 3600
"""Seconds a token is valid."""
MAX_PAGES = 10_000
"""Pages of the longest listing."""


# --- what a hub says -----------------------------------------------------------------


class HubInfo(Struct, frozen=True):
    """What a hub says of itself.

    Attributes:
        challenge: What tokens repeat to it.
        read_url_prefix: Where all buckets are read, with a slash at the end.
        max_bytes: Bytes of the largest file; None if it does not say.
    """

    challenge: str
    read_url_prefix: str
    max_bytes: int | None


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


class _HubInfo(Struct):
    challenge_text: Annotated[str, Meta(max_length=1024)]
    read_url_prefix: str
    max_file_upload_size_megabytes: Annotated[float, Meta(gt=0, le=1e9)] | None = None


class _Stored(Struct):
    etag: Annotated[str, Meta(pattern="^[!-~]{1,256}$")]


class _Listing(Struct):
    entries: list[str | None]
    page: str | None


_hub_info = msgspec.json.Decoder(_HubInfo)
_stored = msgspec.json.Decoder(_Stored)
_listing = msgspec.json.Decoder(_Listing)


# --- the bucket ----------------------------------------------------------------------


class Bucket:
    """One key's bucket on a Gaia hub.

    Etags are the hub's, to the letter: some hubs put quotes around them and compare those
    too, so they are passed back as they came.

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
        if key.algorithm is not Algorithm.ES256K:
            raise ValueError("Only secp256k1 keys (ES256K) have a bucket.")
        self.address = address(key.public.raw)
        self.hub = canonical_url(hub)
        self._key = key
        self._fetcher = fetcher
        self._give_up_after = give_up_after
        self._clock = clock
        self._info: HubInfo | None = None
        self._token = ""
        self._token_expires = 0.0

    async def info(self) -> HubInfo:
        """Return what the hub says of itself; it is asked once.

        Raises:
            GaiaError: If it does not answer as a Gaia hub.
        """
        return await self._learn(self._patience())

    async def url(self) -> str:
        """Return the URL at which everybody reads the bucket, with a slash at the end.

        Raises:
            GaiaError: As of `info`.
        """
        return self._url(await self.info())

    async def store(
        self,
        path: str,
        content: bytes,
        *,
        content_type: str = "application/octet-stream",
        match: str | None = None,
    ) -> str:
        """Store a file.

        Safe to cancel; whether it was stored is then unknown.

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
        largest = (await self._learn(patience)).max_bytes
        if largest is not None and len(content) > largest:
            raise TooLarge(f"The hub takes files of at most {largest} bytes.")
        request = Request("POST", url, content, headers)
        answer = await self._ask_as_owner(patience, request)
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
        answer = await self._ask_as_owner(self._patience(), Request("DELETE", url))
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
            answer = await self._ask_as_owner(self._patience(), request)
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

    async def _learn(self, patience: Patience) -> HubInfo:
        if self._info is None:
            request = Request("GET", f"{self.hub}/hub_info")
            answer = await ask(self._fetcher.http, patience, request)
            self._info = self._check(answer.decode(_hub_info))
        return self._info

    def _check(self, said: _HubInfo) -> HubInfo:
        """Refuse what would lead those who read the bucket astray."""
        size = said.max_file_upload_size_megabytes
        info = HubInfo(
            challenge=said.challenge_text,
            read_url_prefix=said.read_url_prefix,
            max_bytes=None if size is None else int(size * 1024 * 1024),
        )
        try:
            bucket_address(self._url(info))  # fails without the slash, too
            parts = urlsplit(info.read_url_prefix)
            secure = parts.scheme == "https" or self._fetcher.plain(
                f"{parts.hostname}:{parts.port or 80}"
            )
        except (BadRequest, ValueError):
            secure = False
        if not secure:
            raise HubUnreachable("The hub names no https URL to read from, with a slash.")
        return info

    def _url(self, info: HubInfo) -> str:
        return f"{info.read_url_prefix}{self.address}/"

    async def _read(self, patience: Patience, path: str, limit: int) -> File | None:
        quoted = quote_path(path)
        url = self._url(await self._learn(patience)) + quoted
        request = Request("GET", url, limit=limit)
        answer = await ask(self._fetcher.http, patience, request)
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

    async def _ask_as_owner(self, patience: Patience, request: Request) -> Answer:
        """Ask what only the owner may; anew if the hub takes the token for an old one."""
        first = await self._ask_with_token(patience, request)
        if first.status != 401:
            return first
        # The challenge may be another by now, or all tokens may have been revoked.
        self._info, self._token = None, ""
        again = await self._ask_with_token(patience, request)
        return again._replace(in_doubt=first.in_doubt or again.in_doubt)

    async def _ask_with_token(self, patience: Patience, request: Request) -> Answer:
        token = self._make_token(await self._learn(patience))
        headers = [*request.headers, ("Authorization", f"bearer v1:{token}")]
        return await ask(self._fetcher.http, patience, request._replace(headers=headers))

    def _make_token(self, info: HubInfo) -> str:
        """Return a token that lasts a while."""
        now = int(self._clock())
        if not self._token or self._token_expires - now < TOKEN_LIFETIME / 4:
            claims = {
                "gaiaChallenge": info.challenge,
                "hubUrl": self.hub,  # so that no hub can use it at another
                "iss": self._key.public.raw.hex(),
                "salt": secrets.token_hex(16),
                "iat": now,
                "exp": now + TOKEN_LIFETIME,
            }
            self._token = jws.sign(self._key, msgspec.json.encode(claims))
            self._token_expires = now + TOKEN_LIFETIME
        return self._token


def _condition(match: str | None) -> list[tuple[str, str]]:
    """Return the header that makes a hub store only under a condition."""
    if match is None:
        return []
    return [("If-None-Match", "*")] if match == NEW else [("If-Match", match)]
