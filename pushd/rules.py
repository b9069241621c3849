"""What a delivery must be: the checks that each passes before it is stored."""

from pushd.errors import BadRequest, PayloadTooLarge, PushdError
from pushd.identity.tokens import Token
from pushd.mailbox.base import Entry
from pushd.protocol.messages import MAX_KEY, Delivery, From, message_body


class Rules:
    """The rules of one server.

    Args:
        max_payload: Bytes of the largest payload.
        max_ttl: Seconds a message may live; what a delivery without `ttl` gets.
    """

    def __init__(self, *, max_payload: int, max_ttl: int) -> None:
        self._max_payload = max_payload
        self._max_ttl = max_ttl

    def entry(
        self, token: Token, delivery: Delivery, mailbox: str, otherwise: str | None
    ) -> Entry:
        """Return what is stored of a delivery.

        Args:
            token: The sender's, verified, its name proven.
            delivery: What to deliver; `token` names its recipient.
            mailbox: The recipient's DID.
            otherwise: The idempotency key of a delivery that has none; None: it stays so.

        Raises:
            PayloadTooLarge: If the payload has too many bytes.
            BadRequest: If the payload is empty, or the key or the time to live cannot be.
        """
        payload = delivery.payload
        # An ASCII string has as many bytes as characters, and is not encoded to be counted.
        size = len(payload) if payload.isascii() else len(payload.encode())
        if not 1 <= size <= self._max_payload:
            raise self._wrong_size(size)
        ttl = delivery.ttl
        if ttl is None:
            ttl = self._max_ttl
        elif not 1 <= ttl <= self._max_ttl:
            raise BadRequest(f"`ttl` is 1 to {self._max_ttl} seconds here.")
        key = delivery.key
        if key is None:
            key = otherwise
        elif not 1 <= len(key) <= MAX_KEY:
            raise BadRequest(f"`key` has 1 to {MAX_KEY} characters.")
        if token.name is None:
            body = message_body(From(token.did), payload)
        else:
            body = message_body(From(token.did, token.name), payload, token.app)
        return Entry(mailbox, token.did, body, ttl, key)

    def _wrong_size(self, size: int) -> PushdError:
        if size == 0:
            return BadRequest("`payload` has at least 1 byte.")
        return PayloadTooLarge(f"`payload` has at most {self._max_payload} bytes here.")
