"""The command `python -m bench.abuse`: what does abuse cost those who behave?

A pair talks, Alice to Bob, at a steady pace: first alone, then while a process beside it
does all at once what a server must bear (`abusers.py`): a flood from one key, sockets that
say nothing, readers that hardly read. How long Alice's messages take to reach Bob is the
figure; that all of them arrive, in order, is no figure but a must.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple
from urllib.request import urlopen

from msgspec.json import Decoder

from bench.abusers import PATIENCE, Plan, abuse, ask
from bench.processes import Unavailable, cores
from bench.servers import Serving, serving
from bench.talk import Person, Talk
from pushd.protocol.messages import Ack, AnyServerFrame, Hello, Message, Messages

NUMBERS = re.compile(r'(?m)^pushd_(held|turned_away_total)\{what="(\w+)"\} (\S+)$')
"""What the metrics say of bounds."""

_message = Decoder(Message)


class Latencies(NamedTuple):
    """How long the pair's messages took, in milliseconds.

    Attributes:
        sent: How many were accepted.
        p50: Half took no longer.
        p99: All but one in a hundred took no longer.
        most: None took longer.
    """

    sent: int
    p50: float
    p99: float
    most: float


class Figures(NamedTuple):
    """What came of it.

    Attributes:
        quiet: The pair by itself.
        abused: The pair beside the abuse.
        counts: What the abusers did, and were told.
        bounds: What the server held at the end, and whom it turned away, as it says.
        rss: Bytes of the server's memory at the end.
    """

    quiet: Latencies
    abused: Latencies
    counts: dict[str, int]
    bounds: dict[str, float]
    rss: int


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.abuse", description=__doc__)
    parser.add_argument("--seconds", type=float, default=Plan().seconds)
    try:
        figures = measure(Plan(seconds=parser.parse_args().seconds))
    except Unavailable as error:
        sys.exit(str(error))
    sys.stdout.write(report(figures))


def report(figures: Figures) -> str:
    """Put the figures into words."""
    lines = [
        f"pair {when}: {each.sent} messages, p50 {each.p50:.1f} ms, "
        f"p99 {each.p99:.1f} ms, most {each.most:.1f} ms"
        for when, each in (("alone", figures.quiet), ("abused", figures.abused))
    ]
    told = {**figures.counts, **figures.bounds, "server's MB": figures.rss / 1e6}
    lines += [f"{what}: {number:.0f}" for what, number in told.items() if number]
    return "\n".join(lines) + "\n"


def measure(plan: Plan) -> Figures:
    """Run a server, the pair and the abusers.

    Raises:
        Unavailable: If the server does not start.
    """
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        serving(Path(directory, "run"), {"sender_rate": plan.limit}) as running,
        on_last_core(),
    ):
        return asyncio.run(_measure(plan, running))


@contextmanager
def on_last_core() -> Iterator[None]:
    """Leave the first core to the server."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores()[1]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def _measure(plan: Plan, running: Serving) -> Figures:
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=abuse, args=(running.port, plan, there))
    async with pair(running.port) as (alice, bob):
        quiet = await converse(plan, alice, bob)
        process.start()
        try:
            await asyncio.to_thread(here.recv)  # all is in place
            abused = await converse(plan, alice, bob)
            bounds = await asyncio.to_thread(_bounds, running.port)
            rss = running.server.rss()
            here.send("stop")
            counts: dict[str, int] = await asyncio.to_thread(here.recv)
        finally:
            process.kill()
            process.join()
    return Figures(quiet, abused, counts, bounds, rss)


def _bounds(port: int) -> dict[str, float]:
    """Ask the server what it holds, and how often there was no room."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        found = NUMBERS.findall(answer.read().decode())
    words = {"held": "held", "turned_away_total": "turned away"}
    return {f"{words[kind]} {what}": float(number) for kind, what, number in found}


# --- the pair ------------------------------------------------------------------------


class Alice(NamedTuple):
    """Who writes."""

    reader: StreamReader
    writer: StreamWriter
    token: str
    to: str

    async def write(self, payload: str) -> None:
        """Deliver once."""
        status = await ask(self.reader, self.writer, self.token, self.to, payload)
        if status != 202:
            raise AssertionError(f"Alice was refused: {status}.")


class Bob:
    """Who reads and acks at once.

    Attributes:
        arrived: The payloads that came, and when.
    """

    def __init__(self) -> None:
        self.arrived: list[tuple[str, float]] = []
        self.news = asyncio.Event()

    def heard(self, talk: Talk, frame: AnyServerFrame) -> None:
        """Take a frame."""
        if isinstance(frame, Messages):
            now = time.monotonic()
            messages = [_message.decode(message) for message in frame.messages]
            self.arrived += [(message.payload, now) for message in messages]
            talk.say(Ack(upto=messages[-1].id))
        self.news.set()


@asynccontextmanager
async def pair(port: int) -> AsyncIterator[tuple[Alice, Bob]]:
    """Connect both."""
    bob, owner = Bob(), Person()
    talk = await Talk.begin(port, bob.heard)
    talk.say(Hello(token=owner.token()))
    await bob.news.wait()
    token = Person().token(to=[owner.did], receive=False)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Alice(reader, writer, token, owner.did), bob
    talk.close()
    writer.close()


async def converse(plan: Plan, alice: Alice, bob: Bob) -> Latencies:
    """Talk for a while; all that was sent has arrived, in order, when this returns."""
    bob.arrived.clear()
    due: list[float] = []
    begin = time.monotonic()
    for n in range(int(plan.seconds * plan.pace)):
        await asyncio.sleep(max(0.0, begin + n / plan.pace - time.monotonic()))
        due.append(time.monotonic())
        await alice.write(str(n))
    async with asyncio.timeout(PATIENCE):
        while len(bob.arrived) < len(due):
            bob.news.clear()
            await bob.news.wait()
    if [payload for payload, _ in bob.arrived] != [str(n) for n in range(len(due))]:
        raise AssertionError("Bob got something else than Alice sent.")
    took = [1000 * (at - was) for (_, at), was in zip(bob.arrived, due, strict=True)]
    cuts = quantiles(took, n=100)
    return Latencies(len(took), cuts[49], cuts[98], max(took))


if __name__ == "__main__":
    main()
