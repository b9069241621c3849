"""Tokens are kept while they last, and made anew when they do not."""

from typing import Literal

from pushd.client import PrivateKey
from pushd.client.credentials import CACHED, ONCE, Credentials
from pushd.identity.tokens import digest_of, verify

KEY = PrivateKey.generate()


class Clock:
    """A clock a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def made(clock: Clock) -> Credentials:
    """Return credentials to deliver, with tokens of ten minutes."""
    return Credentials(
        KEY, audience="https://x", scope="deliver", lifetime=600, clock=clock
    )


def named(scope: Literal["deliver", "receive"]) -> Credentials:
    """Return credentials of somebody with a name."""
    return Credentials(
        KEY,
        audience="https://x",
        scope=scope,
        lifetime=600,
        name="alice.id",
        app="https://app.example",
        clock=Clock(),
    )


def name_in(token: str) -> str | None:
    """Return the name a token claims."""
    return verify(token, now=Clock().now).name


def test_who_delivers_claims_the_name() -> None:
    """In every token: the recipient is told who writes."""
    credentials = named("deliver")
    assert name_in(credentials.token(["did:key:z1"])) == "alice.id"
    assert name_in(credentials.token(["did:key:z1"], new=True)) == "alice.id"
    assert not credentials.claim_name(), "there is nothing to add"


def test_who_receives_claims_the_name_once_and_only_when_asked() -> None:
    """Reading needs none; so it goes on while nobody can prove a name."""
    credentials = named("receive")
    assert name_in(credentials.token()) is None
    assert credentials.claim_name()
    assert name_in(credentials.token(new=True)) == "alice.id"
    assert not credentials.claim_name(), "it was claimed, and that was not enough"
    assert name_in(credentials.token()) is None
    assert credentials.claim_name(), "another time it may be"


def test_without_a_name_there_is_nothing_to_claim() -> None:
    """A refusal is final then."""
    credentials = Credentials(KEY, audience="https://x", scope="receive", lifetime=600)
    assert not credentials.claim_name()


def test_a_token_is_used_until_shortly_before_its_end() -> None:
    """A request that takes a while still arrives with a valid token."""
    clock = Clock()
    credentials = made(clock)
    first = credentials.token(["did:key:z1"])
    clock.now += 530
    assert credentials.token(["did:key:z1"]) == first
    clock.now += 20
    assert credentials.token(["did:key:z1"]) != first


def test_each_set_of_recipients_has_its_token() -> None:
    """A token says to whom it delivers."""
    credentials = made(Clock())
    tokens = {credentials.token(to) for to in (["a:b"], ["a:c"], ["a:b", "a:c"])}
    assert len(tokens) == 3


def test_a_new_token_was_never_used() -> None:
    """Even within the same second."""
    credentials = made(Clock())
    assert credentials.token(["a:b"]) != credentials.token(["a:b"], new=True)


def test_a_token_for_one_body_is_kept_for_nothing_else() -> None:
    """It says which body, does not last, and leaves the tokens for many as they are."""
    clock = Clock()
    credentials = made(clock)
    to = ["did:key:z1"]
    many = credentials.token(to)
    first, second = [credentials.token_once(to, b"body") for _ in range(2)]
    token = verify(first, now=clock.now)
    assert token.digest == digest_of(b"body")
    assert token.to == {"did:key:z1"}
    assert token.expires == clock.now + ONCE
    assert first != second
    assert credentials.token(to) == many


def test_the_servers_clock_counts() -> None:
    """After a correction tokens are of the server's time."""
    clock = Clock()
    credentials = made(clock)
    old = credentials.token(["did:key:z1"])
    server = clock.now - 3600
    assert not credentials.correct(clock.now + 1)
    assert credentials.correct(server)
    assert not credentials.correct(server + 1)
    token = credentials.token(["did:key:z1"])
    assert token != old
    assert verify(token, now=server).issued_at == server


def test_only_so_many_are_kept() -> None:
    """The least recently used goes first."""
    credentials = made(Clock())
    kept = credentials.token(["a:0"])
    for number in range(1, CACHED):
        credentials.token([f"a:{number}"])
    assert credentials.token(["a:0"]) == kept
    dropped = credentials.token(["a:1"])
    for number in range(CACHED, 2 * CACHED):
        credentials.token([f"a:{number}"])
    assert credentials.token(["a:1"]) != dropped
