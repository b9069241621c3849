"""The hub put together: its halves and the names under one URL, and people made in it."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware

from pushd.devhub.cors import Cors
from pushd.devhub.errors import ANSWERS
from pushd.devhub.gaia import Gaia
from pushd.devhub.limits import Limits
from pushd.devhub.names import Names
from pushd.devhub.reader import PREFIX, Reader
from pushd.devhub.storage import Storage
from pushd.devhub.tokens import TokenRules
from pushd.errors import BadRequest
from pushd.identity.addresses import stacks_address
from pushd.identity.keys import Algorithm, PrivateKey, PublicKey, address, hash160
from pushd.identity.profiles import make_profile
from pushd.identity.zonefiles import make_zone_file


class DevHub:
    """A Gaia hub, its reader, and names; what would be a wallet's work is done here, too.

    Args:
        directory: Where buckets and names last; None keeps them in memory.
        url: Where it is reached, without a slash at the end.
        limits: What it allows.
        clock: Tells seconds since the epoch.

    Attributes:
        app: The ASGI app.
        storage: All files; a test may look and write there.
        names: All names.
        url: As above.
        read_url: What the address of a bucket, and its path, follow to be read.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        url: str,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        limits = Limits() if limits is None else limits
        self.url = url
        self.read_url = f"{url}{PREFIX}"
        self._clock = clock
        self.storage = Storage(directory and directory / "hub", clock=clock)
        self.names = Names(directory and directory / "names")
        server = url.partition("://")[2]
        hub_urls = {url, f"https://{server}"} if limits.require_hub_url else None
        gaia = Gaia(
            self.storage,
            TokenRules(server, hub_urls, limits.whitelist),
            limits=limits,
            read_url=self.read_url,
            clock=clock,
        )
        self.app = Starlette(
            routes=[*gaia.routes, *Reader(self.storage).routes, *self.names.routes],
            middleware=[Middleware(Cors)],
            exception_handlers=ANSWERS,
        )
        self.app.router.redirect_slashes = False

    def bucket_url(self, key: PublicKey | PrivateKey) -> str:
        """Return the URL of the bucket a secp256k1 key writes to, with a slash behind."""
        return f"{self.read_url}{address(_public(key).raw)}/"

    def register(
        self,
        name: str,
        owner: PrivateKey,
        apps: Mapping[str, PublicKey | PrivateKey],
        *,
        publish_keys: bool = True,
    ) -> None:
        """Do what a wallet does for its user: sign a profile, store it, own the name.

        Args:
            name: A Blockstack name.
            owner: The secp256k1 key that owns it.
            apps: The key of each app, by web origin.
            publish_keys: Whether the profile tells the keys of the apps as well.

        Raises:
            BadRequest: If one of these is not what it is called.
        """
        keys = {app: _public(key).raw.hex() for app, key in apps.items()}
        profile = make_profile(
            owner,
            {app: self.bucket_url(key) for app, key in apps.items()},
            keys=keys if publish_keys else {},
            now=self._clock(),
            name=name,
        )
        zone_file = make_zone_file(name, f"{self.bucket_url(owner)}profile.json")
        bucket = address(owner.public.raw)
        self.storage.write(bucket, "profile.json", profile, "application/json")
        self.names.put(name, _stacks_address(owner), zone_file)

    def register_bns(
        self,
        name: str,
        owner: PublicKey | PrivateKey,
        key: PublicKey | PrivateKey,
        servers: Sequence[str],
    ) -> None:
        """Give somebody a name of BNS V2, with what leads to them in its zone file.

        Args:
            name: A .btc name.
            owner: Who owns it.
            key: Who is meant by it.
            servers: URLs of their message servers, the preferred first.

        Raises:
            BadRequest: If it is no such name.
        """
        meta = [("messaging-public-key", _public(key).raw.hex())]
        meta += [("messaging-server", server) for server in servers]
        zone_file = {
            "owner": _stacks_address(owner),
            "meta": [{"name": name, "value": value} for name, value in meta],
        }
        text = msgspec.json.encode(zone_file).decode()
        self.names.put(name, _stacks_address(owner), text)

    def forget(self, name: str) -> None:
        """Let a name be nobody's; the files of who had it stay."""
        self.names.forget(name)


def _public(key: PublicKey | PrivateKey) -> PublicKey:
    """Return the public half of a key that can have a bucket.

    Raises:
        BadRequest: If it is of another type.
    """
    public = key.public if isinstance(key, PrivateKey) else key
    if public.algorithm is not Algorithm.ES256K:
        raise BadRequest("Buckets and names belong to secp256k1 keys (ES256K).")
    return public


def _stacks_address(key: PublicKey | PrivateKey) -> str:
    return stacks_address(hash160(_public(key).raw))
