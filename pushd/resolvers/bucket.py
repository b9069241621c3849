"""Bucket URLs as names: the address at the end is the identity, so nobody is asked."""

from pushd.identity.keys import BTC_ADDR
from pushd.identity.names import bucket_address
from pushd.resolvers.base import Identity, Proof


class BucketNames:
    """Knows `https://gaia.example/hub/1Addr...`."""

    async def identify(self, name: str, app: str, *, now: float) -> Identity:
        """Find out who a name is; see `Source`."""
        return Identity(
            did=BTC_ADDR + bucket_address(name),
            proof=Proof.BUCKET,
            bucket=name if name.endswith("/") else f"{name}/",
        )
