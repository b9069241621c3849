"""Stores of which one takes another's place, as faults see them: who has which mailbox.

What sentinels watch is one primary and its replica; a Cluster has several of both.
"""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pushd.mailbox.translation import channel_of, slot_of
from tests.stores import Cluster, Sentinels, Server, eventually

DOWN_AFTER, NODE_TIMEOUT = 0.7, 1.0
"""Seconds of silence after which sentinels, or a Cluster, take a server for dead."""
USER, PASSWORD = "pushd", "secret"


class Group(Protocol):
    """Primaries, and a replica for each.

    Attributes:
        stores: All of its processes, to be entered and left.
        careful: Whether a promotion without need loses nothing.
        url: Where servers of pushd ask who is the primary.
    """

    careful: bool
    url: str

    @property
    def stores(self) -> Sentinels | Cluster:
        """Return its processes."""

    def primary_of(self, mailbox: str) -> Server:
        """Find the server that has a mailbox."""

    def replica_of(self, primary: Server) -> Server:
        """Find the one that is to take its place."""

    def replace(self, primary: Server, harm: Callable[[], object]) -> None:
        """Do something that costs a primary its place, and wait until it is taken."""

    def promote(self, primary: Server) -> None:
        """Have its replica take its place although nothing is wrong."""

    def rejoin(self, former: Server) -> None:
        """Wait until one that was away follows whoever is the primary now."""


class Watched:
    """A primary, one replica, and three sentinels.

    Servers of pushd have a user of their own, so that the others can be kept out.
    """

    careful = False

    def __init__(self, kind: str, directory: Path) -> None:
        users = directory / "users"
        logins = {"default": "nopass", USER: f">{PASSWORD}"}
        lines = [f"user {name} on {login} ~* &* +@all" for name, login in logins.items()]
        users.write_text("\n".join(lines) + "\n")
        self.stores = Sentinels(
            kind, directory, down_after=DOWN_AFTER, aclfile=os.fspath(users)
        )
        self.url = self.stores.url.replace("//", f"//{USER}:{PASSWORD}@")

    def primary_of(self, mailbox: str) -> Server:
        """Ask the sentinels; all mailboxes have one primary."""
        return self.stores.primary()

    def replica_of(self, primary: Server) -> Server:
        """Return the other one."""
        [replica] = self.stores.replicas()
        return replica

    def replace(self, primary: Server, harm: Callable[[], object]) -> None:
        """Let the sentinels find out."""
        self.stores.await_failover(harm)

    def promote(self, primary: Server) -> None:
        """Tell a sentinel to; it asks nobody whether the replica has everything."""
        self.stores.failover()

    def rejoin(self, former: Server) -> None:
        """Tell it whom to follow, for sentinels take their time."""
        self.stores.demote(former)

    def cut_off(self, primary: Server) -> None:
        """Keep its replica and the sentinels out, and servers of pushd in."""
        with primary.client(USER, PASSWORD) as client:
            client.execute_command("ACL", "SETUSER", "default", "off")
            client.execute_command("CLIENT", "KILL", "USER", "default")

    def let_in(self, primary: Server) -> None:
        """Let everybody in again."""
        with primary.client(USER, PASSWORD) as client:
            client.execute_command("ACL", "SETUSER", "default", "on")


class Spread:
    """A Cluster of three primaries with a replica each."""

    careful = True

    def __init__(self, kind: str, directory: Path) -> None:
        self.stores = Cluster(kind, directory, replicas=1, node_timeout=NODE_TIMEOUT)
        self.url = self.stores.url

    def primary_of(self, mailbox: str) -> Server:
        """Ask the Cluster who has the mailbox's slot."""
        return self.stores.owner(_slot(mailbox))

    def replica_of(self, primary: Server) -> Server:
        """Return its replica."""
        return self.stores.replica_of(primary)

    def replace(self, primary: Server, harm: Callable[[], object]) -> None:
        """Let the other primaries find out, and vote."""
        harm()
        self.stores.await_failover(primary)

    def promote(self, primary: Server) -> None:
        """Tell the replica to; it first gets all that the primary has."""
        self.stores.failover(primary)

    def rejoin(self, former: Server) -> None:
        """Wait; the others tell it whom to follow."""
        eventually(self.stores.settled, "all to follow")

    def move(self, mailbox: str, rng: random.Random, pause: float) -> None:
        """Move a mailbox's slot key by key to another primary, which it may have been at.

        Args:
            mailbox: Whose.
            rng: Chooses where to.
            pause: Seconds between two keys: the mailbox is half here, half there.
        """
        slot = _slot(mailbox)
        source = self.stores.owner(slot)
        others = [one for one in self.stores.primaries() if one is not source]
        target = rng.choice(others)
        self.stores.open(slot, target)
        time.sleep(pause)
        while self.stores.carry(slot, source, target, at_once=1):
            time.sleep(pause)
        self.stores.close(slot, source, target)


def _slot(mailbox: str) -> int:
    return slot_of(channel_of(mailbox))
