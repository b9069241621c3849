"""What the load program sends: hello frames, and requests with places to fill in.

Each recipient is an identity with its own mailbox and token, as on a real server. One
sender writes to all of them, with a token per request that names just its recipients.
"""

import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import DELIVER, RECEIVE, make_token
from pushd.protocol.messages import Delivery, Hello, encode

AUDIENCE = "http://127.0.0.1:8480"
"""What the measured servers are called, wherever they listen."""
PAYLOAD = 400
"""Characters of a payload; a message ID encrypted to its recipient has about as many."""

NUMBER = "#" * 16
TIME = "@" * 16
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
        payload = TIME + "x" * (PAYLOAD - len(TIME))
        deliveries = [Delivery(to=did, payload=payload, key=NUMBER) for did in dids]
        body = encode(deliveries[0] if len(dids) == 1 else {"deliveries": deliveries})
        head = (
            "POST /v1/deliveries HTTP/1.1\r\n"
            "Host: 127.0.0.1\r\n"
            f"Authorization: Bearer {self._token(self._sender, DELIVER, dids)}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

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


def write(path: Path, records: Iterable[bytes]) -> Path:
    """Write records to a file as the load program reads them."""
    with path.open("wb") as file:
        for record in records:
            file.write(struct.pack("<I", len(record)) + record)
    return path
