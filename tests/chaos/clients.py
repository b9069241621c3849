"""Clients: each follows a mailbox, comes back whenever it has to, and keeps its cursor."""

import asyncio
import json
from typing import Any, NamedTuple

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from pushd.protocol.messages import SUBPROTOCOL
from tests.chaos import history
from tests.chaos.people import ANSWERED_WITHIN, Place, Someone, http_client
from tests.harness import Person, bearer


class Client(Someone):
    """Follows a mailbox, and keeps its cursor from one session to the next.

    Args:
        place: Where.
        name: What the history calls it.
        person: Whose mailbox.
        acks: How likely it is that what came is acked, one by one or up to the last.

    Attributes:
        got: The ids it has.
    """

    def __init__(self, place: Place, name: str, person: Person, acks: float) -> None:
        super().__init__(place, name, person)
        self.got: set[str] = set()
        self.cursor: str | None = None
        self._acks = acks
        self._unconfirmed: dict[int, dict[str, Any]] = {}

    def begin(self, window: int = 0) -> int:
        """Write down that a session begins."""
        session = self.place.recorder.number()
        self.place.recorder.note(
            history.Hello(
                session=session,
                client=self.name,
                mailbox=self.person.did,
                after=self.cursor,
                window=window,
            )
        )
        return session

    def take(self, session: int, messages: list[dict[str, Any]], cursor: str) -> None:
        """Write down what came, and keep the cursor."""
        taken = [
            history.Message(message["id"], message["payload"], message["from"]["did"])
            for message in messages
        ]
        self.place.recorder.note(
            history.Pushed(session=session, messages=taken, cursor=cursor)
        )
        self.got.update(message.id for message in taken)
        self.cursor = cursor

    def acks(self, messages: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
        """Decide what to ack now: what was not confirmed before, and of what came."""
        if not self.place.loading.is_set():
            return []
        rng = self.place.rng
        wanted = [*self._unconfirmed.values()] if rng.random() < 0.3 else []
        if messages and rng.random() < self._acks:
            ids = [message["id"] for message in messages]
            chosen = rng.sample(ids, rng.randint(1, len(ids)))
            wanted.append(rng.choice(({"ids": chosen}, {"upto": ids[-1]})))
        self._unconfirmed.clear()
        asked = []
        for what in wanted:
            ack = self.place.recorder.number()
            self._unconfirmed[ack] = what
            self.place.recorder.note(
                history.AckAsked(ack=ack, mailbox=self.person.did, **what)
            )
            asked.append((ack, what))
        return asked

    def confirmed(self, ack: int) -> None:
        """Write down that an ack was carried out."""
        if self._unconfirmed.pop(ack, None) is not None:
            self.place.recorder.note(history.AckConfirmed(ack=ack))


class Listener(Client):
    """A client on a websocket.

    Args:
        place: Where.
        name: What the history calls it.
        person: Whose mailbox.
        acks: How likely it is that it acks.
        window: How many unseen messages it takes.
        slowness: Seconds it may dwell on what came.
    """

    def __init__(
        self,
        place: Place,
        name: str,
        person: Person,
        acks: float,
        *,
        window: int = 256,
        slowness: float = 0.0,
    ) -> None:
        super().__init__(place, name, person, acks)
        self._window, self._slowness = window, slowness
        self._session = 0

    async def run(self) -> None:
        """Listen, and come back whenever the session is over."""
        tries = 0
        while not self.place.over.is_set():
            code, before = None, len(self.got)
            try:
                async with self._connected() as socket:
                    try:
                        await self._listen(socket)
                    finally:
                        code = socket.close_code
            except (OSError, WebSocketException, TimeoutError):
                pass
            finally:
                self._end(code)
            tries = 0 if len(self.got) > before else tries + 1
            await self.pause(tries)

    def _connected(self) -> connect:
        return connect(
            self.place.urls().replace("http", "ws", 1) + "/v1/stream",
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=None,
            open_timeout=ANSWERED_WITHIN,
            ping_interval=1.0,
            ping_timeout=ANSWERED_WITHIN,
            close_timeout=0.5,
        )

    async def _listen(self, socket: ClientConnection) -> None:
        hello: dict[str, Any] = {"token": self.token("receive"), "window": self._window}
        if self.cursor is not None:
            hello["after"] = self.cursor
        self._session = self.begin(self._window)
        await _send(socket, "hello", **hello)
        async for text in socket:
            frame = json.loads(text)
            await self._take(socket, frame)

    def _end(self, code: int | None) -> None:
        if self._session:
            closed = history.Closed(session=self._session, code=code)
            self.place.recorder.note(closed)
            self._session = 0

    async def _take(self, socket: ClientConnection, frame: dict[str, Any]) -> None:
        note, session = self.place.recorder.note, self._session
        match frame["type"]:
            case "welcome":
                continuity, tail = frame["continuity"], frame["tail"]
                note(history.Welcomed(session=session, continuity=continuity, tail=tail))
            case "messages":
                await self._take_messages(socket, frame["messages"], frame["cursor"])
            case "caught_up":
                tail, self.cursor = frame["tail"], frame["cursor"]
                note(history.CaughtUp(session=session, tail=tail, cursor=frame["cursor"]))
            case "replay":
                tail, reason = frame["tail"], frame["reason"]
                note(history.Replayed(session=session, tail=tail, reason=reason))
            case "read":
                ids, upto = frame.get("ids", []), frame.get("upto")
                note(history.Read(session=session, ids=ids, upto=upto))
            case "acked":
                self.confirmed(frame["ref"])
            case "error":
                self.learn(frame)

    async def _take_messages(
        self, socket: ClientConnection, messages: list[dict[str, Any]], cursor: str
    ) -> None:
        self.take(self._session, messages, cursor)
        if self._slowness:
            await asyncio.sleep(self.place.rng.uniform(0, self._slowness))
        for ack, what in self.acks(messages):
            await _send(socket, "ack", ref=ack, **what)
        upto = messages[-1]["id"]
        self.place.recorder.note(history.Seen(session=self._session, upto=upto))
        await _send(socket, "seen", upto=upto)


class Page(NamedTuple):
    """What was read at once, and how it relates to the cursor."""

    messages: list[dict[str, Any]]
    continuity: str


class Poller(Client):
    """A client that reads over HTTP, and waits there for what is new."""

    async def run(self) -> None:
        """Read, ack and read on; each read is a session of its own."""
        async with http_client() as http:
            while not self.place.over.is_set():
                try:
                    page = await self.read(http, wait=1)
                    if page is None:
                        await self.pause()
                        continue
                    for ack, what in self.acks(page.messages):
                        await self._ack(http, ack, what)
                except (httpx2.HTTPError, OSError, ValueError):
                    await self.pause()

    async def read(
        self, http: httpx2.AsyncClient, *, wait: int = 0, limit: int = 100
    ) -> Page | None:
        """Read a page after the cursor; None if the server did not give it."""
        session, note = self.begin(), self.place.recorder.note
        query: dict[str, Any] = {"limit": limit, "wait": wait}
        if self.cursor is not None:
            query["after"] = self.cursor
        try:
            answer = await http.get(
                f"{self.place.urls()}/v1/messages",
                params=query,
                headers=bearer(self.token("receive")),
            )
            said = answer.json()
            if not answer.is_success:
                self.learn(said)
                return None
            continuity, tail, cursor = said["continuity"], said["tail"], said["cursor"]
            note(history.Welcomed(session=session, continuity=continuity, tail=tail))
            self.take(session, said["messages"], cursor)
            if cursor == tail:
                note(history.CaughtUp(session=session, tail=tail, cursor=cursor))
            return Page(said["messages"], continuity)
        finally:
            note(history.Closed(session=session, code=None))

    async def _ack(self, http: httpx2.AsyncClient, ack: int, what: dict[str, Any]) -> None:
        answer = await http.post(
            f"{self.place.urls()}/v1/acks",
            json=what,
            headers=bearer(self.token("receive")),
        )
        if answer.is_success:
            self.confirmed(ack)


class Reader(Poller):
    """Reads a mailbox from its first message to its last, at the end of a run."""

    async def read_all(self, http: httpx2.AsyncClient) -> list[str]:
        """Return the ids of all unread messages, in order."""
        while True:
            self.cursor, found = None, list[str]()
            while (messages := await self._next(http)) is not None:
                found += [message["id"] for message in messages]
                if not messages:
                    return found
            await self.pause()

    async def _next(self, http: httpx2.AsyncClient) -> list[dict[str, Any]] | None:
        """Read on; None if that cannot be, or the mailbox began anew meanwhile."""
        first = self.cursor is None
        try:
            page = await self.read(http, limit=500)
        except (httpx2.HTTPError, OSError, ValueError):
            return None
        if page is None or not (first or page.continuity == "exact"):
            return None
        return page.messages


async def _send(socket: ClientConnection, type: str, **members: object) -> None:
    await socket.send(json.dumps({"type": type, **members}))
