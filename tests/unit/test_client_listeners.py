"""When a message counts as handled: who was called, who failed, who did not care."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Literal

import pytest

from pushd.client import NotHandled, NotYet, Received
from pushd.client.listeners import Duplicate, Listeners
from pushd.protocol.ids import MessageId
from pushd.protocol.messages import From, Message
from tests.unit.client_fakes import Recorder

ID = MessageId(1, 1)


class Case:
    """One message on its way through listeners."""

    def __init__(
        self,
        ack: Literal["auto", "manual"] = "auto",
        open: Callable[[Received], object] | None = None,
    ) -> None:
        self.transport = Recorder()
        self.listeners = Listeners(ack, open)
        self.errors: list[Exception] = []
        self.listeners.on_error.append(lambda _, error: self.errors.append(error))
        body = Message("1-1", From("did:key:z1", "alice"), "secret", 1, 2, "https://app")
        self.message = Received(ID, body, self.transport, "https://push.example")

    async def outcome(self) -> list[str]:
        """Handle the message, and return what became of it."""
        if await self.listeners.open(self.message):
            await self.listeners.call(self.message)
        return self.transport.calls


def fail(message: Received) -> None:
    """Fail as a listener."""
    raise ValueError(message.payload)


async def test_all_who_want_it_are_called_before_the_ack() -> None:
    """Functions and coroutine functions alike, in the order they came."""
    case = Case()
    calls: list[str] = []

    async def slow(message: Received) -> None:
        await asyncio.sleep(0)
        calls.append(f"slow {len(case.transport.calls)}")

    case.listeners.add(slow, None)
    case.listeners.add(lambda m: calls.append(m.payload), lambda m: m.name == "alice")
    case.listeners.add(lambda m: calls.append("never"), lambda m: m.name == "eve")
    case.listeners.add(lambda m: calls.append("never"), None).cancel()
    assert await case.outcome() == ["handled"]
    assert calls == ["slow 0", "secret"]


async def test_a_failure_is_told_and_not_acked() -> None:
    """The others are called all the same."""
    case = Case()
    calls: list[Received] = []
    case.listeners.add(fail, None)
    case.listeners.add(calls.append, None)
    assert await case.outcome() == ["failed"]
    assert calls == [case.message]
    assert [ValueError] == [type(error) for error in case.errors]


async def test_a_filter_may_fail_too() -> None:
    """A mistake in a filter loses nothing."""
    case = Case()
    case.listeners.add(print, fail)  # type: ignore[arg-type] # a filter that is wrong
    assert await case.outcome() == ["failed"]
    assert len(case.errors) == 1


async def test_what_nobody_wants_stays_unread() -> None:
    """It is no error, and remembered for whoever listens next."""
    case = Case()
    case.listeners.add(print, lambda m: False)
    assert await case.outcome() == ["failed"]
    assert case.errors == []
    assert case.listeners.unwanted


async def test_a_listener_may_decline() -> None:
    """It is as if it had not been called."""
    case = Case()

    def decline(message: Received) -> None:
        raise NotHandled

    case.listeners.add(decline, None)
    assert await case.outcome() == ["failed"]
    assert case.errors == []


async def test_who_comes_meanwhile_is_asked_when_all_others_declined() -> None:
    """A second loop over the messages gets the one the first loop was left at."""
    case = Case()
    calls: list[Received] = []

    async def decline(message: Received) -> None:
        case.listeners.add(calls.append, None)
        raise NotHandled

    case.listeners.add(decline, None)
    assert await case.outcome() == ["handled"]
    assert calls == [case.message]


async def test_what_is_opened_is_content() -> None:
    """Filters see it."""
    case = Case(open=lambda m: m.payload.upper())
    calls: list[object] = []
    case.listeners.add(lambda m: calls.append(m.content), lambda m: m.content == "SECRET")
    assert await case.outcome() == ["handled"]
    assert calls == ["SECRET"]


async def test_what_cannot_be_opened_reaches_no_listener() -> None:
    """It is told, and never acked silently."""
    case = Case(open=fail)
    calls: list[Received] = []
    case.listeners.add(calls.append, None)
    assert await case.outcome() == ["failed"]
    assert calls == []
    assert len(case.errors) == 1


async def test_an_error_listener_may_give_up_a_message() -> None:
    """An explicit ack counts."""
    case = Case(open=fail)
    case.listeners.on_error.append(lambda message, _: message.ack())
    assert await case.outcome() == ["failed", "handled"]


async def test_manual_acks_are_the_apps() -> None:
    """Nothing is acked until the app says so, and once is enough."""
    case = Case(ack="manual")
    case.listeners.add(lambda _: None, None)
    assert await case.outcome() == ["held"]
    case.message.ack()
    case.message.ack()
    assert case.transport.calls == ["held", "handled"]


async def test_an_early_ack_stands() -> None:
    """What a listener acked itself is not acked again, nor taken back."""
    case = Case()
    case.listeners.add(Received.ack, None)
    case.listeners.add(fail, None)
    assert await case.outcome() == ["handled"]
    assert len(case.errors) == 1


async def test_errors_nobody_hears_are_logged_without_their_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where it failed is told; what was in the message is not."""
    case = Case()
    case.listeners.on_error.clear()
    case.listeners.add(fail, None)
    with caplog.at_level(logging.ERROR):
        await case.outcome()
    assert "Message 1-1 was not handled: ValueError at " in caplog.text
    assert "secret" not in caplog.text


async def test_an_error_listener_that_fails_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It keeps nothing from going on."""
    case = Case()
    case.listeners.on_error.insert(0, lambda message, _: fail(message))
    case.listeners.add(fail, None)
    assert await case.outcome() == ["failed"]
    assert len(case.errors) == 1
    assert "An error listener failed: ValueError at " in caplog.text


async def test_a_cancelled_listener_is_a_failure() -> None:
    """Something a listener waited for was cancelled; the receiver goes on."""
    case = Case()

    async def wait(message: Received) -> Any:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        return await future

    case.listeners.add(wait, None)
    assert await case.outcome() == ["failed"]
    assert [RuntimeError] == [type(error) for error in case.errors]


async def test_what_cannot_be_opened_yet_is_held_and_told_once() -> None:
    """It is neither left nor acked, and who opens it again hears when."""
    reason = ValueError("no answer")

    def later(message: Received) -> None:
        raise NotYet(3, reason)

    case = Case(open=later)
    for _ in range(2):
        with pytest.raises(NotYet) as told:
            await case.listeners.open(case.message)
        assert told.value.seconds == 3
    assert case.transport.calls == ["held", "held"]
    assert case.errors == [reason]


async def test_what_was_handled_before_is_acked_and_nobody_called() -> None:
    """It came again, over another server or after a crash."""

    def known(message: Received) -> None:
        raise Duplicate

    case = Case(open=known)
    calls: list[Received] = []
    case.listeners.add(calls.append, None)
    assert await case.outcome() == ["handled"]
    assert calls == []
    assert case.errors == []


async def test_an_ack_is_told_once() -> None:
    """To whoever remembers what was handled."""
    case = Case()
    told: list[str] = []
    case.message.on_ack = lambda: told.append("acked")
    case.message.ack()
    case.message.ack()
    assert told == ["acked"]


async def test_who_receives_hears_of_a_new_listener() -> None:
    """And whether a message waits that nobody wanted before, once."""
    case = Case()
    told: list[bool] = []
    case.listeners.on_add.append(told.append)
    case.listeners.add(print, lambda m: False)
    await case.outcome()
    case.listeners.add(print, None)
    case.listeners.add(print, None)
    assert told == [False, True, False]
    assert len(case.listeners) == 3
