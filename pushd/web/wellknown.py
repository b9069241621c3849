"""`GET /.well-known/pushd`: what this server is and allows, for clients to read first."""

from msgspec import Struct
from starlette.types import Receive, Scope, Send

from pushd.protocol.messages import (
    DEFAULT_WINDOW,
    MAX_BATCH,
    MAX_BODY,
    MAX_CLIENT_FRAME,
    MAX_IDS,
    MAX_KEY,
    MAX_POLICY,
    MAX_POLICY_NAMES,
    MAX_WINDOW,
    PROTOCOL,
    encode,
)
from pushd.web.exchange import answer
from pushd.web.messages import MAX_LIMIT, MAX_WAIT

FEATURES = ("batch", "digest", "event-stream", "long-poll", "names", "policy", "websocket")
"""What of the protocol is served; a client may rely on no other part of it."""


class Limits(Struct, frozen=True, kw_only=True):
    """The numbers a client must keep to; bytes and seconds.

    Attributes:
        payload: Bytes of a payload.
        mailbox_messages: Unread messages of a mailbox.
        mailbox_bytes: Bytes of unread messages of a mailbox.
        sessions: Sessions of a mailbox.
        ttl: Seconds until a message expires, at most.
        dedup: Seconds a key is remembered, at least.
        sender_rate: Deliveries of one sender in a minute; 0: any number.
        mailbox_rate: Deliveries to one mailbox in a minute; 0: any number.
        deliver_token: Seconds a deliver token lives, at most.
        receive_token: Seconds a receive token lives, at most.
        ping_interval: Seconds between two pings of the server.
        batch: Deliveries of one request.
        body: Bytes of a request's body.
        frame: Bytes of a client's frame.
        ids: Ids of one ack.
        key: Characters of a key.
        page: Messages of one page.
        policy: Entries of each list of a policy.
        policy_names: Names in a policy.
        wait: Seconds a request for messages may wait.
        window: Messages of the largest window, and of the one nobody asked for.
    """

    payload: int
    mailbox_messages: int
    mailbox_bytes: int
    sessions: int
    ttl: int
    dedup: int
    sender_rate: int
    mailbox_rate: int
    deliver_token: int
    receive_token: int
    ping_interval: int
    batch: int = MAX_BATCH
    body: int = MAX_BODY
    frame: int = MAX_CLIENT_FRAME
    ids: int = MAX_IDS
    key: int = MAX_KEY
    page: int = MAX_LIMIT
    policy: int = MAX_POLICY
    policy_names: int = MAX_POLICY_NAMES
    wait: int = MAX_WAIT
    window: int = MAX_WINDOW
    default_window: int = DEFAULT_WINDOW


class About(Struct, frozen=True, kw_only=True):
    """The server in its own words.

    Attributes:
        server: Its canonical URL. A client never takes a token's audience from here.
        durability: What an accepted message survives.
    """

    server: str
    durability: str
    limits: Limits
    protocol: int = PROTOCOL
    features: tuple[str, ...] = FEATURES


class WellKnown:
    """The endpoint."""

    def __init__(self, about: About) -> None:
        self._body = encode(about)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what the server is and allows."""
        await answer(send, 200, self._body)
