"""What was handled, by sender and message ID: each message is handled once.

The same message may come over two servers, where a sender gave up waiting for an answer
of the first, or again after its recipient lost its cursor.
"""

from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from weakref import WeakValueDictionary

from pushd.client.listeners import Duplicate, NotYet, Received

REMEMBERED = 4096
"""Messages that are remembered."""
WAIT = 10.0
"""Seconds after which a copy asks again what became of the one that came first."""


class Handled:
    """Remembers what was handled.

    Attributes:
        changed: Whether it is more, since this was last set to False.
    """

    def __init__(self) -> None:
        self.changed = False
        self._marks: OrderedDict[str, None] = OrderedDict()
        self._first: WeakValueDictionary[str, Received] = WeakValueDictionary()

    @property
    def marks(self) -> list[str]:
        """What to remember, the oldest first; no ID can be read from it."""
        return list(self._marks)

    def recall(self, marks: Iterable[str]) -> None:
        """Take what was remembered before a restart."""
        self._marks.update(dict.fromkeys(marks))

    def enter(self, message: Received, id: str) -> None:
        """Take a message that was opened; note it as handled once it is acked.

        Args:
            message: As it came.
            id: The message's ID, from its envelope.

        Raises:
            Duplicate: If it was handled before.
            NotYet: If a copy of it is being handled.
        """
        mark = sha256(f"{message.sender} {id}".encode()).hexdigest()[:32]
        if mark in self._marks:
            raise Duplicate
        first = self._first.get(mark, message)
        if first is not message and not first.left:
            raise NotYet(WAIT)
        self._first[mark] = message
        message.on_ack = partial(self._add, mark)

    def _add(self, mark: str) -> None:
        self._marks[mark] = None
        self.changed = True
        if len(self._marks) > REMEMBERED:
            self._marks.popitem(last=False)
