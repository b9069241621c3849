"""Who may do what on the development hub: tokens, scopes and revocation."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx2
import msgspec
import pytest

from pushd.identity import jws
from pushd.identity.keys import PrivateKey, address
from tests.devhub import (
    Bucket,
    Claims,
    bucket_of,
    error,
)


def scopes(*entries: tuple[str, str]) -> Claims:
    """Return the claim that limits a token."""
    return {"scopes": [{"scope": kind, "domain": domain} for kind, domain in entries]}


STRANGER = PrivateKey.from_hex("01" * 32)

# --- tokens --------------------------------------------------------------------------


def association(signer: PrivateKey, child: PrivateKey, **claims: Any) -> str:
    """Make the token by which one key lets another use a hub; None leaves a claim out."""
    own = {
        "iss": signer.public.raw.hex(),
        "childToAssociate": child.public.raw.hex(),
        "exp": time.time() + 100,
    }
    told = {name: value for name, value in (own | claims).items() if value is not None}
    return jws.sign(signer, msgspec.json.encode(told))


FAULTS = (
    ("scope", "Failed to parse authentication header."),
    ("revoked", "Gaia bucket requires auth token issued after 1000"),
    ("issuer", "Address not allowed to write on this path"),
    ("hub", "Auth token's claimed hub url not found"),
    ("signature", "Failed to verify supplied authentication JWT"),
    ("challenge", "Invalid gaiaChallenge text"),
    ("expiry", "Expired authentication token"),
    ("association", "Expired association token"),
)
"""What can be wrong with a token, and what is said of it, in the order of the checks."""


@pytest.mark.parametrize("first", [*range(len(FAULTS)), None])
def test_the_first_fault_is_the_one_told(first: int | None) -> None:
    """A token with this fault and all later ones fails with this one; without any passes.

    The hub is a private one that wants to be named, and the bucket was revoked.
    """
    operator, stranger = PrivateKey.generate(), PrivateKey.generate()
    faults = {name for name, _ in FAULTS[first:]} if first is not None else set()

    def claims(bucket: Bucket, faults: set[str]) -> dict[str, Any]:
        issuer = stranger if "issuer" in faults else bucket.key
        end = {"exp": 1} if "association" in faults else {}
        return {
            "signer": operator if "signature" in faults else issuer,
            "iss": issuer.public.raw.hex(),
            "iat": 999 if "revoked" in faults else 1000,
            "hubUrl": "https://other" if "hub" in faults else bucket.hub.url,
            "gaiaChallenge": "x" if "challenge" in faults else bucket.challenge,
            "exp": 1 if "expiry" in faults else None,
            "associationToken": association(operator, bucket.key, **end),
            **(scopes(("nothing", "")) if "scope" in faults else {}),
        }

    limits = {"whitelist": [address(operator.public.raw)], "require_hub_url": True}
    with bucket_of(**limits) as bucket:
        assert bucket.revoke(1000, claims=claims(bucket, set())).status_code == 202
        answer = bucket.store("a", claims=claims(bucket, faults))

    if first is None:
        assert answer.status_code == 202
        return
    name, message = FAULTS[first]
    kind = "AuthTokenTimestampValidationError" if name == "revoked" else "ValidationError"
    assert error(answer) == (401, kind)
    assert answer.json()["message"].startswith(message)


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic abc", "bearer", "bearer v2:{token}", "bearer v1:abc", "bearer v1:", "v1:x"],
)
def test_a_header_that_cannot_be_read_is_401(bucket: Bucket, authorization: str) -> None:
    """Whatever is not a bearer token of version 1 is refused, by every call."""
    sent = authorization.format(token=bucket.token())

    assert bucket.store("a", authorization=sent).json() == {
        "message": "Failed to parse authentication header.",
        "error": "ValidationError",
    }
    assert error(bucket.delete("a", authorization=sent)) == (401, "ValidationError")
    assert error(bucket.list_files(authorization=sent)) == (401, "ValidationError")
    assert error(bucket.revoke(1, authorization=sent)) == (401, "ValidationError")


@pytest.mark.parametrize("scheme", ["bearer", "Bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(bucket: Bucket, scheme: str) -> None:
    """As HTTP has it."""
    token = f"{scheme} v1:{bucket.token()}"

    assert bucket.store("a", authorization=token).status_code == 202


@pytest.mark.parametrize("verb", ["store", "delete", "list", "revoke"])
def test_each_call_wants_the_owner(bucket: Bucket, verb: str) -> None:
    """A good token of somebody else allows none of them."""
    bucket.store("a")
    other = Bucket(bucket.hub)
    calls: dict[str, Callable[..., httpx2.Response]] = {
        "store": partial(bucket.store, "b"),
        "delete": partial(bucket.delete, "a"),
        "list": bucket.list_files,
        "revoke": partial(bucket.revoke, 1),
    }

    answer = calls[verb](authorization=f"bearer v1:{other.token()}")

    assert error(answer) == (401, "ValidationError")
    assert answer.json()["message"] == "Address not allowed to write on this path"
    assert bucket.names() == ["a"]


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"exp": None}, 202),
        ({"exp": 2**40 + 0.5}, 202),
        ({"exp": 1.5}, 401),
        ({"exp": 0}, 202),
        ({"iat": 1}, 202),
        ({"iat": 2**40}, 202),
        ({"salt": "00"}, 202),
        ({"hubUrl": "https://other.example"}, 202),
        ({"iss": None}, 401),
        ({"iss": ""}, 401),
        ({"iss": "zz" * 33}, 500),
        ({"iss": "did:btc-addr:1Abc"}, 500),
        ({"gaiaChallenge": None}, 401),
        ({"gaiaChallenge": '["gaiahub","2018","%","blockstack_storage_please_sign"]'}, 202),
        ({"gaiaChallenge": '["gaiahub","2019","%","blockstack_storage_please_sign"]'}, 202),
        ({"gaiaChallenge": '["gaiahub","2020","%","blockstack_storage_please_sign"]'}, 401),
        (
            {"gaiaChallenge": '["gaiahub","0","other","blockstack_storage_please_sign"]'},
            401,
        ),
    ],
    ids=str,
)
def test_claims(bucket: Bucket, claims: Claims, status: int) -> None:
    """A token need not end, needs a key as issuer, and repeats this hub's challenge."""
    challenge = claims.get("gaiaChallenge")
    if challenge is not None:
        claims = {"gaiaChallenge": challenge.replace("%", bucket.hub.host_port)}

    assert bucket.store("a", claims=claims).status_code == status


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({}, None),
        ({"exp": 1}, "Expired association token"),
        ({"exp": None}, "Must provide `exp` claim in association JWT."),
        ({"iss": None}, "Must provide `iss` claim in association JWT."),
        (
            {"childToAssociate": None},
            "Must provide `childToAssociate` claim in association JWT.",
        ),
        (
            {"childToAssociate": STRANGER.public.raw.hex()},
            "Association token child key does not match the bucket",
        ),
        (
            {"iss": STRANGER.public.raw.hex()},
            "Failed to verify association JWT: invalid issuer",
        ),
    ],
    ids=str,
)
def test_association_tokens(claims: Claims, message: str | None) -> None:
    """On a private hub a listed key can let another key use it, until a certain time."""
    listed = PrivateKey.generate()
    with bucket_of(whitelist=[address(listed.public.raw)]) as bucket:
        token = association(listed, bucket.key, **claims)
        answer = bucket.store("a", claims={"associationToken": token})

    assert answer.status_code == (202 if message is None else 401)
    assert message is None or answer.json()["message"] == message


def test_a_whitelist_shuts_out_all_others() -> None:
    """Neither an own token nor one vouched for by somebody unlisted is enough."""
    listed, unlisted = PrivateKey.generate(), PrivateKey.generate()
    with bucket_of(whitelist=[address(listed.public.raw)]) as bucket:
        token = association(unlisted, bucket.key)

        assert Bucket(bucket.hub, listed).store("a").status_code == 202
        assert error(bucket.store("a")) == (401, "ValidationError")
        assert error(bucket.store("a", claims={"associationToken": token})) == (
            401,
            "ValidationError",
        )


def test_an_association_opens_no_other_bucket(bucket: Bucket) -> None:
    """It says who may use the hub, never that one key may write for another."""
    other = Bucket(bucket.hub)
    token = other.token(associationToken=association(bucket.key, other.key))

    assert error(bucket.store("a", authorization=f"bearer v1:{token}")) == (
        401,
        "ValidationError",
    )


def test_a_hub_may_want_to_be_named() -> None:
    """Then `hubUrl` is looked at; the name that wallet-sdk gives it does not count."""
    with bucket_of(require_hub_url=True) as bucket:
        url = bucket.hub.url

        assert bucket.store("a", claims={"hubUrl": url}).status_code == 202
        assert bucket.store("a", claims={"hubUrl": f"{url}/"}).status_code == 202
        https = f"https://{bucket.hub.host_port}"
        assert bucket.store("a", claims={"hubUrl": https}).status_code == 202
        for claims in ({}, {"gaiaHubUrl": url}, {"hubUrl": f"{url}//"}, {"hubUrl": 5}):
            assert bucket.store("a", claims=claims).status_code == 401


# --- scopes --------------------------------------------------------------------------

PUT = scopes(("putFile", "in/a"))
PUT_PREFIX = scopes(("putFilePrefix", "in/"))
DELETE = scopes(("deleteFile", "in/a"))
DELETE_PREFIX = scopes(("deleteFilePrefix", "in/"))
FENCED = scopes(("putFilePrefix", "in/"), ("deleteFile", "never"))
ARCHIVAL = scopes(("putFileArchival", "in/a"))
ARCHIVAL_PREFIX = scopes(("putFileArchivalPrefix", "in/"))
BOTH = scopes(("putFileArchival", "in/a"), ("putFile", "out"))


@pytest.mark.parametrize(
    ("claims", "verb", "path", "allowed"),
    [
        ({"scopes": []}, "store", "out", True),  # an empty list is full power
        ({"scopes": []}, "delete", "out", True),
        (PUT, "store", "in/a", True),
        (PUT, "store", "in/ab", False),
        (PUT, "store", "out", False),
        (PUT, "delete", "out", True),  # hole 1: deletes anything
        (PUT_PREFIX, "store", "in/b", True),
        (PUT_PREFIX, "store", "in/", False),  # its slash is dropped first
        (PUT_PREFIX, "store", "%2e/in/a", False),  # nothing is resolved before
        (PUT_PREFIX, "store", "out", False),
        (PUT_PREFIX, "delete", "out", True),  # hole 1
        (DELETE, "delete", "in/a", True),
        (DELETE, "delete", "in/b", False),
        (DELETE, "store", "out", True),  # hole 1: writes anywhere
        (DELETE_PREFIX, "delete", "in/b", True),
        (DELETE_PREFIX, "delete", "out", False),
        (DELETE_PREFIX, "store", "out", True),  # hole 1
        (FENCED, "store", "in/a", True),  # hole 4: the fence
        (FENCED, "delete", "in/a", False),
        (FENCED, "delete", "out", False),
        (ARCHIVAL, "store", "in/a", True),
        (ARCHIVAL, "store", "in/ab", False),
        (ARCHIVAL, "delete", "in/a", True),
        (ARCHIVAL, "delete", "in/b", False),  # hole 3: these do confine both
        (ARCHIVAL_PREFIX, "store", "in/b", True),
        (ARCHIVAL_PREFIX, "store", "out", False),
        (ARCHIVAL_PREFIX, "delete", "in/b", True),
        (ARCHIVAL_PREFIX, "delete", "out", False),
        (BOTH, "store", "in/a", False),  # each kind has to agree
        (BOTH, "store", "out", False),
        (scopes(("putFilePrefix", "")), "store", "out", False),  # no prefix, no path
        (scopes(*[("putFile", "out")] * 8), "store", "out", True),
        (scopes(*[("putFile", "out")] * 9), "store", "out", False),
        (scopes(("collection.notes", "out")), "store", "out", False),
        ({"scopes": "putFile"}, "store", "out", False),
        ({"scopes": {}}, "store", "out", False),
        ({"scopes": ["putFile"]}, "store", "out", False),
        ({"scopes": [{"domain": "out"}]}, "store", "out", False),
        ({"scopes": [{"scope": [], "domain": "out"}]}, "store", "out", False),
    ],
    ids=str,
)
def test_scopes(
    bucket: Bucket, claims: Claims, verb: str, path: str, allowed: bool
) -> None:
    """A token can be limited to paths, with the holes of the real hub."""
    for there in ("in/a", "in/b", "out"):
        bucket.store(there)
    call = bucket.store if verb == "store" else bucket.delete

    answer = call(path, claims=claims)

    assert answer.status_code == (202 if allowed else 401)
    if not allowed:
        assert error(answer) == (401, "ValidationError")


@pytest.mark.parametrize("claims", [PUT, DELETE, FENCED, ARCHIVAL_PREFIX], ids=str)
def test_any_scope_lists_and_revokes(bucket: Bucket, claims: Claims) -> None:
    """Hole 2: the names of all files show, and the owner can be locked out for good."""
    bucket.store("secret")

    assert bucket.names(claims=claims) == ["secret"]
    assert bucket.revoke(2**31 - 1, claims=claims).status_code == 202
    assert error(bucket.store("a")) == (401, "AuthTokenTimestampValidationError")
    now = {"iat": int(time.time())}
    assert error(bucket.store("a", claims=now)) == (
        401,
        "AuthTokenTimestampValidationError",
    )
    assert bucket.store("a", claims={"iat": 2**31}).status_code == 202


def test_an_archival_overwrite_keeps_the_old_file(bucket: Bucket) -> None:
    """It is renamed beside the new one, with its time and a random part in the name."""
    for content in (b"one", b"two"):
        bucket.store("in/a", content, claims=ARCHIVAL_PREFIX)
    history, current = bucket.names()

    directory, _, name = history.rpartition("/")
    dot, kind, milliseconds, unique, original = name.split(".")
    assert (directory, dot, kind, original) == ("in", "", "history", "a")
    assert abs(int(milliseconds) / 1000 - time.time()) < 100
    assert len(unique) == 10
    assert unique.isalnum()
    assert current == "in/a"
    assert bucket.read(history).content == b"one"
    assert bucket.read(current).content == b"two"


def test_an_archival_delete_only_renames(bucket: Bucket) -> None:
    """The file is gone by its name, its content is not; a second delete finds nothing."""
    bucket.store("in/a")

    assert bucket.delete("in/a", claims=ARCHIVAL_PREFIX).status_code == 202
    [history] = bucket.names()
    assert bucket.read(history).content == b"hello"
    assert error(bucket.delete("in/a", claims=ARCHIVAL_PREFIX)) == (404, "DoesNotExist")


def test_history_is_hidden_from_archival_tokens_alone() -> None:
    """A page of nothing else holds a null, lest it be taken for the end."""
    with bucket_of(page_size=2) as bucket:
        for _ in range(4):
            bucket.store("in/a", claims=ARCHIVAL_PREFIX)
        full = [bucket.list_files(page).json() for page in (None, "1", "2")]
        limited = [
            bucket.list_files(page, claims=ARCHIVAL_PREFIX).json()
            for page in (None, "1", "2")
        ]

    assert [len(page["entries"]) for page in full] == [2, 2, 0]
    assert [page["entries"] for page in limited] == [[None], ["in/a"], []]
    assert [page["page"] for page in limited] == ["1", "2", "3"]


# --- revocation ----------------------------------------------------------------------


def test_revocation_asks_for_younger_tokens(bucket: Bucket) -> None:
    """Once revoked, a token needs an iat, one that is not before the time given."""
    answer = bucket.revoke(1000)
    cases = {None: 401, 0: 401, 999: 401, 999.9: 401, 1000: 202, 1000.5: 202}

    assert (answer.status_code, answer.json()) == (202, {"status": "success"})
    for issued, status in cases.items():
        claims = {"iat": issued}
        assert bucket.store("a", claims=claims).status_code == status
        assert bucket.list_files(claims=claims).status_code == status


def test_revocation_is_a_public_file(bucket: Bucket) -> None:
    """Whoever knows the bucket can read since when its tokens count."""
    url = f"{bucket.hub.hub.read_url}{bucket.address}-auth/authTimestamp"
    before = bucket.hub.http.get(url).status_code
    bucket.revoke(1000)

    assert before == 404
    assert bucket.hub.http.get(url).text == "1000"


def test_revocation_only_moves_forward(bucket: Bucket) -> None:
    """An earlier time is answered as a success and changes nothing."""
    bucket.revoke(1000)

    assert bucket.revoke(500).status_code == 202
    assert bucket.store("a", claims={"iat": 700}).status_code == 401


def test_a_revoked_token_can_still_revoke(bucket: Bucket) -> None:
    """Revoking asks for a good token, not for a young one."""
    bucket.revoke(1000)

    assert bucket.revoke(2000, claims={"iat": 1}).status_code == 202
    assert bucket.store("a", claims={"iat": 1500}).status_code == 401


def test_revocation_ends_in_2038(bucket: Bucket) -> None:
    """The real hub keeps 32 bits of the time; later ones count as long ago."""
    assert bucket.revoke(2**31).status_code == 202
    assert bucket.store("a").status_code == 202


@pytest.mark.parametrize("oldest", [None, 0, "", -5, "soon", True])
def test_revocation_wants_a_time(bucket: Bucket, oldest: Any) -> None:
    """Anything else is a bad request, whoever sends it."""
    answer = bucket.revoke(oldest, authorization="")

    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Invalid JSON: ")
