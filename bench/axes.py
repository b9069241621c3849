"""The axes: what grows, step by step, and what is done at each step.

The steps of an axis stand side by side, each a server of its own.
"""

import asyncio
import os
import random
import secrets
import time
from asyncio import Runner
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import uvloop

from bench.exchange import Exchange, Listener
from bench.load import LoadFailed
from bench.pace import Figures
from bench.processes import Unavailable, most_files
from bench.records import Recipients
from bench.rigs import MIB, Bench, Cost, entry, mailboxes_of, memory
from bench.scenarios import WIDTH, Rig, check
from bench.servers import Serving, serving
from bench.store import Meter, accept
from bench.wire import write
from pushd.identity.tokens import MAX_RECIPIENTS

LARGE = {"max_mailbox_messages": 1_000_000, "max_mailbox_bytes": 1024 * MIB}
"""Settings under which no mailbox here comes near its quota."""
SPREAD = 2000
"""Messages of a round that go to mailboxes all over the store."""
EMPTY_MAILBOX = 2048
"""Bytes a mailbox takes of the store, at most."""
AT_ONCE = 1000
"""Calls to the store under way while mailboxes are made and filled."""
FLIGHT = 16
"""Frames of a sender without an answer, where nothing else is said."""
SPARE_FILES = 500

Round = Callable[[], Figures]
"""Measures one round."""
Steps = dict[int, Round]
"""By how much there is of what grows."""


# --- mailboxes in the store -------------------------------------------------------------


@contextmanager
def mailboxes(bench: Bench) -> Iterator[Steps]:
    """Let the mailboxes in the store be many, most of them nobody's.

    Messages go to those that listen; and then, without a server, to mailboxes all over the
    store, where they are acked.
    """
    steps: Steps = {}
    with ExitStack() as stack:
        for wanted in bench.plan.mailboxes:
            if wanted * EMPTY_MAILBOX > _free() / 2:
                bench.note(f"mailboxes: memory would not do for {wanted:,} of them.")
                break
            rig, server = stack.enter_context(bench.rig(f"mailboxes-{wanted}"))
            uvloop.run(_make(server.url, wanted))
            steps[wanted] = partial(_deliver_among, bench, rig, server, wanted)
        yield steps


def _deliver_among(bench: Bench, rig: Rig, serving: Serving, among: int) -> Figures:
    return bench.deliver(rig) | uvloop.run(_spread(serving, among)) | memory(serving)


def _free() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise Unavailable("The kernel does not tell how much memory is free.")


def _name(number: int) -> str:
    return f"did:btc-addr:1M{number:032d}"


async def _make(url: str, count: int) -> None:
    async with mailboxes_of(url) as mailboxes:
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, count))
            opening = [mailboxes.open(_name(number), create=True) for number in numbers]
            await asyncio.gather(*opening)


async def _spread(serving: Serving, among: int) -> Figures:
    """Return what a message costs that goes to any of so many mailboxes.

    The same ones in each round: the first message to a mailbox makes what it lacked.
    """
    numbers = random.Random(among).choices(range(among), k=SPREAD)  # noqa: S311 - no secret
    names = [_name(number) for number in numbers]
    async with mailboxes_of(serving.url) as mailboxes:
        calls = [[entry(name, key=secrets.token_hex(8))] for name in names]
        with Meter(serving.store) as meter:
            stored = await accept(mailboxes, calls)
            acks = [mailboxes.acknowledge(name, [id]) for name, id in stored]
            await asyncio.gather(*acks)
    if len(stored) != SPREAD:
        raise LoadFailed(f"{SPREAD - len(stored)} messages were refused.")
    return {"spread_us": meter.cost(SPREAD).store}


# --- unread messages in one mailbox -----------------------------------------------------


@contextmanager
def unread(bench: Bench) -> Iterator[Steps]:
    """Let one mailbox have many unread messages, below half of its quota.

    Its owner reads all of it and then acks what comes meanwhile, one by one.
    """
    with ExitStack() as stack:
        yield {
            count: stack.enter_context(_unread(bench, f"unread-{count}", count, LARGE))
            for count in bench.plan.unread
        }


@contextmanager
def heavy(bench: Bench) -> Iterator[Steps]:
    """Let it have two thirds of its quota, where each sender's share is counted too."""
    with ExitStack() as stack:
        yield {
            count: stack.enter_context(
                _unread(
                    bench,
                    f"heavy-{count}",
                    count,
                    LARGE | {"max_mailbox_messages": count * 3 // 2},
                )
            )
            for count in bench.plan.unread
            if count
        }


@contextmanager
def _unread(
    bench: Bench, name: str, count: int, settings: Mapping[str, object]
) -> Iterator[Round]:
    with serving(bench.directory / name, settings) as server, Runner() as runner:
        exchange, read = runner.run(_read_unread(bench, server, count))
        yield lambda: runner.run(exchange.round()) | read | memory(server)
        runner.run(exchange.end())


async def _read_unread(
    bench: Bench, serving: Serving, count: int
) -> tuple[Exchange, Figures]:
    """Fill a mailbox, and let its owner see all of it; tell what that cost."""
    listener = Listener()
    await _fill(serving.url, listener.person.did, count)
    cost = Cost(serving)
    await listener.begin(serving.port)
    read = cost.per(count, "read_") if count else {}
    exchange = Exchange(bench.plan, serving, [listener], FLIGHT)
    await exchange.begin()
    return exchange, read


async def _fill(url: str, mailbox: str, count: int) -> None:
    """Make a mailbox, with messages of four senders."""
    async with mailboxes_of(url) as mailboxes:
        await mailboxes.open(mailbox, create=True)
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, count))
            await mailboxes.accept([entry(mailbox, sender=n % 4) for n in numbers])


# --- sessions ---------------------------------------------------------------------------


@contextmanager
def sessions(bench: Bench) -> Iterator[Steps]:
    """Let there be many idle sessions, and deliver to few others.

    What the idle ones take by themselves, pings and comparisons with the store, is
    watched apart, while nothing is delivered; it is part of the other figures too.
    """
    most = most_files() - SPARE_FILES
    counts = [count for count in bench.plan.sessions if count <= most]
    hellos = Recipients(counts[-1]).hellos(counts[-1])
    idle = write(bench.directory / "idle", hellos)
    with ExitStack() as stack:
        yield {
            count: stack.enter_context(_sessions(bench, count, idle)) for count in counts
        }


@contextmanager
def _sessions(bench: Bench, count: int, idle: Path) -> Iterator[Round]:
    with bench.rig(f"sessions-{count}") as (rig, server):
        rig.load.tell(f"hellos {idle}")
        check(rig.load.tell(f"connect {count} {WIDTH}"))
        cost = Cost(server)
        time.sleep(bench.plan.rest)
        rest = {"rest_ms": cost.per(1)["server_us"] / 1e3 / bench.plan.rest}
        taken = memory(server)
        yield lambda: bench.deliver(rig) | rest | taken


# --- workers ----------------------------------------------------------------------------


@contextmanager
def workers(bench: Bench) -> Iterator[Steps]:
    """Let one and several workers share every core with the store and the load."""
    with ExitStack() as stack:
        steps: Steps = {}
        for count in bench.plan.workers:
            settings = {"workers": count}
            rig, server = stack.enter_context(bench.rig(f"workers-{count}", settings))
            server.server.run_on(os.sched_getaffinity(0))
            steps[count] = partial(_deliver_steadily, bench, rig)
        yield steps


def _deliver_steadily(bench: Bench, rig: Rig) -> Figures:
    """Deliver at a fixed rate, then as fast as it goes; tell what the store could do."""
    steady = bench.deliver(rig, rate=bench.plan.rate)
    full = {f"full_{name}": value for name, value in bench.deliver(rig).items()}
    return steady | full | {"store_limit": 1e6 / full["full_store_us"]}


# --- latency against load ---------------------------------------------------------------


@contextmanager
def latency(bench: Bench) -> Iterator[Steps]:
    """Let load near the most there can be, one message per POST, synced to disk."""
    with bench.rig("latency", durability="fsync") as (rig, _):
        full = median(bench.deliver(rig)["per_second"] for _ in range(3))
        yield {
            share: partial(bench.deliver, rig, rate=full * share / 100)
            for share in bench.plan.shares
        }


# --- deliveries over the socket ---------------------------------------------------------


@contextmanager
def over_socket(bench: Bench) -> Iterator[Steps]:
    """Deliver over one websocket to many, so many frames at a time."""
    with ExitStack() as stack:
        yield {
            flight: stack.enter_context(_over_socket(bench, flight))
            for flight in bench.plan.flights
        }


@contextmanager
def _over_socket(bench: Bench, flight: int) -> Iterator[Round]:
    with serving(bench.directory / f"socket-{flight}") as server, Runner() as runner:
        exchange = runner.run(_connect(bench, server, flight))
        yield lambda: runner.run(exchange.round())
        runner.run(exchange.end())


async def _connect(bench: Bench, serving: Serving, flight: int) -> Exchange:
    listeners = [Listener() for _ in range(min(bench.plan.recipients, MAX_RECIPIENTS))]
    for one in listeners:
        await one.begin(serving.port)
    exchange = Exchange(bench.plan, serving, listeners, flight)
    await exchange.begin()
    return exchange


# --- all of them ------------------------------------------------------------------------


class Axis(NamedTuple):
    """Something that grows.

    Attributes:
        says: What it is, the head of the table's first column.
        stand: Has the steps stand side by side.
        columns: The figures shown, and their heads.
    """

    says: str
    stand: Callable[[Bench], AbstractContextManager[Steps]]
    columns: dict[str, str]


COST = {"server_us": "server us", "store_us": "store us"}
READ = {"read_server_us": "read: server us", "read_store_us": "read: store us"}
MEMORY = {"server_mib": "server MiB", "store_mib": "store MiB"}

AXES = {
    "mailboxes": Axis(
        "other mailboxes", mailboxes, COST | {"spread_us": "spread: store us"} | MEMORY
    ),
    "unread": Axis("unread messages", unread, COST | READ | MEMORY),
    "heavy": Axis("2/3 of the quota", heavy, COST | READ | MEMORY),
    "sessions": Axis("idle sessions", sessions, COST | {"rest_ms": "rest: ms/s"} | MEMORY),
    "workers": Axis(
        "workers",
        workers,
        COST
        | {"full_server_us": "full load: server us", "full_store_us": "full load: store us"}
        | {"full_per_second": "full load: 1/s", "store_limit": "store's limit: 1/s"},
    ),
    "load": Axis(
        "% of the most",
        latency,
        {"per_second": "messages/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms"} | COST,
    ),
    "socket": Axis("frames at a time", over_socket, COST | {"per_second": "messages/s"}),
}
