"""Replays contacts.json: what a reader of contact documents believes and refuses."""

import pytest

from pushd.errors import Unproven
from pushd.identity.contact import ContactDocument, pushd_servers, read_contact
from tests.vectors.files import Json, cases, load

FILE = load("contacts.json")


def read(text: str, seen: ContactDocument | None = None) -> ContactDocument:
    """Read a document as the reader of the vectors does."""
    return read_contact(
        text.encode(),
        address=FILE["address"],
        app=FILE["app"],
        now=FILE["evaluate_at"],
        seen=seen,
    )


def seen_before(case: Json) -> ContactDocument | None:
    """Read the document the reader knows from before, if there is one."""
    return read(case["seen"]) if "seen" in case else None


@cases("contacts.json", "valid")
def test_valid(case: Json) -> None:
    """A good document is believed for the claims in its token."""
    contact = read(case["document"], seen_before(case))
    assert case["claims"] == {
        "did": contact.did,
        "publicKey": contact.key.raw.hex(),
        "messagingServers": list(contact.servers),
        "app": contact.app,
        "iat": contact.issued_at,
        "exp": contact.expires,
    }


@cases("contacts.json", "invalid")
def test_invalid(case: Json) -> None:
    """A bad document is refused, and nothing of its token is repeated."""
    seen = seen_before(case)
    with pytest.raises(Unproven) as caught:
        read(case["document"], seen)
    assert len(str(caught.value)) < 200


@cases("contacts.json", "servers")
def test_servers(case: Json) -> None:
    """The servers to deliver to are found among the others, in order."""
    plain = FILE["development"].__contains__
    assert case["servers"] == pushd_servers(case["messagingServers"], plain=plain)
