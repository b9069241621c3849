"""Schedules with a name: one for each way to lose a message that is known of others.

They are what CI runs, and what the mutants have to fail.
"""

from collections.abc import Mapping

from tests.chaos.acts import Strike
from tests.chaos.schedule import Schedule
from tests.chaos.world import Shape

LONG = 3.5
"""Seconds until after the last delivery of a run."""

WATCHED: Mapping[str, object] = {
    "topology": "sentinels", "store": "redis", "nodes": 2, "load": 6.0,
}  # fmt: skip

SPREAD: Mapping[str, object] = {"topology": "cluster", "nodes": 2, "load": 5.0}


def _named(*strikes: Strike, **shape: object) -> Schedule:
    return Schedule(0, Shape(**shape), strikes)  # type: ignore[arg-type] # members of any type


NAMED: dict[str, Schedule] = {
    "the seam between history and live": _named(
        *[Strike("commands very slow", at=1.0, lasts=4.0, node=n) for n in (0, 1)],
        *[Strike("clients cut", at=2.8, lasts=0.3, node=n) for n in (0, 1)],
        nodes=2,
        mailboxes=24,
        rate=3.0,
    ),
    "a publication that is lost": _named(
        Strike("all publications lost", at=0.5, lasts=LONG), mailboxes=6
    ),
    "a store that comes back older": _named(
        Strike("store set back", at=1.0, lasts=0.5),
        Strike("store set back", at=2.0, lasts=0.5),
    ),
    "a store killed under load": _named(
        Strike("store killed", at=0.7, lasts=0.2),
        Strike("store killed", at=1.6, lasts=0.8),
        store="redis",
        nodes=2,
    ),
    "a store that forgets all": _named(
        Strike("store killed", at=1.0, lasts=0.2),
        Strike("store flushed", at=2.0, lasts=0.1),
        level="memory",
        appended=False,
    ),
    "a node killed, another drained": _named(
        Strike("node killed", at=0.8, lasts=0.3),
        Strike("node drained", at=1.2, lasts=0.3, node=1),
        nodes=2,
    ),
    "a partition": _named(
        Strike("link silent", at=0.6, lasts=1.5),
        Strike("publications silent", at=1.0, lasts=2.0, node=1),
        nodes=2,
        store="redis",
    ),
    "a disk that is full": _named(Strike("disk full", at=0.6, lasts=1.0)),
    "a primary that dies": _named(
        Strike("primary killed", at=1.0, lasts=0.5), **WATCHED, level="replicated"
    ),
    "a primary that is cut off from all but us": _named(
        Strike("primary cut off", at=1.0, lasts=1.5), **WATCHED, level="replicated"
    ),
    "a replica that lags, and the primary stops and comes back": _named(
        Strike("replica lags", at=0.5, lasts=3.0),
        Strike("primary stopped", at=1.5, lasts=1.0),
        **WATCHED,
        level="fsync",
    ),
    "a slot that moves, and a node is killed": _named(
        Strike("slot moved", at=0.8, lasts=0.4),
        Strike("node killed", at=1.0, lasts=0.5),
        Strike("slot moved", at=2.0, lasts=1.0),
        **SPREAD,
        level="fsync",
        store="redis",
    ),
    "a primary of a Cluster that dies, and a failover": _named(
        Strike("primary killed", at=1.0, lasts=0.5),
        Strike("failover", at=2.5, lasts=0.1),
        **SPREAD,
        level="replicated",
    ),
    "a replica in a Cluster that lags, and its primary dies": _named(
        Strike("replica lags", at=0.5, lasts=3.0),
        Strike("primary killed", at=1.5, lasts=0.5),
        **SPREAD,
        level="fsync",
        mailboxes=1,
    ),
    "a clock that jumps back while the store is away": _named(
        Strike("clock an hour behind", at=0.5, lasts=LONG),
        Strike("store stopped", at=0.8, lasts=1.5),
        Strike("clients cut", at=1.0, lasts=0.2),
    ),
}
