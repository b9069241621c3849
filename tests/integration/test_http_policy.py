"""`GET` and `PUT /v1/policy` over a real socket, and what senders are told by it."""

import json
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import httpx2
import pytest
import redis

from pushd import app as composition
from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import digest_of
from pushd.resolvers.compose import make_directory
from tests.devhub import RunningHub
from tests.harness import Clock, Person, RunningServer, serving
from tests.talking import connected, listening

APP = "https://app.example"
ALICE = "alice.id.blockstack"
EVERYBODY = {"default": "accept", "allow": [], "block": []}
_payloads = count()


class Town:
    """A server, the hub it looks names up on, and its store."""

    def __init__(
        self, server: RunningServer, hub: RunningHub, store_url: str, clock: Clock
    ) -> None:
        self.server, self.hub = server, hub
        self._store, self._clock = store_url.removeprefix("unix://"), clock
        self.http = httpx2.Client(base_url=server.url, trust_env=False)

    def person(self) -> Person:
        """Make somebody who has a mailbox."""
        person = Person(self.server.url)
        self.http.get("/v1/messages", headers=person.receive()).raise_for_status()
        return person

    def register(self, name: str, person: Person) -> None:
        """Give a name to somebody, though another had it before."""
        self.hub.hub.register(name, PrivateKey.generate(), {APP: person.key})

    def put(self, owner: Person, body: Any, **claims: Any) -> httpx2.Response:
        """Set somebody's policy."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = owner.receive(**{"app": APP, **claims})
        return self.http.put("/v1/policy", content=content, headers=headers)

    def get(self, owner: Person) -> Any:
        """Read somebody's policy."""
        answer = self.http.get("/v1/policy", headers=owner.receive())
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()

    def deliver(self, sender: Person, to: Person | str, **claims: Any) -> tuple[int, str]:
        """Deliver a new payload; tell status and code."""
        did = to if isinstance(to, str) else to.did
        answer = self.http.post(
            "/v1/deliveries",
            headers=sender.deliver(did, **claims),
            json={"to": did, "payload": f"payload {next(_payloads)}"},
        )
        return answer.status_code, answer.json().get("code", "accepted")

    def age(self, owner: Person) -> None:
        """Let the names in a policy get stale, as they do in ten minutes."""
        self._clock.ahead += 600
        with redis.Redis(unix_socket_path=self._store) as store:
            assert store.hset(f"pushd:{{{owner.did}}}:p", "@", 1) == 0


ACCEPTED = (202, "accepted")
FORBIDDEN = (403, "forbidden")
UNKNOWN = (404, "unknown_mailbox")


def town_of(
    store_url: str, hub: RunningHub, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> Iterator[Town]:
    """Run a server that looks names up on a hub."""
    clock = Clock()
    monkeypatch.setattr(composition, "make_directory", partial(make_directory, clock=clock))
    with serving(
        store_url, names_api=hub.url, dev_hosts=(hub.host_port,), **settings
    ) as server:
        town = Town(server, hub, store_url, clock)
        with town.http:
            yield town


@pytest.fixture
def town(
    store_url: str, hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Town]:
    """Run a server with ordinary settings."""
    yield from town_of(store_url, hub, monkeypatch)


@pytest.fixture
def hiding(
    store_url: str, hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Town]:
    """Run a server that hides mailboxes."""
    yield from town_of(store_url, hub, monkeypatch, hide_mailboxes=True)


def test_a_mailbox_takes_from_everybody_until_its_owner_says_otherwise(town: Town) -> None:
    """Who asks first, to read or to write, opens the mailbox, as with any first visit."""
    bob, carol, alice = Person(town.server.url), Person(town.server.url), town.person()
    assert town.get(bob) == EVERYBODY
    assert town.deliver(alice, bob) == ACCEPTED
    answer = town.put(carol, {"default": "refuse"})
    assert (answer.status_code, answer.json()) == (200, EVERYBODY | {"default": "refuse"})
    assert town.deliver(alice, carol) == FORBIDDEN


def test_a_policy_is_what_was_written_last(town: Town) -> None:
    """As a whole: nothing of the one before is left."""
    alice, bob, carol = town.person(), town.person(), town.person()
    first = {"default": "refuse", "allow": [alice.did, carol.did], "block": [carol.did]}
    assert town.put(bob, first).json() == first == town.get(bob)
    assert town.deliver(alice, bob) == ACCEPTED
    assert town.deliver(carol, bob) == FORBIDDEN
    town.put(bob, EVERYBODY | {"block": [alice.did]})
    assert town.deliver(alice, bob) == FORBIDDEN
    assert town.deliver(carol, bob) == ACCEPTED
    assert town.get(carol) == EVERYBODY


def test_a_refused_item_spoils_no_other(town: Town) -> None:
    """In a batch the refusal has its place, and a retry cannot help."""
    alice, bob, carol = town.person(), town.person(), town.person()
    town.put(bob, {"default": "refuse"})
    items = [{"to": to.did, "payload": "hi"} for to in (bob, carol)]
    answer = town.http.post(
        "/v1/deliveries",
        headers=alice.deliver(bob.did, carol.did),
        json={"deliveries": items},
    )
    refused, accepted = answer.json()["results"]
    assert refused["error"]["code"] == "forbidden"
    assert "retry_after" not in refused["error"]
    assert accepted["mailbox"] == carol.did


async def test_a_policy_holds_on_the_stream_too(town: Town) -> None:
    """Whoever delivers over it is refused by the same word."""
    alice, bob = town.person(), town.person()
    town.put(bob, {"default": "refuse"})
    async with connected(town.server.url) as stream:
        await stream.send("hello", token=alice.token("receive"))
        await stream.next("welcome")
        token = alice.token("deliver", bob.did)
        await stream.send("deliver", to=bob.did, payload="hi", ref=1, token=token)
        assert (await stream.next("refused"))["error"]["code"] == "forbidden"


@pytest.mark.parametrize(
    "body",
    [
        b"no JSON",
        {},
        {"default": "maybe"},
        {"default": "refuse", "blocks": []},
        {"default": "refuse", "allow": "did:key:z"},
        {"default": "refuse", "allow": [1]},
        {"default": "refuse", "allow": ["did:btc-addr:1"]},
        {"default": "refuse", "block": ["nobody.id.blockstack"]},
        {"default": "refuse", "allow": ["did:key:z"] * 1001},
    ],
)
def test_a_policy_that_cannot_be_changes_nothing(town: Town, body: Any) -> None:
    """It is refused whole."""
    bob = town.person()
    before = {"default": "refuse", "allow": [bob.did], "block": []}
    town.put(bob, before)
    answer = town.put(bob, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert town.get(bob) == before


def test_only_the_owner_has_a_say(town: Town) -> None:
    """A token to deliver is none; without a token there is nothing to see."""
    bob = town.person()
    for headers in ({}, bob.deliver(bob.did)):
        for method in ("GET", "PUT"):
            answer = town.http.request(method, "/v1/policy", headers=headers, content=b"{}")
            assert answer.status_code == 401
    assert town.http.post("/v1/policy", headers=bob.receive()).status_code == 405


# --- names ---------------------------------------------------------------------------


def test_a_name_counts_as_whose_it_is_now(town: Town) -> None:
    """The key that it leads to is matched, and looked up anew when that gets stale."""
    alice, bob, carol = town.person(), town.person(), town.person()
    town.register(ALICE, alice)
    policy = {"default": "refuse", "allow": [ALICE], "block": []}
    assert town.put(bob, policy).status_code == 200
    assert town.deliver(alice, bob) == ACCEPTED
    assert town.deliver(carol, bob) == FORBIDDEN
    town.register(ALICE, carol)
    town.age(bob)
    assert town.deliver(carol, bob) == ACCEPTED
    assert town.deliver(alice, bob) == FORBIDDEN
    assert town.get(bob) == policy


def test_names_need_the_app_they_belong_to(town: Town) -> None:
    """In the token; in another app a name is another's, or nobody's."""
    alice, bob = town.person(), town.person()
    town.register(ALICE, alice)
    policy = {"default": "accept", "block": [ALICE]}
    for app in (None, "https://other.example"):
        answer = town.put(bob, policy, app=app)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert town.put(bob, policy).status_code == 200
    assert town.deliver(alice, bob) == FORBIDDEN


# --- hidden mailboxes ----------------------------------------------------------------


def test_hidden_mailboxes_cannot_be_told_from_none(hiding: Town) -> None:
    """Every byte of the answer is the same, by DID and by the owner's bucket."""
    alice, bob, nobody = hiding.person(), hiding.person(), Person(hiding.server.url)
    hiding.put(bob, {"default": "refuse"})
    answers = []
    for owner in (bob, nobody):
        for to in (owner.did, hiding.hub.hub.bucket_url(owner.key)):
            answer = hiding.http.post(
                "/v1/deliveries",
                headers=alice.deliver(to, app=APP),
                json={"to": to, "payload": "hi", "key": "k"},
            )
            answers.append((answer.status_code, answer.content))
    assert answers[0][0] == 404
    assert [answers[0]] * 4 == answers


def test_who_may_write_to_a_hidden_mailbox_does(hiding: Town) -> None:
    """Hiding is for those whom the owner refuses."""
    alice, bob = hiding.person(), hiding.person()
    hiding.put(bob, {"default": "refuse", "allow": [alice.did]})
    assert hiding.deliver(alice, bob) == ACCEPTED
    assert hiding.deliver(bob, bob) == UNKNOWN


# --- tokens for one body -------------------------------------------------------------


async def test_a_server_may_take_nothing_but_tokens_for_one_body(store_url: str) -> None:
    """It says so beforehand; any other token is refused, over the stream too."""
    with serving(store_url, require_digest=True) as server:
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            about = (await http.get("/.well-known/pushd")).json()
            assert "digest-only" in about["features"]
            bob = Person(server.url)
            async with listening(bob, server.url) as stream:
                token = bob.token("deliver", bob.did)
                await stream.send("deliver", to=bob.did, payload="hi", ref=1, token=token)
                error = (await stream.next("refused"))["error"]
                assert error["code"] == "unauthorized"
                assert "POST /v1/deliveries" in error["detail"]
            body = json.dumps({"to": bob.did, "payload": "hi"}).encode()
            answer = await http.post(
                "/v1/deliveries", content=body, headers=bob.deliver(bob.did)
            )
            assert answer.status_code == 401
            assert "digest" in answer.json()["detail"]
            digest = digest_of(body)
            headers = bob.deliver(bob.did, digest=digest)
            answer = await http.post("/v1/deliveries", content=body, headers=headers)
            assert answer.status_code == 202
