"""What can go wrong: every fault by name, and which worlds can have it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from tests.chaos import acts, failovers
from tests.chaos.acts import Strike
from tests.chaos.history import Fault
from tests.chaos.proxy import ALL, NODE, STORE, WAYS, Which
from tests.chaos.world import Shape, World

HOUR = 3600.0

COMMANDS, HEARING = Which(hearing=False), Which(commands=False)

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


def _any(shape: Shape) -> bool:
    return True


def _single(shape: Shape) -> bool:
    return shape.topology == "single"


def _on_disk(shape: Shape) -> bool:
    return _single(shape) and shape.appended


def _grouped(shape: Shape) -> bool:
    return not _single(shape)


def _watched(shape: Shape) -> bool:
    return shape.topology == "sentinels"


def _spread(shape: Shape) -> bool:
    return shape.topology == "cluster"


FAULTS: dict[str, Kind] = {
    "node killed": Kind(partial(acts.node_killed, number=signal.SIGKILL), _any),
    "node drained": Kind(partial(acts.node_killed, number=signal.SIGTERM), _any),
    "node stopped": Kind(acts.node_stopped, _any),
    "clock an hour ahead": Kind(partial(acts.clock_jumps, offset=HOUR), _any),
    "clock an hour behind": Kind(partial(acts.clock_jumps, offset=-HOUR), _any),
    "store killed": Kind(acts.store_killed, _single),
    "store stopped": Kind(acts.store_stopped, _single),
    "store flushed": Kind(acts.store_flushed, _single),
    "store set back": Kind(acts.store_set_back, _on_disk),
    "disk full": Kind(acts.disk_full, _on_disk),
    "link cut": Kind(partial(acts.cut, proxies="links", which=ALL), _any),
    "commands cut": Kind(partial(acts.cut, proxies="links", which=COMMANDS), _any),
    "publications cut": Kind(partial(acts.cut, proxies="links", which=HEARING), _any),
    "link silent": Kind(partial(acts.silent, proxies="links", which=ALL, ways=WAYS), _any),
    "answers silent": Kind(
        partial(acts.silent, proxies="links", which=COMMANDS, ways=(NODE,)), _any
    ),
    "commands silent": Kind(
        partial(acts.silent, proxies="links", which=COMMANDS, ways=(STORE,)), _any
    ),
    "publications silent": Kind(
        partial(acts.silent, proxies="links", which=HEARING, ways=(NODE,)), _any
    ),
    "some publications lost": Kind(partial(acts.deaf, share=0.3), _any),
    "all publications lost": Kind(partial(acts.deaf, share=1.0), _any),
    "commands slow": Kind(partial(acts.slow, proxies="links", which=COMMANDS), _any),
    "commands very slow": Kind(
        partial(acts.slow, proxies="links", which=COMMANDS, seconds=0.25), _any
    ),
    "publications slow": Kind(partial(acts.slow, proxies="links", which=HEARING), _any),
    "clients cut": Kind(partial(acts.cut, proxies="doors", which=ALL), _any),
    "clients silent": Kind(
        partial(acts.silent, proxies="doors", which=ALL, ways=WAYS), _any
    ),
    "clients slow": Kind(partial(acts.slow, proxies="doors", which=ALL), _any),
    "primary killed": Kind(partial(failovers.primary_gone, killed=True), _grouped),
    "primary stopped": Kind(partial(failovers.primary_gone, killed=False), _grouped),
    "primary cut off": Kind(failovers.primary_cut_off, _watched),
    "failover": Kind(failovers.failover, _grouped),
    "replica killed": Kind(partial(failovers.replica_gone, killed=True), _grouped),
    "replica stopped": Kind(partial(failovers.replica_gone, killed=False), _grouped),
    "replica lags": Kind(failovers.replica_lags, _grouped),
    "sentinel killed": Kind(failovers.sentinel_killed, _watched),
    "slot moved": Kind(failovers.slot_moved, _spread),
}
"""Every fault, by name."""
