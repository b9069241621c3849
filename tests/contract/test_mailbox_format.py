"""Promise: two releases share a store, so what one has kept the other goes on with."""

import struct
import time

from pushd.mailbox.base import Acknowledged
from pushd.mailbox.redis import RedisMailboxes
from pushd.protocol.ids import START, MessageId
from pushd.protocol.messages import Accepted, StoredMessage
from tests.contract.stores import ALICE, entry
from tests.stores import Server

EPOCH = 1_763_913_600_000_000


async def test_a_mailbox_of_the_first_release_goes_on(
    mailboxes: RedisMailboxes, server: Server, bob: str
) -> None:
    """A state and a message as they were first written are read, followed and acked."""
    now = int(time.time())
    first = MessageId(EPOCH, 1)
    message = b'{"id":"%s","from":{"did":"%s"},"payload":"hello","at":%d,"expires":%d}' % (
        str(first).encode(),
        ALICE.encode(),
        now,
        now + 3600,
    )
    with server.client() as client:
        source = client.info("replication")["master_replid"][:16].encode()
        numbers = (EPOCH, 1, now + 3600, 1, len(message), 0, now + 3600, now + 3600, 0)
        state = struct.pack("<16s9d5B", source, *numbers, 0, 0, 0, 0, 0)
        client.xadd(f"pushd:{{{bob}}}:s", {"m": message}, id=str(first))
        client.set(f"pushd:{{{bob}}}:m", state, ex=90 * 86400)
    page = await mailboxes.read(bob, after=START, limit=10)
    assert [StoredMessage(first, message)] == page.messages
    assert page.tail == first
    second = MessageId(EPOCH, 2)
    results = await mailboxes.accept([entry(bob, key="k")])
    assert [Accepted(str(second), bob, False)] == results
    assert Acknowledged(2, 0) == await mailboxes.acknowledge(bob, [first, second])
    with server.client() as client:
        kept = client.get(f"pushd:{{{bob}}}:m")
        assert struct.unpack_from("<16s2d", kept) == (source, EPOCH, 2)
        assert client.ttl(f"pushd:{{{bob}}}:m") > 86400
