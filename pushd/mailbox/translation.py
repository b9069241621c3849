"""What goes to functions.lua and comes back, in our words: names, ids, results, errors."""

from binascii import crc_hqx
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec

from pushd.errors import (
    Forbidden,
    Internal,
    KeyConflict,
    MailboxFull,
    PushdError,
    StoreUnavailable,
    UnknownMailbox,
)
from pushd.mailbox.base import Entry, Page, Result, Stale, Verdicts
from pushd.mailbox.connection import Argument
from pushd.mailbox.functions import LIMITS, MAILBOXES
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Accepted, Overflow, StoredMessage

ACCEPT = f"{MAILBOXES.name}_accept"
OPEN = f"{MAILBOXES.name}_open"
READ = f"{MAILBOXES.name}_read"
TAILS = f"{MAILBOXES.name}_tails"
ACKNOWLEDGE = f"{MAILBOXES.name}_acknowledge"
POLICY = f"{MAILBOXES.name}_policy"
SET_POLICY = f"{MAILBOXES.name}_set_policy"
TOLD = f"{MAILBOXES.name}_told"
TICK = f"{MAILBOXES.name}_tick"
MARK = f"{MAILBOXES.name}_mark"
CHARGE = f"{LIMITS.name}_charge"

TOUCH = 0
"""Answer of a function that only reads: open the mailbox, then ask again."""
UNKNOWN = 1
"""Answer of every function for a mailbox that is not there."""
MORE = 6
"""Answer of `acknowledge`, in front of what it removed: there is more to remove."""
DONE = 7
"""Answer of `acknowledge`, in front of what it removed: there is no more."""
QUIET = 11
"""The same, but it was not published: only who acks was known to hear it. A number below
zero means this too, another that it is done."""
STALE = 9
"""Answer of `accept`: find out who the names in the mailbox's policy are."""

_REFUSALS: dict[int, Callable[[], PushdError]] = {
    UNKNOWN: UnknownMailbox,
    2: KeyConflict,
    3: MailboxFull,
    4: lambda: MailboxFull(
        "This sender's share of the mailbox is full; it is accepted again once that share"
        " has drained below half."
    ),
    5: lambda: MailboxFull(
        "The mailbox remembers as many keys as it may; deliver without a key, or wait"
        " until it forgets the oldest."
    ),
    8: lambda: Forbidden("The recipient's policy does not let this sender write."),
    10: lambda: StoreUnavailable(
        "A newer release of pushd keeps this mailbox in a form that this server does not"
        " know; it has to be upgraded."
    ),
}
"""The answers that are refusals; the numbers are those at the head of functions.lua."""

SLOTS = 16384
"""Slots of a Cluster."""


def channel_of(mailbox: str) -> str:
    """Name the channel of a mailbox, which is also the root of its keys."""
    return f"pushd:{{{mailbox}}}"


def slot_of(channel: str) -> int:
    """Tell the slot of a Cluster that has a channel, and all keys that begin like it."""
    return crc_hqx(channel[7 : channel.index("}")].encode(), 0) % SLOTS


def parse_id(text: bytes) -> MessageId:
    """Read an id of the store, which needs no checking."""
    epoch, _, seq = text.partition(b"-")
    return MessageId(int(epoch), int(seq))


def parse_message(text: bytes) -> StoredMessage:
    """Find the id in a message, the first member of its JSON object."""
    epoch, _, seq = text[7 : text.index(b'"', 7)].partition(b"-")
    return StoredMessage(MessageId(int(epoch), int(seq)), text)


def key_hash(sender: str, key: str) -> bytes:
    """Name a sender's key in a mailbox."""
    return blake2b(f"{sender}\0{key}".encode(), digest_size=12).digest()


def payload_digest(body: bytes) -> bytes:
    """Tell payloads apart; the length is `DIGEST` in functions.lua.

    A sender may have gained a name since, so the rest of the body does not count. What
    marks the payload cannot be inside another member: quotes are escaped there.
    """
    return blake2b(body[body.index(b',"payload":') :], digest_size=8).digest()


_numbers = msgspec.json.Decoder(list[int]).decode


def page(answer: list[Any]) -> Page:
    """Read the answer of `read`."""
    complete, tail, unread, refused, since = answer[:5]
    # The ids as one list of numbers: each read by itself takes four times as long.
    numbers = _numbers(b"[" + b",".join(answer[5::2]).replace(b"-", b",") + b"]")
    ids = map(MessageId, numbers[::2], numbers[1::2])
    messages = list(map(StoredMessage, ids, answer[6::2]))
    overflow = overflow_of(refused, since)
    return Page(messages, bool(complete), parse_id(tail), unread, overflow)


def result_of(answer: bytes | list[bytes] | int | PushdError, entry: Entry) -> Result:
    """Read one answer of `accept`, or why a part of the store gave none."""
    if isinstance(answer, bytes):
        return Accepted(answer.decode(), entry.mailbox, False)
    if isinstance(answer, list):
        return Accepted(answer[0].decode(), entry.mailbox, True)
    if isinstance(answer, PushdError):
        return answer
    return Stale() if answer == STALE else refusal(answer)


_SAID = {True: "+", False: "-", None: "?"}


def policy_arguments(verdicts: Verdicts | None, instead: bytes) -> list[Argument]:
    """Write the arguments of `set_policy`."""
    if verdicts is None:
        return [instead, 0, b"", b"", 0, 0]
    said: list[Argument] = []
    for sender, may_write in verdicts.senders.items():
        said += (sender, _SAID[may_write])
    allowed = sum(may_write is not False for may_write in verdicts.senders.values())
    return [
        *(instead, verdicts.fresh, verdicts.record, _SAID[verdicts.others]),
        *(allowed, len(verdicts.senders), *said),
    ]


def refusal(code: int) -> PushdError:
    """Make the error that a refusal stands for."""
    return _REFUSALS.get(code, Internal)()


def overflow_of(refused: int, since: int) -> Overflow | None:
    """Read an overflow; zero refused is none."""
    return Overflow(refused=refused, since=since) if refused else None
