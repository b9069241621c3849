"""Zone files: which of their records leads to the profile."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.errors import BadRequest, Unproven
from pushd.identity.zonefiles import MAX_ZONE_FILE, make_zone_file, profile_url

URL = "https://gaia.example/hub/1Addr/profile.json"
OTHER = "https://other.example/profile.json"


@pytest.mark.parametrize(
    "text",
    [
        f'$ORIGIN alice.id\n$TTL 3600\n_http._tcp\tIN\tURI\t10\t1\t"{URL}"\n\n',
        f'_http._tcp IN URI 10 1 "{URL}"',
        f"_http._tcp IN URI 10 1 {URL}",
        f'_http._tcp URI 10 1 "{URL}"',
        f'_http._tcp 3600 IN URI 10 1 "{URL}"',
        f'_http._tcp IN 3600 URI 10 1 "{URL}"',
        f'_http._tcp  \t IN \t URI   10\t\t1   "{URL}" \t ',
        f'$TTL 3600\r\n_http._tcp\tIN\tURI\t10\t1\t"{URL}"\r\n',
        f'_http._tcp in uri 10 1 "{URL}"',
        f'_file IN URI 10 1 "{OTHER}"\n_HTTP._TCP IN URI 10 1 "{URL}"',
        f'; a comment\n_http._tcp IN URI 10 1 "{URL}" ; another',
        f"_http._tcp IN URI 10 1 {URL};another",
        f';_http._tcp IN URI 10 1 "{OTHER}"\n_http._tcp IN URI 10 1 "{URL}"',
        f'; _http._tcp IN URI 10 1 "{OTHER}"\n_http._tcp IN URI 10 1 "{URL}"',
        f'_http._tcp IN URI 10 1 "{URL}"\n_http._tcp IN URI 5 1 "{OTHER}"',
        f'_http._tcp IN TXT "URI 10 1 {OTHER}"\n_http._tcp IN URI 10 1 "{URL}"',
        f'_https._tcp IN URI 10 1 "{OTHER}"\n_http._tcp IN URI 10 1 "{URL}"',
        f'_file IN URI 10 1 "{OTHER}"\n_http._tcp IN URI 10 1 "{URL}"',
        f'_file IN URI 10 1 "{OTHER}"\n_https._tcp IN URI 10 1 "{URL}"',
        f'_file IN URI 10 1 "{URL}"\n_resolver IN URI 10 1 "{OTHER}"',
        f'\tIN URI 10 1 "{URL}"',
        f'_http._tcp IN URI 10 1 "gaia.example"x\n_http._tcp IN URI 10 1 "{URL}"',
    ],
)
def test_profiles(text: str) -> None:
    """The record that counts is found among others, however it is spaced."""
    assert profile_url(text) == URL


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("gaia.example/profile.json", "https://gaia.example/profile.json"),
        ("127.0.0.1:4020/profile.json", "https://127.0.0.1:4020/profile.json"),
        ("http://gaia.example/p.json", "http://gaia.example/p.json"),
        ("HTTPS://gaia.example/p.json", "HTTPS://gaia.example/p.json"),
        ("https://gaia.example/a;b", "https://gaia.example/a;b"),
    ],
)
def test_targets(target: str, url: str) -> None:
    """A target without scheme is one of https; another is left as it is."""
    assert url == profile_url(f'_http._tcp IN URI 10 1 "{target}"')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "$ORIGIN alice.id\n$TTL 3600\n",
        '{"@type":"Person","account":[],"url":"https://gaia.example"}',
        '{"owner":"SP3MJ9VQM7S6BC2EBSJD0MATNM2C61Y1B7VGEWV08","meta":[]}',
        "_http._tcp IN TXT https://gaia.example",
        "_http._tcp IN A 192.0.2.1",
        f'; _http._tcp IN URI 10 1 "{URL}"',
        '_http._tcp IN URI 10 1 ""',
        "_http._tcp IN URI 10 1",
        f'_http._tcp IN URI 10 "{URL}"',
        f'_http._tcp IN URI ten one "{URL}"',
        f'_http._tcp IN URI 10 1 "{URL}',
        f'_http._tcp IN URI 10 1 "{URL} and more"',
        '_http._tcp IN URI 10 1 "ftp://gaia.example/profile.json"',
        '_http._tcp IN URI 10 1 "file:///etc/passwd"',
        f'_http._tcp IN URI 10 1 "ftp://x/"\n_https._tcp IN URI 10 1 "{URL}"',
        f'_http._tcp IN URI 10 1 "{URL}"'.ljust(MAX_ZONE_FILE + 1),
    ],
)
def test_no_profiles(text: str) -> None:
    """A zone file without a record that leads to the web has no profile."""
    with pytest.raises(Unproven):
        profile_url(text)


def test_the_longest_zone_file() -> None:
    """One that is as long as may be is read."""
    assert profile_url(f'_http._tcp IN URI 10 1 "{URL}"'.ljust(MAX_ZONE_FILE)) == URL


@settings(deadline=None)
@given(st.text(max_size=200), st.text("URI _htp.0\t\r\n;\"'/:", max_size=200))
def test_junk_leads_nowhere_else(text: str, records: str) -> None:
    """Any text leads to the web or nowhere, without another error."""
    for zone_file in (text, records, f"_http._tcp URI 1 1 {text}"):
        try:
            url = profile_url(zone_file)
        except Unproven:
            continue
        assert url.lower().startswith(("https://", "http://"))


@pytest.mark.parametrize("name", ["alice.id", "alice.id.blockstack", "alice.btc"])
def test_what_is_written_is_read(name: str) -> None:
    """A zone file made here is as the libraries write theirs, and leads where it should."""
    text = make_zone_file(name, URL)
    assert text == f'$ORIGIN {name}\n$TTL 3600\n_http._tcp\tIN\tURI\t10\t1\t"{URL}"\n'
    assert profile_url(text) == URL


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("Alice.id", URL),
        ("alice.id\n_http._tcp URI 1 1 x", URL),
        ("did:web:example.org", URL),
        ("https://gaia.example/12YvfYz1VTq2uPZFB7FopR12UdCYVKjRB4", URL),
        ("alice.id", "gaia.example/profile.json"),
        ("alice.id", "ftp://gaia.example/profile.json"),
        ("alice.id", f'{URL}"'),
        ("alice.id", f"{URL} x"),
        ("alice.id", f"{URL}\n"),
    ],
)
def test_what_is_not_written(name: str, url: str) -> None:
    """A name without a zone file, or a URL that would break out of one, is refused."""
    with pytest.raises(BadRequest):
        make_zone_file(name, url)
