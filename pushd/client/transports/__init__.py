"""The ways messages reach a client, all seen alike by the receiver.

A transport brings messages from one server, remembers which of them the app has handled,
and comes back by itself when the connection is lost.
"""

from typing import Protocol

from pushd.protocol.client_commands import Status
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import Message, Overflow, Read


class Recipient(Protocol):
    """Who a transport works for. Called from its tasks: quick, and never raising."""

    def arrived(self, id: MessageId, message: Message) -> None:
        """Hand a message to the listeners; answer with `handled`, `held` or `failed`."""

    def told(self, what: Status | Read | Overflow) -> None:
        """Show how the connection stands, or what the server said."""


class Transport(Protocol):
    """Brings messages, and takes their acks back."""

    @property
    def empty(self) -> bool:
        """Whether the mailbox is known to hold nothing: all came, and all is acked."""

    async def run(self, recipient: Recipient) -> None:
        """Bring messages until `stop`, or until coming back would be wrong.

        Raises:
            StreamClosed: If the server does not want this client back.
        """

    def handled(self, id: MessageId) -> None:
        """Ack a message: it is safe with the app."""

    def held(self, id: MessageId) -> None:
        """Wait for the app to ack: the listeners are done."""

    def failed(self, id: MessageId) -> None:
        """Leave a message unread; it comes again with the next connection."""

    def reopen(self) -> None:
        """Be sent again what is unread."""

    def stop(self) -> None:
        """End, after what is owed was said."""
