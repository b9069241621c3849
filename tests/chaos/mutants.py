"""Servers with one part switched off, so that it is seen what the checker would miss.

A run that finds nothing proves little unless the same run finds what is missing here.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pushd import hub
from pushd.mailbox import checks, node
from pushd.mailbox.functions import MAILBOXES
from pushd.protocol import flow
from pushd.protocol.commands import Command
from pushd.protocol.messages import StoredMessage


def switch_off(names: str) -> None:
    """Switch parts off, in this process and for good; names have commas between them."""
    for name in filter(None, names.split(",")):
        MUTANTS[name]()


def _seam() -> None:
    """Keep nothing of what is published while a page is under way."""

    def forget(self: object, messages: Sequence[object]) -> None:
        pass

    _replace(flow.Flow, "_keep", forget)


def _gate() -> None:
    """Send what is published at once, whatever history is still to come before it."""

    def overtake(self: flow.Flow, messages: Sequence[StoredMessage]) -> list[Command]:
        if self.state in (flow.State.GREETING, flow.State.CLOSING) or not self.epoch:
            return []
        self.position = messages[-1].id
        return list(self._send(messages))

    _replace(flow.Flow, "published", overtake)


def _epoch() -> None:
    """Compare no epochs in the store: go on counting, whatever happened to it."""
    code = MAILBOXES.code
    for comparison, blind in (
        (
            "if m_source ~= source then new_epoch() end",
            "if m_epoch == 0 then new_epoch() end",
        ),
        ("return m_source == source and", "return"),
        ("if m_source == source and call('EXISTS'", "if m_epoch > 0 and call('EXISTS'"),
    ):
        assert comparison in code, comparison
        code = code.replace(comparison, blind)
    _replace(checks, "MAILBOXES", MAILBOXES._replace(code=code))


def _tail_check() -> None:
    """Compare no tails, but after an interruption."""
    turn = hub.Hub.turn

    def without(self: hub.Hub, now: float) -> None:
        compare = self._compare
        self._compare = lambda mailboxes: None  # type: ignore[method-assign] # that is the point
        try:
            turn(self, now)
        finally:
            self._compare = compare  # type: ignore[method-assign] # as it was

    _replace(hub.Hub, "turn", without)


def _adoption() -> None:
    """Hear no mailbox whose slot moved at its new primary."""

    def ignore(self: object, mailbox: str, waiters: Sequence[object]) -> None:
        pass

    _replace(node.Node, "adopt", ignore)


MUTANTS: dict[str, Callable[[], None]] = {
    "seam": _seam,
    "gate": _gate,
    "epoch": _epoch,
    "tail check": _tail_check,
    "adoption": _adoption,
}


def _replace(where: Any, name: str, by: object) -> None:
    """Put something in the place of something that must be there."""
    assert hasattr(where, name), f"{where} has no {name} to switch off"
    setattr(where, name, by)
