"""The command `python -m bench.soak`: does a server keep growing as people come and go?

People come with a new token, some with the cursor they left with; they read, or pick,
or lag behind with a small window and say nothing; they close, hang up, or leave the
connection there and answer no ping. Others deliver to them meanwhile, over HTTP and over
the socket, so that mailboxes fill, refuse, expire and drain. All that the server and the
store may remember is kept small, so that it is full early and whatever grows on is a
leak. Memory hardly depends on what else the machine does, so this may run beside others.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from asyncio import StreamReader, StreamWriter, Task
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from statistics import linear_regression, median
from typing import NamedTuple

from msgspec.json import Decoder

from bench import report
from bench.pace import Figures
from bench.processes import Unavailable, cores
from bench.servers import Serving, serving
from bench.talk import Person, Talk
from bench.wire import post
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import (
    Ack,
    AnyServerFrame,
    Closing,
    Deliver,
    Delivery,
    DeliveryAccepted,
    DeliveryRefused,
    ErrorFrame,
    Hello,
    Message,
    Messages,
    Overflowed,
    Seen,
    encode,
)

RESULTS = Path(__file__).with_name("results")

PEOPLE = 300
"""Identities with a mailbox; one token may deliver to at most 100."""
SENDERS = 3
"""Who deliver over HTTP, and as many over the socket."""
EACH = 16
"""Deliveries between two pauses of a sender."""
PAUSE = 0.3
"""Seconds a sender rests, on average."""
STAY = (0.5, 8.0)
"""Seconds somebody stays, at least and at most."""
AWAY = 2.0
"""Seconds somebody stays away, at most."""
PING_INTERVAL = 2
DEAF = 3.0 * PING_INTERVAL
"""Seconds after which a server has surely ended a session that hears nothing."""
SETTLE = 10.0
"""Seconds in which a server comes to rest when everybody has left."""

SETTINGS = {
    "ping_interval": PING_INTERVAL,
    "token_cache_bytes": 256 * 1024,
    "dedup": 60,
    "max_mailbox_messages": 40,
}
MIB = 1024 * 1024
GROWTH = 0.02
"""The share of its memory by which a process may differ over half a soak."""
LITTLE = 1 * MIB
"""Bytes by which it may differ in any case: what an allocator takes at a time."""

_chance = random.Random(20)  # noqa: S311 - makes churn, no secret
_keys = count(1)
_message = Decoder(Message)


class Sample(NamedTuple):
    """What a server and its store took at one moment.

    Attributes:
        minutes: Since the beginning.
        server: Bytes of the server in RAM.
        store: Bytes of the store in RAM.
        files: Files and connections that the server had open.
    """

    minutes: float
    server: int
    store: int
    files: int


class Soaked(NamedTuple):
    """How a soak went.

    Attributes:
        before: The server as it started, with nobody there.
        during: A sample every few seconds.
        after: The server when everybody had left.
        counts: What people and senders did and heard, by name.
    """

    before: Sample
    during: list[Sample]
    after: Sample
    counts: Counter[str]


# --- people -----------------------------------------------------------------------------


class Visitor:
    """Somebody who comes and goes."""

    def __init__(self, port: int, counts: Counter[str]) -> None:
        self.person = Person()
        self._port = port
        self._counts = counts
        self._cursor: str | None = None
        self._habit = "lag"

    async def live(self) -> None:
        """Come and go for ever."""
        while True:
            await asyncio.sleep(_chance.uniform(0, AWAY))
            with suppress(OSError):
                await self._visit()

    async def _visit(self) -> None:
        self._habit = _chance.choice(("read", "read", "pick", "lag"))
        talk = await Talk.begin(self._port, self._heard)
        self._counts["connects"] += 1
        hello = Hello(token=self.person.token(), window=_chance.choice((1, 8, 256)))
        if self._cursor is not None and _chance.random() < 0.7:
            hello.after = self._cursor
        if _chance.random() < 0.5:
            hello.device = "phone"
        talk.say(hello)
        leave = talk.abort
        try:
            await asyncio.wait([talk.over], timeout=_chance.uniform(*STAY))
            leave = _chance.choice(
                (talk.close, talk.close, talk.abort, talk.abort, talk.turn_deaf)
            )
        finally:
            leave()
            if leave == talk.turn_deaf:
                asyncio.get_running_loop().call_later(DEAF, talk.abort)

    def _heard(self, talk: Talk, frame: AnyServerFrame) -> None:
        if isinstance(frame, Messages):
            self._counts["messages"] += len(frame.messages)
            self._cursor = frame.cursor
            self._answer(talk, [_message.decode(message).id for message in frame.messages])
        elif isinstance(frame, (ErrorFrame, Closing, Overflowed)):
            self._counts[_name(frame)] += 1

    def _answer(self, talk: Talk, ids: Sequence[str]) -> None:
        if self._habit == "read":
            talk.say(Ack(upto=ids[-1]))
        elif self._habit == "pick":
            talk.say(Seen(upto=max(ids, key=MessageId.parse)))
            talk.say(Ack(ids=list(ids[::3])))


def _name(frame: ErrorFrame | Closing | Overflowed) -> str:
    if isinstance(frame, ErrorFrame):
        return f"error: {frame.code}"
    return f"closing: {frame.reason}" if isinstance(frame, Closing) else "overflow"


# --- senders ----------------------------------------------------------------------------


class Sender:
    """Somebody who delivers to everybody.

    Args:
        port: Of the server.
        dids: Who is delivered to.
        counts: Where what happened is counted.
    """

    def __init__(self, port: int, dids: Sequence[str], counts: Counter[str]) -> None:
        self._port = port
        self._dids = dids
        self._counts = counts
        self._person = Person()

    async def post(self) -> None:
        """Deliver over HTTP for ever, one at a time or many, on connections that end."""
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    await self._post(reader, writer)
                finally:
                    writer.close()

    async def _post(self, reader: StreamReader, writer: StreamWriter) -> None:
        to = self._some()
        token = self._person.token(to=to, receive=False)
        for _ in range(4):
            batch = [_delivery(did) for did in _chance.sample(to, min(EACH, len(to)))]
            bodies = [{"deliveries": batch}] if _chance.random() < 0.5 else batch
            for body in bodies:
                request = post(
                    "/v1/deliveries",
                    encode(body),
                    kind="application/json",
                    authorization=f"Bearer {token}",
                )
                writer.write(request)
                self._counts["posts"] += 1
                if _chance.random() < 0.02:
                    return  # hang up on the answer
                self._counts[f"answer {await _answer(reader)}"] += 1
            await asyncio.sleep(_chance.uniform(0, 2 * PAUSE))

    async def talk(self) -> None:
        """Deliver over the socket for ever."""
        while True:
            with suppress(OSError):
                talk = await Talk.begin(self._port, self._heard)
                leave = talk.abort
                try:
                    await self._talk(talk)
                    leave = _chance.choice((talk.close, talk.abort))
                finally:
                    leave()

    async def _talk(self, talk: Talk) -> None:
        to = self._some()
        talk.say(Hello(token=self._person.token(to=to)))
        for number in range(4 * EACH):
            one = _delivery(_chance.choice(to))
            talk.say(Deliver(one.to, one.payload, number, one.key, one.ttl))
            if number % EACH == EACH - 1:
                await asyncio.sleep(_chance.uniform(0, 2 * PAUSE))

    def _some(self) -> Sequence[str]:
        return _chance.sample(self._dids, min(100, len(self._dids)))

    def _heard(self, talk: Talk, frame: AnyServerFrame) -> None:
        if isinstance(frame, DeliveryAccepted):
            self._counts["accepted over the socket"] += 1
        elif isinstance(frame, DeliveryRefused):
            self._counts[f"refused: {frame.error.code}"] += 1


def _delivery(did: str) -> Delivery:
    key = f"key-{next(_keys)}" if _chance.random() < 0.7 else None
    return Delivery(did, "x" * _chance.randint(1, 800), key, _chance.randint(20, 60))


async def _answer(reader: StreamReader) -> int:
    """Read an answer to its end, and return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
    return int(head.split()[1])


# --- the soak ---------------------------------------------------------------------------


async def soak(
    serving: Serving, seconds: float, every: float, people: int = PEOPLE
) -> Soaked:
    """Let people come and go, and look at the server's memory.

    Args:
        serving: A new server.
        seconds: How long.
        every: Seconds between two samples.
        people: How many.
    """
    began = time.monotonic()

    def sample() -> Sample:
        minutes = (time.monotonic() - began) / 60
        server, store = serving.server, serving.store
        return Sample(minutes, server.rss(), store.rss(), server.files())

    before, during = sample(), []
    counts: Counter[str] = Counter()
    with _crowd(serving.port, counts, people):
        while time.monotonic() < began + seconds:
            await asyncio.sleep(every)
            during.append(sample())
            _say(f"{_line(during[-1])}, {counts['connects']:,} connects")
    await asyncio.sleep(SETTLE)
    return Soaked(before, during, sample(), counts)


@contextmanager
def _crowd(port: int, counts: Counter[str], people: int) -> Iterator[None]:
    """Have everybody there meanwhile."""
    visitors = [Visitor(port, counts) for _ in range(people)]
    dids = [visitor.person.did for visitor in visitors]
    senders = [Sender(port, dids, counts) for _ in range(SENDERS)]
    loop = asyncio.get_running_loop()
    lives = [one.live() for one in visitors]
    lives += [talk for one in senders for talk in (one.post(), one.talk())]
    tasks: list[Task[None]] = [loop.create_task(life) for life in lives]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()


def slope(samples: Sequence[Sample], of: str) -> float:
    """Return how many bytes a minute something grew over the second half of a soak."""
    half = samples[len(samples) // 2 :]
    minutes = [sample.minutes for sample in half]
    return linear_regression(minutes, [getattr(sample, of) for sample in half]).slope


def verdict(soaked: Soaked) -> list[str]:
    """Return sentences that say what grew; none if nothing did."""
    half = soaked.during[len(soaked.during) // 2 :]
    minutes = half[-1].minutes - half[0].minutes
    sentences = []
    for of in ("server", "store"):
        grown = slope(soaked.during, of) * minutes
        if grown > max(LITTLE, GROWTH * median(getattr(sample, of) for sample in half)):
            sentences.append(
                f"The {of} grew by {grown / MIB:.2f} MiB in {minutes:.1f} min."
            )
    if soaked.after.files > soaked.before.files:
        more = soaked.after.files - soaked.before.files
        sentences.append(f"{more} files are open that nobody uses.")
    return sentences


def table(soaked: Soaked) -> str:
    """Write how it went as a Markdown table."""
    half = len(soaked.during) // 2
    moments = {
        "nobody there yet": soaked.before,
        "after a quarter": soaked.during[half // 2],
        "after half": soaked.during[half],
        "at the end": soaked.during[-1],
        "everybody left": soaked.after,
    }
    rows: list[tuple[str, ...]] = [("when", "min", "server MiB", "store MiB", "open files")]
    rows += [
        (
            when,
            f"{one.minutes:.1f}",
            f"{one.server / MIB:.2f}",
            f"{one.store / MIB:.2f}",
            str(one.files),
        )
        for when, one in moments.items()
    ]
    slopes = [f"{slope(soaked.during, of) / 1024:+.1f} KiB" for of in ("server", "store")]
    rows.append(("a minute, second half", "", *slopes, ""))
    return report.markdown(rows)


def figures(soaked: Soaked) -> list[Figures]:
    """Return what was measured, for the JSON: the samples as runs, in order."""
    runs: list[Figures] = [
        {
            "soak.minutes": one.minutes,
            "soak.server_mib": one.server / MIB,
            "soak.store_mib": one.store / MIB,
            "soak.files": float(one.files),
        }
        for one in soaked.during
    ]
    ends = {
        "soak.before.server_mib": soaked.before.server / MIB,
        "soak.after.server_mib": soaked.after.server / MIB,
        "soak.server_kib_per_minute": slope(soaked.during, "server") / 1024,
        "soak.store_kib_per_minute": slope(soaked.during, "store") / 1024,
    }
    return [*runs, ends, {f"soak.{name}": float(n) for name, n in soaked.counts.items()}]


def main() -> None:
    """Soak, print the table, and tell whether anything grew by the exit status."""
    options = _options()
    os.sched_setaffinity(0, {cores()[1]})
    facts = report.machine()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="pushd-soak-") as name,
            serving(Path(name) / "rig", SETTINGS) as server,
        ):
            soaked = asyncio.run(soak(server, options.minutes * 60, options.every))
    except Unavailable as error:
        sys.exit(f"soak: {error}")
    except KeyboardInterrupt:
        sys.exit("soak: stopped")
    print(table(soaked))
    print(", ".join(f"{n:,} {name}" for name, n in sorted(soaked.counts.items())))
    path = options.output or RESULTS / f"soak-{time.strftime('%Y%m%dT%H%M%S')}.json"
    report.write(path, facts | {"minutes": options.minutes}, figures(soaked))
    grown = verdict(soaked)
    print(*(grown or ["Nothing grew."]), sep="\n")
    sys.exit(1 if grown else 0)


def _line(sample: Sample) -> str:
    return (
        f"{sample.minutes:5.1f} min: server {sample.server / MIB:.2f} MiB,"
        f" store {sample.store / MIB:.2f} MiB, {sample.files} open files"
    )


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20, help="how long; 20")
    parser.add_argument("--every", type=float, default=10, help="seconds between samples")
    parser.add_argument("--output", type=Path, help="where the JSON goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
