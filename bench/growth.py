"""The command `python -m bench.growth`: does a message cost more where there is more?

One thing grows at a time: the mailboxes in the store, the unread messages of a mailbox,
the sessions beside those that are written to, the workers. A message should cost the same
at every step. Two axes say what `python -m bench` does not: what latency does as load
nears the most there can be, and what a delivery over the socket costs.

The steps of an axis stand side by side, each a server of its own, and are measured in
turn, round after round: what disturbs one disturbs all. Work of other programs mostly
adds, so the cheapest quarter of the rounds of a step is shown as its cost, and of
everything else the median.
"""

import argparse
import asyncio
import os
import random
import secrets
import shlex
import sys
import tempfile
import time
from asyncio import Future, Runner
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from itertools import cycle, product
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import uvloop
from msgspec.json import Decoder

from bench import load, pace, report, scenarios
from bench.load import LoadFailed
from bench.pace import Figures
from bench.processes import Durability, Unavailable, cores, most_files
from bench.records import WIRE, Recipients
from bench.scenarios import WIDTH, Rig, check
from bench.servers import Serving, serving
from bench.store import Deaf, Meter, accept
from bench.talk import Person, Talk
from bench.wire import PAYLOAD, write
from pushd.identity.tokens import MAX_RECIPIENTS
from pushd.mailbox.base import Entry, Quota
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.messages import (
    MAX_WINDOW,
    Ack,
    AnyServerFrame,
    CaughtUp,
    Deliver,
    DeliveryAccepted,
    DeliveryRefused,
    From,
    Hello,
    Message,
    Messages,
    Seen,
    message_body,
)

RESULTS = Path(__file__).with_name("results")

MIB = 1024 * 1024
LARGE = {"max_mailbox_messages": 1_000_000, "max_mailbox_bytes": 1024 * MIB}
"""Settings under which no mailbox here comes near its quota."""
NO_QUOTA = Quota(messages=10_000_000, bytes=2**40, dedup=7 * 86400)
SPREAD = 2000
"""Messages of a round that go to mailboxes all over the store."""
EMPTY_MAILBOX = 2048
"""Bytes a mailbox takes of the store, at most."""
AT_ONCE = 1000
"""Calls to the store under way while mailboxes are made and filled."""
SENDERS = 16
"""Connections to post on."""
FLIGHT = 16
"""Frames of a sender without an answer, where nothing else is said."""
SPARE_FILES = 500
TTL = 30 * 86400

_message = Decoder(Message)


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


FULL = Plan(
    rounds=6,
    seconds=1.0,
    warmup=0.5,
    recipients=256,
    mailboxes=(1, 1000, 100_000, 1_000_000),
    unread=(0, 10_000, 100_000),
    sessions=(100, 1000, 2500, 5000, 10_000),
    rest=26.0,
    workers=(1, 2),
    rate=1000.0,
    shares=(10, 25, 50, 70, 80, 90),
    flights=(1, 16, 64),
)
QUICK = FULL._replace(
    rounds=3,
    seconds=0.7,
    mailboxes=(1, 1000, 100_000),
    unread=(0, 10_000),
    sessions=(100, 1000, 3000),
    rest=5.0,
    shares=(25, 50, 75),
)

Note = Callable[[str], None]
Round = Callable[[], Figures]
"""Measures one round."""
Steps = dict[int, Round]
"""By how much there is of what grows."""


# --- what axes share --------------------------------------------------------------------


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


def entry(mailbox: str, *, sender: int = 0, key: str | None = None) -> Entry:
    """Make a delivery for a store, from one of any number of senders."""
    did = f"did:btc-addr:1S{sender:032d}"
    return Entry(mailbox, did, message_body(From(did=did), "x" * PAYLOAD), TTL, key)


# --- talking over sockets ---------------------------------------------------------------


class Listener:
    """Somebody who has seen what was there, and acks what comes, id by id.

    Attributes:
        person: Who.
        messages: Heard until now.
    """

    def __init__(self) -> None:
        self.person = Person()
        self.messages = 0
        self._live: Future[None] = asyncio.get_running_loop().create_future()

    async def begin(self, port: int) -> None:
        """Connect, and see all there is."""
        self._talk = await Talk.begin(port, self.heard)
        self._talk.say(Hello(token=self.person.token(), window=MAX_WINDOW))
        await self._live

    async def end(self) -> None:
        """End the connection."""
        self._talk.close()
        await self._talk.over

    def heard(self, talk: Talk, frame: AnyServerFrame) -> None:
        """Take a frame."""
        if isinstance(frame, CaughtUp):
            self._live.set_result(None)
        if not isinstance(frame, Messages):
            return
        self.messages += len(frame.messages)
        ids = [_message.decode(message).id for message in frame.messages]
        talk.say(Ack(ids=ids) if self._live.done() else Seen(upto=ids[-1]))


class Deliverer:
    """Somebody who delivers over the socket while told to, so many at a time.

    Args:
        dids: To whom, in turn.
        flight: Deliveries without an answer.

    Attributes:
        refused: Deliveries that were.
    """

    def __init__(self, dids: Sequence[str], flight: int) -> None:
        self.refused = 0
        self._loop = asyncio.get_running_loop()
        self._live: Future[None] = self._loop.create_future()
        self._idle: Future[None] = self._loop.create_future()
        self._token = Person().token(to=dids)
        self._next = cycle(dids)
        self._flight = flight
        self._under_way = 0
        self._going = False

    async def begin(self, port: int) -> None:
        """Connect."""
        self._talk = await Talk.begin(port, self.heard)
        self._talk.say(Hello(token=self._token))
        await self._live

    def go(self) -> None:
        """Deliver from now on."""
        self._going, self._idle = True, self._loop.create_future()
        for _ in range(self._flight):
            self._deliver()

    async def stop(self) -> None:
        """Deliver no more, and wait for the answers."""
        self._going = False
        await self._idle

    async def end(self) -> None:
        """End the connection."""
        self._talk.close()
        await self._talk.over

    def heard(self, talk: Talk, frame: AnyServerFrame) -> None:
        """Take a frame."""
        if isinstance(frame, CaughtUp):
            self._live.set_result(None)
        elif isinstance(frame, (DeliveryAccepted, DeliveryRefused)):
            self.refused += isinstance(frame, DeliveryRefused)
            self._under_way -= 1
            if self._going:
                self._deliver()
            elif not self._under_way:
                self._idle.set_result(None)

    def _deliver(self) -> None:
        self._under_way += 1
        key = secrets.token_hex(8)
        self._talk.say(Deliver(next(self._next), "x" * PAYLOAD, 1, key))


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


class Exchange:
    """Listeners, and one who delivers to them over the socket.

    Args:
        bench: Says how long.
        serving: The server.
        listeners: Connected.
        flight: Deliveries without an answer.
    """

    def __init__(
        self, bench: Bench, serving: Serving, listeners: Sequence[Listener], flight: int
    ) -> None:
        self._plan = bench.plan
        self._serving = serving
        self._listeners = listeners
        self._deliverer = Deliverer([one.person.did for one in listeners], flight)

    async def begin(self) -> None:
        """Connect the one who delivers."""
        await self._deliverer.begin(self._serving.port)

    async def round(self) -> Figures:
        """Deliver for a round, and return what a message cost.

        Raises:
            LoadFailed: If one was refused, or none arrived.
        """
        self._deliverer.go()
        await asyncio.sleep(self._plan.warmup)
        cost, before = Cost(self._serving), self._heard()
        await asyncio.sleep(self._plan.seconds)
        messages = self._heard() - before
        if self._deliverer.refused or not messages:
            raise LoadFailed("Deliveries over the socket were refused or lost.")
        figures = cost.per(messages)
        await self._deliverer.stop()
        return figures

    async def end(self) -> None:
        """End all connections."""
        await self._deliverer.end()
        for one in self._listeners:
            await one.end()

    def _heard(self) -> int:
        return sum(one.messages for one in self._listeners)


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
    with (
        serving(bench.directory / name, settings) as server,
        Runner() as runner,
    ):
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
    exchange = Exchange(bench, serving, [listener], FLIGHT)
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
    with (
        serving(bench.directory / f"socket-{flight}") as server,
        Runner() as runner,
    ):
        exchange = runner.run(_connect(bench, server, flight))
        yield lambda: runner.run(exchange.round())
        runner.run(exchange.end())


async def _connect(bench: Bench, serving: Serving, flight: int) -> Exchange:
    listeners = [Listener() for _ in range(min(bench.plan.recipients, MAX_RECIPIENTS))]
    for one in listeners:
        await one.begin(serving.port)
    exchange = Exchange(bench, serving, listeners, flight)
    await exchange.begin()
    return exchange


# --- all of it --------------------------------------------------------------------------


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


def measure(plan: Plan, names: Sequence[str], note: Note) -> list[Figures]:
    """Measure along axes; return the figures of every round, by axis, step and name.

    Raises:
        Unavailable: If the machine lacks something.
        LoadFailed: If a server did not do what it should.
    """
    runs: list[Figures] = [{"pace.verify_us": pace.verify_us()}]
    with tempfile.TemporaryDirectory(prefix="pushd-growth-") as directory:
        bench = Bench(plan, Path(directory), load.build(Path(directory)), note)
        for name in names:
            with AXES[name].stand(bench) as steps:
                for _, at in product(range(plan.rounds), steps):
                    figures = steps[at]()
                    runs.append({f"{name}.{at}.{k}": v for k, v in figures.items()})
                    shown = [f"{k} {report.number(figures[k])}" for k in COST]
                    note(f"{name} {at:,}: {', '.join(shown)}")
    return runs


def series(runs: Sequence[Figures], axis: str, figure: str) -> dict[int, float]:
    """Return one figure along an axis: by step, the cheapest quarter or the median."""
    found: dict[int, list[float]] = {}
    for run in runs:
        for name, value in run.items():
            if name.startswith(f"{axis}.") and name.endswith(f".{figure}"):
                found.setdefault(int(name.split(".")[1]), []).append(value)
    of = _cheap if figure.endswith("_us") else median
    return {at: of(values) for at, values in sorted(found.items())}


def _cheap(values: Sequence[float]) -> float:
    return quantiles(values, n=4, method="inclusive")[0] if len(values) > 1 else values[0]


def table(runs: Sequence[Figures], name: str) -> str:
    """Write an axis as a Markdown table, with what each cost is to the first."""
    axis = AXES[name]
    columns = [series(runs, name, figure) for figure in axis.columns]
    rows: list[tuple[str, ...]] = [(axis.says, *axis.columns.values())]
    for at in columns[0]:
        cells = [
            _cell(column, at, compare=figure.endswith("_us"))
            for figure, column in zip(axis.columns, columns, strict=True)
        ]
        rows.append((f"{at:,}", *cells))
    return report.markdown(rows)


def _cell(column: dict[int, float], at: int, *, compare: bool) -> str:
    if at not in column:
        return ""
    first = column[min(column)]
    times = f" (x {column[at] / first:.2f})" if compare and column[at] != first else ""
    return report.number(column[at]) + times


def main() -> None:
    """Measure, and print a table for each axis."""
    options = _options()
    facts = report.machine()
    began = time.monotonic()
    os.sched_setaffinity(0, set(cores()))
    try:
        names = options.only or list(AXES)
        runs = measure(QUICK if options.quick else FULL, names, _say)
    except (Unavailable, LoadFailed) as error:
        sys.exit(f"growth: {error}")
    except KeyboardInterrupt:
        sys.exit("growth: stopped")
    print("\n\n".join(table(runs, name) for name in names))
    facts["command"] = shlex.join(["python", "-m", "bench.growth", *sys.argv[1:]])
    facts["took_seconds"] = round(time.monotonic() - began)
    path = options.output or RESULTS / f"growth-{time.strftime('%Y%m%dT%H%M%S')}.json"
    report.write(path, facts, runs)
    _say(f"{facts['took_seconds']} s; everything is in {path}")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--only", nargs="+", choices=AXES, help="these; all by default")
    parser.add_argument("--output", type=Path, help="where the JSON goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
