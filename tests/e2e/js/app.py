"""Apps on the TypeScript client, driven from Python: they do as `app.mjs` says.

    async with Apps(log) as apps:
        alice = await apps.make("alice", key, app=APP, hub=hub.url)
        await alice.call("send", "bob.id.blockstack", "Hello Bob")

A call names a method of the client. What a client rejects with is raised as `Thrown`.
"""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any, Self

from pushd.identity.keys import PrivateKey
from tests.needs import need
from tests.processes import PATIENCE

HERE = Path(__file__).parent
BUILT = HERE.parents[2] / "js" / "dist" / "index.js"

Event = dict[str, Any]


def require_client() -> None:
    """Skip without the built package, but never where CI counts on it."""
    need(
        shutil.which("node") and BUILT.exists(),
        "The TypeScript client is not built: make js",
    )


class Thrown(Exception):
    """The client rejected; the text begins with the name, or the code, of its error."""


class Apps:
    """A node process, in which clients of several people run.

    Args:
        log: File for what they write on their console.
        options: More options of node.
    """

    def __init__(self, log: Path, *options: str) -> None:
        self._log = log
        self._options = options
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.events: dict[tuple[str, str], asyncio.Queue[Event]] = defaultdict(
            asyncio.Queue
        )

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as console:
            self._process = await asyncio.create_subprocess_exec(
                *("node", "--experimental-websocket", *self._options, "app.mjs"),
                cwd=HERE,
                stdin=PIPE,
                stdout=PIPE,
                stderr=console,
                limit=1 << 24,
            )
        self._reader = asyncio.create_task(self._read(self._process))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.wait()
        await self._reader

    async def make(self, who: str, key: PrivateKey, **options: object) -> "App":
        """Make a client; options are those of `Client`, as they are called there."""
        await self.call("make", who=who, key=key.to_hex(), **options)
        return App(self, who)

    async def call(self, name: str, /, **told: object) -> Any:
        """Call a function, and return what it returns.

        Raises:
            Thrown: If it throws.
        """
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        order = json.dumps({"id": number, "call": name, **told})
        self._process.stdin.write(order.encode() + b"\n")
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._answers[number]
        except TimeoutError:
            raise AssertionError(self._log.read_text()) from None
        if "error" in answer:
            error = answer["error"]
            raise Thrown(f"{error.get('code') or error['name']}: {error['message']}")
        return answer["result"]

    async def _read(self, process: Process) -> None:
        """Read until the process ends."""
        assert process.stdout is not None
        async for line in process.stdout:
            said: Event = json.loads(line)
            if "event" in said:
                self.events[said.pop("who"), said.pop("event")].put_nowait(said)
            else:
                self._answers.pop(said["id"]).set_result(said)


class App:
    """The client of one person."""

    def __init__(self, apps: Apps, who: str) -> None:
        self._apps = apps
        self._who = who

    async def call(self, name: str, *arguments: object) -> Any:
        """Call a method.

        Raises:
            Thrown: If it rejects.
        """
        return await self._apps.call(name, who=self._who, args=arguments)

    async def listen(self) -> None:
        """Have every message said as an event."""
        await self._apps.call("listen", who=self._who)

    async def hears(self, event: str = "message", /, **members: object) -> Event:
        """Wait for an event that has these members, dropping others before it."""
        events = self._apps.events[self._who, event]
        async with asyncio.timeout(PATIENCE):
            while True:
                heard = await events.get()
                if all(heard.get(name) == value for name, value in members.items()):
                    return heard
