"""Zone files of Blockstack names: where the profile of a name's owner lies.

    $ORIGIN alice.id.blockstack
    $TTL 3600
    _http._tcp  IN  URI  10  1  "https://gaia.example/hub/1Addr.../profile.json"

They are written as DNS master files (RFC 1035 section 5.1) with URI records (RFC 7553);
of those only the records of one line are read.
"""

import re

from pushd.errors import BadRequest, Unproven
from pushd.identity.names import Form, form_of

MAX_ZONE_FILE = 64 * 1024
"""Characters of the longest zone file."""

_HTTP, _HTTPS = "_http._tcp", "_https._tcp"

_URI = re.compile(
    r"(?P<name>[^\s;\"]*)\s+(?:(?:IN|[0-9]+)\s+){0,2}URI\s+[0-9]+\s+[0-9]+\s+"
    r"(?:\"(?P<quoted>[^\s\"]+)\"|(?P<bare>[^\s\";]+))\s*(?:;.*)?",
    re.IGNORECASE,
)


def profile_url(zone_file: str) -> str:
    """Return the URL of the profile a zone file leads to: http or https.

    The first record named `_http._tcp` counts; without one the first `_https._tcp`, else
    the first URI record of any name. A target without a scheme is one of https.

    Raises:
        Unproven: If there is none: the zone file is empty, or is JSON as the oldest and
            the newest ones are, or leads elsewhere than to the web.
    """
    if len(zone_file) > MAX_ZONE_FILE:
        raise Unproven(f"A zone file has at most {MAX_ZONE_FILE} characters.")
    targets: dict[str, str] = {}
    for line in zone_file.split("\n"):
        if record := _URI.fullmatch(line):
            target = record["quoted"] or record["bare"]
            targets.setdefault(record["name"].lower(), target)
    if not targets:
        raise Unproven("The name's zone file holds no URI record, so it has no profile.")
    first = next(iter(targets.values()))
    target = targets.get(_HTTP) or targets.get(_HTTPS) or first
    scheme, found, _ = target.partition("://")
    if not found:
        return f"https://{target}"
    if scheme.lower() not in ("http", "https"):
        raise Unproven("The name's zone file leads to a profile that is not on the web.")
    return target


def make_zone_file(name: str, url: str) -> str:
    """Write the zone file of a name whose owner's profile lies at `url`.

    Raises:
        BadRequest: If it is not a name with a zone file, or no URL that fits in one.
    """
    if form_of(name) not in (Form.BLOCKSTACK, Form.BNS):
        raise BadRequest("Of the names only those like alice.id have a zone file.")
    if not re.fullmatch(r"https?://[^\s\"]+", url):
        raise BadRequest("A profile's URL is http(s)://..., without spaces or quotes.")
    return f'$ORIGIN {name}\n$TTL 3600\n{_HTTP}\tIN\tURI\t10\t1\t"{url}"\n'
