"""Cases of urls.json: spellings of a server's URL, and what is none."""

from tests.vectors.files import Json

CANONICAL = [
    ("https://push.example", "https://push.example"),
    ("https://push.example/", "https://push.example"),
    ("HTTPS://Push.Example", "https://push.example"),
    ("https://push.example:443", "https://push.example"),
    ("https://push.example:0443/", "https://push.example"),
    ("https://push.example:", "https://push.example"),
    ("https://push.example:80", "https://push.example:80"),
    ("http://push.example:80", "http://push.example"),
    ("http://push.example:443", "http://push.example:443"),
    ("https://push.example:08443", "https://push.example:8443"),
    ("http://127.0.0.1:8480", "http://127.0.0.1:8480"),
    ("http://[::1]:8480/", "http://[::1]:8480"),
    ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
    ("https://example.org/push/", "https://example.org/push"),
    ("https://example.org/push//", "https://example.org/push"),
    ("https://example.org/Push/A%2Fb", "https://example.org/Push/A%2Fb"),
    ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
]

INVALID = [
    ("empty", ""),
    ("no-scheme", "push.example"),
    ("no-host", "https://"),
    ("no-host-but-port", "https://:8480"),
    ("one-slash", "https:/push.example"),
    ("other-scheme", "ftp://push.example"),
    ("websocket-scheme", "wss://push.example"),
    ("user", "https://alice@push.example"),
    ("user-and-password", "https://alice:secret@push.example"),
    ("query", "https://push.example?x=1"),
    ("empty-query", "https://push.example/?"),
    ("fragment", "https://push.example#top"),
    ("empty-fragment", "https://push.example/#"),
    ("port-too-high", "https://push.example:65536"),
    ("port-zero", "https://push.example:0"),
    ("port-not-a-number", "https://push.example:https"),
    ("port-in-other-digits", "https://push.example:\u0664\u0664\u0663"),
    ("space", "https://push.example/a b"),
    ("leading-space", " https://push.example"),
    ("line-feed-at-the-end", "https://push.example\n"),
    ("backslash", "https://push.example\\a"),
    ("host-beyond-ascii", "https://b\u00fccher.example"),
    ("broken-ipv6", "https://[::1"),
    ("not-an-ipv6", "https://[1:2]"),
]


def document() -> Json:
    """Write urls.json."""
    return {
        "about": "A server's URL in any spelling, and its canonical form, which tokens "
        "hold in aud. The canonical form of a canonical form is itself.",
        "canonical": [{"url": url, "canonical": canonical} for url, canonical in CANONICAL],
        "invalid": [{"id": id, "url": url, "error": "bad_request"} for id, url in INVALID],
    }
