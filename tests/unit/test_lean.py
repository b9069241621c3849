"""A lean connection is uvicorn's in all but what it costs."""

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from pushd.web.lean import Lean

OF_EACH = {"parser", "flow"}
"""What every connection has one of its own of."""
NOT_OURS = {"access_log"}
"""What a lean connection does without."""


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve nobody."""


async def test_it_has_what_uvicorns_has() -> None:
    """And with the same values; so a new uvicorn that has something new is noticed."""
    config, state = Config(nothing, lifespan="off", log_config=None), ServerState()
    config.load()
    transport = asyncio.Transport({"peername": ("::1", 2), "sockname": ("::1", 1)})
    uvicorns, ours = (
        HttpToolsProtocol(config, state, {"a": 1}),
        Lean(config, state, {"a": 1}),
    )
    for connection in (uvicorns, ours):
        connection.connection_made(transport)
        connection.on_message_begin()
    ours._make_scope()  # as a request does that takes the general way

    expected: dict[str, Any] = vars(uvicorns)
    assert {name for name in expected if not hasattr(ours, name)} == set()
    for name in expected.keys() - OF_EACH - NOT_OURS:
        assert getattr(ours, name) == expected[name], name
    for name in OF_EACH:
        assert type(getattr(ours, name)) is type(expected[name])
