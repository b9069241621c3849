"""Messages before the listeners: how many are opened ahead of their turn."""

import asyncio

from pushd.client.arrivals import OPENED_AHEAD, Arrivals
from pushd.client.listeners import Listeners, Received
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import From, Message
from tests.unit.client_fakes import Recorder


def message(number: int) -> Received:
    """Return a message with its number as payload."""
    body = Message(f"1-{number}", From("did:key:z1"), str(number), 1, 2)
    return Received(MessageId(1, number), body, Recorder(), "https://push.example")


async def test_few_are_opened_ahead_of_those_the_listeners_have() -> None:
    """A backlog is not fetched all at once; the listeners get all of it, in order."""
    gate, done = asyncio.Event(), asyncio.Event()
    opening: list[str] = []
    heard: list[str] = []

    async def opened(message: Received) -> None:
        opening.append(message.payload)
        await gate.wait()

    def hear(message: Received) -> None:
        heard.append(message.payload)
        if len(heard) == 30:
            done.set()

    listeners = Listeners("auto", opened)
    listeners.add(hear, None)
    arrivals = Arrivals(listeners, concurrency=1)
    running = asyncio.create_task(arrivals.run())
    for number in range(1, 31):
        arrivals.take(message(number))
    for _ in range(100):  # turns of the loop, in which all could begin
        await asyncio.sleep(0)
    assert opening == [str(number) for number in range(1, 2 + OPENED_AHEAD)]
    gate.set()
    await done.wait()
    assert heard == [str(number) for number in range(1, 31)]
    await arrivals.drop(1.0)
    await running
