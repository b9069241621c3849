"""Who plays on the playground, told to its page alone: made-up people, keys and all.

Nothing but a demo on loopback serves this. A page of another origin is refused, whether it
asks directly (`Sec-Fetch-Site`) or by a name that it lets lead here (`Host`).
https://www.w3.org/TR/fetch-metadata/
"""

import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from pushd.errors import Forbidden
from pushd.web.exchange import NO_STORE, answer, headers_of


class Player(Struct, frozen=True):
    """Somebody, with the key that they have in the app, in hex."""

    name: str
    key: str
    server: str


class Cast(Struct, frozen=True, rename="camel"):
    """Everybody, and where they are.

    Attributes:
        hub: The Gaia hub, which knows names too.
        servers: The message servers that Bob may choose from; this one first.
    """

    alice: Player
    bob: Player
    app: str
    hub: str
    servers: tuple[str, ...]
    dev_hosts: tuple[str, ...]


class ShowPeople:
    """`GET /playground/people`.

    Args:
        cast: Who plays.
        host: This server's own host and port, as the page's address has it.
    """

    def __init__(self, cast: Cast, host: str) -> None:
        self._body = msgspec.json.encode(cast)
        self._host = host.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the page.

        Raises:
            Forbidden: If it is not the page that asks.
        """
        headers = headers_of(scope)
        is_ours = headers.get(b"sec-fetch-site") == b"same-origin"
        if not is_ours or headers.get(b"host") != self._host:
            raise Forbidden("This is for the playground's own page.")
        await answer(send, 200, self._body, NO_STORE)
