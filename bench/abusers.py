"""Those who abuse a server, all at once, in a process of their own.

One key delivers at ten times its limit. A thousand sockets connect and say nothing, and
connect again when they are dropped. Five hundred readers ask for all they have and read it
drop by drop.
"""

import asyncio
import os
import socket
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from multiprocessing.connection import Connection
from typing import NamedTuple

from bench.pair import PATIENCE, ask
from bench.talk import Person, Talk
from pushd.protocol.messages import Hello

LARGE = "x" * 4096
"""What slow readers have to read."""
BATCH = 100
SESSIONS = 20
"""Readers of one mailbox."""
CONNECTIONS = 8
"""Of the flood."""
NARROW = 32 * 1024
"""Bytes that the kernel keeps for a slow reader."""
SIP = 1.0
"""Seconds between two times that it reads a little: slow is not stuck."""
MOMENT = 0.05


class Plan(NamedTuple):
    """How much is done.

    Attributes:
        seconds: How long the pair is measured, alone and abused.
        pace: Messages of the pair in a second.
        limit: Deliveries of one sender in a minute.
        flood: Deliveries in a second that the flood tries.
        idle: Sockets that say nothing.
        lagging: Readers that hardly read.
        unread: Messages that wait for each of them.
    """

    seconds: float = 40.0
    pace: float = 10.0
    limit: int = 1200
    flood: float = 200.0
    idle: int = 1000
    lagging: int = 500
    unread: int = 600


def abuse(port: int, plan: Plan, pipe: Connection) -> None:
    """Abuse a server until told to stop, then tell what came of it."""
    os.nice(5)  # the pair, on the same core, is what is measured
    asyncio.run(Abusers(port, plan).run(pipe))


class Abusers:
    """All of them."""

    def __init__(self, port: int, plan: Plan) -> None:
        self._port = port
        self._plan = plan
        self._counts: Counter[str] = Counter()
        self._limited = asyncio.Event()

    async def run(self, pipe: Connection) -> None:
        """Begin, say so, and go on until told to stop, and until the flood was refused."""
        async with AsyncExitStack() as stack:
            readers = await self._readers(stack)
            tasks = [asyncio.create_task(sip(readers))]
            tasks += [asyncio.create_task(self._idle()) for _ in range(self._plan.idle)]
            carol = Person()
            await self._session(carol, stack)
            token = Person().token(to=[carol.did], receive=False)
            floods = [self._flood(token, carol.did) for _ in range(CONNECTIONS)]
            tasks += map(asyncio.create_task, floods)
            pipe.send("ready")
            await asyncio.to_thread(pipe.recv)
            async with asyncio.timeout(PATIENCE):
                await self._limited.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            stayed = [reader for reader in readers if not reader.over.done()]
            self._counts["slow readers still there"] = len(stayed)
            pipe.send(dict(self._counts))

    async def _session(self, person: Person, stack: AsyncExitStack) -> Talk:
        live = asyncio.Event()
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
        narrow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", self._port))
        talk = await Talk.begin(self._port, lambda talk, frame: live.set(), narrow)
        stack.callback(talk.abort)
        talk.say(Hello(token=person.token(), window=1000))
        await live.wait()
        return talk

    async def _readers(self, stack: AsyncExitStack) -> list[Talk]:
        """Have sessions that stop reading, and then much for them to read."""
        plan, talks = self._plan, list[Talk]()
        for start in range(0, plan.lagging, SESSIONS):
            owner = Person()
            for _ in range(min(SESSIONS, plan.lagging - start)):
                talks.append(await self._session(owner, stack))
                talks[-1].pause()
            await self._fill(owner.did)
        return talks

    async def _fill(self, did: str) -> None:
        token = Person().token(to=[did], receive=False)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        for at in range(0, self._plan.unread, BATCH):
            many = min(BATCH, self._plan.unread - at)
            await ask(reader, writer, token, did, LARGE, batch=many)
        writer.close()

    async def _idle(self) -> None:
        """Connect and say nothing; again, when the server had enough of it."""
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                self._counts["idle connections"] += 1
                try:
                    await reader.read()
                finally:
                    writer.close()

    async def _flood(self, token: str, to: str) -> None:
        """Deliver at a pace, whatever is answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        due = time.monotonic()
        while True:
            due += CONNECTIONS / self._plan.flood
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            status = await ask(reader, writer, token, to, "flood")
            self._counts[f"flood answered {status}"] += 1
            if status == 429:
                self._limited.set()


async def sip(readers: list[Talk]) -> None:
    """Read a little, now and then."""
    while True:
        await asyncio.sleep(SIP)
        for each in (Talk.resume, Talk.pause):
            for reader in readers:
                if not reader.over.done():
                    each(reader)
            await asyncio.sleep(MOMENT)
