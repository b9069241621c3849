"""What a store's URL says, and what is no such URL."""

import ssl
import subprocess
from pathlib import Path

import pytest

from pushd.errors import ConfigurationError
from pushd.mailbox.address import StoreUrl


def test_one_server() -> None:
    """Host, port, database, user and password; each has a default but the last two."""
    store = StoreUrl.parse("redis://al%69ce:p%40ss@store.example:6380/3")
    [address] = store.addresses
    assert store.topology == "server"
    assert (address.host, address.port, str(address)) == (
        "store.example",
        6380,
        "store.example:6380",
    )
    access = address.access
    assert (access.username, access.password, access.db) == ("alice", "p@ss", 3)
    assert access.tls is None
    [address] = StoreUrl.parse("redis://").addresses
    assert (address.host, address.port, address.access.db) == ("127.0.0.1", 6379, 0)
    assert address.access.password is None


def test_a_socket() -> None:
    """The path is whatever follows; its database is an option."""
    [address] = StoreUrl.parse("unix://me:secret@/run/valkey%20one.sock?db=2").addresses
    assert (address.path, address.access.db) == ("/run/valkey one.sock", 2)
    assert (address.access.username, address.access.password) == ("me", "secret")


def test_sentinels() -> None:
    """They have their own user and password; what they name is reached with the store's."""
    store = StoreUrl.parse(
        "redis+sentinel://app:one@a,b:26380,[::1]:1/mail/2"
        "?sentinel_username=watch&sentinel_password=two"
    )
    assert (store.topology, store.service) == ("sentinel", "mail")
    places = [(address.host, address.port) for address in store.addresses]
    assert places == [("a", 26379), ("b", 26380), ("::1", 1)]
    theirs, ours = store.addresses[0].access, store.at("c", 6379).access
    assert (theirs.username, theirs.password, theirs.db) == ("watch", "two", 0)
    assert (ours.username, ours.password, ours.db) == ("app", "one", 2)


def test_a_cluster() -> None:
    """Some of its servers; all are reached in the same way."""
    store = StoreUrl.parse("redis+cluster://:secret@a:7000,b")
    assert store.topology == "cluster"
    assert [str(address) for address in store.addresses] == ["a:7000", "b:6379"]
    assert store.at("c", 7002).access == store.addresses[0].access


def test_no_password_is_shown() -> None:
    """Neither an address nor what it is made of shows it."""
    store = StoreUrl.parse("redis+sentinel://:sesame@a/mail?sentinel_password=sesame")
    assert "sesame" not in repr(store)
    assert "sesame" not in str(store.addresses[0])


def test_tls(tmp_path: Path) -> None:
    """Certificates and hosts are verified, unless an option says otherwise."""
    for scheme, path in (
        ("rediss", ""),
        ("rediss+sentinel", "/mail"),
        ("rediss+cluster", ""),
    ):
        tls = _tls(f"{scheme}://a{path}")
        assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    tls = _tls("rediss://a?ssl_check_hostname=false")
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_REQUIRED, False)
    assert _tls("rediss://a?ssl_cert_reqs=none").verify_mode == ssl.CERT_NONE
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    command = "openssl req -x509 -newkey ed25519 -nodes -subj /CN=a"
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    own = f"ssl_certfile={tmp_path / 'cert'}&ssl_keyfile={tmp_path / 'key'}"
    tls = _tls(f"rediss://a?ssl_ca_certs={tmp_path / 'cert'}&{own}")
    assert tls.get_ca_certs()[0]["subject"] == ((("commonName", "a"),),)


def _tls(url: str) -> ssl.SSLContext:
    tls = StoreUrl.parse(url).addresses[0].access.tls
    assert tls is not None
    return tls


def test_certificates_that_are_not_there() -> None:
    """The sentence says where they are named."""
    with pytest.raises(ConfigurationError, match="PUSHD_REDIS_URL names"):
        StoreUrl.parse("rediss://a?ssl_ca_certs=/nonexistent")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store",
        "http://example.org",
        "redis:store",
        "redis://a:port",
        "redis://a:0",
        "redis://a:65536",
        "redis://a,b",
        "redis://a/one",
        "redis://a?ssl_ca_certs=file",
        "redis://a?timeout=3",
        "rediss://a?ssl_cert_reqs=perhaps",
        "redis+sentinel://a,b",
        "redis+cluster://a,b/1",
        "redis+cluster://a b",
        "redis+cluster://a,b?sentinel_password=x",
        "unix://store.sock",
        "unix://host/store.sock",
    ],
)
def test_what_is_no_url_of_a_store(url: str) -> None:
    """Refused whole, in a sentence that says what one looks like."""
    with pytest.raises(ConfigurationError, match=r"redis://host:port/db.* PUSHD_REDIS_URL"):
        StoreUrl.parse(url)
