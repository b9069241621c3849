"""Calls that tell a function what came of them, and ways to await them, or several."""

from asyncio import AbstractEventLoop, Future, gather, get_running_loop
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

from pushd.errors import PushdError

T = TypeVar("T")
K = TypeVar("K")

Done = Callable[[T | PushdError], None]
"""Told the result of a call, or why there is none."""


def awaited(
    call: Callable[[Done[T]], None], loop: AbstractEventLoop | None = None
) -> Future[T]:
    """Make a call; return what it tells as a future, of the running loop by default."""
    future: Future[T] = (loop or get_running_loop()).create_future()
    call(partial(settle, future))
    return future


def settle(future: Future[T], result: T | Exception) -> None:
    """Complete a future that its caller may have cancelled or dropped."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
        future.exception()  # asked for, so a dropped future is no complaint in the log
    else:
        future.set_result(result)


async def each(keys: Iterable[K], ask: Callable[[K], Awaitable[T]]) -> dict[K, T]:
    """Ask about several at once; if one raises, so does this. Safe to cancel."""
    asked = list(keys)
    return dict(zip(asked, await gather(*map(ask, asked)), strict=True))
