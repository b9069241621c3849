"""Where an identity listens, before, while and after it changes its servers."""

import asyncio
from typing import cast

import pytest

from pushd.client import StreamClosed
from pushd.client.receiver import Receiver
from pushd.client.servers import FORGOTTEN, OVERLAP, Servers
from pushd.client.tasks import cancel

A, B, C = (f"https://{letter}.example" for letter in "abc")


class FakeReceiver:
    """Runs until it is stopped, or fails."""

    def __init__(self) -> None:
        self.empty = False
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stopping = asyncio.Event()
        self.listeners_are_done = asyncio.Event()
        self.listeners_are_done.set()

    async def run(self) -> None:
        """Wait for the end."""
        await self.end

    async def stop(self) -> None:
        """End, once the listeners are done."""
        self.stopping.set()
        await self.listeners_are_done.wait()
        if not self.end.done():
            self.end.set_result(None)


class Case:
    """Servers whose receivers and clock a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.made: list[str] = []
        self.receivers: dict[str, FakeReceiver] = {}
        self.servers = Servers(self.make, overlap=OVERLAP, clock=lambda: self.now)

    def make(self, server: str) -> Receiver:
        """Make a receiver."""
        self.made.append(server)
        self.receivers[server] = FakeReceiver()
        return cast(Receiver, self.receivers[server])

    @property
    def listened(self) -> list[str]:
        """Servers with a receiver that runs."""
        return [url for url, one in self.receivers.items() if not one.end.done()]


async def test_it_listens_everywhere_at_once() -> None:
    """At all that are its own, and at those it had left before a restart."""
    case = Case()
    case.servers.begin([A, B], before=[B, C], left={"https://old.example": 10.0})
    assert case.servers.own == (A, B)
    assert case.servers.left == {"https://old.example": 10.0, C: 1000.0}
    assert sorted(case.listened) == [A, B, C, "https://old.example"]
    await case.servers.stop()
    assert case.listened == []


async def test_a_server_that_is_left_is_listened_at_until_it_is_empty() -> None:
    """Two hours at least, and longer while something is there."""
    case = Case()
    case.servers.begin([A], before=[], left={})
    case.servers.move_to([B])
    assert case.listened == [A, B]
    case.receivers[A].empty = True
    case.now += OVERLAP - 1
    assert not await case.servers.leave()
    case.receivers[A].empty = False
    case.now += 1
    assert not await case.servers.leave()
    assert case.listened == [A, B]
    case.receivers[A].empty = True
    assert await case.servers.leave()
    assert case.listened == [B]
    assert case.servers.left == {}
    await case.servers.stop()


async def test_a_server_that_never_comes_back_is_given_up_at_last() -> None:
    """When nothing can be there any more."""
    case = Case()
    case.servers.begin([B], before=[], left={A: case.now})
    case.now += FORGOTTEN - 1
    assert not await case.servers.leave()
    case.now += 1
    assert await case.servers.leave()
    assert case.listened == [B]
    await case.servers.stop()


async def test_to_move_back_is_to_stay() -> None:
    """The connection goes on, and nothing is left."""
    case = Case()
    case.servers.begin([A], before=[], left={})
    case.servers.move_to([B])
    case.servers.move_to([A])
    assert case.made == [A, B]
    assert case.servers.left == {B: 1000.0}
    await case.servers.stop()


async def test_to_move_back_while_servers_are_left_is_to_stay() -> None:
    """At the one that is being left a new connection begins; that of the next goes on."""
    case = Case()
    case.servers.begin([C], before=[], left={A: case.now, B: case.now})
    case.now += FORGOTTEN
    leaving = case.receivers[A]
    leaving.listeners_are_done.clear()
    left = asyncio.create_task(case.servers.leave())
    await leaving.stopping.wait()
    case.servers.move_to([A, B, C])
    leaving.listeners_are_done.set()
    await left
    assert sorted(case.listened) == [A, B, C]
    assert case.servers.left == {}
    assert sorted(case.made) == [A, A, B, C]
    await case.servers.stop()


async def test_a_client_that_closes_while_a_server_is_left_is_gone_there_too() -> None:
    """Whoever was stopping it is cancelled; its connection does not outlive that."""
    case = Case()
    case.servers.begin([B], before=[], left={A: case.now})
    case.now += FORGOTTEN
    case.receivers[A].listeners_are_done.clear()
    left = asyncio.create_task(case.servers.leave())
    await case.receivers[A].stopping.wait()
    await cancel(left)
    await case.servers.stop()
    assert case.listened == []


async def test_a_server_that_refused_is_tried_again_when_it_is_chosen_again() -> None:
    """Its connection had ended."""
    case = Case()
    case.servers.begin([A], before=[], left={})
    case.receivers[A].end.set_exception(StreamClosed(4403, "No."))
    await asyncio.sleep(0)
    case.servers.move_to([A])
    assert case.made == [A, A]
    await case.servers.stop()


async def test_a_server_that_refused_is_left_when_it_is_time() -> None:
    """Nothing will come from there."""
    case = Case()
    case.servers.begin([B], before=[], left={A: case.now})
    case.receivers[A].end.set_exception(StreamClosed(4403, "No."))
    await asyncio.sleep(0)
    case.now += OVERLAP
    assert await case.servers.leave()
    await case.servers.stop()


async def test_one_server_that_refuses_is_not_the_end() -> None:
    """Only when none wants the client back, waiting ends with why."""
    case = Case()
    case.servers.begin([A, B], before=[], left={})
    waiting = asyncio.create_task(case.servers.wait())
    case.receivers[A].end.set_exception(StreamClosed(4403, "A."))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    case.receivers[B].end.set_exception(StreamClosed(4403, "B."))
    with pytest.raises(StreamClosed):
        await waiting
    await case.servers.stop()


async def test_a_disk_that_is_full_is_the_end() -> None:
    """Progress that cannot be kept would be lost silently."""
    case = Case()
    case.servers.begin([A, B], before=[], left={})
    case.receivers[A].end.set_exception(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        await case.servers.wait()
    await case.servers.stop()


async def test_waiting_ends_when_it_is_stopped() -> None:
    """Without an error."""
    case = Case()
    case.servers.begin([A], before=[], left={})
    waiting = asyncio.create_task(case.servers.wait())
    await asyncio.sleep(0)
    await case.servers.stop()
    await waiting
