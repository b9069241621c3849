"""What can go wrong: each fault breaks something, waits, and heals it.

A fault holds the process it hits while it lasts, so two of them do not fight over one; all
else may happen at once. A fault after which the store may have forgotten says so.
"""

import asyncio
import resource
import shutil
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from tests.chaos.history import Fault
from tests.chaos.proxy import ALL, NODE, STORE, WAYS, Proxy, Which
from tests.chaos.world import Shape, World
from tests.stores import Sentinels, eventually

HOUR = 3600.0

COMMANDS, HEARING = Which(hearing=False), Which(commands=False)


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


Act = Callable[[World, Strike], Awaitable[None]]


class Kind(NamedTuple):
    """A kind of fault.

    Attributes:
        act: Breaks, waits, heals.
        fits: Whether a world of this shape can have it.
    """

    act: Act
    fits: Callable[[Shape], bool]


async def strike(world: World, strike: Strike) -> None:
    """Let a fault happen when its time has come."""
    await asyncio.sleep(strike.at)
    world.recorder.note(Fault(name=str(strike), phase="begins"))
    await FAULTS[strike.fault].act(world, strike)
    world.recorder.note(Fault(name=str(strike), phase="is healed"))


# --- processes ----------------------------------------------------------------------------


async def _node_killed(world: World, strike: Strike, number: int) -> None:
    node = world.nodes[strike.node]
    async with world.hand(node.name):
        await node.stop(number)
        await asyncio.sleep(strike.lasts)
        await world.start_node(strike.node)


async def _node_stopped(world: World, strike: Strike) -> None:
    node = world.nodes[strike.node]
    async with world.hand(node.name):
        node.send_signal(signal.SIGSTOP)
        await asyncio.sleep(strike.lasts)
        node.send_signal(signal.SIGCONT)


async def _clock_jumps(world: World, strike: Strike, offset: float) -> None:
    node = world.nodes[strike.node]
    node.set_clock(offset)
    await asyncio.sleep(strike.lasts)
    node.set_clock(0.0)


async def _store_killed(world: World, strike: Strike) -> None:
    """Kill the store; without a file it comes back empty."""
    async with world.hand("store"):
        broken = world.recorder.now()
        await asyncio.to_thread(world.store.kill)
        await asyncio.sleep(strike.lasts)
        await asyncio.to_thread(world.store.start)
        if not world.shape.appended:
            world.lost(0.0, broken)


async def _store_stopped(world: World, strike: Strike) -> None:
    async with world.hand("store"):
        world.store.pause()
        await asyncio.sleep(strike.lasts)
        world.store.resume()


async def _store_flushed(world: World, strike: Strike) -> None:
    async with world.hand("store"):
        broken = world.recorder.now()
        await asyncio.to_thread(_flush, world)
        world.lost(0.0, broken)


def _flush(world: World) -> None:
    with world.store.client() as client:
        client.flushall()


async def _store_set_back(world: World, strike: Strike) -> None:
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


async def _disk_full(world: World, strike: Strike) -> None:
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


# --- a primary, its replica and their sentinels -----------------------------------------


async def _primary_gone(world: World, strike: Strike, *, killed: bool) -> None:
    """Cost the primary its place; it comes back, dead before or still in the belief."""
    group = _group(world)
    async with world.hand("store"):
        broken = world.recorder.now()
        former = await asyncio.to_thread(group.primary)
        harm = former.kill if killed else former.pause
        await asyncio.to_thread(group.await_failover, harm)
        await asyncio.sleep(strike.lasts)
        await asyncio.to_thread(former.start if killed else former.resume)
        await asyncio.to_thread(group.demote, former)
        _failed_over(world, broken)


async def _failover(world: World, strike: Strike) -> None:
    """Have the sentinels promote the replica although nothing is wrong."""
    group = _group(world)
    async with world.hand("store"), world.hand("replica"):
        broken = world.recorder.now()
        await asyncio.to_thread(group.failover)
        _failed_over(world, broken)


async def _replica_killed(world: World, strike: Strike) -> None:
    group = _group(world)
    async with world.hand("store"):
        [replica] = await asyncio.to_thread(group.replicas)
        await asyncio.to_thread(replica.kill)
        await asyncio.sleep(strike.lasts)
        await asyncio.to_thread(replica.start)
        await asyncio.to_thread(group.demote, replica)


async def _replica_lags(world: World, strike: Strike) -> None:
    """Keep the replica from hearing its primary, while both are well."""
    group = _group(world)
    async with world.hand("replica"):
        [replica] = await asyncio.to_thread(group.replicas)
        await asyncio.to_thread(replica.ask, "CONFIG", "SET", "masterauth", "wrong")
        await asyncio.to_thread(replica.ask, "CLIENT", "KILL", "TYPE", "master")
        await asyncio.sleep(strike.lasts)
        await asyncio.to_thread(replica.ask, "CONFIG", "SET", "masterauth", "")


async def _sentinel_killed(world: World, strike: Strike) -> None:
    sentinel = _group(world).sentinels[0]
    async with world.hand("sentinel"):
        await asyncio.to_thread(sentinel.kill)
        await asyncio.sleep(strike.lasts)
        await asyncio.to_thread(sentinel.start)


def _group(world: World) -> Sentinels:
    assert world.group is not None
    return world.group


def _failed_over(world: World, broken: float) -> None:
    """Write down what a promotion may cost: at `replicated` acks, else messages too."""
    world.lost(0.0, broken, messages=world.shape.level != "replicated")


# --- the network --------------------------------------------------------------------------


async def _cut(world: World, strike: Strike, proxies: str, which: Which) -> None:
    proxy = _proxy(world, strike, proxies)
    times = world.rng.randint(1, 5)
    for _ in range(times):
        proxy.cut(which)
        await asyncio.sleep(strike.lasts / times)


async def _silent(
    world: World, strike: Strike, proxies: str, which: Which, ways: tuple[str, ...]
) -> None:
    """Let nothing pass; then let it all arrive late, or cut the connections."""
    proxy = _proxy(world, strike, proxies)
    with proxy.silence(which, ways):
        await asyncio.sleep(strike.lasts)
        if world.rng.random() < 0.5:
            proxy.cut(which)


async def _slow(
    world: World, strike: Strike, proxies: str, which: Which, seconds: float = 0.05
) -> None:
    proxy = _proxy(world, strike, proxies)
    proxy.slow, proxy.delay = which, seconds
    await asyncio.sleep(strike.lasts)
    proxy.delay = 0.0


async def _deaf(world: World, strike: Strike, share: float) -> None:
    """Lose publications, one by one, on a connection that else is well."""
    link = world.links[strike.node]
    link.deaf = share
    await asyncio.sleep(strike.lasts)
    link.deaf = 0.0


def _proxy(world: World, strike: Strike, proxies: str) -> Proxy:
    return (world.links if proxies == "links" else world.doors)[strike.node]


# --- all of them --------------------------------------------------------------------------


def _any(shape: Shape) -> bool:
    return True


def _single(shape: Shape) -> bool:
    return shape.topology == "single"


def _on_disk(shape: Shape) -> bool:
    return _single(shape) and shape.appended


def _watched(shape: Shape) -> bool:
    return shape.topology == "sentinels"


FAULTS: dict[str, Kind] = {
    "node killed": Kind(partial(_node_killed, number=signal.SIGKILL), _any),
    "node drained": Kind(partial(_node_killed, number=signal.SIGTERM), _any),
    "node stopped": Kind(_node_stopped, _any),
    "clock an hour ahead": Kind(partial(_clock_jumps, offset=HOUR), _any),
    "clock an hour behind": Kind(partial(_clock_jumps, offset=-HOUR), _any),
    "store killed": Kind(_store_killed, _single),
    "store stopped": Kind(_store_stopped, _single),
    "store flushed": Kind(_store_flushed, _single),
    "store set back": Kind(_store_set_back, _on_disk),
    "disk full": Kind(_disk_full, _on_disk),
    "link cut": Kind(partial(_cut, proxies="links", which=ALL), _single),
    "commands cut": Kind(partial(_cut, proxies="links", which=COMMANDS), _single),
    "publications cut": Kind(partial(_cut, proxies="links", which=HEARING), _single),
    "link silent": Kind(partial(_silent, proxies="links", which=ALL, ways=WAYS), _single),
    "answers silent": Kind(
        partial(_silent, proxies="links", which=COMMANDS, ways=(NODE,)), _single
    ),
    "commands silent": Kind(
        partial(_silent, proxies="links", which=COMMANDS, ways=(STORE,)), _single
    ),
    "publications silent": Kind(
        partial(_silent, proxies="links", which=HEARING, ways=(NODE,)), _single
    ),
    "some publications lost": Kind(partial(_deaf, share=0.3), _single),
    "all publications lost": Kind(partial(_deaf, share=1.0), _single),
    "commands slow": Kind(partial(_slow, proxies="links", which=COMMANDS), _single),
    "commands very slow": Kind(
        partial(_slow, proxies="links", which=COMMANDS, seconds=0.25), _single
    ),
    "publications slow": Kind(partial(_slow, proxies="links", which=HEARING), _single),
    "clients cut": Kind(partial(_cut, proxies="doors", which=ALL), _any),
    "clients silent": Kind(partial(_silent, proxies="doors", which=ALL, ways=WAYS), _any),
    "clients slow": Kind(partial(_slow, proxies="doors", which=ALL), _any),
    "primary killed": Kind(partial(_primary_gone, killed=True), _watched),
    "primary stopped": Kind(partial(_primary_gone, killed=False), _watched),
    "failover": Kind(_failover, _watched),
    "replica killed": Kind(_replica_killed, _watched),
    "replica lags": Kind(_replica_lags, _watched),
    "sentinel killed": Kind(_sentinel_killed, _watched),
}
"""Every fault, by name."""
