"""What the load program sends to pushd: hello frames, and requests with places to fill in.

Each recipient is an identity with its own mailbox and token, as on a real server. One
sender writes to all of them, with a token per request that names just its recipients.
"""

import time
from collections.abc import Sequence

from bench.wire import MESSAGE, NUMBER, Wire, post, upgrade
from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import DELIVER, RECEIVE, make_token
from pushd.protocol.messages import Delivery, Hello, encode

AUDIENCE = "http://127.0.0.1:8480"
"""What the measured servers are called, wherever they listen."""
WIRE = Wire(
    upgrade=upgrade("/v1/stream", "pushd.v1"),
    live=b'{"type":"caught_up"',
    accepted=b'"id":',
    answer="ack",
)
HOUR = 3600


class Recipients:
    """Identities with a mailbox each.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._keys = [PrivateKey.generate() for _ in range(count)]
        self._dids = [key.did for key in self._keys]
        self._sender = PrivateKey.generate()
        self._made = 0

    def hellos(self, count: int, *, among: int | None = None) -> list[bytes]:
        """Make hello frames, each with a new token.

        Args:
            count: How many.
            among: How many of the recipients take turns; None is `count`.
        """
        keys = (self._keys[i % (among or count)] for i in range(count))
        return [encode(Hello(token=self._token(key, RECEIVE))) for key in keys]

    def posts(self, count: int, *, batch: int) -> list[bytes]:
        """Make a request for every `batch` of the first recipients.

        Args:
            count: How many recipients.
            batch: Deliveries in a request, each to another recipient; 1 posts a single
                delivery.
        """
        starts = range(0, count, batch)
        return [self._post(self._dids[at : min(at + batch, count)]) for at in starts]

    def _post(self, dids: Sequence[str]) -> bytes:
        deliveries = [Delivery(to=did, payload=MESSAGE, key=NUMBER) for did in dids]
        body = encode(deliveries[0] if len(dids) == 1 else {"deliveries": deliveries})
        token = self._token(self._sender, DELIVER, dids)
        return post(
            "/v1/deliveries",
            body,
            kind="application/json",
            authorization=f"Bearer {token}",
        )

    def _token(self, key: PrivateKey, scope: str, to: Sequence[str] = ()) -> str:
        self._made += 1
        return make_token(
            key,
            audience=AUDIENCE,
            scope=scope,
            now=time.time(),
            lifetime=HOUR,
            to=to,
            jti=str(self._made),
        )
