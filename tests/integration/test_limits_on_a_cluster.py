"""Limits and admission where the store is a Cluster: three primaries, two servers on it."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from itertools import count, cycle
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest

from pushd.mailbox import coalesce
from pushd.mailbox.translation import channel_of, slot_of
from tests import processes
from tests.contract.stores import until
from tests.harness import Person, bearer, serving
from tests.stores import Cluster, Server

PUBLIC_URL = "https://push.example"
RATE = 40
"""How often each may do it in a minute."""
SETTINGS = {
    "PUSHD_PUBLIC_URL": PUBLIC_URL,
    "PUSHD_SENDER_RATE": str(RATE),
    "PUSHD_MAILBOX_RATE": str(RATE),
    "PUSHD_ADDRESS_RATE": str(RATE),
    "PUSHD_TRUSTED_PROXIES": "127.0.0.1",
}
PATIENCE = 60
T = TypeVar("T")
_numbers = count(1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Run three primaries; one that only hangs they do not take for dead."""
    with (
        tempfile.TemporaryDirectory(prefix="pushd-") as directory,
        Cluster("valkey", Path(directory), node_timeout=120.0) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def servers(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[str]]:
    """Run two processes with limits, and say where they are."""
    place = tmp_path_factory.mktemp("servers")
    environ = {**SETTINGS, "PUSHD_REDIS_URL": cluster.url}
    with ExitStack() as stack:
        yield [
            stack.enter_context(processes.Server(place, environ=environ, name=name)).url
            for name in ("one", "other")
        ]


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """Return a client of any server."""
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        yield client


def fresh_address() -> str:
    """Return an address that nobody has yet."""
    number = next(_numbers)
    return f"198.51.{number // 256}.{number % 256}"


def fresh_person() -> Person:
    """Return somebody new."""
    return Person(PUBLIC_URL)


def one_at_each(
    cluster: Cluster, make: Callable[[], T], name: Callable[[T], str]
) -> list[T]:
    """Make as many as it needs for one whose name is kept at each primary."""
    found: dict[int, T] = {}
    while len(found) < 3:
        one = make()
        found.setdefault(keeper(cluster, name(one)).port, one)
    return [found[primary.port] for primary in cluster.primaries()]


def keeper(cluster: Cluster, name: str) -> Server:
    """Find the primary that keeps what goes by a name."""
    return cluster.owner(slot_of(channel_of(name)))


def count_of(cluster: Cluster, name: str) -> Callable[[], int]:
    """Return what asks the store until when it counts what somebody did, in us."""
    keeps, key = keeper(cluster, name), channel_of(name)
    return lambda: int(keeps.ask("GET", key) or 0)


async def mailboxes_at_each(
    http: httpx2.AsyncClient, url: str, cluster: Cluster
) -> list[Person]:
    """Open a mailbox at each primary, in the order of those."""
    owners = one_at_each(cluster, fresh_person, lambda person: person.did)
    for owner in owners:
        assert await come_in(http, url, fresh_address(), owner.token("receive")) == ""
    return owners


async def come_in(http: httpx2.AsyncClient, url: str, address: str, token: str) -> str:
    """Read one's mailbox; return the code of a refusal."""
    headers = {**bearer(token), "X-Forwarded-For": address}
    answer = await http.get(f"{url}/v1/messages", headers=headers)
    code: str = answer.json().get("code", "")
    return code


async def deliver(
    http: httpx2.AsyncClient, url: str, sender: Person, *to: Person
) -> list[str]:
    """Deliver once to each, in one request; return the codes of refusals."""
    answer = await http.post(
        f"{url}/v1/deliveries",
        headers={
            **sender.deliver(*{one.did for one in to}),
            "X-Forwarded-For": fresh_address(),
        },
        json={"deliveries": [{"to": one.did, "payload": "x"} for one in to]},
    )
    body = answer.json()
    results = body.get("results", [{"error": body}])
    return [result["error"]["code"] if "error" in result else "" for result in results]


async def holds_over_both(
    do: Callable[[str], Awaitable[str]], servers: list[str], told: Callable[[], int]
) -> None:
    """Do something as often as it may be done, most of it at one server; see both refuse.

    Args:
        do: Does it at a server; returns the code of a refusal.
        servers: The two.
        told: Until when it counts, as the store was told, in Unix microseconds.
    """
    one, other = servers
    all_told = time.time() * 1e6
    for server, times in ((one, RATE * 8 // 10), (other, RATE // 10)):
        assert [await do(server) for _ in range(times)] == [""] * times
        all_told += times * 60e6 / RATE
        await until(lambda all_told=all_told: told() >= all_told)  # type: ignore[misc] # mypy cannot infer a lambda's default
    for server in (other, one):
        codes = [await do(server)]
        while codes[-1] == "":
            codes.append(await do(server))
        assert codes[-1] == "rate_limited"
        assert len(codes) < RATE // 2, "what the other server let through counts"


async def test_a_sender_is_limited_over_all_primaries(
    http: httpx2.AsyncClient, cluster: Cluster, servers: list[str]
) -> None:
    """Wherever its count is kept, and wherever the mailboxes are."""
    for sender in one_at_each(cluster, fresh_person, lambda one: f"sender:{one.did}"):
        to = await mailboxes_at_each(http, servers[0], cluster)
        turns = cycle(to)

        async def do(
            server: str, sender: Person = sender, turns: Iterator[Person] = turns
        ) -> str:
            return (await deliver(http, server, sender, next(turns)))[0]

        await holds_over_both(do, servers, count_of(cluster, f"sender:{sender.did}"))
        assert set(await deliver(http, servers[0], sender, *to)) == {"rate_limited"}


async def test_a_mailbox_is_limited_over_all_senders(
    http: httpx2.AsyncClient, cluster: Cluster, servers: list[str]
) -> None:
    """One that has had enough keeps the others of a request from nothing."""
    to = await mailboxes_at_each(http, servers[0], cluster)
    full = one_at_each(cluster, fresh_person, lambda one: f"mailbox:{one.did}")
    for owner in full:
        await come_in(http, servers[0], fresh_address(), owner.token("receive"))

        async def do(server: str, owner: Person = owner) -> str:
            return (await deliver(http, server, fresh_person(), owner))[0]

        await holds_over_both(do, servers, count_of(cluster, f"mailbox:{owner.did}"))
        codes = await deliver(http, servers[0], fresh_person(), *to, owner, *to)
        assert codes == ["", "", "", "rate_limited", "", "", ""]


async def test_an_address_is_limited_before_its_tokens_are_verified(
    http: httpx2.AsyncClient, cluster: Cluster, servers: list[str]
) -> None:
    """Wherever its count is kept; another address is not concerned."""
    for address in one_at_each(cluster, fresh_address, lambda one: f"address:{one}"):

        async def do(server: str, address: str = address) -> str:
            return await come_in(http, server, address, fresh_person().token("receive"))

        await holds_over_both(do, servers, count_of(cluster, f"address:{address}"))
        assert await come_in(http, servers[0], address, "not.a.token") == "rate_limited"
        assert await come_in(http, servers[0], fresh_address(), "x.y.z") == "unauthorized"


async def test_a_primary_that_hangs_has_nothing_else_refused(
    http: httpx2.AsyncClient, cluster: Cluster
) -> None:
    """Its mailboxes are away; those of the others are delivered to, whoever counts it."""
    with serving(cluster.url, public_url=PUBLIC_URL, sender_rate=60_000) as server:
        url = f"http://127.0.0.1:{server.settings.port}"
        away, *there = await mailboxes_at_each(http, url, cluster)
        senders = one_at_each(cluster, fresh_person, lambda one: f"sender:{one.did}")
        hangs = keeper(cluster, away.did)
        hangs.pause()
        try:
            waits = asyncio.create_task(deliver(http, url, senders[0], away))
            codes: set[str] = set()
            while not waits.done():
                for sender in senders:
                    codes.update(await deliver(http, url, sender, *there))
            assert await waits == ["store_unavailable"]
            assert codes == {""}
        finally:
            hangs.resume()

        async def is_back() -> bool:
            return await deliver(http, url, senders[0], away, *there) == [""] * 3

        await until(is_back)


async def test_primaries_that_all_hang_are_an_overload(
    http: httpx2.AsyncClient, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is new is refused at once then, and let in when they go on."""
    monkeypatch.setattr(coalesce, "STUCK_SECONDS", 3600.0)
    with serving(cluster.url, public_url=PUBLIC_URL) as server, ExitStack() as stack:
        url = f"http://127.0.0.1:{server.settings.port}"
        to = await mailboxes_at_each(http, url, cluster)
        sender, delay = fresh_person(), server.parts["bounds"].delay
        for primary in cluster.primaries():
            primary.pause()
            stack.callback(primary.resume)
        await until(lambda: delay.held > 2 * delay.most)
        posts = [deliver(http, url, sender, *to) for _ in range(30)]
        tasks = [asyncio.create_task(one) for one in posts]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [["overloaded"]] * len(done)
        stack.close()
        answers = await asyncio.gather(*tasks)
        assert [""] * 3 in answers
        await until(lambda: delay.held < delay.most)
        assert await deliver(http, url, sender, *to) == [""] * 3
