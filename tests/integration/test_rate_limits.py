"""Rate limits over real sockets: who is over one is told, and costs the others nothing."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import httpx2
import pytest
import redis

from pushd.identity.tokens import Token
from tests.contract.stores import until
from tests.harness import Person, RunningServer, bearer, serving
from tests.talking import EVENTS, connected, deliver, open_mailbox


@pytest.fixture(scope="module")
def servers(store_url: str) -> Iterator[list[RunningServer]]:
    """Run two servers of one store, by one name, where senders have ten a minute."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                serving(store_url, sender_rate=10, public_url="https://push.example")
            )
            for _ in range(2)
        ]


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    """Return a client of any server."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        yield client


def base(server: RunningServer) -> str:
    """Return where a server listens, whatever it calls itself."""
    return f"http://127.0.0.1:{server.settings.port}"


async def post(
    client: httpx2.AsyncClient, server: RunningServer, sender: Person, to: Person
) -> httpx2.Response:
    """Deliver once."""
    return await client.post(
        f"{base(server)}/v1/deliveries",
        headers=sender.deliver(to.did),
        json={"to": to.did, "payload": "x"},
    )


async def test_a_sender_over_its_limit_is_refused_and_told_when_to_come_back(
    client: httpx2.AsyncClient, servers: list[RunningServer]
) -> None:
    """The eleventh of ten is 429, with the headers; another sender is not concerned."""
    server = servers[0]
    alice, mallory, bob = (Person(server.url) for _ in range(3))
    await open_mailbox(client, base(server), bob)
    answers = [await post(client, server, mallory, bob) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [202] * 10 + [429]
    assert answers[0].headers["ratelimit-policy"] == '"sender";q=10;w=60'
    assert answers[0].headers["ratelimit"].startswith('"sender";r=9;t=')
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert 1 <= refused.json()["retry_after"] <= 6
    assert refused.headers["retry-after"] == str(refused.json()["retry_after"])
    assert refused.headers["ratelimit"].startswith('"sender";r=0;t=')
    assert refused.headers.get_list("ratelimit-policy") == ['"sender";q=10;w=60']
    assert (await post(client, server, alice, bob)).status_code == 202


async def test_a_batch_is_accepted_as_far_as_the_limit_goes(
    client: httpx2.AsyncClient, servers: list[RunningServer]
) -> None:
    """Ten of twelve; each other one says when to come back; the next is refused whole."""
    server = servers[0]
    mallory, bob = Person(server.url), Person(server.url)
    await open_mailbox(client, base(server), bob)
    batch = {"deliveries": [{"to": bob.did, "payload": "x"}] * 12}
    url, headers = f"{base(server)}/v1/deliveries", mallory.deliver(bob.did)
    answer = await client.post(url, headers=headers, json=batch)

    results = answer.json()["results"]
    assert ["id" in result for result in results] == [True] * 10 + [False] * 2
    assert results[-1]["error"]["code"] == "rate_limited"
    assert results[-1]["error"]["retry_after"] >= 1
    assert answer.headers["ratelimit"].startswith('"sender";r=0;t=')
    again = await client.post(url, headers=headers, json=batch)
    assert (again.status_code, again.json()["code"]) == (429, "rate_limited")


async def test_a_limit_holds_over_all_servers_of_a_store(
    client: httpx2.AsyncClient, store_url: str, servers: list[RunningServer]
) -> None:
    """What was delivered at one server counts at the other, by the store's next answer."""
    one, other = servers
    mallory, bob = Person(one.url), Person(one.url)
    await open_mailbox(client, base(one), bob)
    for _ in range(10):
        assert (await post(client, one, mallory, bob)).status_code == 202

    with redis.Redis.from_url(store_url) as store:
        await until(lambda: store.exists(f"pushd:{{sender:{mallory.did}}}") == 1)
    assert (await post(client, other, mallory, bob)).status_code == 202
    text = mallory.token("deliver", bob.did)
    token = other.parts["authenticator"].authenticate(text, "deliver", now=time.time())
    await until(lambda: _left(other, token) == 0)
    assert (await post(client, other, mallory, bob)).status_code == 429


def _left(server: RunningServer, token: Token) -> int | None:
    """Tell how many deliveries a sender has left, as a server knows it."""
    standing = server.parts["deliveries"].standing(token)
    return standing and standing.left


async def test_over_the_stream_a_delivery_over_the_limit_is_refused(
    client: httpx2.AsyncClient, servers: list[RunningServer]
) -> None:
    """`refused`, with the code and the time; the session goes on."""
    server = servers[0]
    mallory, bob = Person(server.url), Person(server.url)
    await open_mailbox(client, base(server), bob)
    token = mallory.token("receive deliver", bob.did)
    async with connected(base(server)) as stream:
        await stream.send("hello", token=token)
        for ref in range(11):
            await stream.send("deliver", to=bob.did, payload="x", ref=ref)
        answers = [await stream.next("accepted", "refused") for _ in range(11)]
        await stream.send("ping", ref="still here")
        assert (await stream.next("pong"))["ref"] == "still here"

    refused = [answer for answer in answers if answer["type"] == "refused"]
    assert [answer["error"]["code"] for answer in refused] == ["rate_limited"]
    assert refused[0]["error"]["retry_after"] >= 1


async def test_a_mailbox_is_delivered_to_as_often_as_it_may_be(
    client: httpx2.AsyncClient, store_url: str
) -> None:
    """By many senders together; another mailbox is not concerned."""
    with serving(store_url, mailbox_rate=5) as server:
        bob, carol = Person(server.url), Person(server.url)
        for owner in (bob, carol):
            await open_mailbox(client, server.url, owner)
        answers = [await post(client, server, Person(server.url), bob) for _ in range(6)]
        await deliver(client, server.url, Person(server.url), carol, "x")

        assert [answer.status_code for answer in answers] == [202] * 5 + [429]
        assert answers[-1].headers["ratelimit-policy"] == '"mailbox";q=5;w=60'
        assert "ratelimit" not in answers[0].headers  # what others do is nobody's business
        metrics = (await client.get(f"{server.url}/metrics")).text
        assert 'pushd_limited_total{limit="mailbox"} 1.0' in metrics


async def test_an_address_pays_for_tokens_that_do_not_verify(
    client: httpx2.AsyncClient, store_url: str
) -> None:
    """On every way in; a token that is known goes on, from the same address."""
    with serving(store_url, address_rate=25) as server:
        alice, bob = Person(server.url), Person(server.url)
        known = bob.receive()
        url = f"{server.url}/v1/messages"
        assert (await client.get(url, headers=known)).status_code == 200
        forged = [bearer(f"{n}.not.a-token") for n in range(4)]
        answers = [await client.get(url, headers=headers) for headers in forged]

        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        assert answers[-1].headers["ratelimit-policy"] == '"address";q=25;w=60'
        assert (await post(client, server, alice, bob)).status_code == 429
        async with connected(server.url) as stream:
            await stream.send("hello", token=alice.token("receive"))
            assert (await stream.next("error"))["code"] == "rate_limited"
            assert (await stream.next("closing"))["retry_after"] >= 1
            assert await stream.closed() == 4429
        events = f"{server.url}/v1/stream"
        new, old = ({**headers, **EVENTS} for headers in (alice.receive(), known))
        assert (await client.get(events, headers=new)).status_code == 429
        async with client.stream("GET", events, headers=old) as answer:
            assert answer.status_code == 200
        assert (await client.get(url, headers=known)).status_code == 200
        assert (await client.get(f"{server.url}/health/live")).status_code == 200


async def test_a_proxys_clients_are_told_apart(
    client: httpx2.AsyncClient, store_url: str
) -> None:
    """What one of them did is not laid to another, on any way in."""
    with serving(store_url, address_rate=10, trusted_proxies="127.0.0.1") as server:

        async def tries(who: str, method: str, path: str) -> int:
            headers = {
                **bearer("not.a.token"),
                "Accept": "text/event-stream",
                "X-Forwarded-For": f"6.6.6.6, {who}",
            }
            url = f"{server.url}{path}"
            return (await client.request(method, url, headers=headers)).status_code

        for n, way in enumerate(
            (("GET", "/v1/messages"), ("POST", "/v1/deliveries"), ("GET", "/v1/stream"))
        ):
            assert await tries(f"198.51.100.{n}", *way) == 401
            assert await tries(f"198.51.100.{n}", *way) == 429
        for n, codes in ((0, {"code": "rate_limited"}), (9, {"code": "unauthorized"})):
            forwarded = {"X-Forwarded-For": f"198.51.100.{n}"}
            async with connected(server.url, forwarded) as stream:
                await stream.send("hello", token="not.a.token")
                assert codes.items() <= (await stream.next("error")).items()


async def test_who_is_no_trusted_proxy_speaks_for_nobody(
    client: httpx2.AsyncClient, store_url: str
) -> None:
    """A header that anybody can write changes nothing."""
    with serving(store_url, address_rate=10) as server:
        answers = [
            await client.get(
                f"{server.url}/v1/messages",
                headers={**bearer("not.a.token"), "X-Forwarded-For": f"198.51.100.{n}"},
            )
            for n in range(2)
        ]
        assert [answer.status_code for answer in answers] == [401, 429]


async def test_without_limits_no_answer_tells_of_any(
    http: httpx2.AsyncClient, server: RunningServer
) -> None:
    """As a server is without settings."""
    alice, bob = Person(server.url), Person(server.url)
    await open_mailbox(http, server.url, bob)
    answer = await post(http, server, alice, bob)

    assert answer.status_code == 202
    assert "ratelimit" not in answer.headers
    assert (await http.get("/.well-known/pushd")).json()["limits"]["sender_rate"] == 0
