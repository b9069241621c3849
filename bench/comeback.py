"""The command `python -m bench.comeback`: what does it cost when all come back at once?

Two servers share a store. Thousands of people listen at one of them, each with messages
unread; a pair talks at the other. Then the first is killed, and all turn to the second,
each after a time of its own, as clients do: a random one, up to twice as long with each
attempt, and what a server asks for on top. The figures are how long that takes, what the
pair feels of it, and what it costs the server.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from signal import SIGKILL
from statistics import quantiles
from typing import NamedTuple

from bench.pair import Latencies, ask, bounds_of, converse, on_last_core, pair
from bench.processes import Unavailable, most_files
from bench.servers import Serving, serving
from bench.talk import Person, Talk
from pushd.protocol.client import BACKOFF_BASE, BACKOFF_CAP
from pushd.protocol.messages import (
    AnyServerFrame,
    CaughtUp,
    Closing,
    ErrorFrame,
    Hello,
    Messages,
)

PAYLOAD = "x" * 400
CONNECTIONS = 16
"""Over which mailboxes are filled, and people come for the first time."""
GIVE_UP = 120.0
"""Seconds in which all must be back."""
ENOUGH = 200
"""Messages of the pair from which a percentile can be told."""


class Plan(NamedTuple):
    """How much is done.

    Attributes:
        people: Who listen at the server that is killed.
        unread: Messages that wait for each of them.
        pace: Messages of the pair in a second.
    """

    people: int = 4000
    unread: int = 5
    pace: float = 100.0


class Return(NamedTuple):
    """How the people came back.

    Attributes:
        seconds: After which half of them, 99 of 100 and all had all their messages.
        attempts: Connections they made for that.
        refusals: What they were refused for, how often.
    """

    seconds: tuple[float, float, float]
    attempts: int
    refusals: dict[str, int]


class Figures(NamedTuple):
    """What came of it.

    Attributes:
        quiet: The pair before.
        storm: The pair while all come back.
        people: How they came.
        bounds: What the server held at the end, and whom it turned away, as it says.
        cpu: Seconds of processor time that the server took meanwhile.
        rss: Bytes of the server's memory at the end.
        peak: And when it had most.
    """

    quiet: Latencies
    storm: Latencies
    people: Return
    bounds: dict[str, float]
    cpu: float
    rss: int
    peak: int


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.comeback", description=__doc__)
    parser.add_argument("--people", type=int, default=Plan().people)
    parser.add_argument("--unread", type=int, default=Plan().unread)
    options = parser.parse_args()
    try:
        figures = measure(Plan(people=options.people, unread=options.unread))
    except Unavailable as error:
        sys.exit(str(error))
    sys.stdout.write(report(figures))


def report(figures: Figures) -> str:
    """Put the figures into words."""
    half, most, everybody = figures.people.seconds
    lines = [f"pair before: {figures.quiet}", f"pair meanwhile: {figures.storm}"]
    told = {
        "half were back after, ms": 1000 * half,
        "99 of 100 after, ms": 1000 * most,
        "all after, ms": 1000 * everybody,
        "attempts": figures.people.attempts,
        "processor time of the server, ms": 1000 * figures.cpu,
        "server's MB": figures.rss / 1e6,
        "server's MB at most": figures.peak / 1e6,
        **figures.people.refusals,
        **figures.bounds,
    }
    lines += [f"{what}: {number:.0f}" for what, number in told.items() if number]
    return "\n".join(lines) + "\n"


def measure(plan: Plan) -> Figures:
    """Run two servers, the people and the pair.

    Raises:
        Unavailable: If a server does not start, or too few files may be open here.
    """
    if most_files() < 2 * plan.people + 100:
        raise Unavailable("Too few files may be open here: raise `ulimit -Hn`.")
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        serving(Path(directory, "run")) as second,
        serving(Path(directory, "first"), beside=second) as first,
        on_last_core(),
    ):
        return asyncio.run(_measure(plan, first, second))


async def _measure(plan: Plan, first: Serving, second: Serving) -> Figures:
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    ports = (first.port, second.port)
    process = spawn.Process(target=come_back, args=(plan, ports, there))
    process.start()
    try:
        await asyncio.to_thread(here.recv)  # all listen
        async with pair(second.port) as (alice, bob):
            quiet = await converse(alice, bob, plan.pace, lambda n: n >= ENOUGH)
            before = second.server.cpu_ns()
            first.server.signal(SIGKILL)
            back = asyncio.create_task(asyncio.to_thread(here.recv))
            storm = await converse(
                alice, bob, plan.pace, lambda n: back.done() and n >= ENOUGH
            )
            people: Return = await back
            cpu = (second.server.cpu_ns() - before) / 1e9
            bounds = await asyncio.to_thread(bounds_of, second.port)
            rss, peak = second.server.rss(), second.server.peak_rss()
    finally:
        process.kill()
        process.join()
    return Figures(quiet, storm, people, bounds, cpu, rss, peak)


# --- the people ------------------------------------------------------------------------


def come_back(plan: Plan, ports: Sequence[int], pipe: Connection) -> None:
    """Listen at the first of two servers until it is gone, then at the second."""
    os.nice(10)  # the pair and the store, on the same core, are what is measured
    asyncio.run(_come_back(plan, ports, pipe))


async def _come_back(plan: Plan, ports: Sequence[int], pipe: Connection) -> None:
    first, second = ports
    listeners = [Listener(plan.unread) for _ in range(plan.people)]
    turns = iter(listeners)

    async def begin() -> None:
        for listener in turns:
            await listener.come(first)
            await listener.fill(first)

    await asyncio.gather(*[begin() for _ in range(CONNECTIONS)])
    pipe.send("ready")
    await asyncio.gather(*[listener.lost() for listener in listeners])
    cut = time.monotonic()
    async with asyncio.timeout(GIVE_UP):
        times = await asyncio.gather(*[one.return_to(second) for one in listeners])
    took = sorted(at - cut for at in times)
    cuts = quantiles(took, n=100)
    refusals = sum((one.refusals for one in listeners), Counter[str]())
    attempts = sum(one.attempts for one in listeners)
    pipe.send(Return((cuts[49], cuts[98], took[-1]), attempts, dict(refusals)))
    await asyncio.Event().wait()  # stays until the process is killed


class Listener:
    """One of the people.

    Args:
        unread: Messages that wait for them.

    Attributes:
        attempts: Connections made to come back.
        refusals: What they were refused for.
    """

    def __init__(self, unread: int) -> None:
        self.attempts = 0
        self.refusals: Counter[str] = Counter()
        self._person = Person()
        self._unread = unread
        self._got = 0
        self._retry_after = 0.0
        self._caught_up = False
        # Set once it has caught up, or cannot.
        self._settled = asyncio.Event()
        self._talk: Talk | None = None

    async def come(self, port: int) -> None:
        """Listen for the first time."""
        if not await self._listen(port):
            raise AssertionError(f"Somebody was refused: {dict(self.refusals)}.")

    async def fill(self, port: int) -> None:
        """Get messages that stay unread."""
        token = Person().token(to=[self._person.did], receive=False)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        status = await ask(
            reader, writer, token, self._person.did, PAYLOAD, batch=self._unread
        )
        writer.close()
        if status != 200:
            raise AssertionError(f"Somebody could not be written to: {status}.")

    async def lost(self) -> None:
        """Wait until the connection is gone."""
        if self._talk is not None:
            await self._talk.over

    async def return_to(self, port: int) -> float:
        """Come back with all that is unread; return when that was."""
        while True:
            limit = min(BACKOFF_CAP, BACKOFF_BASE * 2**self.attempts)
            await asyncio.sleep(self._retry_after + random.random() * limit)  # noqa: S311 - spreads load only
            self.attempts += 1
            if await self._listen(port):
                return time.monotonic()

    async def _listen(self, port: int) -> bool:
        """Connect, and wait for what is unread; tell whether it came."""
        self._got, self._retry_after, self._caught_up = 0, 0.0, False
        settled = self._settled = asyncio.Event()
        try:
            self._talk = talk = await Talk.begin(port, self._heard)
        except OSError:
            self.refusals["no connection"] += 1
            return False
        talk.say(Hello(token=self._person.token()))
        talk.over.add_done_callback(lambda over: settled.set())
        await settled.wait()
        return self._caught_up

    def _heard(self, talk: Talk, frame: AnyServerFrame) -> None:
        match frame:
            case Messages():
                self._got += len(frame.messages)
            case ErrorFrame():
                self.refusals[frame.code] += 1
            case Closing():
                self._retry_after = frame.retry_after
            case CaughtUp():
                if self._got != frame.unread:
                    raise AssertionError(f"{self._got} came of {frame.unread} unread.")
                self._caught_up = True
                self._settled.set()
            case _:
                pass


if __name__ == "__main__":
    main()
