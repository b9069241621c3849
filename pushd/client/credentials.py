"""Tokens of one key for one server, made when needed and kept while they last."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import digest_of, make_token

CACHED = 1000
"""Tokens that are kept, each for one set of recipients."""
ONCE = 60.0
"""Seconds a token for one request is valid, at most."""
SKEW = 5.0
"""Seconds by which two clocks may differ before it is worth correcting."""


class _Made(NamedTuple):
    token: str
    expires: float


class Credentials:
    """Makes the tokens of an identity.

    Args:
        key: Signs them.
        audience: The server's canonical URL, from the app's own settings.
        scope: What they are for.
        lifetime: Seconds they are valid.
        name: Name the identity claims; None claims none. Who delivers always claims it;
            who receives needs no name, so claims it only when asked, see `claim_name`.
        app: Web origin that names belong to; needed with a name.
        clock: Returns Unix seconds.
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        audience: str,
        scope: Literal["deliver", "receive"],
        lifetime: float,
        name: str | None = None,
        app: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._audience = audience
        self._scope = scope
        self._lifetime = lifetime
        self._name = name
        self._app = app
        self._clock = clock
        self._offset = 0.0
        self._claiming = self._claimed = False
        self._made: OrderedDict[tuple[str, ...], _Made] = OrderedDict()

    def token(self, to: Sequence[str] = (), *, new: bool = False) -> str:
        """Return a token that lasts a while.

        Args:
            to: Recipients, for a token to deliver.
            new: Make one that was never used.
        """
        to = tuple(to)
        now = self._clock() + self._offset
        self._claimed, self._claiming = self._claiming, False
        if self._claimed:
            return self._make(to, now)  # for once: names may be hard to prove
        made = None if new else self._made.get(to)
        if made is None or made.expires - now < min(60.0, self._lifetime / 4):
            made = _Made(self._make(to, now), now + self._lifetime)
            self._made[to] = made
        self._made.move_to_end(to)
        if len(self._made) > CACHED:
            self._made.popitem(last=False)
        return made.token

    def token_once(self, to: Sequence[str], body: bytes) -> str:
        """Return a token to deliver this body, and no other.

        Args:
            to: The recipients.
            body: Of the request, to the byte.
        """
        return self._make(tuple(to), self._clock() + self._offset, digest_of(body))

    def _make(self, to: tuple[str, ...], now: float, digest: str | None = None) -> str:
        claims = self._claimed or self._scope == "deliver"
        return make_token(
            self._key,
            audience=self._audience,
            scope=self._scope,
            now=now,
            lifetime=self._lifetime if digest is None else min(ONCE, self._lifetime),
            jti=secrets.token_urlsafe(16),
            to=to,
            digest=digest,
            name=self._name if claims else None,
            app=self._app,
        )

    def claim_name(self) -> bool:
        """Let the next token claim the name, as the last was refused without it.

        A server may open a mailbox only for those whose documents, found by their name,
        say that it is theirs.

        Returns:
            Whether there is a name, and the last token did not claim it.
        """
        unclaimed = self._scope == "receive" and not self._claimed
        self._claiming = self._name is not None and unclaimed
        return self._claiming

    def correct(self, now: float) -> bool:
        """Take the server's clock, after it refused a token.

        Args:
            now: Unix seconds there.

        Returns:
            Whether that changes anything, so that a new token may be accepted.
        """
        offset = now - self._clock()
        if abs(offset - self._offset) <= SKEW:
            return False
        self._offset = offset
        self._made.clear()
        return True
