"""Names at a real server, looked up on a real hub: claimed, written to, moved, and down."""

import asyncio
import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import httpx2
import pytest

from pushd import app as composition
from pushd.identity.contact import PATH, make_contact
from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import Token
from pushd.names import TOGETHER
from pushd.resolvers.compose import make_directory
from pushd.web.stream import Stream
from tests.devhub import RunningHub
from tests.harness import Clock, Person, RunningServer, bearer, exchange, serving
from tests.talking import connected, listening

APP = "https://app.example"
ALICE, BOB = "alice.id.blockstack", "bob.id.blockstack"


class World:
    """A server and the hub where names and buckets are.

    Attributes:
        clock: By which the server's memory of names goes.
    """

    def __init__(self, hub: RunningHub, server: RunningServer, clock: Clock) -> None:
        self.hub, self.server, self.clock = hub, server, clock

    def person(self, name: str | None = None) -> Person:
        """Make a person, who may have a name."""
        person = Person(self.server.url)
        if name is not None:
            self.register(name, person)
        return person

    def register(self, name: str, person: Person) -> None:
        """Give a name to somebody, though another had it before."""
        self.hub.hub.register(name, PrivateKey.generate(), {APP: person.key})

    def declare(self, person: Person, *servers: str) -> None:
        """Publish a contact document."""
        document = make_contact(person.key, servers=servers, app=APP, now=time.time())
        self.hub.hub.storage.write(self.address(person), PATH, document, "application/json")

    def bucket(self, person: Person) -> str:
        """Return the URL of somebody's bucket."""
        return self.hub.hub.bucket_url(person.key)

    @staticmethod
    def address(person: Person) -> str:
        """Return the address of somebody's bucket."""
        return person.did.rpartition(":")[2]

    def asked(self) -> int:
        """Tell how often the server looked something up so far."""
        lines = self.get("/metrics").text.splitlines()
        counts = [line for line in lines if line.startswith("pushd_lookups_total")]
        return int(sum(float(line.split()[-1]) for line in counts if "limited" not in line))

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx2.Response:
        """Get something of the server."""
        return httpx2.get(self.server.url + path, headers=headers, trust_env=False)

    def deliver(
        self, sender: Person, to: str, payload: str = "hi", **claims: Any
    ) -> httpx2.Response:
        """Deliver to a DID or a name, and return the answer."""
        headers = sender.deliver(to, **{"app": APP, **claims})
        return self.post({"to": to, "payload": payload, "key": payload}, headers)

    def post(self, body: object, headers: dict[str, str]) -> httpx2.Response:
        """Post deliveries."""
        url = f"{self.server.url}/v1/deliveries"
        return httpx2.post(url, headers=headers, json=body, trust_env=False)

    def unread(self, owner: Person, **claims: Any) -> httpx2.Response:
        """Read somebody's mailbox."""
        return self.get("/v1/messages", owner.receive(**claims))


def world_of(
    store_url: str, hub: RunningHub, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> Iterator[World]:
    """Run a server that looks names up on a hub."""
    clock = Clock()
    monkeypatch.setattr(composition, "make_directory", partial(make_directory, clock=clock))
    with serving(
        store_url, names_api=hub.url, dev_hosts=(hub.host_port,), **settings
    ) as server:
        yield World(hub, server, clock)


@pytest.fixture
def world(
    store_url: str, hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """Run a server where everybody may have a mailbox."""
    yield from world_of(store_url, hub, monkeypatch)


@pytest.fixture
def declared(
    store_url: str, hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """Run a server for those who declared it theirs."""
    yield from world_of(store_url, hub, monkeypatch, mailboxes="declared")


def refusal(answer: httpx2.Response) -> tuple[int, str]:
    """Return the status and code of a refusal."""
    return answer.status_code, answer.json()["code"]


# --- who one is ----------------------------------------------------------------------


def test_a_proven_name_is_told_to_the_recipient(world: World) -> None:
    """With the app it belongs to, in what is read and what is stored."""
    alice, bob = world.person(ALICE), world.person()
    world.unread(bob)

    assert world.deliver(alice, bob.did, name=ALICE).status_code == 202
    (message,) = world.unread(bob).json()["messages"]
    assert message["from"] == {"did": alice.did, "name": ALICE}
    assert message["app"] == APP


def test_a_false_name_delivers_nothing(world: World) -> None:
    """Neither another's name, nor nobody's, nor one's own in another app."""
    alice, mallory, bob = world.person(ALICE), world.person(), world.person()
    world.unread(bob)
    mismatch = (403, "name_mismatch")

    assert refusal(world.deliver(mallory, bob.did, name=ALICE)) == mismatch
    assert refusal(world.deliver(alice, bob.did, name="nobody.id.blockstack")) == mismatch
    assert refusal(world.deliver(alice, bob.did, name="Alice.id.blockstack")) == mismatch
    other = world.deliver(alice, bob.did, name=ALICE, app="https://other.example")
    assert refusal(other) == mismatch
    assert world.unread(bob).json()["messages"] == []
    assert refusal(world.unread(mallory, name=ALICE, app=APP)) == mismatch


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_bucket_is_a_name(world: World, slash: str) -> None:
    """It ends in the hash of its owner's key, so nobody else can claim it."""
    alice, mallory, bob = world.person(), world.person(), world.person()
    world.unread(bob)
    bucket = world.bucket(alice).rstrip("/") + slash

    assert world.deliver(alice, bob.did, name=bucket).status_code == 202
    (message,) = world.unread(bob).json()["messages"]
    assert message["from"]["name"] == bucket
    refused = world.deliver(mallory, bob.did, name=bucket)
    assert refusal(refused) == (403, "name_mismatch")


async def test_a_stream_proves_names_too(world: World) -> None:
    """Of the owner, of a renewal, and of who delivers over it; frames behind wait."""
    alice, bob = world.person(ALICE), world.person(BOB)
    token = bob.token("receive", name=BOB, app=APP)
    sender = alice.token("deliver", bob.did, name=ALICE, app=APP)
    async with connected(world.server.url) as stream:
        await stream.send("hello", token=token)
        await stream.send("deliver", to=bob.did, payload="hi", ref=1, token=sender)
        await stream.next("welcome")
        message = (await stream.next("messages"))["messages"][0]
        assert message["from"]["name"] == ALICE
        false = bob.token("receive", name=ALICE, app=APP)
        await stream.send("renew", token=false)
        assert (await stream.next("error"))["code"] == "name_mismatch"
        false = bob.token("deliver", bob.did, name=ALICE, app=APP)
        await stream.send("deliver", to=bob.did, payload="hi", ref=2, token=false)
        refused = await stream.next("refused")
        assert refused["error"]["code"] == "name_mismatch"
        await stream.send("renew", token=bob.token("receive", name=BOB, app=APP))
        await stream.next("renewed")


async def test_a_client_that_reads_again_is_not_read_before_its_name_is_proven(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it sends while its name is looked up waits in its socket, not in our memory."""
    alice = world.person(ALICE)
    world.register(BOB, alice)
    names, read = world.server.parts["names"], []
    prove = names.prove

    async def meanwhile(token: Token) -> None:
        [(session,)] = world.server.parts["hub"].sample(1)
        connection = cast(Stream, session)
        connection.pause_writing()
        connection.resume_writing()
        read.append(cast(asyncio.ReadTransport, connection.transport).is_reading())
        await prove(token)

    async with listening(alice, world.server.url) as stream:
        monkeypatch.setattr(names, "prove", meanwhile)
        await stream.send("renew", token=alice.token("receive", name=BOB, app=APP))
        await stream.send("ping", ref=1)
        await stream.next("renewed")
        await stream.next("pong")
    assert read == [False]


async def test_a_stream_under_a_false_name_is_closed(world: World) -> None:
    """And the client does not come back by itself."""
    world.person(ALICE)
    mallory = world.person()
    async with connected(world.server.url) as stream:
        await stream.send("hello", token=mallory.token("receive", name=ALICE, app=APP))
        await stream.send("ack", ids=["1-1"])
        assert (await stream.next("error"))["code"] == "name_mismatch"
        assert await stream.closed() == 4403


async def test_a_client_that_leaves_while_its_name_is_looked_up_is_let_go(
    world: World,
) -> None:
    """Nothing is left of it, and the server goes on."""
    alice = world.person(ALICE)
    for _ in range(3):
        async with connected(world.server.url) as stream:
            await stream.send("hello", token=alice.token("receive", name=ALICE, app=APP))
    async with listening(alice, world.server.url) as stream:
        assert stream.welcome["mailbox"] == alice.did


# --- who is meant --------------------------------------------------------------------


def test_a_recipient_may_be_a_name(world: World) -> None:
    """The answer tells whose mailbox it was; a client that encrypted checks that."""
    alice, bob = world.person(), world.person(BOB)
    world.unread(bob)
    answer = world.deliver(alice, BOB)

    assert (answer.status_code, answer.json()["mailbox"]) == (202, bob.did)
    assert len(world.unread(bob).json()["messages"]) == 1


def test_a_name_of_nobody_is_an_unknown_mailbox(world: World) -> None:
    """Also one of an app it is not used in; what is no name is a bad request."""
    alice = world.person()
    world.person(BOB)
    unknown = (404, "unknown_mailbox")

    assert refusal(world.deliver(alice, "nobody.id.blockstack")) == unknown
    assert refusal(world.deliver(alice, BOB, app="https://other.example")) == unknown
    assert refusal(world.deliver(alice, "Bob.id.blockstack")) == (400, "bad_request")
    assert refusal(world.deliver(alice, "bob.btc")) == unknown


def test_the_first_delivery_may_come_before_the_owner(world: World) -> None:
    """By name or by bucket, if the owner's contact document names this server."""
    alice = world.person()
    for by_bucket in (False, True):
        bob = world.person(BOB)
        world.clock.ahead += 700  # an earlier Bob is not believed in any more
        to = world.bucket(bob) if by_bucket else BOB
        assert refusal(world.deliver(alice, to)) == (404, "unknown_mailbox")
        world.declare(bob, "https://else.example")
        world.clock.ahead += 700
        assert refusal(world.deliver(alice, to)) == (404, "unknown_mailbox")
        world.declare(bob, "https://else.example", world.server.url)
        world.clock.ahead += 700
        assert world.deliver(alice, to).json()["mailbox"] == bob.did
        assert len(world.unread(bob).json()["messages"]) == 1


def test_a_batch_may_mix_names_and_dids(world: World) -> None:
    """Each is answered for itself, in order."""
    alice, bob = world.person(), world.person(BOB)
    world.unread(bob)
    recipients = [bob.did, BOB, "nobody.id", world.bucket(bob)]
    headers = alice.deliver(*recipients, app=APP)
    batch = {"deliveries": [{"to": to, "payload": "hi"} for to in recipients]}
    results = world.post(batch, headers).json()["results"]

    assert [r.get("mailbox", r.get("error", {}).get("code")) for r in results] == [
        bob.did,
        bob.did,
        "unknown_mailbox",
        bob.did,
    ]


# --- who may have a mailbox ----------------------------------------------------------


def test_declared_mailboxes_are_of_those_who_declared_them(declared: World) -> None:
    """A token without a name tells nothing, and one with a name leads to the document."""
    bob = declared.person(BOB)
    forbidden = (403, "forbidden")

    assert refusal(declared.unread(bob)) == forbidden
    assert refusal(declared.unread(bob, name=BOB, app=APP)) == forbidden
    declared.declare(bob, declared.server.url)
    declared.clock.ahead += 700
    assert declared.unread(bob, name=BOB, app=APP).status_code == 200
    assert declared.unread(bob).status_code == 200, "the mailbox is there"


async def test_declared_mailboxes_open_over_a_stream(declared: World) -> None:
    """By a bucket too, which needs no names API."""
    bob, eve = declared.person(), declared.person()
    declared.declare(bob, declared.server.url)
    for person, close in ((eve, 4403), (bob, None)):
        name = declared.bucket(person)
        async with connected(declared.server.url) as stream:
            token = person.token("receive", name=name, app=APP)
            await stream.send("hello", token=token)
            if close is not None:
                assert (await stream.next("error"))["code"] == "forbidden"
                assert await stream.closed() == close
            else:
                assert (await stream.next("welcome"))["mailbox"] == person.did


# --- when things change --------------------------------------------------------------


def test_a_new_key_takes_over_the_name_and_not_the_mailbox(world: World) -> None:
    """Within ten minutes; what is in the old mailbox stays its owner's to read."""
    alice, bob, newer = world.person(), world.person(BOB), world.person()
    world.unread(bob)
    world.unread(newer)
    assert world.deliver(alice, BOB, "1").json()["mailbox"] == bob.did
    world.register(BOB, newer)
    assert world.deliver(alice, BOB, "2").json()["mailbox"] == bob.did, "still believed"
    world.clock.ahead += 601
    assert world.deliver(alice, BOB, "3").json()["mailbox"] == newer.did
    assert refusal(world.unread(bob, name=BOB, app=APP)) == (403, "name_mismatch")
    assert [m["payload"] for m in world.unread(bob).json()["messages"]] == ["1", "2"]
    assert [m["payload"] for m in world.unread(newer).json()["messages"]] == ["3"]


def test_a_source_that_is_down_is_no_answer(world: World) -> None:
    """503 with a time to come back, nothing stored and nothing lost: a retry succeeds."""
    alice, bob = world.person(ALICE), world.person(BOB)
    world.unread(bob)
    world.hub.stop()
    try:
        answers = [
            world.deliver(alice, bob.did, name=ALICE),
            world.deliver(alice, BOB),
            world.unread(alice, name=ALICE, app=APP),
        ]
        assert [refusal(a) for a in answers] == [(503, "resolver_unavailable")] * 3
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
        assert world.unread(bob).json()["messages"] == []
    finally:
        world.hub.start()
    world.clock.ahead += 60
    assert world.deliver(alice, BOB, name=ALICE).status_code == 202


async def test_a_stream_waits_out_a_source_that_is_down(world: World) -> None:
    """1013 sends the client away for a while, not for ever."""
    alice = world.person(ALICE)
    world.hub.stop()
    try:
        async with connected(world.server.url) as stream:
            token = alice.token("receive", name=ALICE, app=APP)
            await stream.send("hello", token=token)
            assert (await stream.next("error"))["code"] == "resolver_unavailable"
            assert await stream.closed() == 1013
    finally:
        world.hub.start()


def test_what_was_proven_is_believed_for_an_hour_without_its_source(world: World) -> None:
    """And not longer."""
    alice, bob = world.person(ALICE), world.person(BOB)
    world.unread(bob)
    assert world.deliver(alice, BOB, "1", name=ALICE).status_code == 202
    world.hub.stop()
    try:
        world.clock.ahead += 3000
        assert world.deliver(alice, BOB, "2", name=ALICE).status_code == 202
        world.clock.ahead += 700
        late = world.deliver(alice, BOB, "3", name=ALICE)
        assert refusal(late) == (503, "resolver_unavailable")
    finally:
        world.hub.start()


# --- what it costs -------------------------------------------------------------------


def test_ten_thousand_false_names_are_not_ten_thousand_fetches(world: World) -> None:
    """One key has 60 names a minute looked up; the rest are refused without a question."""
    mallory = world.person()
    body = json.dumps({"to": mallory.did, "payload": "hi"})
    requests = []
    for n in range(10_000):
        name = f"x{n}.id.blockstack"
        token = mallory.token("deliver", mallory.did, name=name, app=APP)
        requests.append(
            f"POST /v1/deliveries HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {token}\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"Connection: {'close' if n == 9_999 else 'keep-alive'}\r\n\r\n{body}"
        )
    began = time.time()
    answer = exchange(world.server.url, "".join(requests).encode())
    minutes = (time.time() - began) / 60

    allowed = 60 * (2 + int(minutes))
    assert answer.count(b"HTTP/1.1 ") == 10_000
    assert 60 <= world.asked() <= allowed
    assert answer.count(b'"name_mismatch"') <= allowed
    assert answer.count(b'"rate_limited"') >= 10_000 - allowed
    assert answer.count(b"retry-after: ") >= 10_000 - allowed


def test_many_keys_with_false_names_share_what_all_may_do(
    store_url: str, hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new key for each name is held back as one, and costs nobody with a known name."""
    for world in world_of(store_url, hub, monkeypatch, lookups=1):
        alice, bob = world.person(ALICE), world.person()
        world.unread(bob)
        assert world.deliver(alice, bob.did, "1", name=ALICE).status_code == 202
        codes = []
        for n in range(2 * TOGETHER):
            mallory = world.person()
            name = f"y{n}.id.blockstack"
            codes.append(refusal(world.deliver(mallory, bob.did, name=name))[1])
        assert codes[0] == "name_mismatch"
        assert codes[-1] == "rate_limited"
        assert world.asked() <= TOGETHER + 3
        assert world.deliver(alice, bob.did, "2", name=ALICE).status_code == 202


def test_a_token_says_nothing_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither what is proven nor what is refused leaves a token behind."""
    alice, mallory = world.person(ALICE), world.person()
    tokens = [
        person.token("deliver", alice.did, name=ALICE, app=APP)
        for person in (alice, mallory)
    ]
    for token in tokens:
        world.post({"to": alice.did, "payload": "hi"}, bearer(token))
    assert not any(token in caplog.text for token in tokens)
