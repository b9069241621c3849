"""Who may use this server: tokens verified once, then remembered until they expire.

A token is shown again and again, with each delivery and each reconnect. What cannot
change about it (signature, audience, lifetime) is checked when it is first seen; what
can (time, the scope asked for) at each use.
"""

from typing import Literal

from pushd.errors import TokenExpired, Unauthorized
from pushd.identity.tokens import Token, verify

Scope = Literal["deliver", "receive"]

_ENTRY_BYTES = 1200
_ITEM_BYTES = 150


class Authenticator:
    """Verifies the tokens shown to one server.

    Args:
        audience: The server's canonical URL, which tokens must name.
        deliver_lifetime: Seconds a token with scope `deliver` may live.
        receive_lifetime: Seconds a token with scope `receive` may live.
        dedup: Seconds a key is remembered at least: a token with a digest is one, and
            has to end before it is forgotten.
        leeway: Seconds by which clocks may differ.
        cache_bytes: Memory for remembered tokens, estimated; 0 remembers none.
    """

    def __init__(
        self,
        audience: str,
        *,
        deliver_lifetime: int,
        receive_lifetime: int,
        dedup: int,
        leeway: int = 30,
        cache_bytes: int,
    ):
        self._audience = audience
        self._lifetimes = {"deliver": deliver_lifetime, "receive": receive_lifetime}
        self._leeway = leeway
        self._digest_lifetime = dedup - 2 * leeway
        # Two generations: when the young one has its half of the memory it becomes the
        # old one, and what nobody showed since the last such turn is forgotten.
        self._young: dict[str, Token] = {}
        self._old: dict[str, Token] = {}
        self._young_bytes = 0
        self._generation_bytes = cache_bytes // 2

    def authenticate(self, token: str, scope: Scope, *, now: float) -> Token:
        """Return the verified token if it allows `scope` here and now.

        A name it claims is not looked at: names change hands, see `names.py`.

        Args:
            token: The token as it was sent.
            scope: What its bearer wants to do.
            now: Unix seconds.

        Raises:
            Unauthorized: If it does not verify, is for another server or scope, or
                lives too long.
            TokenExpired: If its time is over.
        """
        known = self._young.get(token)
        if known is None:
            known = self._recall(token, now)
        if now >= known.expires + self._leeway:
            # Its bytes stay counted, so the generation only turns a little sooner.
            self._young.pop(token, None)
            raise TokenExpired
        if scope not in known.scope:
            raise Unauthorized(f"The scope of the token does not hold {scope}.")
        return known

    def knows(self, token: str) -> bool:
        """Tell whether a token is remembered, so that it need not be verified."""
        return token in self._young or token in self._old

    def _recall(self, token: str, now: float) -> Token:
        known = self._old.pop(token, None)
        if known is None:
            known = verify(token, now=now, leeway=self._leeway)
            self._admit(known)
        self._remember(token, known)
        return known

    def _admit(self, token: Token) -> None:
        """Check what is the same at each use."""
        if self._audience not in token.audience:
            raise Unauthorized(
                f"The aud of the token is not this server, {self._audience}."
            )
        lifetime = token.expires - token.issued_at
        for scope in token.scope & self._lifetimes.keys():
            if lifetime > self._lifetimes[scope]:
                raise Unauthorized(
                    f"A token with scope {scope} lives at most "
                    f"{self._lifetimes[scope]} seconds here."
                )
        if token.digest is not None and lifetime > self._digest_lifetime:
            raise Unauthorized(
                f"A token with digest lives at most {self._digest_lifetime} seconds here."
            )

    def _remember(self, token: str, known: Token) -> None:
        size = _estimate(token, known)
        if size > self._generation_bytes:
            return
        if self._young_bytes + size > self._generation_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[token] = known
        self._young_bytes += size


def _estimate(text: str, token: Token) -> int:
    """Estimate the bytes a remembered token takes, rather too high than too low."""
    items = len(token.scope) + len(token.to) + len(token.audience)
    return _ENTRY_BYTES + 2 * len(text) + _ITEM_BYTES * items
