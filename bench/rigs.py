"""What grows is measured on: a server, its store and a load program, and what they cost."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import load, scenarios
from bench.pace import Figures
from bench.processes import Durability, cores
from bench.records import WIRE, Recipients
from bench.scenarios import WIDTH, Rig, check
from bench.servers import Serving, serving
from bench.store import Deaf
from bench.wire import PAYLOAD, write
from pushd.mailbox.base import Entry, Quota
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.messages import From, message_body

MIB = 1024 * 1024
NO_QUOTA = Quota(messages=10_000_000, bytes=2**40, dedup=7 * 86400)
SENDERS = 16
"""Connections to post on."""
TTL = 30 * 86400

Note = Callable[[str], None]


class Plan(NamedTuple):
    """How much is done.

    Attributes:
        rounds: Of each step.
        seconds: Of deliveries in a round.
        warmup: Seconds of deliveries before that.
        recipients: Connected while there are deliveries.
        mailboxes: In the store beside those of recipients, ascending.
        unread: Messages in the one mailbox, ascending.
        sessions: Idle ones, ascending.
        rest: Seconds in which idle sessions are watched; a ping interval has all of it.
        workers: Processes that serve.
        rate: Messages a second where several workers are compared.
        shares: Of the most messages a second, in percent, ascending.
        flights: Frames a sender has under way on the socket.
    """

    rounds: int
    seconds: float
    warmup: float
    recipients: int
    mailboxes: tuple[int, ...]
    unread: tuple[int, ...]
    sessions: tuple[int, ...]
    rest: float
    workers: tuple[int, ...]
    rate: float
    shares: tuple[int, ...]
    flights: tuple[int, ...]


class Bench(NamedTuple):
    """What every axis is given.

    Attributes:
        plan: How much is done.
        directory: For files.
        program: The load program.
        note: Told what happens.
    """

    plan: Plan
    directory: Path
    program: Path
    note: Note

    @contextmanager
    def rig(
        self,
        name: str,
        settings: Mapping[str, object] | None = None,
        *,
        durability: Durability = "memory",
    ) -> Iterator[tuple[Rig, Serving]]:
        """Run a server, a store, and a load program with its recipients connected."""
        directory = self.directory / name
        with (
            serving(directory, settings, durability=durability) as server,
            load.running(self.program, server.port, core=cores()[1]) as loading,
        ):
            people = Recipients(self.plan.recipients)
            loading.speak(WIRE, directory)
            hellos = people.hellos(self.plan.recipients)
            posts = people.posts(self.plan.recipients, batch=1)
            loading.tell(f"hellos {write(directory / 'hellos', hellos)}")
            loading.tell(f"posts {write(directory / 'posts', posts)}")
            check(loading.tell(f"connect {self.plan.recipients} {WIDTH}"))
            yield Rig(server.server, server.store, loading), server

    def deliver(self, rig: Rig, *, rate: float = 0) -> Figures:
        """Deliver for a round; 0 as `rate` is as fast as answers come."""
        plan = scenarios.Plan(
            runs=1,
            seconds=self.plan.seconds,
            warmup=self.plan.warmup,
            recipients=self.plan.recipients,
            idle=(0,),
            settle=0,
            storm=0,
            mailboxes=0,
            unread=0,
        )
        senders = 4 * SENDERS if rate else SENDERS
        return scenarios.deliver(rig, plan, senders=senders, rate=rate)


def memory(serving: Serving) -> Figures:
    """Return the memory of a server and its store."""
    return {
        "server_mib": serving.server.rss() / MIB,
        "store_mib": serving.store.rss() / MIB,
    }


@asynccontextmanager
async def mailboxes_of(url: str) -> AsyncIterator[RedisMailboxes]:
    """Speak to a store directly."""
    mailboxes = RedisMailboxes(url, subscriber=Deaf(), quota=NO_QUOTA, durability="memory")
    await mailboxes.start()
    try:
        yield mailboxes
    finally:
        await mailboxes.close()


class Cost:
    """Reads the processor time of a server and its store around some work."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._server, self._store = serving.server.cpu_ns(), serving.store.cpu_ns()
        self._began = time.monotonic()

    def per(self, count: int, prefix: str = "") -> Figures:
        """Return what each of `count` things cost until now."""
        server = self._serving.server.cpu_ns() - self._server
        store = self._serving.store.cpu_ns() - self._store
        return {
            f"{prefix}server_us": server / count / 1e3,
            f"{prefix}store_us": store / count / 1e3,
            f"{prefix}per_second": count / (time.monotonic() - self._began),
        }


def entry(mailbox: str, *, sender: int = 0, key: str | None = None) -> Entry:
    """Make a delivery for a store, from one of any number of senders."""
    did = f"did:btc-addr:1S{sender:032d}"
    return Entry(mailbox, did, message_body(From(did=did), "x" * PAYLOAD), TTL, key)
