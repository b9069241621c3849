"""Canonical URLs hold still: whatever is accepted has one form."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.errors import BadRequest
from pushd.protocol.urls import canonical_url

hosts = st.from_regex(r"[A-Za-z0-9]{1,10}(\.[A-Za-z0-9]{1,10}){0,3}", fullmatch=True)
paths = st.from_regex(r"(/[A-Za-z0-9._~-]{0,5}){0,3}", fullmatch=True)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format))


@given(st.sampled_from(["http", "https", "HTTP", "Https"]), hosts, ports, paths)
@settings(deadline=None)
def test_one_form(scheme: str, host: str, port: str, path: str) -> None:
    """A canonical URL is its own canonical form, and keeps what tells servers apart."""
    url = canonical_url(f"{scheme}://{host}{port}{path}")
    assert url == canonical_url(url) == canonical_url(f"{url}/")
    assert url.startswith(f"{scheme.lower()}://{host.lower()}")
    assert url.endswith(path.rstrip("/"))


@given(st.text(max_size=60))
@settings(deadline=None)
def test_junk(text: str) -> None:
    """Any text is canonical, gets canonical, or is refused; nothing else happens."""
    for url in (text, f"https://{text}"):
        try:
            canonical = canonical_url(url)
        except BadRequest:
            continue
        assert canonical == canonical_url(canonical)


def test_a_secret_in_the_url_is_not_repeated() -> None:
    """The error about a URL with a password does not hold it."""
    with pytest.raises(BadRequest) as caught:
        canonical_url("https://alice:pa55word@push.example")
    assert "pa55word" not in caught.value.detail
