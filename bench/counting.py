"""What a server is made to do while its bytecode instructions are counted.

`instructions` has a server of its own (`counted.py`) visited, written to and read from, and
tells what each of these took, by the file whose code it was.
"""

import asyncio
import secrets
import signal
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from bench.load import LoadFailed
from bench.rigs import entry, mailboxes_of
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

Line = tuple[StreamReader, StreamWriter]
"""A connection to post on."""
Spent = dict[str, float]
"""Instructions by the file whose they are."""

_counts = msgspec.json.Decoder(dict[str, int])


def instructions(directory: Path, rounds: int = ROUNDS) -> dict[str, Spent]:
    """Count what a new server executes, of each kind of work."""
    path = directory / "counts"
    command = (sys.executable, "-m", "bench.counted", path)
    with serving(directory / "counted", command=command) as server:
        return asyncio.run(Counting(server, path, rounds).spent())


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
        self._idle: Spent = {}

    async def spent(self) -> dict[str, Spent]:
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
        spent = {
            "connect.seen": seen,
            "connect.fresh": fresh,
            "catch_up": _less(read, seen, PEOPLE / UNREAD),
            "single": await self._per_message(await self._single()),
            "batch": await self._per_message(await self._batch()),
            "socket": await self._per_message(await self._socket()),
        }
        await self._end()
        return spent

    async def _end(self) -> None:
        for talk in self._talks:
            talk.close()
            await talk.over
        for _, writer in self._lines:
            writer.close()
            await writer.wait_closed()

    async def _per(self, count: int, work: Callable[[], Awaitable[None]]) -> Spent:
        """Return how many instructions each of `count` things takes, done by `work`.

        What happens once in a while, whatever else happens, is not theirs: it would be the
        more, the longer a busy machine takes.
        """
        before, began = await self._counts(), time.monotonic()
        await work()
        after = await self._counts()
        rest = time.monotonic() - began
        return {
            name: (after[name] - before[name] - self._idle.get(name, 0.0) * rest) / count
            for name in after
        }

    async def _at_rest(self) -> Spent:
        """Return how many instructions a second a server takes that nobody talks to."""
        before, began = await self._counts(), time.monotonic()
        await asyncio.sleep(IDLE)
        spent = await self._counts()
        spent.subtract(before)
        elapsed = time.monotonic() - began
        return {name: instructions / elapsed for name, instructions in spent.items()}

    async def _counts(self) -> Counter[str]:
        await asyncio.sleep(REST)
        self._serving.server.signal(signal.SIGUSR1)
        await until(self._path.exists)
        counts = Counter(_counts.decode(self._path.read_bytes()))
        self._path.unlink()
        return counts

    async def _visits(self) -> None:
        """Let everybody come and leave, one after the other."""
        for one in self._people:
            talk = await one.come()
            talk.abort()
            await talk.over

    async def _per_message(self, deliver: Callable[[], Awaitable[None]]) -> Spent:
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


def _less(spent: Spent, part: Spent, times: float) -> Spent:
    """Return what is left of `spent` without so many times a part of it."""
    return {name: spent[name] - times * part.get(name, 0.0) for name in spent}
