"""`GET /v1/messages` and `POST /v1/acks` over a real socket: pages, cursors, waiting."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from pushd.protocol.ids import Cursor, MessageId
from tests.harness import Person, RunningServer, serving


class Box:
    """Bob's mailbox over HTTP, and Alice, who fills it."""

    def __init__(self, http: httpx2.AsyncClient, server: RunningServer) -> None:
        self.http = http
        self.server = server
        self.alice = Person(server.url)
        self.bob = Person(server.url)

    async def fill(self, *payloads: str, **members: Any) -> list[str]:
        """Deliver payloads and return their ids."""
        items = [{"to": self.bob.did, "payload": p, **members} for p in payloads]
        answer = await self.http.post(
            "/v1/deliveries",
            json={"deliveries": items},
            headers=self.alice.deliver(self.bob.did),
        )
        return [result["id"] for result in answer.json()["results"]]

    async def get(self, **query: object) -> httpx2.Response:
        """Ask for a page."""
        params = {name: str(value) for name, value in query.items()}
        return await self.http.get(
            "/v1/messages", params=params, headers=self.bob.receive(), timeout=30
        )

    async def page(self, **query: object) -> dict[str, Any]:
        """Return a page."""
        answer = await self.get(**query)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    async def ack(self, **what: object) -> httpx2.Response:
        """Ack something."""
        return await self.http.post("/v1/acks", json=what, headers=self.bob.receive())

    async def listeners(self, n: int) -> None:
        """Return once so many sessions are open on the server."""
        while True:
            text = (await self.http.get("/metrics")).text
            if f"\npushd_sessions {float(n)}\n" in text:
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def box(http: httpx2.AsyncClient, server: RunningServer) -> Box:
    """Return Bob's new, open mailbox."""
    box = Box(http, server)
    await box.page()
    return box


def ids(page: dict[str, Any]) -> list[str]:
    """Return the ids of a page."""
    return [message["id"] for message in page["messages"]]


# --- pages and cursors ---------------------------------------------------------------


async def test_the_first_receive_token_opens_a_mailbox(
    http: httpx2.AsyncClient, server: RunningServer
) -> None:
    """It is empty; its tail, which is a cursor, stands before its first message."""
    box = Box(http, server)
    page = await box.page()
    epoch = MessageId.parse(page["tail"]).epoch

    assert page == {
        "messages": [],
        "cursor": f"{epoch}-0",
        "tail": f"{epoch}-0",
        "unread": 0,
        "continuity": "replay",
    }
    assert await box.fill("x") == [f"{epoch}-1"]
    assert (await box.page(after=page["cursor"]))["continuity"] == "exact"


async def test_an_ack_opens_a_mailbox_too(
    http: httpx2.AsyncClient, server: RunningServer
) -> None:
    """Whatever the owner does first, there was nothing to remove."""
    box = Box(http, server)
    assert (await box.ack(ids=["1-1"])).json() == {"removed": 0, "unread": 0}
    assert len(await box.fill("x")) == 1


async def test_pages_follow_each_other_without_gap(box: Box) -> None:
    """A page's cursor is where the next begins; at the end it is the tail."""
    stored = await box.fill(*map(str, range(25)))
    seen: list[str] = []
    query: dict[str, object] = {"limit": 10}
    for expected in (10, 10, 5, 0):
        page = await box.page(**query)
        assert len(page["messages"]) == expected
        assert page["unread"] == 25
        assert page["tail"] == stored[-1]
        assert page["continuity"] == ("exact" if seen else "replay")
        seen += ids(page)
        assert page["cursor"] == seen[-1]
        query["after"] = page["cursor"]
    assert seen == stored


async def test_without_a_limit_a_page_has_100(box: Box) -> None:
    """And at most 500 with one."""
    await box.fill(*["x"] * 501)
    assert len((await box.page())["messages"]) == 100
    assert len((await box.page(limit=500))["messages"]) == 500


async def test_a_page_stays_below_4_mib(box: Box) -> None:
    """However many messages were asked for; what is left follows."""
    for _ in range(2):
        await box.fill(*["\u0001" * 4096] * 150)
    page = await box.page(limit=500)
    size = sum(len(json.dumps(message)) for message in page["messages"])
    assert 100 <= len(page["messages"]) < 300
    assert size <= 4.5 * 1024 * 1024
    rest = await box.page(limit=500, after=page["cursor"])
    assert len(page["messages"]) + len(rest["messages"]) == 300


async def test_a_cursor_of_another_epoch_replays_from_the_first(box: Box) -> None:
    """Nothing may be missing: all that is unread comes again, and the page says why."""
    stored = await box.fill("1", "2", "3")
    epoch = MessageId.parse(stored[0]).epoch
    foreign = [
        f"{epoch - 1}-2",
        f"{epoch + 1}-0",
        f"{stored[1]}@{epoch - 1}",
        f"{epoch}-4",
        "0-0",
    ]
    for cursor in foreign:
        page = await box.page(after=cursor)
        assert (page["continuity"], ids(page)) == ("replay", stored)


async def test_a_cursor_of_this_epoch_after_an_older_id_is_exact(box: Box) -> None:
    """`<id>@<epoch>` says that the epoch was seen, at a message from before it."""
    stored = await box.fill("1")
    epoch = MessageId.parse(stored[0]).epoch
    cursor = Cursor(MessageId(epoch - 1, 7), epoch)
    page = await box.page(after=cursor)
    assert (page["continuity"], ids(page)) == ("exact", stored)


@pytest.mark.parametrize(
    "query",
    [
        {"after": ""},
        {"after": "x"},
        {"after": "1"},
        {"after": "1-"},
        {"after": "01-1"},
        {"after": "1-1@"},
        {"after": "1-1@x"},
        {"after": f"1-{2**53}"},
        {"limit": "0"},
        {"limit": "501"},
        {"limit": "-1"},
        {"limit": "1.5"},
        {"limit": "x"},
        {"limit": ""},
        {"limit": "010"},
        {"limit": "\u0661"},
        {"wait": "61"},
        {"wait": "-1"},
        {"wait": "x"},
    ],
    ids=str,
)
async def test_a_query_out_of_bounds_is_refused(box: Box, query: dict[str, str]) -> None:
    """400, not a guess at what was meant."""
    answer = await box.get(**query)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_a_query_that_is_no_utf8_is_refused(box: Box) -> None:
    """400, as any other input that is not text."""
    answer = await box.http.get("/v1/messages?after=%ff", headers=box.bob.receive())
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_nobody_reads_anothers_mailbox(box: Box) -> None:
    """A token opens the mailbox of its own key, and none with the wrong scope."""
    await box.fill("secret")
    alices = await box.http.get("/v1/messages", headers=box.alice.receive())
    assert alices.json()["messages"] == []
    headers = box.bob.deliver(box.alice.did)
    answer = await box.http.get("/v1/messages", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    answer = await box.http.get("/v1/messages")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


async def test_a_page_is_for_no_cache(box: Box) -> None:
    """Nobody on the way keeps it."""
    assert (await box.get()).headers["cache-control"] == "no-store"


# --- acks ----------------------------------------------------------------------------


async def test_acks_remove_by_ids(box: Box) -> None:
    """Idempotent; an id that is not there is no error."""
    stored = await box.fill("1", "2", "3")
    answer = await box.ack(ids=[stored[1], "7-7"])
    assert answer.json() == {"removed": 1, "unread": 2}
    assert (await box.ack(ids=[stored[1]])).json() == {"removed": 0, "unread": 2}
    assert ids(await box.page()) == [stored[0], stored[2]]


async def test_acks_remove_up_to_an_id(box: Box) -> None:
    """Everything of its epoch, up to and with it; nothing if it is above the tail."""
    stored = await box.fill("1", "2", "3")
    tail = MessageId.parse(stored[-1])
    above = MessageId(tail.epoch, tail.seq + 1)
    other = MessageId(tail.epoch + 1, 2)
    for nothing in (above, other):
        answer = await box.ack(upto=str(nothing))
        assert answer.json() == {"removed": 0, "unread": 3}
    assert (await box.ack(upto=stored[1])).json() == {"removed": 2, "unread": 1}
    assert ids(await box.page()) == [stored[2]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"ids":[]}',
        b'{"ids":"1-1"}',
        b'{"ids":[1]}',
        b'{"ids":["x"]}',
        b'{"ids":["1-1"],"upto":"1-1"}',
        b'{"upto":"x"}',
        b'{"upto":1}',
        b'{"upto":null}',
        b'{"ids":["1-1"],"colour":"red"}',
        b'{"ids":[' + b",".join([b'"1-1"'] * 1001) + b"]}",
        b'{"ids":' + b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_what_is_no_ack_is_refused(box: Box, body: bytes) -> None:
    """400, and nothing is removed."""
    await box.fill("x")
    answer = await box.http.post("/v1/acks", content=body, headers=box.bob.receive())
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert (await box.page())["unread"] == 1


async def test_a_deliver_token_acks_nothing(box: Box) -> None:
    """Nor does none at all."""
    (id,) = await box.fill("x")
    for headers in (box.bob.deliver(box.bob.did), {}):
        answer = await box.http.post("/v1/acks", json={"upto": id}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert (await box.page())["unread"] == 1


# --- waiting -------------------------------------------------------------------------


async def test_a_request_waits_for_a_delivery(box: Box) -> None:
    """It is answered as soon as there is something after the cursor."""
    cursor = (await box.page())["cursor"]
    waiting = asyncio.create_task(box.page(after=cursor, wait=30))
    await box.listeners(1)
    stored = await box.fill("news")
    page = await waiting
    assert (ids(page), page["continuity"]) == (stored, "exact")
    await box.listeners(0)


async def test_what_is_there_is_not_waited_for(box: Box) -> None:
    """A page with messages is answered at once."""
    stored = await box.fill("old")
    assert ids(await box.page(wait=60)) == stored


async def test_waiting_ends_with_an_empty_page(box: Box) -> None:
    """Nothing came; the cursor still holds."""
    page = await box.page(wait=1)
    assert (page["messages"], page["cursor"]) == ([], page["tail"])


async def test_waiting_ends_with_its_token(box: Box) -> None:
    """A session is never longer than its token."""
    headers = box.bob.receive(lifetime=2)
    answer = await box.http.get(
        "/v1/messages", params={"wait": "60"}, headers=headers, timeout=20
    )
    assert (answer.status_code, answer.json()["messages"]) == (200, [])


async def test_a_client_that_goes_away_waits_no_longer(box: Box) -> None:
    """Its session is closed, so it takes no other's place."""
    async with httpx2.AsyncClient(base_url=box.server.url, trust_env=False) as other:
        waiting = asyncio.create_task(
            other.get("/v1/messages?wait=60", headers=box.bob.receive(), timeout=90)
        )
        await box.listeners(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await box.listeners(0)


async def test_waiting_counts_as_a_session(store_url: str) -> None:
    """At the limit of sessions one more is refused, and told when to come back."""
    with serving(store_url, max_sessions=1) as server:
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            box = Box(http, server)
            await box.page()
            waiting = asyncio.create_task(box.page(wait=20))
            await box.listeners(1)
            answer = await box.get(wait=20)
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_sessions")
            assert int(answer.headers["retry-after"]) > 0
            stored = await box.fill("x")
            assert ids(await waiting) == stored


async def test_a_server_that_stops_lets_nobody_wait(store_url: str) -> None:
    """A waiting request is answered, it does not hold up the end."""
    with serving(store_url) as server:
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            box = Box(http, server)
            await box.page()
            waiting = asyncio.create_task(box.page(wait=60))
            await box.listeners(1)
            await asyncio.to_thread(server.stop)
            assert (await waiting)["messages"] == []


# --- full mailboxes ------------------------------------------------------------------


async def test_a_full_mailbox_refuses_and_its_owner_learns_of_it(store_url: str) -> None:
    """507 at the sender; a count at the owner until accepting again and told."""
    with serving(store_url, max_mailbox_messages=4) as server:
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            box = Box(http, server)
            carol = Person(server.url)
            await box.page()
            await box.fill("1", "2")
            box.alice = carol
            await box.fill("3", "4")
            refused = await http.post(
                "/v1/deliveries",
                json={"to": box.bob.did, "payload": "5"},
                headers=carol.deliver(box.bob.did),
            )
            page = await box.page()

            assert (refused.status_code, refused.json()["code"]) == (507, "mailbox_full")
            assert int(refused.headers["retry-after"]) > 0
            assert [m["payload"] for m in page["messages"]] == ["1", "2", "3", "4"]
            assert page["overflow"]["refused"] == 1
            assert page["overflow"]["since"] >= page["messages"][0]["at"]
            assert (await box.ack(upto=page["cursor"])).json()["removed"] == 4
            await box.fill("6")
            await box.page()
            assert "overflow" not in await box.page()


async def test_an_owner_who_asks_for_the_head_was_told_nothing(store_url: str) -> None:
    """What a full mailbox refused stands in a body, and is kept until one is sent."""
    with serving(store_url, max_mailbox_messages=2) as server:
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            box = Box(http, server)
            await box.page()
            await box.fill("1")
            box.alice = Person(server.url)
            [last] = await box.fill("2")
            refused = await http.post(
                "/v1/deliveries",
                json={"to": box.bob.did, "payload": "3"},
                headers=box.alice.deliver(box.bob.did),
            )
            assert refused.status_code == 507
            await box.ack(upto=last)
            await box.fill("4")
            for _ in range(2):
                headers = box.bob.receive()
                assert (await http.head("/v1/messages", headers=headers)).is_success
            assert (await box.page())["overflow"]["refused"] == 1


# --- who may have a mailbox ----------------------------------------------------------


async def test_only_listed_owners_have_a_mailbox(store_url: str) -> None:
    """Others are forbidden, in whatever way they come; nothing is opened for them."""
    bob = Person("")
    with serving(store_url, mailboxes="listed", owners=(bob.did,)) as server:
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            box = Box(http, server)
            stranger, bob.server = box.bob, server.url
            for answer in (await box.get(), await box.ack(ids=["1-1"])):
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
            delivery = {"to": stranger.did, "payload": "x"}
            answer = await http.post(
                "/v1/deliveries", json=delivery, headers=bob.deliver(stranger.did)
            )
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_mailbox")
            box.bob = bob
            await box.page()
            assert len(await box.fill("x")) == 1
