"""Blockstack names: names API, zone file, profile, and in it the bucket of the app.

The API says which key owns a name. All that follows lies where the owner keeps it, and
counts because that key signed it.
"""

from msgspec import Struct

from pushd.errors import BadRequest, ResolverUnavailable, Unproven
from pushd.identity.addresses import hash160_of
from pushd.identity.keys import BTC_ADDR, PublicKey
from pushd.identity.names import bucket_address
from pushd.identity.profiles import MAX_PROFILE, Profile, read_profile
from pushd.identity.published import read_published_key
from pushd.identity.zonefiles import profile_url
from pushd.resolvers.base import Identity, Proof
from pushd.resolvers.fetch import Fetcher
from pushd.resolvers.places import ask_api, fetch

# The API tells the last thing that happened to a name, or its state. These leave it with
# its owner; others, as name-revoke and name-expired, and any we do not know, do not.
_HELD = frozenset(
    {
        "registered",
        "registered_subdomain",
        "name-import",
        "name-register",
        "name-renewal",
        "name-transfer",
        "name-update",
    }
)


class BlockstackNames:
    """Knows `alice.id` and `alice.id.blockstack`.

    Args:
        api: Base URL of the names API; `/v1/names/<name>` follows.
        fetcher: The way out.
    """

    def __init__(self, api: str, fetcher: Fetcher) -> None:
        self._api = api.rstrip("/")
        self._fetcher = fetcher

    async def identify(self, name: str, app: str, *, now: float) -> Identity:
        """Find out who a name is; see `Source`."""
        record = await ask_api(
            self._fetcher,
            f"{self._api}/v1/names/{name}",
            _Record,
            nothing="Nobody has that name.",
        )
        if record.status not in _HELD:
            raise Unproven("The name has expired or was given up.")
        profile = await self._profile(record, now)
        bucket = profile.bucket(app)
        address = bucket_address(bucket)
        return Identity(
            did=BTC_ADDR + address,
            proof=Proof.PROFILE,
            key=_key(profile, app, address),
            bucket=bucket,
            signed_at=profile.signed_at,
            signer=record.address,
        )

    async def _profile(self, record: "_Record", now: float) -> Profile:
        url = profile_url(record.zonefile or "")
        try:
            owner = hash160_of(record.address)
        except BadRequest:
            raise ResolverUnavailable(
                "A name cannot be looked up: its source tells no owner."
            ) from None
        data = await fetch(self._fetcher, url, limit=MAX_PROFILE)
        if data is None:
            raise Unproven("There is no profile where the name's zone file leads.")
        return read_profile(data, owner=owner, now=now)


class _Record(Struct):
    """What the names API says of a name."""

    address: str
    status: str
    zonefile: str | None = None


def _key(profile: Profile, app: str, address: str) -> PublicKey | None:
    """Return the key the profile tells for an app, if it is the bucket's."""
    text = profile.keys.get(app)
    if text is None:
        return None
    try:
        return read_published_key(text.encode(), address)
    except Unproven:
        return None  # the contact document may still tell the right one
