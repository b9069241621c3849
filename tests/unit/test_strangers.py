"""Connections that have not said who they are: who gives way, and who is forgotten."""

from asyncio import BaseTransport

import pytest

from pushd.bounds import Bound
from pushd.web import strangers
from pushd.web.strangers import PATIENCE, Strangers
from tests.unit.test_client_addresses import made


class Peer(BaseTransport):
    """A connection from somewhere: transport and stranger in one."""

    def __init__(self, address: str = "203.0.113.9") -> None:
        super().__init__({"peername": (address, 1234)})
        self.turned_away = False

    def turn_away(self) -> None:
        """Note that it had to go."""
        self.turned_away = True


class Door:
    """The strangers of a process, and a clock that stands."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, most: int = 2, each: int = 0
    ) -> None:
        self.now = 1000.0
        self.bound = Bound("strangers", most)
        self.strangers = Strangers(self.bound, each=each, addresses=made())
        monkeypatch.setattr(strangers, "monotonic", lambda: self.now)

    def enter(self, peer: Peer) -> bool:
        """Let a connection in, if it may come."""
        return self.strangers.enter(peer, peer)


def test_who_was_silent_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before its patience is over; until then the newcomer is turned away."""
    door = Door(monkeypatch)
    first, second, early, late = (Peer() for _ in range(4))
    assert door.enter(first)
    assert door.enter(second)
    door.now += PATIENCE / 2
    assert not door.enter(early)
    door.now += PATIENCE / 2
    assert door.enter(late)
    assert [peer.turned_away for peer in (first, second, late)] == [True, False, False]
    assert (door.bound.held, door.bound.turned_away) == (2, 2)


def test_who_said_what_it_is_for_has_its_time_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that was just upgraded is no longer the one that was silent longest."""
    door = Door(monkeypatch)
    first, second, stream, newcomer = (Peer() for _ in range(4))
    door.enter(first)
    door.enter(second)
    door.now += PATIENCE
    door.strangers.rename(first, stream)
    door.strangers.leave(second)
    assert door.enter(Peer())
    assert not door.enter(newcomer)
    assert not stream.turned_away


@pytest.mark.parametrize("renamed", [False, True])
def test_an_address_gets_its_room_back(
    monkeypatch: pytest.MonkeyPatch, renamed: bool
) -> None:
    """Once its stranger is known or gone, as a stream too; others never lose any to it."""
    door = Door(monkeypatch, most=10, each=1)
    for _ in range(3):
        first, stream, elsewhere = Peer(), Peer(), Peer("203.0.113.10")
        assert door.enter(first)
        assert not door.enter(Peer())
        assert door.enter(elsewhere)
        if renamed:
            door.strangers.rename(first, stream)
        door.strangers.leave(stream if renamed else first)
        door.strangers.leave(elsewhere)
    assert door.bound.held == 0


def test_who_is_turned_away_takes_no_room_at_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full server is no reason to keep an address out afterwards."""
    door = Door(monkeypatch, most=1, each=1)
    holder = Peer("203.0.113.10")
    door.enter(holder)
    assert not door.enter(Peer())
    door.strangers.leave(holder)
    assert door.enter(Peer())
