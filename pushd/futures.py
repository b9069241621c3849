"""Completing a future with what a callback was told."""

from asyncio import Future
from typing import TypeVar

T = TypeVar("T")


def settle(future: Future[T], result: T | Exception) -> None:
    """Complete a future that its caller may have cancelled or dropped."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
        future.exception()  # asked for, so a dropped future is no complaint in the log
    else:
        future.set_result(result)
