"""The authenticator: what one server allows, and what it remembers."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.errors import TokenExpired, Unauthorized
from pushd.identity import authenticator as module
from pushd.identity.authenticator import Authenticator, Scope
from pushd.identity.keys import Algorithm, PrivateKey
from pushd.identity.tokens import Token, make_token, verify

NOW = 1795348800.0
SERVER = "https://push.example"
ALICE = PrivateKey(Algorithm.ES256K, bytes([7] * 32))
BOB = PrivateKey(Algorithm.ES256K, bytes([9] * 32))

numbers = count()


def token(
    scope: str = "deliver",
    *,
    lifetime: float = 300,
    audience: str = SERVER,
    name: str | None = None,
    app: str | None = None,
    digest: str | None = None,
    now: float = NOW,
) -> str:
    """Make a token of Alice's, each another one."""
    return make_token(
        ALICE,
        audience=audience,
        scope=scope,
        now=now,
        lifetime=lifetime,
        jti=str(next(numbers)),
        to=[BOB.did] if "deliver" in scope else (),
        name=name,
        app=app,
        digest=digest,
    )


def server(
    cache_bytes: int = 1 << 20, dedup: int = 86400, receive: int = 86400
) -> Authenticator:
    """Make an authenticator with the usual lifetimes."""
    return Authenticator(
        SERVER,
        deliver_lifetime=3600,
        receive_lifetime=receive,
        dedup=dedup,
        cache_bytes=cache_bytes,
    )


class Verifications:
    """Counts how often a token is really verified."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(module, "verify", self)

    def __call__(self, token: str, *, now: float, leeway: float) -> Token:
        """Verify, and count."""
        self.count += 1
        return verify(token, now=now, leeway=leeway)


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> Verifications:
    """Watch the verifications of this test."""
    return Verifications(monkeypatch)


# --- what is allowed -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "asked"),
    [
        ("deliver", "deliver"),
        ("receive", "receive"),
        ("deliver receive", "deliver"),
        ("deliver receive", "receive"),
    ],
)
def test_allowed(scope: str, asked: Scope) -> None:
    """A token allows each scope it holds."""
    assert ALICE.did == server().authenticate(token(scope), asked, now=NOW).did


@pytest.mark.parametrize(
    ("scope", "asked"), [("deliver", "receive"), ("receive", "deliver")]
)
def test_another_scope(scope: str, asked: Scope) -> None:
    """A token allows no other scope, also when it was already seen."""
    authenticator, text = server(), token(scope)
    for _ in range(2):
        with pytest.raises(Unauthorized, match=asked):
            authenticator.authenticate(text, asked, now=NOW)


def test_another_server() -> None:
    """A token for another server is refused here."""
    with pytest.raises(Unauthorized, match="aud"):
        server().authenticate(token(audience="https://other.example"), "deliver", now=NOW)


@pytest.mark.parametrize(
    ("scope", "asked", "lifetime"),
    [
        ("deliver", "deliver", 3600),
        ("receive", "receive", 86400),
        ("deliver receive", "receive", 3600),
    ],
)
def test_lifetimes(scope: str, asked: Scope, lifetime: int) -> None:
    """A token may live so long and not a second longer; with both scopes the shorter."""
    known = server().authenticate(token(scope, lifetime=lifetime), asked, now=NOW)
    assert known.expires - known.issued_at == lifetime
    with pytest.raises(Unauthorized, match="lives at most"):
        server().authenticate(token(scope, lifetime=lifetime + 1), asked, now=NOW)


def test_the_shorter_lifetime_may_be_that_of_the_other_scope() -> None:
    """An operator may allow less to receive than to deliver."""
    brief = server(receive=60)
    brief.authenticate(token("deliver receive", lifetime=60), "deliver", now=NOW)
    with pytest.raises(Unauthorized, match="receive lives at most 60"):
        brief.authenticate(token("deliver receive", lifetime=61), "deliver", now=NOW)


def test_a_token_with_a_digest_ends_before_it_is_forgotten() -> None:
    """It stores at most once, so it may not outlive what is remembered of it."""
    digest = "sha-256:" + "A" * 43
    brief = server(dedup=120)
    brief.authenticate(token(digest=digest, lifetime=60), "deliver", now=NOW)
    with pytest.raises(Unauthorized, match="lives at most 60 seconds"):
        brief.authenticate(token(digest=digest, lifetime=61), "deliver", now=NOW)
    brief.authenticate(token(lifetime=61), "deliver", now=NOW)


def test_a_name_is_left_to_others() -> None:
    """What it claims is read, and nothing is said about it: names change hands."""
    named = token(name="alice.btc", app="https://app.example")
    known = server().authenticate(named, "deliver", now=NOW)
    assert (known.name, known.app) == ("alice.btc", "https://app.example")


# --- what is remembered --------------------------------------------------------------


def test_verified_once(verifications: Verifications) -> None:
    """A token shown again and again is verified once, and is the same each time."""
    authenticator, text = server(), token()
    first = authenticator.authenticate(text, "deliver", now=NOW)
    for later in range(100):
        assert first is authenticator.authenticate(text, "deliver", now=NOW + later)
    assert verifications.count == 1


def test_a_remembered_token_expires(verifications: Verifications) -> None:
    """What is remembered ends when it says, and is then forgotten."""
    authenticator, text = server(), token(lifetime=300)
    authenticator.authenticate(text, "deliver", now=NOW + 329)
    for seen in (1, 2):
        with pytest.raises(TokenExpired):
            authenticator.authenticate(text, "deliver", now=NOW + 330)
        assert seen == verifications.count


def test_failures_are_not_remembered(verifications: Verifications) -> None:
    """A refused token takes no room, so nobody can fill the memory with nonsense."""
    authenticator, text = server(), token(audience="https://other.example")
    for seen in (1, 2):
        with pytest.raises(Unauthorized):
            authenticator.authenticate(text, "deliver", now=NOW)
        assert seen == verifications.count
    assert sizes(authenticator) == (0, 0)


def test_nothing_is_remembered_without_memory(verifications: Verifications) -> None:
    """With no memory each use is a verification."""
    authenticator, text = server(cache_bytes=0), token()
    for seen in (1, 2):
        authenticator.authenticate(text, "deliver", now=NOW)
        assert seen == verifications.count


def test_a_token_in_use_outlives_a_crowd(verifications: Verifications) -> None:
    """A token shown now and then stays while ten times the memory passes by."""
    authenticator, regular = server(cache_bytes=100_000), token()
    authenticator.authenticate(regular, "deliver", now=NOW)
    for _ in range(300):
        authenticator.authenticate(token(), "deliver", now=NOW)
        before = verifications.count
        authenticator.authenticate(regular, "deliver", now=NOW)
        assert before == verifications.count


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 60_000), st.integers(1, 60))
def test_memory_is_bounded(cache_bytes: int, shown: int) -> None:
    """However many tokens are shown, what is remembered stays within its memory."""
    authenticator = server(cache_bytes=cache_bytes)
    for _ in range(shown):
        authenticator.authenticate(token(), "deliver", now=NOW)
    young, old = sizes(authenticator)
    assert max(young, old) <= cache_bytes // 2


def sizes(authenticator: Authenticator) -> tuple[int, int]:
    """Estimate the bytes of what is remembered, of each generation."""
    young, old = (
        sum(module._estimate(text, token) for text, token in generation.items())
        for generation in (authenticator._young, authenticator._old)
    )
    return young, old
