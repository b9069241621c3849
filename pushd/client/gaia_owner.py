"""A bucket's owner before the hub: what the hub wants of a token, and the token."""

import secrets
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from pushd.client.gaia_hub import Answer, HubUnreachable, Request, ask
from pushd.client.patience import Patience
from pushd.errors import BadRequest
from pushd.identity import jws
from pushd.identity.keys import Algorithm, PrivateKey, address
from pushd.identity.names import bucket_address
from pushd.protocol.urls import canonical_url
from pushd.resolvers.fetch import Fetcher

TOKEN_LIFETIME = 3600
"""Seconds a token is valid."""


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


class _HubInfo(Struct):
    challenge_text: Annotated[str, Meta(max_length=1024)]
    read_url_prefix: str
    max_file_upload_size_megabytes: Annotated[float, Meta(gt=0, le=1e9)] | None = None


_hub_info = msgspec.json.Decoder(_HubInfo)


class Owner:
    """Asks one hub for what is in, or is to be in, the bucket of one key.

    Args:
        key: The owner's; of secp256k1.
        hub: URL at which the hub takes writes.
        fetcher: The way out.
        clock: Returns Unix seconds.

    Attributes:
        address: The bucket's name on the hub, the hash of the key.
        hub: Canonical URL of the hub.

    Raises:
        BadRequest: If `hub` is no URL of a server.
        ValueError: If the key is not of secp256k1.
    """

    def __init__(
        self, key: PrivateKey, hub: str, *, fetcher: Fetcher, clock: Callable[[], float]
    ) -> None:
        if key.algorithm is not Algorithm.ES256K:
            raise ValueError("Only secp256k1 keys (ES256K) have a bucket.")
        self.address = address(key.public.raw)
        self.hub = canonical_url(hub)
        self._key = key
        self._fetcher = fetcher
        self._clock = clock
        self._info: HubInfo | None = None
        self._token = ""
        self._token_expires = 0.0

    async def learn(self, patience: Patience) -> HubInfo:
        """Return what the hub says of itself; it is asked once.

        Raises:
            GaiaError: If it does not answer as a Gaia hub.
        """
        if self._info is None:
            answer = await self.ask(patience, Request("GET", f"{self.hub}/hub_info"))
            self._info = self._check(answer.decode(_hub_info))
        return self._info

    async def read_url(self, patience: Patience) -> str:
        """Return the URL at which everybody reads the bucket, with a slash at the end.

        Raises:
            GaiaError: As of `learn`.
        """
        return self._read_url(await self.learn(patience))

    async def ask(self, patience: Patience, request: Request) -> Answer:
        """Ask what everybody may.

        Raises:
            GaiaError: If it is not answered, for too long.
        """
        return await ask(self._fetcher.http, patience, request)

    async def ask_with_token(self, patience: Patience, request: Request) -> Answer:
        """Ask what only the owner may; anew if the hub takes the token for an old one.

        Raises:
            GaiaError: If it is not answered, for too long.
        """
        first = await self._ask_with_token(patience, request)
        if first.status != 401:
            return first
        # The challenge may be another by now, or all tokens may have been revoked.
        self._info, self._token = None, ""
        again = await self._ask_with_token(patience, request)
        return again._replace(in_doubt=first.in_doubt or again.in_doubt)

    async def _ask_with_token(self, patience: Patience, request: Request) -> Answer:
        token = self._make_token(await self.learn(patience))
        headers = [*request.headers, ("Authorization", f"bearer v1:{token}")]
        return await self.ask(patience, request._replace(headers=headers))

    def _read_url(self, info: HubInfo) -> str:
        return f"{info.read_url_prefix}{self.address}/"

    def _check(self, said: _HubInfo) -> HubInfo:
        """Refuse what would lead those who read the bucket astray."""
        size = said.max_file_upload_size_megabytes
        info = HubInfo(
            challenge=said.challenge_text,
            read_url_prefix=said.read_url_prefix,
            max_bytes=None if size is None else int(size * 1024 * 1024),
        )
        try:
            bucket_address(self._read_url(info))  # fails without the slash, too
            parts = urlsplit(info.read_url_prefix)
            secure = parts.scheme == "https" or self._fetcher.plain(
                f"{parts.hostname}:{parts.port or 80}"
            )
        except (BadRequest, ValueError):
            secure = False
        if not secure:
            raise HubUnreachable("The hub names no https URL to read from, with a slash.")
        return info

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
