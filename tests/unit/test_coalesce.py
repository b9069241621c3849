"""The hot connection, against a store that answers when it is told to."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hiredis
import pytest

from pushd.errors import Overloaded, PushdError, StoreUnavailable
from pushd.incidents import Incident
from pushd.mailbox import coalesce
from pushd.mailbox.address import Address, StoreUrl
from pushd.mailbox.coalesce import BATCH, FLIGHT, Coalescer
from pushd.mailbox.connection import Connection, Unavailable
from pushd.mailbox.link import Link


class Store:
    """Notes the commands it gets, and says nothing but greetings by itself."""

    def __init__(self) -> None:
        self.commands: list[list[bytes]] = []
        self.connections = 0
        self._arrived = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Read the commands of a connection."""
        self.connections += 1
        self._writer = writer
        parser = hiredis.Reader(notEnoughData=None)
        while data := await reader.read(65536):
            parser.feed(data)
            while (command := parser.gets()) is not None:
                if command[0] == b"HELLO":
                    self.say(b"%0\r\n")
                else:
                    self.commands.append(command)
                    self._arrived.set()
        writer.close()

    def say(self, text: bytes) -> None:
        """Send bytes to the latest connection."""
        assert self._writer is not None
        self._writer.write(text)

    def answer(self, *items: str) -> None:
        """Answer a command with an array."""
        body = b"".join(b"$%d\r\n%s\r\n" % (len(item), item.encode()) for item in items)
        self.say(b"*%d\r\n" % len(items) + body)

    def hang_up(self) -> None:
        """Close the latest connection."""
        assert self._writer is not None
        self._writer.close()

    async def next(self) -> list[bytes]:
        """Wait for a command and take it."""
        async with asyncio.timeout(10):
            while not self.commands:
                self._arrived.clear()
                await self._arrived.wait()
        return self.commands.pop(0)


class World:
    """A coalescer, its link and its store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Store()
        self.coalescer = Coalescer({"counted": (10, 20)})
        self.link = Link(
            self._find,
            prepare=self._prepare,
            opened=self.coalescer.opened,
            lost=self.coalescer.lost,
            pushed=lambda pushes: None,
        )

    async def _find(self) -> Address:
        return StoreUrl.parse(f"unix://{self.path}").addresses[0]

    async def _prepare(self, connection: Connection) -> None:
        pass

    def call(
        self, *keys: str, function: str = "plain", size: int = 0
    ) -> asyncio.Future[list[Any] | PushdError]:
        """Call a function with one argument for each key."""
        future = asyncio.get_running_loop().create_future()
        args = [f"arg-{key}" for key in keys]
        self.coalescer.call(function, keys, args, future.set_result, size=size)
        return future


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Make a world whose store listens."""
    with tempfile.TemporaryDirectory(prefix="pushd-") as directory:
        world = World(Path(directory, "s"))
        async with await asyncio.start_unix_server(world.store.serve, world.path):
            world.coalescer.start(world.link)
            await world.link.start()
            yield world
            world.coalescer.close()
            await world.link.close()


def fcall(function: str, keys: list[str], *header: str) -> list[bytes]:
    """Say what a joined call looks like."""
    args = [f"arg-{key}" for key in keys]
    words = ["FCALL", function, str(len(keys)), *keys, *header, *args]
    return [word.encode() for word in words]


async def test_the_calls_of_a_tick_travel_as_one(world: World) -> None:
    """Keys and arguments are joined, and each caller gets its slice of the answer."""
    calls = [world.call("a"), world.call("b", "c"), world.call("d")]
    assert fcall("plain", ["a", "b", "c", "d"]) == await world.store.next()
    world.store.answer("1", "2", "3", "4")
    assert await asyncio.gather(*calls) == [[b"1"], [b"2", b"3"], [b"4"]]


async def test_a_function_may_answer_several_items_for_each_key(world: World) -> None:
    """Each caller gets as many for each of its keys."""
    calls = [world.call("a"), world.call("b", "c")]
    await world.store.next()
    world.store.answer("1", "2", "3", "4", "5", "6")
    assert await asyncio.gather(*calls) == [[b"1", b"2"], [b"3", b"4", b"5", b"6"]]


async def test_each_function_has_its_header_once(world: World) -> None:
    """Calls of different functions are different commands of one flight."""
    calls = [world.call("a"), world.call("b", function="counted"), world.call("c")]
    assert fcall("plain", ["a", "c"]) == await world.store.next()
    assert fcall("counted", ["b"], "10", "20") == await world.store.next()
    world.store.answer("1", "3")
    world.store.answer("2")
    assert await asyncio.gather(*calls) == [[b"1"], [b"2"], [b"3"]]


async def test_one_flight_at_a_time(world: World) -> None:
    """While one is unanswered, what comes is collected for the next."""
    first = world.call("a")
    await world.store.next()
    calls = []
    for key in "bcd":
        calls.append(world.call(key))
        await asyncio.sleep(0.002)
    assert world.store.commands == []
    world.store.answer("1")
    assert await first == [b"1"]
    assert fcall("plain", ["b", "c", "d"]) == await world.store.next()
    world.store.answer("2", "3", "4")
    assert await asyncio.gather(*calls) == [[b"2"], [b"3"], [b"4"]]


@pytest.mark.parametrize(("flown", "together"), [("a", False), ("ab", True)])
async def test_flights_under_load_collect(
    world: World, monkeypatch: pytest.MonkeyPatch, flown: str, together: bool
) -> None:
    """After a flight of more than one mailbox the next waits a little for company."""
    monkeypatch.setattr(coalesce, "WINDOW", 0.5)
    flight = asyncio.gather(*[world.call(key) for key in flown])
    await world.store.next()
    world.store.answer(*flown)
    await flight
    calls = [world.call("c")]
    await asyncio.sleep(0.01)
    calls.append(world.call("d"))
    expected = [["c", "d"]] if together else [["c"], ["d"]]
    for keys in expected:
        assert fcall("plain", keys) == await world.store.next()
        world.store.answer(*keys)
    assert await asyncio.gather(*calls) == [[b"c"], [b"d"]]


async def test_batches_and_flights_are_limited(world: World) -> None:
    """Many calls become several commands, and more than a flight waits for the next."""
    calls = [world.call(str(number)) for number in range(FLIGHT + BATCH + 1)]
    sizes = [int((await world.store.next())[2]) for _ in range(FLIGHT // BATCH)]
    assert sizes == [BATCH] * (FLIGHT // BATCH)
    assert world.store.commands == []
    for size in sizes:
        world.store.answer(*["x"] * size)
    for size in (BATCH, 1):
        assert int((await world.store.next())[2]) == size
        world.store.answer(*["y"] * size)
    assert (await calls[0], await calls[-1]) == ([b"x"], [b"y"])


async def test_large_calls_make_room_when_they_leave(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two large calls in a tick the second is refused; one after the other, none."""
    monkeypatch.setattr(coalesce, "MAX_WAITING_BYTES", 100)
    for _ in range(2):
        first, second = world.call("a", size=60), world.call("b", size=60)
        assert isinstance(await second, Overloaded)
        await world.store.next()
        world.store.answer("1")
        assert await first == [b"1"]


async def test_a_failing_caller_costs_nobody_an_answer(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is logged, and it is told, once; the connection stays."""
    told: list[Any] = []

    def fail(answer: object) -> None:
        told.append(answer)
        raise RuntimeError("planted")

    world.coalescer.call("plain", ["a"], ["arg-a"], fail)
    other = world.call("b")
    await world.store.next()
    world.store.answer("1", "2")
    assert await other == [b"2"]
    assert [[b"1"], Incident] == [told[0], type(told[1])]
    assert len(told) == 2
    assert [told[1].incident] == [r.__dict__["incident"] for r in caplog.records[:1]]
    assert [r.__dict__["error"] for r in caplog.records] == ["RuntimeError"] * 2
    assert world.store.connections == 1


@pytest.mark.parametrize(
    ("error", "connections"), [("OOM no room", 1), ("READONLY a replica", 2)]
)
async def test_an_error_fails_its_command_alone(
    world: World, error: str, connections: int
) -> None:
    """Others of the flight are answered; the connection is made anew if need be."""
    bad, good = world.call("a"), world.call("b", function="counted")
    await world.store.next()
    await world.store.next()
    world.store.say(b"-" + error.encode() + b"\r\n*1\r\n:7\r\n")
    assert isinstance(await bad, StoreUnavailable)
    assert await good == [7]
    last = world.call("c")
    await world.store.next()
    world.store.answer("3")
    assert await last == [b"3"]
    assert world.store.connections == connections


async def test_a_lost_flight_fails_and_what_waited_goes_on(world: World) -> None:
    """What was written is not written again; what was not goes over the next connection."""
    lost = world.call("a")
    await world.store.next()
    waiting = world.call("b")
    world.store.hang_up()
    assert isinstance(await lost, StoreUnavailable)
    assert fcall("plain", ["b"]) == await world.store.next()
    world.store.answer("2")
    assert await waiting == [b"2"]


async def test_nonsense_from_the_store_is_a_lost_connection(world: World) -> None:
    """After bytes that are no reply, or one that nobody asked for, all begins anew."""
    for nonsense in (b"?nonsense\r\n", b"+OK\r\n+OK\r\n"):
        lost = world.call("a")
        await world.store.next()
        world.store.say(nonsense)
        await lost
        again = world.call("b")
        await world.store.next()
        world.store.answer("1")
        assert await again == [b"1"]
    assert world.store.connections == 3


async def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a store a call waits a moment; once that was in vain, others do not."""
    monkeypatch.setattr(coalesce, "PATIENCE", 0.05)
    world = World(Path("/nonexistent"))
    world.coalescer.start(world.link)
    await world.link.start()
    for _ in range(2):
        assert isinstance(await world.call("a"), StoreUnavailable)
    assert "does not answer" in world.link.trouble
    world.coalescer.close()
    await world.link.close()


async def test_a_lost_connection_says_so(world: World) -> None:
    """Commands on a connection that is gone fail at once."""
    connection = world.link.connection
    assert connection is not None
    asked = asyncio.create_task(connection.command("PING"))
    await world.store.next()
    world.store.hang_up()
    with pytest.raises(Unavailable):
        await asked
    with pytest.raises(Unavailable):
        await connection.command("PING")
