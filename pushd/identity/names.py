"""Names: what people are called, and where each form of a name leads.

    alice.id.blockstack, alice.id       a Blockstack name: names API, zone file, profile
    alice.btc                           a name of BNS V2: its zone file on the chain
    did:web:example.org:alice           a DID document at the host's well-known place
    https://gaia.example/hub/1Addr...   a bucket; its last segment is the key's hash

A name belongs to an identity within one app, and means nothing until it is proven.
"""

import re
from enum import Enum

from pushd.errors import BadRequest
from pushd.identity.keys import BTC_ADDR, validate_did

MAX_NAME = 256
"""Characters of the longest name, and of the longest web origin."""


class Form(Enum):
    """The forms of names."""

    BLOCKSTACK = "Blockstack name"
    BNS = "name of BNS V2"
    WEB = "did:web"
    BUCKET = "bucket URL"


_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*"
_PORT = r"(?P<port>[1-9][0-9]{0,4})"
_BLOCKSTACK = re.compile(rf"{_LABEL}(?:\.{_LABEL}){{1,2}}")
_BNS = re.compile(rf"{_LABEL}\.btc")
_WEB = re.compile(rf"did:web:{_HOST}(?:%3A{_PORT})?(?P<path>(?::[A-Za-z0-9._-]+)*)")
_BUCKET = re.compile(
    rf"https?://{_HOST}(?::{_PORT})?(?P<path>(?:/[A-Za-z0-9._~-]+)*)"
    r"/(?P<address>1[1-9A-HJ-NP-Za-km-z]{25,34})/?"
)
_ORIGIN = re.compile(rf"(?P<scheme>https?)://{_HOST}(?::{_PORT})?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def form_of(name: str) -> Form:
    """Tell the form of a name.

    Raises:
        BadRequest: If it is no name, or not in its canonical spelling: ASCII, in lower
            case where case means nothing, at most 256 characters.
    """
    if len(name) > MAX_NAME:
        raise BadRequest(f"A name has at most {MAX_NAME} characters.")
    if name.startswith("did:"):
        match = _WEB.fullmatch(name)
        if match and _leads_there(match, ":"):
            return Form.WEB
        raise BadRequest("Of the DIDs only a did:web, its host in lower case, is a name.")
    if "://" in name:
        bucket_address(name)
        return Form.BUCKET
    if _BNS.fullmatch(name):
        return Form.BNS
    if _BLOCKSTACK.fullmatch(name):
        return Form.BLOCKSTACK
    raise BadRequest(
        "A name is like alice.id.blockstack, alice.btc, did:web:example.org, or the URL"
        " of a bucket; in ASCII and lower case."
    )


def is_name(text: str) -> bool:
    """Tell a name from the DID of a mailbox; whether it is a good one is not looked at."""
    return not text.startswith("did:") or text.startswith("did:web:")


def bucket_address(url: str) -> str:
    """Return the address a bucket's URL ends in, the hash of its owner's key.

    Raises:
        BadRequest: If it is no such URL: http(s), host in lower case, no user, query or
            fragment, a bitcoin address as last segment, with or without a slash behind, at
            most 256 characters.
    """
    match = _BUCKET.fullmatch(url)
    if not match or not _leads_there(match, "/") or len(url) > MAX_NAME:
        raise BadRequest(
            "A bucket's URL is https://host/path/1Address, its host in lower case."
        )
    validate_did(BTC_ADDR + match["address"])
    return match["address"]


def validate_app(origin: str) -> str:
    """Return `origin` if it is a web origin in its one spelling (RFC 6454 section 6.2).

    Raises:
        BadRequest: If it is not: scheme and host in lower case, no default port, no
            path, not even a slash.
    """
    match = _ORIGIN.fullmatch(origin)
    if (
        not match
        or not _is_port(match["port"])
        or match["port"] == _DEFAULT_PORTS[match["scheme"]]
        or len(origin) > MAX_NAME
    ):
        raise BadRequest("An app is an origin like https://app.example, without a slash.")
    return origin


def _leads_there(match: re.Match[str], separator: str) -> bool:
    """Tell whether a URL has a port there is, and no step that leads elsewhere."""
    steps = match["path"].split(separator)
    return _is_port(match["port"]) and "." not in steps and ".." not in steps


def _is_port(digits: str | None) -> bool:
    return digits is None or int(digits) <= 65535
