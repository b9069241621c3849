"""A pair that behaves: Alice writes to Bob at a steady pace, whatever else goes on.

How long her messages take to reach him is the figure; that all of them arrive, in order, is
no figure but a must.
"""

import asyncio
import os
import re
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from statistics import quantiles
from typing import NamedTuple
from urllib.request import urlopen

from msgspec.json import Decoder

from bench.processes import cores
from bench.talk import Person, Talk
from bench.wire import post
from pushd.protocol.messages import (
    Ack,
    AnyServerFrame,
    Delivery,
    Hello,
    Message,
    Messages,
    encode,
)

PATIENCE = 60.0
"""Seconds in which what has to come must come."""
NUMBERS = re.compile(r'(?m)^pushd_(held|turned_away_total)\{what="(\w+)"\} (\S+)$')
"""What the metrics say of bounds."""

_message = Decoder(Message)


class Latencies(NamedTuple):
    """How long the pair's messages took, in milliseconds.

    Attributes:
        sent: How many were accepted.
        refused: How many were not.
        p50: Half took no longer.
        p99: All but one in a hundred took no longer.
        most: None took longer.
    """

    sent: int
    refused: int
    p50: float
    p99: float
    most: float

    def __str__(self) -> str:
        return (
            f"{self.sent} messages, {self.refused} refused, p50 {self.p50:.1f} ms,"
            f" p99 {self.p99:.1f} ms, most {self.most:.1f} ms"
        )


class Alice(NamedTuple):
    """Who writes."""

    reader: StreamReader
    writer: StreamWriter
    token: str
    to: str

    async def write(self, payload: str) -> int:
        """Deliver once; return the status."""
        return await ask(self.reader, self.writer, self.token, self.to, payload)


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


async def converse(
    alice: Alice, bob: Bob, pace: float, enough: Callable[[int], bool]
) -> Latencies:
    """Talk for a while; all that was accepted has arrived, in order, when this returns.

    Args:
        alice: Writes.
        bob: Reads.
        pace: Messages in a second.
        enough: Tells whether so many were enough.
    """
    bob.arrived.clear()
    due: dict[str, float] = {}
    begin = time.monotonic()
    tried = 0
    while not enough(tried):
        when = begin + tried / pace
        await asyncio.sleep(max(0.0, when - time.monotonic()))
        if await alice.write(str(tried)) == 202:
            due[str(tried)] = when
        tried += 1
    async with asyncio.timeout(PATIENCE):
        while len(bob.arrived) < len(due):
            bob.news.clear()
            await bob.news.wait()
    if [payload for payload, _ in bob.arrived] != list(due):
        raise AssertionError("Bob got something else than Alice sent.")
    took = [1000 * (at - due[payload]) for payload, at in bob.arrived]
    cuts = quantiles(took, n=100)
    return Latencies(len(took), tried - len(took), cuts[49], cuts[98], max(took))


async def ask(
    reader: StreamReader,
    writer: StreamWriter,
    token: str,
    to: str,
    payload: str,
    *,
    batch: int = 0,
) -> int:
    """Deliver once, or several in a batch, and return the status."""
    delivery = Delivery(to=to, payload=payload)
    body = encode({"deliveries": [delivery] * batch} if batch else delivery)
    authorization = f"Bearer {token}"
    writer.write(
        post("/v1/deliveries", body, kind="application/json", authorization=authorization)
    )
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in lines if line)
    await reader.readexactly(int(fields[b"content-length"]))
    return int(first.split(b" ")[1])


@contextmanager
def on_last_core() -> Iterator[None]:
    """Leave the first core to the server."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores()[1]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def bounds_of(port: int) -> dict[str, float]:
    """Ask a server what it holds, and how often there was no room."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        found = NUMBERS.findall(answer.read().decode())
    words = {"held": "held", "turned_away_total": "turned away"}
    return {f"{words[kind]} {what}": float(number) for kind, what, number in found}
