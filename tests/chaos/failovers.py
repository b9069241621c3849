"""What faults do to stores of which one takes another's place: see `acts.py`.

Whatever is hit has a mailbox that is under load. Promotions and moves have all of the
stores to themselves: a second one would wait for what the first has broken.
"""

import asyncio
from functools import partial

from tests.chaos.acts import Strike
from tests.chaos.groups import Group, Spread, Watched
from tests.chaos.world import World
from tests.stores import Server

STEPS = 6
"""Into so many parts a move of a slot falls: a mailbox has some five keys."""


async def primary_gone(world: World, strike: Strike, *, killed: bool) -> None:
    """Cost a primary its place; it comes back, dead before or still in the belief."""
    group = _group(world)
    async with world.hand("store"):
        broken = world.recorder.now()
        former, theirs = await _primary(world)
        harm = former.kill if killed else former.pause
        await asyncio.to_thread(group.replace, former, harm)
        await asyncio.sleep(strike.lasts)
        await asyncio.to_thread(former.start if killed else former.resume)
        await asyncio.to_thread(group.rejoin, former)
        _failed_over(world, broken, theirs)


async def primary_cut_off(world: World, strike: Strike) -> None:
    """Cut a primary off from its replica and the sentinels, but not from pushd."""
    group = _group(world)
    assert isinstance(group, Watched)
    async with world.hand("store"):
        broken = world.recorder.now()
        former, theirs = await _primary(world)
        await asyncio.to_thread(group.replace, former, partial(group.cut_off, former))
        await asyncio.sleep(strike.lasts)
        await asyncio.to_thread(group.let_in, former)
        await asyncio.to_thread(group.rejoin, former)
        _failed_over(world, broken, theirs)


async def failover(world: World, strike: Strike) -> None:
    """Have a replica promoted although nothing is wrong, by a sentinel that stays."""
    group = _group(world)
    async with world.hand("store"), world.hand("replica"), world.hand("sentinel"):
        broken = world.recorder.now()
        primary, theirs = await _primary(world)
        await asyncio.to_thread(group.promote, primary)
        if not group.careful:
            _failed_over(world, broken, theirs)


async def replica_gone(world: World, strike: Strike, *, killed: bool) -> None:
    """Leave a primary alone for a while."""
    group = _group(world)
    async with world.hand("store"):
        replica = await _replica(world)
        await asyncio.to_thread(replica.kill if killed else replica.pause)
        await asyncio.sleep(strike.lasts)
        await asyncio.to_thread(replica.start if killed else replica.resume)
        await asyncio.to_thread(group.rejoin, replica)


async def replica_lags(world: World, strike: Strike) -> None:
    """Keep a replica from hearing its primary, while both are well."""
    async with world.hand("store"):  # a promotion under way has no replica yet
        replica = await _replica(world)
    async with world.hand("replica"):
        await asyncio.to_thread(replica.ask, "CONFIG", "SET", "masterauth", "wrong")
        await asyncio.to_thread(replica.ask, "CLIENT", "KILL", "TYPE", "master")
        await asyncio.sleep(strike.lasts)
        await asyncio.to_thread(replica.ask, "CONFIG", "SET", "masterauth", "")


async def sentinel_killed(world: World, strike: Strike) -> None:
    """Leave two sentinels to watch."""
    group = _group(world)
    assert isinstance(group, Watched)
    sentinel = group.stores.sentinels[0]
    async with world.hand("sentinel"):
        await asyncio.to_thread(sentinel.kill)
        await asyncio.sleep(strike.lasts)
        await asyncio.to_thread(sentinel.start)


async def slot_moved(world: World, strike: Strike) -> None:
    """Carry a mailbox key by key to another primary; nothing may be lost by that."""
    group = _group(world)
    assert isinstance(group, Spread)
    async with world.hand("store"), world.hand("replica"):
        mailbox = world.rng.choice(world.mailboxes)
        pause = strike.lasts / STEPS
        await asyncio.to_thread(group.move, mailbox, world.rng, pause)


def _group(world: World) -> Group:
    assert world.group is not None
    return world.group


async def _primary(world: World) -> tuple[Server, list[str]]:
    """Find the primary of some mailbox, and all mailboxes it has."""
    group = _group(world)
    primaries = {
        mailbox: await asyncio.to_thread(group.primary_of, mailbox)
        for mailbox in world.mailboxes
    }
    chosen = primaries[world.rng.choice(world.mailboxes)]
    return chosen, [mailbox for mailbox, one in primaries.items() if one is chosen]


async def _replica(world: World) -> Server:
    """Find the replica of some mailbox's primary."""
    primary, _ = await _primary(world)
    return await asyncio.to_thread(_group(world).replica_of, primary)


def _failed_over(world: World, broken: float, mailboxes: list[str]) -> None:
    """Write down what a promotion may cost: at `replicated` acks, else messages too."""
    lossy = world.shape.level != "replicated"
    world.lost(0.0, broken, messages=lossy, mailboxes=mailboxes)
