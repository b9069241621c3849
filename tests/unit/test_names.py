"""Names: the form of each, one spelling for apps, and where a bucket's URL ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.errors import BadRequest
from pushd.identity.names import (
    MAX_NAME,
    Form,
    bucket_address,
    form_of,
    is_name,
    validate_app,
)

ADDRESS = "12YvfYz1VTq2uPZFB7FopR12UdCYVKjRB4"
BUCKET = f"https://gaia.example/hub/{ADDRESS}"
LABEL = "l" * 63


def padded(before: str, behind: str, length: int) -> str:
    """Return a text of this length with `a` repeated in the middle."""
    return before + "a" * (length - len(before) - len(behind)) + behind


# --- forms ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("alice.id", Form.BLOCKSTACK),
        ("alice.id.blockstack", Form.BLOCKSTACK),
        ("a.b.c", Form.BLOCKSTACK),
        ("0.id", Form.BLOCKSTACK),
        ("alice_b-c.id", Form.BLOCKSTACK),
        ("xn--mnchen-3ya.id", Form.BLOCKSTACK),
        (f"{LABEL}.{LABEL}.{LABEL}", Form.BLOCKSTACK),
        ("alice.sub.btc", Form.BLOCKSTACK),
        ("alice.btc", Form.BNS),
        (f"{LABEL}.btc", Form.BNS),
        ("did:web:example.org", Form.WEB),
        ("did:web:localhost", Form.WEB),
        ("did:web:example.org%3A8443", Form.WEB),
        ("did:web:example.org%3A65535:users:Alice", Form.WEB),
        ("did:web:example.org:a..b:.c", Form.WEB),
        (padded("did:web:example.org:", "", MAX_NAME), Form.WEB),
        (BUCKET, Form.BUCKET),
        (f"{BUCKET}/", Form.BUCKET),
        (f"http://127.0.0.1:4020/hub/{ADDRESS}/", Form.BUCKET),
        (f"https://gaia.example/{ADDRESS}", Form.BUCKET),
        (f"https://gaia.example:65535/Hub/v1.0/{ADDRESS}", Form.BUCKET),
        (padded("https://gaia.example/", f"/{ADDRESS}", MAX_NAME), Form.BUCKET),
    ],
)
def test_forms(name: str, form: Form) -> None:
    """A name in its canonical spelling is of one form."""
    assert form is form_of(name)
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "alice",
        "alice.",
        ".id",
        "alice..id",
        "a.b.c.d",
        "Alice.id",
        "alice.ID.blockstack",
        "alice.BTC",
        "alice.btc.",
        " alice.id",
        "alice.id\n",
        "al ice.id",
        "-alice.id",
        "alice-.id",
        "_alice.id",
        "alice+b.id",
        "alice@id.blockstack",
        "m\u00fcnchen.id",
        "\u0430lice.id",
        "alice\uff0eid",
        "\u0661.id",
        f"{LABEL}l.id",
        "alice.id/",
        "did:web:",
        "did:web:Example.org",
        "did:web:example.org/",
        "did:web:example.org:",
        "did:web:example.org::a",
        "did:web:example.org:..:a",
        "did:web:example.org:a:..",
        "did:web:example.org:.",
        "did:web:..",
        "did:web:example..org",
        "did:web:example.org%3a8443",
        "did:web:example.org%3A",
        "did:web:example.org%3A0",
        "did:web:example.org%3A08443",
        "did:web:example.org%3A65536",
        "did:web:user@example.org",
        "did:web:example.org:%2e%2e",
        "did:web:example.org#key",
        "did:WEB:example.org",
        f"did:btc-addr:{ADDRESS}",
        "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
        padded("did:web:example.org:", "", MAX_NAME + 1),
        padded("https://gaia.example/", f"/{ADDRESS}", MAX_NAME + 1),
        "https://gaia.example/hub/",
        "://",
    ],
)
def test_no_names(name: str) -> None:
    """What is no name, or not in its canonical spelling, is refused."""
    with pytest.raises(BadRequest):
        form_of(name)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_junk_has_a_form_or_is_refused(text: str) -> None:
    """Any text is a name in ASCII or is refused, nothing else."""
    for name in (text, f"did:web:{text}", f"https://{text}/{ADDRESS}"):
        try:
            form_of(name)
        except BadRequest:
            continue
        assert name.isascii()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice.id", True),
        ("did:web:example.org", True),
        (BUCKET, True),
        ("anything", True),
        (f"did:btc-addr:{ADDRESS}", False),
        ("did:key:z6Mk", False),
        ("did:other:x", False),
    ],
)
def test_names_and_dids(text: str, expected: bool) -> None:
    """A name is told from the DID of a mailbox at a glance."""
    assert expected is is_name(text)


# --- buckets -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        BUCKET,
        f"{BUCKET}/",
        f"https://gaia.example/{ADDRESS}",
        f"http://127.0.0.1:4020/hub/{ADDRESS}/",
        f"https://gaia.example/1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH/{ADDRESS}",
        f"https://gaia.example/.well-known/..x/~u/{ADDRESS}",
    ],
)
def test_bucket_addresses(url: str) -> None:
    """A bucket's URL ends in its owner's address, with or without a slash behind."""
    assert bucket_address(url) == ADDRESS


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://gaia.example/hub/{ADDRESS}",
        f"HTTPS://gaia.example/hub/{ADDRESS}",
        f"https://Gaia.example/hub/{ADDRESS}",
        f"https://user@gaia.example/hub/{ADDRESS}",
        f"https://user:word@gaia.example/hub/{ADDRESS}",
        f"https:///hub/{ADDRESS}",
        f"https://.../hub/{ADDRESS}",
        f"https://1..2/hub/{ADDRESS}",
        f"https://gaia.example./hub/{ADDRESS}",
        f"https://m\u00fcnchen.example/hub/{ADDRESS}",
        f"https://gaia.example:/hub/{ADDRESS}",
        f"https://gaia.example:0/hub/{ADDRESS}",
        f"https://gaia.example:080/hub/{ADDRESS}",
        f"https://gaia.example:65536/hub/{ADDRESS}",
        f"https://gaia.example:99999/hub/{ADDRESS}",
        f"https://gaia.example/../{ADDRESS}",
        f"https://gaia.example/hub/../{ADDRESS}",
        f"https://gaia.example/./{ADDRESS}",
        f"https://gaia.example/hub/./x/{ADDRESS}",
        f"https://gaia.example/hub/%2e%2e/{ADDRESS}",
        f"https://gaia.example/hub//{ADDRESS}",
        f"https://gaia.example/hub\\{ADDRESS}",
        f"https://gaia.example/h b/{ADDRESS}",
        f"{BUCKET}//",
        f"{BUCKET}/x",
        f"{BUCKET}?x",
        f"{BUCKET}#x",
        f"{BUCKET}\n",
        f"{BUCKET[:-1]}5",
        f"{BUCKET[:-1]}",
        f"https://gaia.example/hub/1{ADDRESS}",
        "https://gaia.example/hub/SP3MJ9VQM7S6BC2EBSJD0MATNM2C61Y1B7VGEWV08",
        "https://gaia.example/hub/3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
        "https://gaia.example/hub/",
        "alice.id",
        "",
        padded("https://gaia.example/", f"/{ADDRESS}", MAX_NAME + 1),
    ],
)
def test_no_buckets(url: str) -> None:
    """What could be read in two ways, or ends in no address, is no bucket."""
    with pytest.raises(BadRequest):
        bucket_address(url)


# --- apps ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example",
        "http://localhost:3000",
        "http://127.0.0.1:8080",
        "https://xn--mnchen-3ya.example",
        "https://app.example:80",
        "http://app.example:443",
        "https://app.example:65535",
        padded("https://", f".{'a' * 60}.{'a' * 60}.{'a' * 60}.example", MAX_NAME),
    ],
)
def test_apps(origin: str) -> None:
    """A web origin in its one spelling is an app."""
    assert origin == validate_app(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "app.example",
        "https://",
        "https://app.example/",
        "https://app.example/x",
        "https://app.example?x",
        "https://app.example#x",
        "https://App.example",
        "HTTPS://app.example",
        "https://user@app.example",
        "https://app.example:443",
        "http://app.example:80",
        "https://app.example:",
        "https://app.example:0",
        "https://app.example:0443",
        "https://app.example:65536",
        "https://m\u00fcnchen.example",
        "https://app..example",
        "https://..",
        "https://[::1]",
        "ftp://app.example",
        "https:app.example",
        " https://app.example",
        "https://app.example\n",
        "https://app\t.example",
        "null",
        padded("https://", f".{'a' * 60}.{'a' * 60}.{'a' * 60}.example", MAX_NAME + 1),
    ],
)
def test_no_apps(origin: str) -> None:
    """What is no web origin, or not in its one spelling, is no app."""
    with pytest.raises(BadRequest):
        validate_app(origin)
