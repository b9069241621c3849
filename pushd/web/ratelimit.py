"""The RateLimit header fields: how a client stands with a limit, before it is over it.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (revision 10)
"""

from pushd.rates import WINDOW, Standing


def rate_headers(standing: Standing) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header fields that tell how somebody stands."""
    name, most, left, seconds = standing
    return (
        (b"ratelimit-policy", b'"%b";q=%d;w=%d' % (name.encode(), most, WINDOW)),
        (b"ratelimit", b'"%b";r=%d;t=%d' % (name.encode(), left, seconds)),
    )
