"""Names of BNS V2: the owner writes key and servers into the name's zone file.

The zone file is JSON, on the chain, and its `meta` holds free pairs of name and value:

    messaging-public-key   the key to encrypt to, 66 hexadecimal digits
    messaging-server       a message server; several, in order of preference
    messaging-bucket       read URL of the bucket, optional

The chain lets nobody but the owner write it. It says the same for all apps.
"""

from msgspec import Raw, Struct

from pushd.errors import BadRequest, Unproven
from pushd.identity.documents import read_json
from pushd.identity.keys import PublicKey
from pushd.resolvers.base import Identity, Proof
from pushd.resolvers.fetch import Fetcher
from pushd.resolvers.places import ask_api, bucket_of, listed_servers

_WHAT = "name's zone file"


class BnsNames:
    """Knows `alice.btc`.

    Args:
        api: Base URL of the BNS V2 API; `/names/<name>` and `/zonefile/<name>/raw` follow.
        fetcher: The way out.
    """

    def __init__(self, api: str, fetcher: Fetcher) -> None:
        self._api = api.rstrip("/")
        self._fetcher = fetcher

    async def identify(self, name: str, app: str, *, now: float) -> Identity:
        """Find out who a name is; see `Source`."""
        owner = await self._owner(name)
        zone_file = await self._zone_file(name)
        # An owner who got the name from another must not speak by the other's words.
        if zone_file.owner != owner:
            raise Unproven("The name's zone file is not of the name's owner.")
        key = _key(zone_file.values("messaging-public-key"))
        buckets = zone_file.values("messaging-bucket")
        return Identity(
            did=key.did,
            proof=Proof.ZONE_FILE,
            key=key,
            bucket=bucket_of(key, buckets[0]) if buckets else None,
            servers=listed_servers(zone_file.values("messaging-server")),
        )

    async def _owner(self, name: str) -> str:
        answer = await ask_api(
            self._fetcher,
            f"{self._api}/names/{name}",
            _Answer,
            nothing="Nobody has that name.",
        )
        if answer.data.revoked or not answer.data.is_valid:
            raise Unproven("The name has expired or was revoked.")
        return answer.data.owner

    async def _zone_file(self, name: str) -> "_ZoneFile":
        found = await ask_api(
            self._fetcher,
            f"{self._api}/zonefile/{name}/raw",
            _Found,
            nothing="The name has no zone file.",
        )
        data = bytes(found.zonefile)
        if data.startswith(b'"'):
            data = read_json(data, str, _WHAT).encode()
        return read_json(data, _ZoneFile, _WHAT)


class _Data(Struct):
    owner: str
    revoked: bool
    is_valid: bool


class _Answer(Struct):
    """What the API says of a name."""

    data: _Data


class _Found(Struct):
    """What the API says of a zone file: the text of its JSON, or that JSON."""

    zonefile: Raw


class _Meta(Struct):
    name: str
    value: str


class _ZoneFile(Struct):
    owner: str
    meta: list[_Meta] = []

    def values(self, name: str) -> list[str]:
        return [meta.value for meta in self.meta if meta.name == name]


def _key(values: list[str]) -> PublicKey:
    if len(values) != 1:
        raise Unproven("The name's zone file does not tell one messaging-public-key.")
    try:
        return PublicKey.from_hex(values[0])
    except BadRequest as error:
        raise Unproven(f"The name's messaging-public-key: {error.detail}") from None
