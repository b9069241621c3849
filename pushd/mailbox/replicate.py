"""The hot connection of durability `replicated`: answers wait until replicas have it too.

Behind the calls of a flight goes a WAIT, so the calls that travel together share one. It
covers what its own connection has written; but a duplicate has written nothing, and the
message it stands for came by another one. So each flight writes a little itself, behind
its calls: replicas that have this have all that was before it, whoever wrote it.

WAIT holds up everything behind it. So only what must be replicated travels here; acks and
reads have a connection of their own.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pushd.bounds import Bound
from pushd.mailbox.coalesce import Batch, Coalescer, Redirect
from pushd.mailbox.connection import Argument, Connection, Reply, Unavailable, pack
from pushd.mailbox.translation import MARK

SECONDS = 1.0
"""How long replicas may take to confirm."""
SHORT = "The store's replicas that have what was written last are fewer than {}."


class ReplicatedCoalescer(Coalescer):
    """Joins calls, and answers them once enough replicas have what they wrote.

    Args:
        headers: As of a `Coalescer`.
        observe: As of a `Coalescer`.
        waiting: As of a `Coalescer`.
        redirect: As of a `Coalescer`.
        replicas: How many.
        home: A key that is nobody's, of the same primary.

    Attributes:
        trouble: Why the level is not reached at the moment, or the empty string.
    """

    def __init__(
        self,
        headers: Mapping[str, Sequence[Argument]],
        observe: Callable[[float], None] | None = None,
        waiting: Bound | None = None,
        redirect: Redirect | None = None,
        *,
        replicas: int,
        home: str,
    ) -> None:
        super().__init__(headers, observe, waiting, redirect)
        self.trouble = ""
        self._replicas = replicas
        self._wait = pack(("WAIT", replicas, int(SECONDS * 1000)))
        self.move(home)

    def move(self, home: str) -> None:
        """Write beside another key from now on."""
        self._mark = pack(("FCALL", MARK, 1, home))

    def _send(self, connection: Connection, flight: list[Batch]) -> None:
        replies: list[Reply] = []
        connection.send(
            b"".join([*[batch.pack() for batch in flight], self._mark, self._wait]),
            [replies.append] * (len(flight) + 1) + [partial(self._held, flight, replies)],
        )

    def _held(self, flight: list[Batch], replies: list[Reply], reached: Reply) -> None:
        """Hand out the answers that waited, if the level is reached."""
        marked = replies.pop()
        short = marked != b"OK" or not isinstance(reached, int) or reached < self._replicas
        self.trouble = SHORT.format(self._replicas) if short else ""
        for batch, reply in zip(flight, replies, strict=True):
            missed = short and not isinstance(reply, Exception)
            self._landed(batch, Unavailable(self.trouble) if missed else reply)
