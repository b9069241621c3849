"""What was done at all servers of one store is added up there, for the rate limits."""

from tests.contract.conftest import Connect
from tests.contract.stores import until
from tests.stores import Server

SLACK = 20.0
"""Seconds that a loaded machine may take between two lines of a test."""


async def test_what_two_servers_let_through_is_added_up(
    connect: Connect, server: Server, bob: str
) -> None:
    """Each learns of both, and of nobody else."""
    one, other = await connect(server), await connect(server)

    assert await one.charge({bob: 1000.0}) == {bob: 1000.0}
    both = await other.charge({bob: 500.0, f"{bob}-else": 300.0})
    assert 1500.0 - SLACK <= both[bob] <= 1500.0
    assert both[f"{bob}-else"] == 300.0


async def test_the_calls_of_a_tick_are_added_up_too(
    connect: Connect, server: Server, bob: str
) -> None:
    """The second sees the first, though they travel as one."""
    meter = await connect(server)
    first, second = meter.charge({bob: 100.0}), meter.charge({bob: 100.0})
    assert ((await first)[bob], (await second)[bob]) == (100.0, 200.0)


async def test_what_counts_no_more_is_no_key(
    connect: Connect, server: Server, bob: str
) -> None:
    """A meter that ran out leaves nothing in the store."""
    meter = await connect(server)
    await meter.charge({bob: 0.05})
    client = server.client()
    await until(lambda: not client.exists(f"pushd:{{{bob}}}"))
    assert await meter.charge({bob: 1.0}) == {bob: 1.0}
