"""The races in which push services lose messages, each played out on real servers.

Two servers share one store and are one service. Each test is named for what holds, and
says what goes wrong elsewhere.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from pushd.protocol.ids import MessageId
from tests.harness import Person, serving
from tests.processes import Server
from tests.talking import Stream, connected, deliver, listening, open_mailbox

SERVICE = "https://push.example"
"""The public URL that both servers have."""


class Nodes(NamedTuple):
    """Where the two servers are."""

    one: str
    two: str


@pytest.fixture(scope="module")
def nodes(store_url: str) -> Iterator[Nodes]:
    """Run two servers on one store."""
    with (
        serving(store_url, public_url=SERVICE) as one,
        serving(store_url, public_url=SERVICE) as two,
    ):
        yield Nodes(*(f"http://127.0.0.1:{node.settings.port}" for node in (one, two)))


@pytest.fixture
def alice() -> Person:
    """Return somebody who sends."""
    return Person(SERVICE)


@pytest.fixture
async def bob(nodes: Nodes, http: httpx2.AsyncClient) -> Person:
    """Return somebody who has an empty mailbox."""
    bob = Person(SERVICE)
    await open_mailbox(http, nodes.one, bob)
    return bob


async def deliver_all(
    http: httpx2.AsyncClient, node: str, sender: Person, to: Person, payloads: list[str]
) -> list[str]:
    """Deliver payloads together and return their ids."""
    answer = await http.post(
        f"{node}/v1/deliveries",
        headers=sender.deliver(to.did),
        json={"deliveries": [{"to": to.did, "payload": payload} for payload in payloads]},
    )
    return [result["id"] for result in answer.json()["results"]]


def numbers(first: int, last: int) -> list[str]:
    """Return the payloads from one number up to another."""
    return [str(number) for number in range(first, last + 1)]


def payloads_of(page: dict[str, Any]) -> list[str]:
    """Return the payloads of a frame or a page."""
    return [message["payload"] for message in page["messages"]]


# --- catching up ----------------------------------------------------------------------


async def test_what_is_new_waits_until_history_is_told(
    nodes: Nodes, http: httpx2.AsyncClient, alice: Person, bob: Person
) -> None:
    """A live message does not overtake older ones, nor does a cursor move over them.

    Elsewhere the newest message comes in the middle of catching up, the client notes its
    id, breaks off, and what lay between is never sent.
    """
    await deliver_all(http, nodes.one, alice, bob, numbers(1, 300))
    received: list[str] = []
    hello: dict[str, str] = {}
    newest = 300
    while len(received) < newest:
        async with listening(bob, nodes.two, window=20, **hello) as stream:
            for _ in range(3):  # frames; then the line breaks
                frame = await stream.next("messages")
                received += payloads_of(frame)
                hello = {"after": frame["cursor"]}
                if received[-1] == str(newest):
                    break
                if newest < 310:
                    newest += 1
                    await deliver(http, nodes.one, alice, bob, str(newest))
                await stream.send("seen", upto=frame["messages"][-1]["id"])
    assert received == numbers(1, 310)


async def test_what_is_sent_again_says_where_it_ends(
    nodes: Nodes, http: httpx2.AsyncClient, alice: Person, bob: Person
) -> None:
    """What a reconnect brings has ids too, so the next reconnect does not bring it again.

    Elsewhere only live messages move the client's position, and each reconnect replays
    what the one before had replayed.
    """
    cursor: str | None = None
    for number in range(1, 4):
        await deliver(http, nodes.one, alice, bob, str(number))
        hello = {} if cursor is None else {"after": cursor}
        async with listening(bob, nodes.two, **hello) as stream:
            frame = await stream.next("messages")
            assert payloads_of(frame) == [str(number)]
            cursor = frame["cursor"]
    async with listening(bob, nodes.one, after=cursor) as stream:
        assert stream.welcome["continuity"] == "exact"
        assert (await stream.next("messages", "caught_up"))["type"] == "caught_up"


async def test_a_message_between_two_polls_is_found(
    nodes: Nodes, http: httpx2.AsyncClient, alice: Person, bob: Person
) -> None:
    """Nothing falls between two polls, not even in a mailbox that never held any.

    Elsewhere a reader asks for what is newer than "now" each time, and skips what came
    between two questions.
    """
    headers = bob.receive()
    answer = await http.get(f"{nodes.one}/v1/messages", headers=headers)
    cursor = answer.json()["cursor"]
    assert cursor.endswith("-0")

    async def send() -> None:
        for first in range(1, 100, 5):
            await deliver_all(http, nodes.two, alice, bob, numbers(first, first + 4))

    received: list[str] = []
    sending = asyncio.create_task(send())
    while len(received) < 100:
        query = {"after": cursor, "wait": "20", "limit": "3"}
        answer = await http.get(
            f"{nodes.one}/v1/messages", headers=headers, params=query, timeout=40
        )
        page = answer.json()
        assert page["continuity"] == "exact"
        received += payloads_of(page)
        cursor = page["cursor"]
    await sending
    assert received == numbers(1, 100)


# --- coming back ----------------------------------------------------------------------


async def test_a_client_may_be_back_before_it_is_missed(
    nodes: Nodes, http: httpx2.AsyncClient, alice: Person, bob: Person
) -> None:
    """A session that nobody knows to be dead is in nobody's way.

    Elsewhere the state of a session is saved when its end is noticed; who is back sooner
    finds none, and begins with nothing.
    """
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(listening(bob, nodes.one))
        await old.next("caught_up")
        await deliver(http, nodes.one, alice, bob, "1")
        cursor = (await old.next("messages"))["cursor"]
        # From here on it is out of reach: its socket is open, and nobody reads or writes.
        await deliver(http, nodes.one, alice, bob, "2")
        async with listening(bob, nodes.two, after=cursor) as new:
            assert new.welcome["continuity"] == "exact"
            await deliver(http, nodes.one, alice, bob, "3")
            assert await new.payloads(2) == ["2", "3"]


async def test_a_cursor_outlives_the_messages_it_counts(
    nodes: Nodes, http: httpx2.AsyncClient, alice: Person, bob: Person
) -> None:
    """A cursor holds when its message is long gone, however much others were sent.

    Elsewhere the entry must still be in a log that all share, and that is cut at a length.
    """
    ids = await deliver_all(http, nodes.one, alice, bob, numbers(1, 50))
    await http.post(f"{nodes.one}/v1/acks", headers=bob.receive(), json={"upto": ids[39]})
    others = [Person(SERVICE) for _ in range(3)]
    for other in others:
        await open_mailbox(http, nodes.one, other)
        for _ in range(4):
            await deliver_all(http, nodes.one, alice, other, ["noise"] * 1000)
    async with listening(bob, nodes.two, after=ids[1]) as stream:
        assert stream.welcome["continuity"] == "exact"
        assert await stream.payloads(10) == numbers(41, 50)


# --- one device ---------------------------------------------------------------------


async def test_a_displaced_session_takes_nothing_with_it(
    nodes: Nodes, http: httpx2.AsyncClient, alice: Person, bob: Person
) -> None:
    """What was on its way to the old session of a device comes to the new one.

    Elsewhere a socket is replaced while a message is in flight to it, and the message
    counts as delivered.
    """
    hello: dict[str, str] = {}
    received: list[str] = []
    sessions: list[Stream] = []

    async def send() -> None:
        for payload in numbers(1, 200):
            await deliver(http, nodes.one, alice, bob, payload)

    sending = asyncio.create_task(send())
    async with AsyncExitStack() as stack:
        for turn in range(8):
            session = listening(bob, nodes[turn % 2], device="phone", **hello)
            sessions.append(await stack.enter_async_context(session))
            if turn:
                assert (await sessions[-2].next("closing"))["reconnect"] is False
                assert await sessions[-2].closed() == 4409
            # One frame is handled. What comes behind it is in flight when the next
            # session begins, and must be there again.
            frame = await sessions[-1].next("messages")
            received += payloads_of(frame)
            hello = {"after": frame["cursor"]}
        while len(received) < 200:
            received += payloads_of(await sessions[-1].next("messages"))
    await sending
    assert received == numbers(1, 200)


async def test_of_two_sessions_of_a_device_one_stays(
    nodes: Nodes, http: httpx2.AsyncClient, alice: Person
) -> None:
    """Two that displace each other, at two servers at once, end with one.

    Elsewhere both come back for ever, or both are gone.
    """

    async def race() -> None:
        bob = Person(SERVICE)
        await open_mailbox(http, nodes.one, bob)
        async with connected(nodes.one) as one, connected(nodes.two) as two:
            hello = {"token": bob.token("receive"), "device": "phone"}
            await asyncio.gather(*(end.send("hello", **hello) for end in (one, two)))
            ends = {asyncio.create_task(end.closed()): end for end in (one, two)}
            over, (alive,) = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            assert over.pop().result() == 4409
            alive.cancel()
            await asyncio.wait([alive])
            await deliver(http, nodes.one, alice, bob, "still here")
            assert await ends[alive].payloads(1) == ["still here"]

    await asyncio.gather(*(race() for _ in range(20)))


# --- many nodes -----------------------------------------------------------------------


async def test_what_a_server_accepted_outlives_it(
    tmp_path: Path,
    store_url: str,
    nodes: Nodes,
    http: httpx2.AsyncClient,
    alice: Person,
    bob: Person,
) -> None:
    """A message is the other servers' too before its sender is told 202.

    Elsewhere the server that accepted it passes it on afterwards, or never.
    """
    flags = ("--redis-url", store_url, "--public-url", SERVICE)
    with Server(tmp_path, *flags) as dying:
        async with listening(bob, nodes.one) as stream:
            await deliver(http, dying.url, alice, bob, "last words")
            dying.signal_group(signal.SIGKILL)
            assert await stream.payloads(1) == ["last words"]


async def test_all_see_one_order(
    nodes: Nodes, http: httpx2.AsyncClient, alice: Person, bob: Person
) -> None:
    """Two servers accept for one mailbox at once; every session hears the same order."""

    async def send(node: str) -> list[MessageId]:
        ids = [await deliver(http, node, alice, bob, node) for _ in range(50)]
        return [MessageId.parse(id) for id in ids]

    async def hear(node: str) -> list[MessageId]:
        ids: list[MessageId] = []
        async with listening(bob, node) as stream:
            while len(ids) < 100:
                frame = await stream.next("messages")
                ids += [MessageId.parse(message["id"]) for message in frame["messages"]]
        return ids

    heard = asyncio.gather(*map(hear, nodes))
    sent = await asyncio.gather(*map(send, nodes))
    here, there = await heard
    assert here == there == sorted(sent[0] + sent[1])
    assert [id.seq for id in here] == list(range(1, 101))


# --- refusals -------------------------------------------------------------------------


async def test_a_full_mailbox_is_told_to_sender_and_owner(
    store_url: str, http: httpx2.AsyncClient
) -> None:
    """The sender gets an error of its own, with when to retry; the owner gets the count.

    Elsewhere the sender gets a bare status and drops the message, and the owner never
    learns that anything was refused.
    """
    with serving(store_url, max_mailbox_messages=4) as server:
        bob = Person(server.url)
        await open_mailbox(http, server.url, bob)
        for n in range(2):
            alice, carol = Person(server.url), Person(server.url)
            await deliver(http, server.url, alice, bob, str(n))
            await deliver(http, server.url, carol, bob, str(n))
        refused = await http.post(
            f"{server.url}/v1/deliveries",
            headers=alice.deliver(bob.did),
            json={"to": bob.did, "payload": "too many"},
        )
        assert refused.status_code == 507
        assert refused.json()["code"] == "mailbox_full"
        assert refused.headers["retry-after"] == str(refused.json()["retry_after"])
        async with listening(bob, server.url) as stream:
            last = (await stream.next("messages"))["messages"][-1]["id"]
            assert (await stream.next("overflow"))["refused"] == 1
            await stream.send("ack", upto=last, ref=1)
            assert (await stream.next("acked"))["removed"] == 4
            await deliver(http, server.url, alice, bob, "again")
            assert await stream.payloads(1) == ["again"]


async def test_a_flood_costs_its_sender_not_the_neighbours(
    store_url: str, http: httpx2.AsyncClient
) -> None:
    """Two senders share an address; one fills its share of a mailbox, the other writes on.

    Elsewhere whoever shares a gateway, or is named in a header, pays for the others.
    """
    with serving(store_url, max_mailbox_messages=10) as server:
        alice, mallory, bob = (Person(server.url) for _ in range(3))
        await open_mailbox(http, server.url, bob)
        answer = await http.post(
            f"{server.url}/v1/deliveries",
            headers=mallory.deliver(bob.did) | {"X-Forwarded-For": "192.0.2.1"},
            json={"deliveries": [{"to": bob.did, "payload": "spam"}] * 20},
        )
        results = answer.json()["results"]
        assert [result["error"]["code"] for result in results[5:]] == ["mailbox_full"] * 15
        await deliver(http, server.url, alice, bob, "hello")
