"""What a client keeps across restarts, beside its cursors."""

import asyncio
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from pushd.client.cursors import replace


class State(Struct, omit_defaults=True):
    """Where an identity listens, and what it handled.

    Attributes:
        servers: Its servers in order of preference, by their canonical URLs.
        left: Servers that are no longer its own, and since when, in Unix seconds.
        handled: What is remembered of the messages it handled.
    """

    servers: list[str] = []
    left: dict[str, float] = {}
    handled: list[str] = []


_decode = msgspec.json.Decoder(State).decode


class StateFile:
    """Keeps the state of an identity in a file of its own.

    Args:
        directory: Where, `~` included; None keeps nothing.
        identity: DID of the mailbox.
    """

    def __init__(self, directory: Path | str | None, identity: str) -> None:
        name = f"client-{sha256(identity.encode()).hexdigest()[:32]}.json"
        self.path = None if directory is None else Path(directory).expanduser() / name

    async def load(self) -> State:
        """Return what was saved last, or nothing to know.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it holds something else; removing it begins anew.
        """
        if self.path is None:
            return State()
        try:
            return _decode(await asyncio.to_thread(self.path.read_bytes))
        except FileNotFoundError:
            return State()
        except msgspec.MsgspecError as error:
            raise ValueError(f"{self.path} does not hold a state: {error}") from error

    async def save(self, state: State) -> None:
        """Replace what was saved before.

        Raises:
            OSError: If that cannot be; what was saved before is still there.
        """
        if self.path is not None:
            await asyncio.to_thread(replace, self.path, msgspec.json.encode(state))
