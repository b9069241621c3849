"""Tokens of the real packages are accepted by a real server, and clients meet there."""

import time

import httpx2
import pytest

from pushd.client import Accepted, PrivateKey, Receiver, Sender
from pushd.identity.tokens import make_token, verify
from tests.e2e.npm.app import Packages
from tests.harness import RunningServer, bearer
from tests.talking import connected

CAROL = "did:btc-addr:12yhNanxrq1q5diWovJkfCXRMZvqoRVPo6"


@pytest.mark.parametrize(
    ("scope", "claims"),
    [("deliver", {"to": CAROL}), ("receive", {})],
)
def test_the_tokens_of_the_packages_verify(
    packages: Packages, scope: str, claims: dict[str, str]
) -> None:
    """A token is told by the key that signed it, however high its s."""
    alice = packages.sign_in(PrivateKey.generate())

    for _ in range(8):  # half of them have a high s
        token = alice.call("token", "https://push.example", {"scope": scope, **claims})
        assert alice.did == verify(token, now=time.time()).did


def test_the_packages_verify_tokens(packages: Packages) -> None:
    """A token made here is one for `TokenVerifier`."""
    key = PrivateKey.generate()
    token = make_token(
        key,
        audience="https://push.example",
        scope="receive",
        now=time.time(),
        lifetime=600,
        jti="1",
    )

    assert packages.call("verifyToken", token, key.public.raw.hex())
    assert not packages.call("verifyToken", token, PrivateKey.generate().public.raw.hex())


async def test_a_message_travels_on_tokens_of_the_packages(
    server: RunningServer, http: httpx2.AsyncClient, packages: Packages
) -> None:
    """The server takes them to deliver, to listen and to ack."""
    alice = packages.sign_in(PrivateKey.generate())
    bob = packages.sign_in(PrivateKey.generate())
    deliver = alice.call("token", server.url, {"scope": "deliver", "to": bob.did})
    receive = bob.call("token", server.url, {"scope": "receive"})

    async with connected(server.url) as stream:
        await stream.send("hello", token=receive)
        assert (await stream.next("welcome"))["mailbox"] == bob.did
        answer = await http.post(
            f"{server.url}/v1/deliveries",
            headers=bearer(deliver),
            json={"to": bob.did, "payload": "ciphertext"},
        )
        assert answer.status_code == 202
        (message,) = (await stream.next("messages"))["messages"]
        assert message["from"] == {"did": alice.did}
        await stream.send("ack", ids=[message["id"]], ref=1)
        assert (await stream.next("acked"))["removed"] == 1


async def test_an_app_sends_to_a_receiver(
    server: RunningServer, packages: Packages
) -> None:
    """What an app delivers with `fetch`, the Python client hears and acks."""
    alice, key = packages.sign_in(PrivateKey.generate()), PrivateKey.generate()
    bob = packages.sign_in(key)
    assert bob.call("messages", server.url)["unread"] == 0

    accepted = alice.call("deliver", server.url, bob.did, "ciphertext")

    assert (accepted["status"], accepted["mailbox"]) == (202, bob.did)
    async with Receiver(key, server=server.url) as receiver:
        async for message in receiver.messages():
            assert (accepted["id"], alice.did) == (message.id, message.sender)
            assert message.payload == "ciphertext"
            message.ack()
            break
    assert bob.call("messages", server.url)["unread"] == 0


async def test_an_app_reads_what_a_sender_sends(
    server: RunningServer, http: httpx2.AsyncClient, packages: Packages
) -> None:
    """What the Python client delivers, an app reads with `fetch` and acks."""
    alice, bob = PrivateKey.generate(), packages.sign_in(PrivateKey.generate())
    assert bob.call("messages", server.url)["unread"] == 0

    async with Sender(alice, server=server.url) as sender:
        accepted = await sender.send(bob.did, "ciphertext")

    (message,) = bob.call("messages", server.url)["messages"]
    assert accepted == Accepted(message["id"], bob.did, duplicate=False)
    assert (alice.did, "ciphertext") == (message["from"]["did"], message["payload"])
    acked = bob.call("ack", server.url, [message["id"]])
    assert acked == {"status": 200, "removed": 1, "unread": 0}
