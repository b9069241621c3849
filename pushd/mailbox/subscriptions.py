"""The connection that hears: publications of the subscribed mailboxes, to one subscriber.

Theory of operation. What was subscribed during a tick is sent at its end, at most 512
channels a command, and a PING behind it: replies and pushes keep their order, so the PONG
says that everything before it is in effect. What comes while a PONG is awaited is sent
together behind it, so the busier the store, the fewer the commands. To unsubscribe has
time: it goes with the next that subscribe, or with a tick. After a loss all channels are
subscribed again in the same way, and the PONG behind them makes the subscriber compare
its mailboxes, for nobody knows what was published meanwhile.

A connection may be dead without knowing it, so it is trusted only while ticks arrive: a
number is published every few seconds on a channel of this process, by the same way as
messages are. When two that were published were not heard, the connection is made anew.

In a Cluster the channels of one command are of one slot. A primary that does not have the
slot answers MOVED, and ends the subscriptions of a slot that leaves it. Such mailboxes are
*astray*: once the map is known again they are subscribed here, or adopted by the primary
that has them, and compared.
"""

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Sequence
from functools import partial
from typing import NamedTuple, TypeVarTuple

import hiredis

from pushd.errors import PushdError, StoreUnavailable
from pushd.futures import Done
from pushd.mailbox.base import Subscriber
from pushd.mailbox.coalesce import PATIENCE, Coalescer
from pushd.mailbox.connection import Connection, Reply, pack
from pushd.mailbox.link import Link
from pushd.mailbox.translation import TICK, channel_of, parse_id, parse_message, slot_of
from pushd.protocol.messages import Overflow, StoredMessage

log = logging.getLogger("pushd.store")

CHANNELS = 512
"""Channels in one command, at most."""
TICK_SECONDS = 5.0
"""Seconds between ticks."""
MISSED = 2
"""Ticks that may be missed, not more."""

_BRACE = ord("{")
_PING = pack(("PING",))
_FAILED = "the subscriber failed on what it was told"

Args = TypeVarTuple("Args")


Awaited = tuple[str, list[Done[None]]]
"""A mailbox, and who waits until it is subscribed."""


class _Flush(NamedTuple):
    """What one PONG confirms.

    Attributes:
        number: Counts them.
        wanted: The mailboxes that are subscribed now.
        compared: Those of them that may have missed something.
    """

    number: int
    wanted: list[str]
    compared: list[str]


class Subscriptions:
    """Keeps channels subscribed and tells the subscriber what they carry.

    Args:
        subscriber: Hears it.
        commands: Publishes the ticks.
        home: A channel of our own, for the ticks.
        unsure: In a Cluster, called when a mailbox is astray.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        commands: Coalescer,
        home: str,
        unsure: Callable[[], None] | None = None,
    ) -> None:
        self._subscriber = subscriber
        self._commands = commands
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._mailboxes: dict[bytes, str] = {}
        self._joining: set[str] = set()  # what the next flush subscribes
        self._leaving: set[str] = set()  # and what it unsubscribes
        self._waiters: dict[str, list[Done[None]]] = {}
        self._unconfirmed: dict[str, int] = {}  # in which flush it was asked for
        self._flush_number = 0
        self._scheduled = False
        self._unanswered = False  # whether a PONG is awaited
        self._resuming = False
        self._unsure = unsure
        self._astray: set[str] = set()
        self._adopted: set[str] = set()
        self._tick_channel = home
        self._tick = self._published = self._heard = 0
        self._timer: asyncio.TimerHandle | None = None
        self._impatient: asyncio.TimerHandle | None = None

    def start(self, link: Link) -> None:
        """Begin to subscribe over this link and to send ticks."""
        self._link = link
        self._timer = self._loop.call_later(TICK_SECONDS, self._send_tick)

    def close(self) -> None:
        """Hear nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._give_up()

    def trouble(self) -> str:
        """Tell why publications may not arrive, or the empty string."""
        if self._link is None or self._link.trouble:
            return self._link.trouble if self._link else "The store was not asked yet."
        if self._published - self._heard >= MISSED:
            return "The store's publications do not arrive; the connection is made anew."
        return ""

    # --- subscribing ---------------------------------------------------------------------

    def subscribe(self, mailbox: str, done: Done[None]) -> None:
        """Subscribe; `done` is told once the store confirmed it."""
        channel = channel_of(mailbox).encode()
        if channel not in self._mailboxes:
            self._mailboxes[channel] = mailbox
            self._waiters[mailbox] = [done]
            self._join(mailbox)
        elif mailbox in self._unconfirmed:
            self._waiters.setdefault(mailbox, []).append(done)
            self._schedule()  # or nobody would lose patience with a store that is away
        else:
            self._loop.call_soon(done, None)

    def unsubscribe(self, mailbox: str) -> None:
        """Unsubscribe; what arrives from now on is not told."""
        if self._mailboxes.pop(channel_of(mailbox).encode(), None) is not None:
            self._astray.discard(mailbox)
            self._unconfirmed.pop(mailbox, None)
            self._joining.discard(mailbox)
            self._leaving.add(mailbox)
            if mailbox in self._waiters:
                self._done(mailbox, StoreUnavailable())

    def hears(self, mailbox: str) -> bool:
        """Tell whether a mailbox is subscribed, as far as is known."""
        return (
            mailbox not in self._unconfirmed
            and channel_of(mailbox).encode() in self._mailboxes
        )

    def _join(self, mailbox: str) -> None:
        self._unconfirmed[mailbox] = self._flush_number
        self._leaving.discard(mailbox)
        self._joining.add(mailbox)
        self._schedule()

    def _schedule(self) -> None:
        """Let changes leave at the end of the tick, unless those before are awaited."""
        if not self._scheduled and not self._unanswered:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send the changes until now, and a PING behind them."""
        self._scheduled = False
        connection = self._link.connection if self._link is not None else None
        if connection is None:
            self._lose_patience()
            return
        joining, self._joining = self._joining, set()
        leaving, self._leaving = self._leaving, set()
        adopted, self._adopted = self._adopted, set()
        commands = self._pack("SUNSUBSCRIBE", leaving) + self._pack("SSUBSCRIBE", joining)
        flush = _Flush(self._flush_number, list(joining), list(adopted & joining))
        self._send(connection, commands, flush)

    def _send(self, connection: Connection, commands: bytes, flush: _Flush) -> None:
        self._flush_number += 1
        self._unanswered = True
        receiver = partial(self._confirmed, connection, flush)
        connection.send(commands + _PING, [receiver])

    def _confirmed(self, connection: Connection, flush: _Flush, reply: Reply) -> None:
        """Take the PONG, or an error before it: in a Cluster, of a channel elsewhere."""
        if isinstance(reply, hiredis.ReplyError) and self._unsure is not None:
            self._stray([one for one in flush.wanted if _concerns(reply, one)])
            connection.await_again(partial(self._confirmed, connection, flush))
            return
        if isinstance(reply, Exception):
            self._distrust(reply)
            return
        if flush.number + 1 == self._flush_number:
            self._unanswered = False
            if self._joining:
                self._schedule()
        for mailbox in flush.wanted:
            if (
                self._unconfirmed.get(mailbox, flush.number + 1) <= flush.number
                and mailbox not in self._astray
            ):
                del self._unconfirmed[mailbox]
                self._done(mailbox, None)
        if flush.compared:
            self._subscriber.interrupted(flush.compared)

    def _pack(self, command: str, mailboxes: Iterable[str]) -> bytes:
        """Encode a command over the mailboxes' channels, as often as needed."""
        channels = list(map(channel_of, mailboxes))
        groups = [channels] if self._unsure is None else _by_slot(channels)
        commands = [
            pack((command, *group[at : at + CHANNELS]))
            for group in groups
            for at in range(0, len(group), CHANNELS)
        ]
        return b"".join(commands)

    def _done(self, mailbox: str, error: PushdError | None) -> None:
        for waiter in self._waiters.pop(mailbox, ()):
            _tell(waiter, error)

    def _distrust(self, error: Exception) -> None:
        """Make the connection anew after an error: replies may be out of step."""
        if isinstance(error, hiredis.ReplyError):
            log.warning("the store refused a subscription", extra={"reason": str(error)})
        if self._link is not None:
            self._link.leave()

    # --- the link ------------------------------------------------------------------------

    def opened(self) -> None:
        """Subscribe to everything wanted; called by the link."""
        if self._link is None or self._link.connection is None:
            return
        if self._impatient is not None:
            self._impatient.cancel()
            self._impatient = None
        self._joining.clear()
        self._leaving.clear()
        self._astray.clear()
        wanted = list(self._mailboxes.values())
        compared = wanted if self._resuming else list(self._adopted)
        self._adopted.clear()
        self._send(
            self._link.connection,
            pack(("SSUBSCRIBE", self._tick_channel)) + self._pack("SSUBSCRIBE", wanted),
            _Flush(self._flush_number, wanted, compared),
        )
        self._resuming = True
        self._heard = self._published = self._tick

    def lost(self) -> None:
        """Wait a little for the next connection; called by the link."""
        self._unanswered = False
        for mailbox in self._mailboxes.values():
            self._unconfirmed[mailbox] = self._flush_number
        self._lose_patience()

    def _lose_patience(self) -> None:
        if self._impatient is None:
            self._impatient = self._loop.call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        """Fail those who wait for a confirmation.

        Their mailboxes stay wanted, for others may have listened to them before; who was
        alone unsubscribes.
        """
        self._impatient = None
        for mailbox in list(self._waiters):
            self._done(mailbox, StoreUnavailable())

    # --- slots that move -----------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether no mailbox is astray."""
        return not self._astray

    def _stray(self, mailboxes: list[str]) -> None:
        """Note that the store does not have these subscribed, and look for where to."""
        self._astray.update(mailboxes)
        for mailbox in mailboxes:
            self._unconfirmed.setdefault(mailbox, self._flush_number)
        if self._unsure is not None:
            self._unsure()

    def resume(self) -> None:
        """Subscribe again here what went astray and, by the map, belongs here."""
        astray, self._astray = self._astray, set()
        for mailbox in astray:
            self._adopted.add(mailbox)
            self._join(mailbox)

    def release(self, slots: Container[int]) -> list[Awaited]:
        """Forget the mailboxes of these slots; return them, with who waits for each."""
        released = []
        for mailbox in list(self._mailboxes.values()):
            channel = channel_of(mailbox)
            if slot_of(channel) in slots:
                del self._mailboxes[channel.encode()]
                self._astray.discard(mailbox)
                self._unconfirmed.pop(mailbox, None)
                self._joining.discard(mailbox)
                released.append((mailbox, self._waiters.pop(mailbox, [])))
        return released

    def adopt(self, mailbox: str, waiters: Sequence[Done[None]]) -> None:
        """Subscribe to a mailbox that another primary had, and have it compared."""
        self._mailboxes[channel_of(mailbox).encode()] = mailbox
        if waiters:
            self._waiters[mailbox] = list(waiters)
        self._adopted.add(mailbox)
        self._join(mailbox)

    def move(self, home: str) -> None:
        """Hear the ticks on another channel from now on."""
        self._tick_channel = home
        self._heard = self._published = self._tick
        if self._link is not None and self._link.connection is not None:
            subscribe = pack(("SSUBSCRIBE", home))
            self._send(self._link.connection, subscribe, _Flush(self._flush_number, [], []))

    # --- hearing -------------------------------------------------------------------------

    def pushed(self, pushes: list[list[bytes]]) -> None:
        """Tell what one network read brought; called by the connection."""
        fresh: dict[str, list[StoredMessage]] = {}
        published = self._subscriber.published
        for kind, channel, text in pushes:
            if kind != b"smessage":
                if kind == b"sunsubscribe":
                    self._ended(channel)
                continue
            mailbox = self._mailboxes.get(channel)
            if mailbox is None:
                self._hear_tick(text)
            elif text[0] == _BRACE:
                message = parse_message(text)
                if mailbox in fresh:
                    fresh[mailbox].append(message)
                else:
                    fresh[mailbox] = [message]
            else:
                if mailbox in fresh:  # publications keep their order
                    _tell(published, mailbox, fresh.pop(mailbox))
                _tell(self._event, mailbox, text)
        for mailbox, messages in fresh.items():
            try:  # as `_tell` does, without the step
                published(mailbox, messages)
            except Exception:  # a bug in one mailbox is not the others'
                log.exception(_FAILED)

    def _ended(self, channel: bytes) -> None:
        """A subscription ended, because we said so or because its slot has left."""
        mailbox = self._mailboxes.get(channel)
        if self._unsure is not None:
            if mailbox is not None:
                self._stray([mailbox])
            elif channel == self._tick_channel.encode():
                self._unsure()

    def _event(self, mailbox: str, text: bytes) -> None:
        """Tell what is no message; see the head of functions.lua for the forms."""
        word, first, second = text.split(b"\t", 2)
        if word == b"read":
            ids = [parse_id(id) for id in first.split(b" ")]
            self._subscriber.acknowledged(mailbox, ids, second.decode())
        elif word == b"upto":
            self._subscriber.acknowledged(mailbox, parse_id(first), second.decode())
        elif word == b"overflow":
            overflow = Overflow(refused=int(first), since=int(second))
            self._subscriber.overflowed(mailbox, overflow)
        elif word == b"joined":
            self._subscriber.joined(mailbox, second.decode(), first.decode())

    # --- ticks ---------------------------------------------------------------------------

    def _send_tick(self) -> None:
        self._timer = self._loop.call_later(TICK_SECONDS, self._send_tick)
        if self._published - self._heard >= MISSED:
            log.warning("publications do not arrive; connecting anew")
            if self._link is not None:
                self._link.leave()
            return
        if self._leaving:
            self._schedule()
        self._tick += 1
        number = self._tick

        def done(answer: list[object] | PushdError) -> None:
            if not isinstance(answer, PushdError):
                self._published = max(self._published, number)

        self._commands.call(TICK, [self._tick_channel], [number], done)

    def _hear_tick(self, text: bytes) -> None:
        if text.startswith(b"tick\t"):
            self._heard = max(self._heard, int(text[5:]))


def _by_slot(channels: list[str]) -> list[list[str]]:
    slots: dict[int, list[str]] = {}
    for channel in channels:
        slots.setdefault(slot_of(channel), []).append(channel)
    return list(slots.values())


def _concerns(error: hiredis.ReplyError, mailbox: str) -> bool:
    """Tell whether an error may be of this mailbox's subscription."""
    word, slot, *_ = (*str(error).split(" "), "")
    return word != "MOVED" or int(slot) == slot_of(channel_of(mailbox))


def _tell(listener: Callable[[*Args], None], *args: *Args) -> None:
    """Tell the subscriber; what it raises must not cost others their publications."""
    try:
        listener(*args)
    except Exception:  # a bug in one mailbox is not the others'
        log.exception(_FAILED)
