"""What operators ask a server: does it live, is it ready, what does it count.

Ready fails fast, for a load balancer can send clients elsewhere; live fails only with the
process, for a restart would make all clients reconnect and mend no store.
"""

from starlette.types import Receive, Scope, Send

from pushd.errors import Overloaded, StoreUnavailable
from pushd.metrics import CONTENT_TYPE
from pushd.web.exchange import NO_STORE, answer, parts_of
from pushd.web.problems import refuse


class Live:
    """`GET /health/live`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; that is the proof."""
        await answer(send, 200, b'{"status":"live"}', NO_STORE)


class Ready:
    """`GET /health/ready`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say whether clients should come here, and if not, why."""
        parts = parts_of(scope)
        reason = parts["mailboxes"].ready()
        if reason is not None:
            await refuse(send, StoreUnavailable(reason))
        elif parts["hub"].leaving:
            await refuse(send, Overloaded("This server is stopping."))
        else:
            await answer(send, 200, b'{"status":"ready"}', NO_STORE)


class ShowMetrics:
    """`GET /metrics`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with all numbers in Prometheus's text format."""
        text = parts_of(scope)["metrics"].render()
        await answer(send, 200, text, NO_STORE, media_type=CONTENT_TYPE.encode())
