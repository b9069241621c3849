"""The primary that sentinels name: asked for at each connect, left when they name another.

Theory of operation. Before each connection all sentinels are asked at once, and the answer
of the newest configuration counts: one that was cut off does not lead to a primary that is
none any more. Besides, one of them is listened to. A primary that stopped in its steps, or
was cut off from the others alone, keeps its connections open; `+switch-master` tells to
leave it, where a call would wait in vain, or be accepted by a server that is to forget it.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import hiredis

from pushd.errors import ConfigurationError
from pushd.mailbox.address import Address, StoreUrl
from pushd.mailbox.connection import Connection, Unavailable, pack, pairs
from pushd.mailbox.link import Link
from pushd.mailbox.node import Node, Terms

SECONDS = 1.0
"""How long a sentinel may take to answer."""
SWITCH = "+switch-master"


class _Told(NamedTuple):
    """What one sentinel holds for the primary, as of which configuration."""

    configuration: int
    host: str
    port: int


class Sentinels:
    """Those who watch over one service.

    Args:
        store: Where they are, and what they call it.
        named: Called with the primary whenever they may have named another.
    """

    def __init__(self, store: StoreUrl, named: Callable[[Address], None]) -> None:
        self._store = store
        self._named = named
        self._turn = 0
        self._asking: asyncio.Task[None] | None = None
        self._link = Link(
            self._next,
            prepare=_listen,
            opened=self._look,
            lost=lambda: None,
            pushed=self._heard,
        )

    async def start(self) -> None:
        """Begin to listen to one of them."""
        await self._link.start()

    async def close(self) -> None:
        """Listen no more."""
        await self._link.close()
        if self._asking is not None:
            self._asking.cancel()

    async def find(self) -> Address:
        """Ask all of them for the primary; the newest configuration counts.

        Raises:
            Unavailable: If none of them can tell.
            ConfigurationError: If that is because they refuse us or know no such service.
        """
        asked = [self._ask(address) for address in self._store.addresses]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        told = [answer for answer in answers if isinstance(answer, _Told)]
        if told:
            newest = max(told)
            return self._store.at(newest.host, newest.port)
        for answer in answers:
            if isinstance(answer, ConfigurationError):
                raise answer
        names = ", ".join(map(str, self._store.addresses))
        raise Unavailable(f"None of the sentinels {names} says where the primary is.")

    async def _ask(self, address: Address) -> _Told:
        """Ask one of them.

        While replicas still turn to the primary it has promoted, its facts are of the new
        configuration and the former primary; only the other question tells the new one.
        """
        service = self._store.service
        async with asyncio.timeout(SECONDS):
            connection = await Connection.open(address, lambda pushes: None)
            try:
                facts, (host, port) = await asyncio.gather(
                    connection.command("SENTINEL", "MASTER", service),
                    connection.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service),
                )
            except hiredis.ReplyError as error:
                raise ConfigurationError(
                    f"The sentinel at {address} does not tell the primary of {service}:"
                    f" {error}; see the end of PUSHD_REDIS_URL."
                ) from None
            finally:
                connection.abort()
        return _Told(int(pairs(facts)[b"config-epoch"]), host.decode(), int(port))

    # --- listening -----------------------------------------------------------------------

    async def _next(self) -> Address:
        """Take turns, so that one which is down is not all we try."""
        self._turn += 1
        return self._store.addresses[self._turn % len(self._store.addresses)]

    def _look(self) -> None:
        """Ask now, for nobody listened until now; called by the link."""

        async def look() -> None:
            self._named(await self.find())

        self._asking = asyncio.create_task(look())
        self._asking.add_done_callback(_ignore)

    def _heard(self, pushes: list[list[bytes]]) -> None:
        for push in pushes:
            if push[0] == b"message" and push[1] == SWITCH.encode():
                service, _host, _port, host, port = push[2].decode().split(" ")
                if service == self._store.service:
                    self._named(self._store.at(host, int(port)))


class WatchedNode(Node):
    """The primary of a service that sentinels watch."""

    def __init__(self, store: StoreUrl, terms: Terms) -> None:
        self._sentinels = Sentinels(store, self.lead_to)
        super().__init__(self._sentinels.find, terms)

    async def start(self) -> None:
        """Connect, and begin to listen to a sentinel; see `Node.start`."""
        await super().start()
        try:
            await self._sentinels.start()
        except BaseException:  # cancelled too
            await self.close()
            raise

    async def close(self) -> None:
        """Close all connections; calls without an answer fail."""
        await self._sentinels.close()
        await super().close()


async def _listen(connection: Connection) -> None:
    """Subscribe; the PONG behind it says that this is in effect."""
    connection.send(pack(("SUBSCRIBE", SWITCH)), [])
    await connection.command("PING")


def _ignore(asking: "asyncio.Task[None]") -> None:
    """Nobody can tell now; the next connection asks again."""
    if not asking.cancelled():
        asking.exception()
