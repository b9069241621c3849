"""Deliveries over one socket to listeners on others, frame by frame, and what they cost."""

import asyncio
import secrets
from asyncio import Future
from collections.abc import Sequence
from itertools import cycle

from msgspec.json import Decoder

from bench.load import LoadFailed
from bench.pace import Figures
from bench.rigs import Cost, Plan
from bench.servers import Serving
from bench.talk import Person, Talk
from bench.wire import PAYLOAD
from pushd.protocol.messages import (
    MAX_WINDOW,
    Ack,
    AnyServerFrame,
    CaughtUp,
    Deliver,
    DeliveryAccepted,
    DeliveryRefused,
    Hello,
    Message,
    Messages,
    Seen,
)

_message = Decoder(Message)


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


class Exchange:
    """Listeners, and one who delivers to them over the socket.

    Args:
        plan: Says how long.
        serving: The server.
        listeners: Connected.
        flight: Deliveries without an answer.
    """

    def __init__(
        self, plan: Plan, serving: Serving, listeners: Sequence[Listener], flight: int
    ) -> None:
        self._plan = plan
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
