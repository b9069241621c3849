"""Contact documents: what is made is believed, for its signed claims and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.errors import BadRequest, Unproven
from pushd.identity.contact import (
    MAX_SERVER,
    MAX_SERVERS,
    PATH,
    ContactDocument,
    make_contact,
    pushd_servers,
    read_contact,
)
from pushd.identity.documents import LEEWAY, MAX_DOCUMENT
from pushd.identity.keys import Algorithm, PrivateKey, address
from pushd.protocol.urls import canonical_url
from tests.vectors.handmade import ALICE, BOB

NOW = 1795348800.5
ADDRESS = address(ALICE.public.raw)
APP = "https://app.example"
SERVERS = ["https://push.example", "matrix:u/alice:example.org"]


def make(**changes: Any) -> bytes:
    """Make a contact document of Alice's."""
    arguments = {"servers": SERVERS, "app": APP, "now": NOW, **changes}
    return make_contact(ALICE, **arguments)


def read(data: bytes, **changes: Any) -> ContactDocument:
    """Read a contact document in Alice's bucket."""
    arguments = {"address": ADDRESS, "app": APP, "now": NOW, **changes}
    return read_contact(data, **arguments)


# --- what is made --------------------------------------------------------------------


def test_what_is_made_is_read() -> None:
    """Every argument of a contact document comes back from it."""
    contact = read(make(lifetime=60))
    assert contact == ContactDocument(
        key=ALICE.public,
        servers=tuple(SERVERS),
        app=APP,
        issued_at=NOW,
        expires=NOW + 60,
    )
    assert contact.did == ALICE.did
    assert read(make()).expires is None


def test_what_is_made_can_be_read_by_people() -> None:
    """The plain members say the same, in lines, beside the token."""
    data = make()
    document = json.loads(data)
    assert document.pop("token").count(".") == 2
    assert document == {
        "version": 1,
        "publicKey": ALICE.public.raw.hex(),
        "messagingServers": SERVERS,
    }
    assert data.startswith(b'{\n  "version": 1,\n  "publicKey": "')
    assert data.endswith(b"}\n")
    assert PATH == ".well-known/messaging.json"


def test_two_made_within_a_second_have_an_order() -> None:
    """The later of two documents replaces the earlier, not the reverse."""
    first, second = read(make(now=NOW)), read(make(now=NOW + 0.002))
    assert first.issued_at < second.issued_at
    assert read(make(now=NOW + 0.002), seen=first) == second
    with pytest.raises(Unproven, match="older"):
        read(make(), seen=second)


def test_the_largest_that_is_made_is_read() -> None:
    """As many servers as may be, of as many letters as may be, fit."""
    servers = ["\U0001f511" * MAX_SERVER] * MAX_SERVERS
    assert read(make(servers=servers)).servers == tuple(servers)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        (PrivateKey(Algorithm.EdDSA, bytes([7] * 32)), {}),
        (PrivateKey(Algorithm.ES256, bytes([7] * 32)), {}),
        (ALICE, {"servers": []}),
        (ALICE, {"servers": ["https://push.example"] * (MAX_SERVERS + 1)}),
        (ALICE, {"servers": ["s" * (MAX_SERVER + 1)]}),
        (ALICE, {"servers": [1]}),
        (ALICE, {"app": f"{APP}/"}),
        (ALICE, {"app": "alice.id"}),
    ],
)
def test_what_is_not_made(key: PrivateKey, changes: dict[str, Any]) -> None:
    """A document no reader would believe is refused by its maker."""
    arguments = {"servers": SERVERS, "app": APP, "now": NOW, **changes}
    with pytest.raises(BadRequest):
        make_contact(key, **arguments)


# --- what is refused: the rest is in contacts.json -----------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"address": address(BOB.public.raw)}, "owner of the bucket"),
        ({"address": ""}, "owner of the bucket"),
        ({"app": "https://other.example"}, "another app"),
        ({"now": NOW - LEEWAY - 0.001}, "from the future"),
        ({"now": NOW + 60}, "expired"),
    ],
)
def test_sentences(changes: dict[str, Any], sentence: str) -> None:
    """Each refusal says what is wrong."""
    with pytest.raises(Unproven, match=sentence):
        read(make(lifetime=60), **changes)


def test_times_at_their_limits() -> None:
    """A document counts from five minutes before its date until its end."""
    data = make(lifetime=60)
    assert read(data, now=NOW - LEEWAY) == read(data, now=NOW + 59.999)


def test_size() -> None:
    """A document is read up to its limit."""
    assert read(make().ljust(MAX_DOCUMENT)) == read(make())
    with pytest.raises(Unproven, match="bytes"):
        read(make().ljust(MAX_DOCUMENT + 1))


def test_the_document_seen_before() -> None:
    """The same document counts again and again; another of its time does not."""
    seen = read(make())
    assert read(make(), seen=seen) == seen
    with pytest.raises(Unproven, match="older"):
        read(make(servers=["https://other.example"]), seen=seen)


# --- any change ----------------------------------------------------------------------

MADE = make()


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(MADE) - 1), st.integers(1, 255))
def test_any_change_is_refused_or_changes_nothing(place: int, change: int) -> None:
    """No byte of a document can be altered so that it says something else."""
    data = MADE[:place] + bytes([MADE[place] ^ change]) + MADE[place + 1 :]
    try:
        found = read(data)
    except Unproven:
        return
    assert found == read(MADE)


@settings(deadline=None)
@given(st.binary(max_size=200), st.text(max_size=200))
def test_junk_is_refused(data: bytes, text: str) -> None:
    """Any other bytes or tokens are refused without another error."""
    for junk in (data, json.dumps({"version": 1, "token": text}).encode()):
        with pytest.raises(Unproven):
            read(junk)


@settings(deadline=None)
@given(st.lists(st.text(max_size=40) | st.text("https://.:1aA[]", max_size=30), max_size=8))
def test_servers_found_are_canonical(entries: list[str]) -> None:
    """Whatever is listed, only canonical URLs are found, each once."""
    found = pushd_servers(entries, plain=lambda _: True)
    assert found == [canonical_url(url) for url in dict.fromkeys(found)]
