"""`GET` and `PUT /v1/policy`: who may write to a mailbox, read and changed by its owner."""

import msgspec
from starlette.types import Receive, Scope, Send

from pushd.protocol.messages import Policy, decode, encode
from pushd.web.exchange import (
    NO_STORE,
    answer,
    authenticate,
    headers_of,
    parts_of,
    read_body,
)
from pushd.web.messages import as_owner

_policy = msgspec.json.Decoder(Policy)


class PolicyOf:
    """The policy of the mailbox whose owner asks; a new one takes the place of the old."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the policy as it is, or as it is now."""
        parts = parts_of(scope)
        headers = headers_of(scope)
        token = await authenticate(parts, headers, "receive")
        mailbox = token.did
        if scope["method"] == "PUT":
            policy = decode(await read_body(headers, receive), _policy)
            verdicts = await parts["policies"].read(token, policy)
            await as_owner(
                parts, token, lambda: parts["mailboxes"].set_policy(mailbox, verdicts)
            )
        else:
            policy = await as_owner(parts, token, lambda: parts["policies"].get(mailbox))
        await answer(send, 200, encode(policy), NO_STORE)
