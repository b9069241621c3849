"""What single faults do: each breaks something, waits, and heals it.

A fault holds the process it hits while it lasts, so two of them do not fight over one; all
else may happen at once. A fault after which the store may have forgotten says so.
"""

import asyncio
import resource
import shutil
import signal
from functools import partial
from typing import NamedTuple

from tests.chaos.proxy import Proxy, Which
from tests.chaos.world import World
from tests.stores import eventually


class Strike(NamedTuple):
    """One fault of a schedule.

    Attributes:
        fault: Its name.
        at: Seconds after the people began.
        lasts: Seconds until it is healed.
        node: Which node it hits, if it hits one.
    """

    fault: str
    at: float
    lasts: float
    node: int = 0

    def __str__(self) -> str:
        return f"{self.fault} {self.node} at {self.at:.1f} for {self.lasts:.1f} s"


# --- processes ----------------------------------------------------------------------------


async def node_killed(world: World, strike: Strike, number: int) -> None:
    """End a server with a signal, and start another in its place."""
    node = world.nodes[strike.node]
    async with world.hand(node.name):
        await node.stop(number)
        await asyncio.sleep(strike.lasts)
        await node.start()


async def node_stopped(world: World, strike: Strike) -> None:
    """Stop a server in its steps."""
    node = world.nodes[strike.node]
    async with world.hand(node.name):
        node.send_signal(signal.SIGSTOP)
        await asyncio.sleep(strike.lasts)
        node.send_signal(signal.SIGCONT)


async def clock_jumps(world: World, strike: Strike, offset: float) -> None:
    """Set a server's clock wrong, and right again."""
    node = world.nodes[strike.node]
    node.set_clock(offset)
    await asyncio.sleep(strike.lasts)
    node.set_clock(0.0)


async def store_killed(world: World, strike: Strike) -> None:
    """Kill the store; without a file it comes back empty."""
    async with world.hand("store"):
        broken = world.recorder.now()
        await asyncio.to_thread(world.store.kill)
        await asyncio.sleep(strike.lasts)
        await asyncio.to_thread(world.store.start)
        if not world.shape.appended:
            world.lost(0.0, broken)


async def store_stopped(world: World, strike: Strike) -> None:
    """Stop the store in its steps."""
    async with world.hand("store"):
        world.store.pause()
        await asyncio.sleep(strike.lasts)
        world.store.resume()


async def store_flushed(world: World, strike: Strike) -> None:
    """Have the store forget everything."""
    async with world.hand("store"):
        broken = world.recorder.now()
        await asyncio.to_thread(_flush, world)
        world.lost(0.0, broken)


def _flush(world: World) -> None:
    with world.store.client() as client:
        client.flushall()


async def store_set_back(world: World, strike: Strike) -> None:
    """Give the store its files as they were: a backup, or a disk that had lied."""
    files, copy = world.directory / "appendonlydir", world.directory / "copy"
    async with world.hand("store"):
        since = world.recorder.now()
        await asyncio.to_thread(shutil.copytree, files, copy)
        await asyncio.sleep(strike.lasts)
        broken = world.recorder.now()
        await asyncio.to_thread(world.store.kill)
        await asyncio.to_thread(shutil.rmtree, files)
        await asyncio.to_thread(copy.rename, files)
        await asyncio.to_thread(world.store.start)
        world.lost(since, broken)


async def disk_full(world: World, strike: Strike) -> None:
    """Let the store's files grow no more (RLIMIT_FSIZE); at `fsync` it then exits."""
    async with world.hand("store"):
        pid = world.store.pid
        sizes = [file.stat().st_size for file in world.directory.rglob("*.aof")]
        limit = max(sizes, default=0) + 2000
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        await asyncio.sleep(strike.lasts)
        if world.store.alive:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
            await asyncio.to_thread(eventually, partial(_all_written, world), "the writes")
        else:
            await asyncio.to_thread(world.store.restart)


def _all_written(world: World) -> bool:
    """Tell whether the store made up for what it could not write, and may be killed."""
    with world.store.client() as client:
        persistence = client.info("persistence")
    return bool(persistence["aof_last_write_status"] == "ok")


# --- the network --------------------------------------------------------------------------


async def cut(world: World, strike: Strike, proxies: str, which: Which) -> None:
    """Reset connections, some of them several times."""
    proxy = _proxy(world, strike, proxies)
    times = world.rng.randint(1, 5)
    for _ in range(times):
        proxy.cut(which)
        await asyncio.sleep(strike.lasts / times)


async def silent(
    world: World, strike: Strike, proxies: str, which: Which, ways: tuple[str, ...]
) -> None:
    """Let nothing pass; then let it all arrive late, or cut the connections."""
    proxy = _proxy(world, strike, proxies)
    with proxy.silence(which, ways):
        await asyncio.sleep(strike.lasts)
        if world.rng.random() < 0.5:
            proxy.cut(which)


async def slow(
    world: World, strike: Strike, proxies: str, which: Which, seconds: float = 0.05
) -> None:
    """Let everything arrive late."""
    proxy = _proxy(world, strike, proxies)
    proxy.slow, proxy.delay = which, seconds
    await asyncio.sleep(strike.lasts)
    proxy.delay = 0.0


async def deaf(world: World, strike: Strike, share: float) -> None:
    """Lose publications, one by one, on a connection that else is well."""
    link = world.links[strike.node]
    link.deaf = share
    await asyncio.sleep(strike.lasts)
    link.deaf = 0.0


def _proxy(world: World, strike: Strike, proxies: str) -> Proxy:
    return (world.links if proxies == "links" else world.doors)[strike.node]
