"""Say who may write: the policy of one's own mailbox, at each server one has it at.

A policy counts at the server that was told it, so it is told to all of them: a sender who
is refused by one must not find the next one open.
"""

import time
from collections.abc import Callable, Sequence
from typing import Self

import httpx2
import msgspec

from pushd.client.credentials import Credentials
from pushd.client.line import Line, read
from pushd.client.patience import Patience
from pushd.identity.keys import PrivateKey
from pushd.protocol.messages import Policy, encode
from pushd.protocol.urls import canonical_url

LIFETIME = 600.0
"""Seconds a token is valid."""
_policy = msgspec.json.Decoder(Policy)


class NoServer(Exception):
    """Who has no server has no mailbox, so no policy either."""

    def __init__(self) -> None:
        super().__init__("Without a server there is no mailbox; name one.")


class OwnPolicy:
    """Reads and sets the policy of one identity.

        async with OwnPolicy(key, servers=["https://push.example"]) as own:
            await own.set(Policy("refuse", allow=[bob_did]))

    Args:
        key: The mailbox owner's.
        servers: The owner's servers in order of preference.
        name: Name the owner claims, by which a server may find the owner's contact
            document; None claims none.
        app: Web origin that name and the names in a policy belong to.
        timeout: Seconds one attempt may take.
        give_up_after: Seconds all attempts at one server may take.
        http: Client to use; None makes one, and closes it.
        clock: Returns Unix seconds; one that is wrong is corrected by the server's.

    Raises:
        BadRequest: If one of the servers is no URL of a server.
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        servers: Sequence[str],
        name: str | None = None,
        app: str | None = None,
        timeout: float = 10.0,
        give_up_after: float = 30.0,
        http: httpx2.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        def line(server: str) -> Line:
            credentials = Credentials(
                key,
                audience=server,
                scope="receive",
                lifetime=LIFETIME,
                name=name,
                app=app,
                clock=clock,
            )
            return Line(server, credentials, timeout=timeout, http=http)

        self._lines = [line(canonical_url(server)) for server in servers]
        self._give_up_after = give_up_after

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        for line in self._lines:
            await line.close()

    async def get(self) -> Policy:
        """Return the policy as the preferred server has it.

        Raises:
            NoServer: If there is none.
            PushdError: If it refuses, or is busy for too long.
            Unreachable: If it does not answer for too long.
        """
        if not self._lines:
            raise NoServer
        patience = Patience(self._give_up_after)
        return read(await self._lines[0].ask("GET", "/v1/policy", patience), _policy)

    async def set(self, policy: Policy) -> None:
        """Set the policy at all servers, one after the other; the same again is safe.

        Raises:
            NoServer: If there is none.
            PushdError: If one refuses, or is busy for too long; those after it keep theirs.
            Unreachable: If one does not answer for too long; as above.
        """
        if not self._lines:
            raise NoServer
        for line in self._lines:
            patience = Patience(self._give_up_after)
            answer = await line.ask("PUT", "/v1/policy", patience, body=encode(policy))
            read(answer, _policy)
