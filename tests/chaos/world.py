"""A store, servers on it, and people who talk through them: all that a fault can hit.

    people ── door ── node ── link ── store

Doors and links are proxies, one for each node; a link leads to all stores there are.
Everything but them is the real thing. What stores say to each other has no proxy.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.chaos.checker import READER, check
from tests.chaos.clients import Listener, Poller, Reader
from tests.chaos.groups import Group, Spread, Watched
from tests.chaos.history import Complained, Lost, Quiet, Recorder
from tests.chaos.node import Node
from tests.chaos.people import Place, http_client
from tests.chaos.proxy import Proxy
from tests.chaos.senders import Sender
from tests.harness import Person
from tests.stores import Server

TOPOLOGIES = ("single", "sentinels", "cluster")
PUBLIC_URL = "http://push.example"
PATIENCE = 60.0
"""Seconds after the last fault in which everything has to come right, and long before."""


class Shape(NamedTuple):
    """What a world is made of.

    Attributes:
        topology: `single`; `sentinels`: a primary, its replica, and who watches them; or
            `cluster`: three primaries with a replica each.
        store: The kind of store.
        level: The durability that is promised.
        appended: Whether the store keeps an append-only file.
        nodes: How many servers.
        mailboxes: How many mailboxes.
        rate: Requests a second of each sender.
        load: Seconds in which they send, at a pace of 5.
        pace: By how much the servers' waits are shorter.
        mutant: What is switched off in the servers.
        patience: Seconds in which nothing comes any more, after which nothing will.
    """

    topology: str = "single"
    store: str = "valkey"
    level: str = "fsync"
    appended: bool = True
    nodes: int = 1
    mailboxes: int = 3
    rate: float = 10.0
    load: float = 3.0
    pace: float = 5.0
    mutant: str = ""
    patience: float = PATIENCE


class World:
    """Everything of one run.

    Attributes:
        recorder: Writes down what happens.
        store: The store, or the first primary of a group.
        group: The stores and sentinels of other topologies, else None.
        mailboxes: All there are, by DID.
        nodes: The servers.
        links: From each node to its stores.
        doors: From people to each node.
        hands: One lock for each process, by name: one fault at a time has it.
    """

    def __init__(self, shape: Shape, rng: random.Random, directory: Path) -> None:
        self.shape = shape
        self.rng = rng
        self.directory = directory
        self.recorder = Recorder()
        self.group = _group(shape, directory)
        self.store = (
            self.group.stores.servers[0] if self.group else _store(shape, directory)
        )
        self.nodes: list[Node] = []
        self.links: list[Proxy] = []
        self.doors: list[Proxy] = []
        self._ports: list[int] = []
        self.hands: dict[str, asyncio.Lock] = {}
        self.place = Place(
            self.recorder, rng, self._url, PUBLIC_URL, asyncio.Event(), asyncio.Event()
        )
        self._owners = [Person(PUBLIC_URL) for _ in range(shape.mailboxes)]
        self.mailboxes = [owner.did for owner in self._owners]
        self._clients = self._make_clients()
        self._senders: list[asyncio.Task[None]] = []

    def hand(self, name: str) -> asyncio.Lock:
        """Return the lock of a process."""
        return self.hands.setdefault(name, asyncio.Lock())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run everything, and people who deliver and listen, while the block runs."""
        async with AsyncExitStack() as stack:
            await self._start_stores(stack)
            for number in range(self.shape.nodes):
                await self._add_node(number, stack)
            await self._open_mailboxes()
            people = [asyncio.create_task(client.run()) for client in self._clients]
            self.place.loading.set()
            self._senders = [
                asyncio.create_task(sender.run()) for sender in self._make_senders()
            ]
            stack.push_async_callback(self._send_home, [*people, *self._senders])
            yield

    async def _send_home(self, people: Sequence[asyncio.Task[None]]) -> None:
        """Close the doors behind everybody; nobody is dragged out in mid-sentence."""
        self.place.loading.clear()
        self.place.over.set()
        await asyncio.gather(*[door.close() for door in self.doors])
        await asyncio.gather(*people)

    def lost(
        self,
        since: float,
        broken: float,
        *,
        messages: bool = True,
        mailboxes: Sequence[str] = (),
    ) -> None:
        """Write down that a store has forgotten, and is there again; see `Lost`."""
        self.recorder.note(
            Lost(
                since=since,
                broken=broken,
                until=self.recorder.now(),
                messages=messages,
                mailboxes=list(mailboxes or self.mailboxes),
            )
        )

    async def settle(self) -> None:
        """Let everybody finish, and write down what is there then."""
        if not await self._answered():
            self.recorder.note(Complained(line="Some deliveries never were answered."))
        unread = await self._settled()
        self.recorder.note(Quiet(unread=unread))
        for node in self.nodes:
            for line in node.complaints():
                self.recorder.note(Complained(line=line))

    # --- making it --------------------------------------------------------------------

    async def _start_stores(self, stack: AsyncExitStack) -> None:
        if self.group is not None:
            await asyncio.to_thread(self.group.stores.__enter__)
            stack.callback(self.group.stores.__exit__)
        else:
            stack.callback(self.store.kill)
            await asyncio.to_thread(self.store.start)

    def _proxy(self, stack: AsyncExitStack) -> Proxy:
        proxy = Proxy(self.rng)
        stack.push_async_callback(proxy.close)
        return proxy

    async def _link(self, number: int, link: Proxy) -> tuple[str, dict[int, int]]:
        """Link a node to its stores; return their URL, and the way to each port of them."""
        if self.group is None:
            near, far = self.directory / f"n{number}", self.directory / "s"
            await link.to_path(near, lambda: far)
            return f"unix://{near}", {}
        ports = [server.port for server in self.group.stores.servers]
        ways = {port: await link.to_port(partial(_local, port)) for port in ports}
        return self.group.url, ways

    async def _add_node(self, number: int, stack: AsyncExitStack) -> None:
        link, door = self._proxy(stack), self._proxy(stack)
        url, ways = await self._link(number, link)
        environ = {
            "PUSHD_PORT": "0",
            "PUSHD_REDIS_URL": url,
            "PUSHD_PUBLIC_URL": PUBLIC_URL,
            "PUSHD_DURABILITY": self.shape.level,
            "PUSHD_LOG_FORMAT": "json",
            "PUSHD_DRAIN_SECONDS": "1",
            "PUSHD_PING_INTERVAL": "2",
        }
        node = Node(
            f"node-{number}",
            self.directory,
            environ,
            ways=ways,
            pace=self.shape.pace,
            mutant=self.shape.mutant,
        )
        stack.push_async_callback(node.stop)
        self.nodes.append(node)
        self.links.append(link)
        self.doors.append(door)
        self._ports.append(await door.to_port(lambda: _local(node.port)))
        await node.start()

    def _url(self) -> str:
        return f"http://127.0.0.1:{self.rng.choice(self._ports)}"

    def _make_clients(self) -> list[Listener | Poller]:
        """Make clients of several tempers; the first mailbox is never acked."""
        clients: list[Listener | Poller] = []
        for number, owner in enumerate(self._owners):
            acks = 0.0 if number == 0 else self.rng.choice((0.0, 0.3, 0.8))
            name = f"listener-{number}"
            clients.append(Listener(self.place, name, owner, acks))
            if self.rng.random() < 0.5:
                slow = Listener(
                    self.place,
                    f"slow-{number}",
                    owner,
                    acks / 2,
                    window=self.rng.choice((1, 2, 8)),
                    slowness=0.05,
                )
                clients.append(slow)
            if self.rng.random() < 0.3:
                clients.append(Poller(self.place, f"poller-{number}", owner, acks / 2))
        return clients

    def _make_senders(self) -> list[Sender]:
        return [
            Sender(self.place, name, self.mailboxes, self.shape.rate)
            for name in ("alice", "carol")
        ]

    # --- mailboxes from outside ---------------------------------------------------------

    async def _open_mailboxes(self) -> None:
        await self._read_all("begin")

    async def _read_all(self, name: str) -> dict[str, list[str]]:
        """Read every mailbox from its first message to its last."""
        readers = [
            Reader(self.place, f"{READER}{name}-{number}", owner, 0.0)
            for number, owner in enumerate(self._owners)
        ]
        async with http_client() as http:
            found = await asyncio.gather(*[reader.read_all(http) for reader in readers])
        return {owner.did: ids for owner, ids in zip(self._owners, found, strict=True)}

    async def _answered(self) -> bool:
        """Wait until the senders are done, as long as they are told anything else."""
        accepted, waiting = -1, set(self._senders)
        while waiting and self.recorder.numbers().accepted > accepted:
            accepted = self.recorder.numbers().accepted
            _, waiting = await asyncio.wait(self._senders, timeout=PATIENCE)
        return not waiting

    async def _settled(self) -> dict[str, list[str]]:
        """Wait until nothing more comes and the checker is content, or patience ends."""
        unread: dict[str, list[str]] = {}
        got, end, pause = -1, 0.0, 0.3
        while self._got() > got or self.recorder.now() < end:
            if self._got() > got:  # slow, and on its way
                got, end = self._got(), self.recorder.now() + self.shape.patience
            before, unread = unread, await self._read_all("end")
            if before == unread and self._have_all(unread) and self._content(unread):
                break
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 3.0)
        return unread

    def _got(self) -> int:
        return sum(len(client.got) for client in self._clients)

    def _have_all(self, unread: dict[str, list[str]]) -> bool:
        return all(c.got >= set(unread[c.person.did]) for c in self._clients)

    def _content(self, unread: dict[str, list[str]]) -> bool:
        quiet = Quiet(at=self.recorder.now(), unread=unread)
        return not check([*self.recorder.history, quiet])


def _group(shape: Shape, directory: Path) -> Group | None:
    match shape.topology:
        case "sentinels":
            return Watched(shape.store, directory)
        case "cluster":
            return Spread(shape.store, directory)
    return None


def _local(port: int) -> tuple[str, int]:
    return ("127.0.0.1", port)


def _store(shape: Shape, directory: Path) -> Server:
    return Server(
        shape.store, directory, appendonly="yes" if shape.appended else "no",
        appendfsync="always" if shape.level != "memory" else "everysec",
    )  # fmt: skip
