"""The command `python -m bench.guard`: did a change make the server do more than before?

Compares with `baseline.json`, which is committed, and ends with status 1 where something
is over it by more than its `MARGIN`. First it counts the bytecode instructions of a server
per message and per connect: no other program and no other machine changes them, only
another version of Python does. Then it measures processor time, relative to what a loop
and a signature take on the same machine, for what instructions do not show; that is
believed only while other programs leave the machine alone.
"""

import argparse
import asyncio
import math
import platform
import secrets
import signal
import sys
import tempfile
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from bench import growth, load, pace, report
from bench.counted import Counts
from bench.growth import Bench, Cost, entry, mailboxes_of
from bench.load import LoadFailed
from bench.pace import Figures
from bench.processes import Unavailable, cores, on_core
from bench.scenarios import WIDTH, check
from bench.servers import Serving, serving
from bench.talk import Person, Talk
from bench.wire import NUMBER, PAYLOAD, post
from pushd.protocol.messages import (
    Ack,
    AnyServerFrame,
    CaughtUp,
    Deliver,
    Delivery,
    Hello,
    Messages,
    encode,
)

BASELINE = Path(__file__).with_name("baseline.json")

INSTRUCTIONS = "instructions"
PACE = "x pace"

MARGIN = {INSTRUCTIONS: 0.15, PACE: 0.35}
"""The share by which a figure may be over its baseline, by unit."""
DISTURBED = 0.10
"""The share of the cores from which on other programs disturb processor time."""
PATIENCE = 30.0
"""Seconds until whatever was asked for has happened."""
REST = 0.2
"""Seconds in which a server comes to rest."""
IDLE = 2.0
"""Seconds in which is counted what it does at rest."""

PEOPLE = 32
"""Recipients; all are written to at once."""
ROUNDS = 10
"""How often everybody is written to, in each way."""
UNREAD = 1000
"""Messages in the mailbox that is read."""
PAYLOAD_TEXT = "x" * PAYLOAD

PLAN = growth.QUICK._replace(rounds=5, recipients=64)
"""How processor time is measured."""
CONNECTS = 512
"""Connects of a round."""
LOOP = 1000
"""Turns of the loop that stands for Python: about as long as a signature."""
TIMES = 100

Line = tuple[StreamReader, StreamWriter]
"""A connection to post on."""


class Figure(NamedTuple):
    """A figure that is guarded.

    Attributes:
        says: What it is.
        unit: What it is counted in.
    """

    says: str
    unit: str


FIGURES = {
    "single": Figure("message, one per POST", INSTRUCTIONS),
    "batch": Figure(f"message, {PEOPLE} per POST", INSTRUCTIONS),
    "socket": Figure("message, over the socket", INSTRUCTIONS),
    "connect.seen": Figure("connect, seen token", INSTRUCTIONS),
    "connect.fresh": Figure("connect, fresh token", INSTRUCTIONS),
    "catch_up": Figure("message, caught up", INSTRUCTIONS),
    "cpu.single": Figure("message, one per POST", PACE),
    "cpu.connect.seen": Figure("connect, seen token", PACE),
}


class Baseline(Struct):
    """What the figures were when somebody last looked at them and was content.

    Attributes:
        python: The version that executed the instructions, without its patch level.
        figures: By name.
    """

    python: str
    figures: dict[str, float]


# --- instructions -----------------------------------------------------------------------


class Listener:
    """Somebody who acks all that comes.

    Attributes:
        did: Who.
        messages: Heard until now.
        connects: How often caught up.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._person = Person()
        self.did = self._person.did
        self.messages = self.connects = 0
        self.renew()

    def renew(self) -> None:
        """Make a new token for the next time."""
        self._token = self._person.token()

    async def come(self) -> Talk:
        """Connect, and catch up."""
        wanted = self.connects + 1
        talk = await Talk.begin(self._port, self._heard)
        talk.say(Hello(token=self._token))
        await until(lambda: self.connects == wanted)
        return talk

    def _heard(self, talk: Talk, frame: AnyServerFrame) -> None:
        if isinstance(frame, CaughtUp):
            self.connects += 1
        elif isinstance(frame, Messages):
            self.messages += len(frame.messages)
            talk.say(Ack(upto=frame.cursor.partition("@")[0]))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something.

    Raises:
        LoadFailed: If it does not happen.
    """
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise LoadFailed("The counted server did not do what it should.")
        await asyncio.sleep(0.002)


class Counting:
    """Has a server do things, one kind after the other, and counts what it executes.

    Args:
        serving: The server, `bench.counted`.
        path: Where it writes its counts.
        rounds: How often everybody is written to.
    """

    def __init__(self, serving: Serving, path: Path, rounds: int) -> None:
        self._serving = serving
        self._path = path
        self._rounds = rounds
        self._people = [Listener(serving.port) for _ in range(PEOPLE)]
        self._dids = [one.did for one in self._people]
        self._sender = Person()
        self._written_to = 0
        self._talks: list[Talk] = []
        self._lines: list[Line] = []
        self._idle = 0.0

    async def figures(self) -> Figures:
        """Return the instructions of each kind."""
        await self._visits()  # which makes the mailboxes
        self._idle = await self._at_rest()
        seen = await self._per(PEOPLE, self._visits)
        for one in self._people:
            one.renew()
        fresh = await self._per(PEOPLE, self._visits)
        await _fill(self._serving.url, self._dids[0])
        read = await self._per(UNREAD, self._visits)
        for one in self._people:
            one.messages = 0
            self._talks.append(await one.come())
        figures = {
            "connect.seen": seen,
            "connect.fresh": fresh,
            "catch_up": read - PEOPLE * seen / UNREAD,
            "single": await self._per_message(await self._single()),
            "batch": await self._per_message(await self._batch()),
            "socket": await self._per_message(await self._socket()),
        }
        await self._end()
        return figures

    async def _end(self) -> None:
        for talk in self._talks:
            talk.close()
            await talk.over
        for _, writer in self._lines:
            writer.close()
            await writer.wait_closed()

    async def _per(self, count: int, work: Callable[[], Awaitable[None]]) -> float:
        """Return how many instructions each of `count` things takes, done by `work`.

        What happens once in a while, whatever else happens, is not theirs: it would be the
        more, the longer a busy machine takes.
        """
        before, began = await self._counts(), time.monotonic()
        await work()
        spent = (await self._counts()).instructions - before.instructions
        return (spent - self._idle * (time.monotonic() - began)) / count

    async def _at_rest(self) -> float:
        """Return how many instructions a second a server takes that nobody talks to."""
        before, began = await self._counts(), time.monotonic()
        await asyncio.sleep(IDLE)
        spent = (await self._counts()).instructions - before.instructions
        return spent / (time.monotonic() - began)

    async def _counts(self) -> Counts:
        await asyncio.sleep(REST)
        self._serving.server.signal(signal.SIGUSR1)
        await until(self._path.exists)
        counts = msgspec.json.decode(self._path.read_bytes(), type=Counts)
        self._path.unlink()
        return counts

    async def _visits(self) -> None:
        """Let everybody come and leave, one after the other."""
        for one in self._people:
            talk = await one.come()
            talk.abort()
            await talk.over

    async def _per_message(self, deliver: Callable[[], Awaitable[None]]) -> float:
        """Return what a message takes, where `deliver` writes to everybody once."""

        async def work() -> None:
            for _ in range(self._rounds):
                self._written_to += 1
                await deliver()
                await until(self._everybody_heard)

        await work()  # for what happens but once
        return await self._per(PEOPLE * self._rounds, work)

    def _everybody_heard(self) -> bool:
        return all(one.messages == self._written_to for one in self._people)

    async def _single(self) -> Callable[[], Awaitable[None]]:
        lines = [await self._line() for _ in self._dids]
        posts = [self._post([did]) for did in self._dids]

        async def deliver() -> None:
            await asyncio.gather(*map(_exchange, lines, posts))

        return deliver

    async def _batch(self) -> Callable[[], Awaitable[None]]:
        return partial(_exchange, await self._line(), self._post(self._dids))

    async def _socket(self) -> Callable[[], Awaitable[None]]:
        talk = await Talk.begin(self._serving.port, lambda talk, frame: None)
        talk.say(Hello(token=self._sender.token(to=self._dids)))
        self._talks.append(talk)

        async def deliver() -> None:
            for did in self._dids:
                talk.say(Deliver(did, PAYLOAD_TEXT, ref=1, key=_key()))

        return deliver

    async def _line(self) -> Line:
        self._lines.append(await asyncio.open_connection("127.0.0.1", self._serving.port))
        return self._lines[-1]

    def _post(self, dids: Sequence[str]) -> bytes:
        made = [Delivery(did, PAYLOAD_TEXT, NUMBER) for did in dids]
        return post(
            "/v1/deliveries",
            encode(made[0] if len(made) == 1 else {"deliveries": made}),
            kind="application/json",
            authorization=f"Bearer {self._sender.token(to=dids, receive=False)}",
        )


def _key() -> str:
    return secrets.token_hex(len(NUMBER) // 2)


async def _exchange(line: Line, request: bytes) -> None:
    """Post, each time with new keys, and read the answer to its end."""
    reader, writer = line
    while (mark := NUMBER.encode()) in request:
        request = request.replace(mark, _key().encode(), 1)
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))


async def _fill(url: str, mailbox: str) -> None:
    async with mailboxes_of(url) as mailboxes:
        await mailboxes.accept([entry(mailbox) for _ in range(UNREAD)])


def instructions(directory: Path, rounds: int) -> Figures:
    """Count what a new server executes."""
    path = directory / "counts"
    command = (sys.executable, "-m", "bench.counted", path)
    with serving(directory / "counted", command=command) as server:
        return asyncio.run(Counting(server, path, rounds).figures())


# --- processor time ---------------------------------------------------------------------


def processor_time(bench: Bench) -> Figures:
    """Measure a new server, relative to the pace of the machine; and who disturbed it."""
    figures: Figures = {"cpu.single": math.inf, "cpu.connect.seen": math.inf}
    disturbed = []
    with bench.rig("cpu") as (rig, server):
        for _ in range(bench.plan.rounds):
            pace_us = pace.verify_us() + _loop_us()
            round = bench.deliver(rig)
            disturbed.append(round["others"])
            cost = Cost(server)
            check(rig.load.tell(f"storm {CONNECTS} {WIDTH}"))
            connect = cost.per(CONNECTS)["server_us"]
            for name, us in (("single", round["server_us"]), ("connect.seen", connect)):
                figures[f"cpu.{name}"] = min(figures[f"cpu.{name}"], us / pace_us)
    return figures | {"others": min(disturbed)}


def _loop_us() -> float:
    """Return the microseconds of a loop that takes Python about as long as a signature."""

    def once() -> float:
        began, number = time.process_time_ns(), 0
        for _ in range(TIMES * LOOP):
            number = number * 5 + 1 & 0xFF
        return (time.process_time_ns() - began) / TIMES / 1e3

    with on_core(cores()[0]):
        return min(once() for _ in range(pace.ROUNDS))


# --- the verdict ------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What became of a figure.

    Attributes:
        over: Whether it is over its baseline by more than the margin.
        says: Why, or why it was not judged.
    """

    over: bool
    says: str


def judge(name: str, figures: Figures, baseline: Baseline) -> Verdict:
    """Compare a figure with its baseline."""
    if name not in baseline.figures:
        return Verdict(False, "no baseline yet")
    if FIGURES[name].unit == PACE and figures["others"] > DISTURBED:
        return Verdict(False, f"not judged: others take {figures['others']:.0%}")
    if FIGURES[name].unit == INSTRUCTIONS and baseline.python != python():
        return Verdict(False, f"not judged: counted with Python {baseline.python}")
    change = figures[name] / baseline.figures[name] - 1
    over = change > MARGIN[FIGURES[name].unit]
    return Verdict(over, f"{change:+.1%}{', over' if over else ''}")


def python() -> str:
    """Return the version of Python that decides about instructions."""
    return ".".join(platform.python_version_tuple()[:2])


def table(figures: Figures, baseline: Baseline) -> str:
    """Write the figures beside their baseline as a Markdown table."""
    rows: list[tuple[str, ...]] = [("what", "unit", "baseline", "now", "change")]
    for name, (says, unit) in FIGURES.items():
        was = baseline.figures.get(name)
        rows.append(
            (
                says,
                unit,
                "" if was is None else report.number(was),
                report.number(figures[name]),
                judge(name, figures, baseline).says,
            )
        )
    return report.markdown(rows)


def measure(rounds: int, bench: Bench) -> Figures:
    """Return all figures."""
    return instructions(bench.directory, rounds) | processor_time(bench)


def main() -> None:
    """Measure, print the table, and end with status 1 if anything is over."""
    options = _options()
    try:
        with tempfile.TemporaryDirectory(prefix="pushd-guard-") as name:
            directory = Path(name)
            figures = measure(ROUNDS, Bench(PLAN, directory, load.build(directory), _quiet))
    except (Unavailable, LoadFailed) as error:
        sys.exit(f"guard: {error}")
    except KeyboardInterrupt:
        sys.exit("guard: stopped")
    if options.update:
        kept = Baseline(python(), {name: round(figures[name], 2) for name in FIGURES})
        BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
    baseline = msgspec.json.decode(BASELINE.read_bytes(), type=Baseline)
    print(table(figures, baseline))
    sys.exit(any(judge(name, figures, baseline).over for name in FIGURES))


def _quiet(sentence: str) -> None:
    """Say nothing: the table says it all."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument(
        "--update", action="store_true", help="let these figures be the baseline"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
