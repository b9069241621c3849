"""Senders and clients who do not give up, and write down all they ask and all they get.

They talk plain HTTP and a plain websocket, so that nothing of pushd's own client can hide
what a server does. A wrong clock of a server they take from its answers, as clients do.
"""

import asyncio
import json
import random
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from pushd.protocol.messages import SUBPROTOCOL
from tests.chaos import history
from tests.chaos.history import Recorder
from tests.harness import Person, bearer

ANSWERED_WITHIN = 4.0
"""Seconds after which a request counts as unanswered."""
CONNECTIONS = 10
"""Connections of one HTTP client; what finds none free waits for one."""
LAST_WORDS = 1.0
"""Seconds in which each sender's last delivery to each mailbox falls."""
PAUSE, MOST = 0.2, 1.5
"""Seconds before somebody tries again: at first, and after many failures."""

# Nobody here talks TLS, and to load the authorities for each client is dear.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Urls = Callable[[], str]
"""Picks the server to go to next."""


class Place(NamedTuple):
    """Where people meet: what they share of a run.

    Attributes:
        recorder: Writes down what happens.
        rng: Decides what they do.
        urls: Picks a server.
        public_url: What tokens are for.
        loading: Set while new deliveries are made, and acks.
        over: Set when everybody goes home.
    """

    recorder: Recorder
    rng: random.Random
    urls: Urls
    public_url: str
    loading: asyncio.Event
    over: asyncio.Event


class Someone:
    """A key, and tokens that a server with a wrong clock takes too."""

    def __init__(self, place: Place, name: str, person: Person | None = None) -> None:
        self.place = place
        self.name = name
        self.person = person or Person(place.public_url)
        self._ahead = 0.0
        self._tokens: dict[tuple[str, tuple[str, ...]], tuple[str, float]] = {}

    def token(self, scope: str, to: Sequence[str] = ()) -> str:
        """Make a token, or take the one that still is good for long."""
        now = time.time() + self._ahead
        token, ends = self._tokens.get((scope, tuple(to)), ("", 0.0))
        if not now + 300 < ends < now + 900:
            token, ends = self.person.token(scope, to, now=now), now + 600
            self._tokens[scope, tuple(to)] = (token, ends)
        return token

    def learn(self, problem: dict[str, Any]) -> None:
        """Learn the server's time from what it refused."""
        if "now" in problem:
            self._ahead = problem["now"] - time.time()
            self._tokens.clear()

    async def pause(self, tries: int = 0) -> None:
        """Wait before trying again, longer after many tries, and never all together."""
        longest = min(PAUSE * 2**tries, MOST)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.place.rng.uniform(longest / 4, longest)):
                await self.place.over.wait()


class Sender(Someone):
    """Delivers to mailboxes, one by one and many together, until each is accepted.

    Args:
        place: Where.
        name: Begins all its payloads.
        mailboxes: To whom, by DID.
        rate: Requests a second.
    """

    def __init__(
        self, place: Place, name: str, mailboxes: Sequence[str], rate: float
    ) -> None:
        super().__init__(place, name)
        self._mailboxes = mailboxes
        self._rate = rate
        self._made = 0

    async def run(self) -> None:
        """Deliver while the place is loading, and then until everything is answered."""
        rng = self.place.rng
        async with http_client() as http, asyncio.TaskGroup() as tasks:
            while self.place.loading.is_set():
                deliveries = [self._make() for _ in range(rng.choice((1, 1, 1, 2, 20)))]
                tasks.create_task(self._deliver(http, deliveries))
                await asyncio.sleep(rng.expovariate(self._rate))
            for mailbox in self._mailboxes:
                tasks.create_task(self._last_word(http, mailbox))

    async def _last_word(self, http: httpx2.AsyncClient, mailbox: str) -> None:
        """Deliver once more, alone: nothing comes behind it that would give it away."""
        await asyncio.sleep(self.place.rng.uniform(0.0, LAST_WORDS))
        await self._deliver(http, [self._make(mailbox)])

    def _make(self, mailbox: str = "") -> dict[str, Any]:
        """Make a delivery; a few have no key, and a few live shortly."""
        rng = self.place.rng
        self._made += 1
        payload = f"{self.name}/{self._made}"
        to = mailbox or rng.choice(self._mailboxes)
        body: dict[str, Any] = {"to": to, "payload": payload}
        if rng.random() < 0.9:
            body["key"] = payload
        if rng.random() < 0.05:
            body["ttl"] = rng.choice((1, 2))
        return body

    async def _deliver(self, http: httpx2.AsyncClient, rest: list[dict[str, Any]]) -> None:
        """Ask until nothing is left that has a key and was not accepted."""
        for tries in count():
            rest = await self._attempt(http, rest)
            if not rest or self.place.over.is_set():
                break
            await self.pause(tries)

    async def _attempt(
        self, http: httpx2.AsyncClient, bodies: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Ask once, and return what has to be asked again."""
        recorder = self.place.recorder
        attempts = [self._asked(body) for body in bodies]
        headers = bearer(self.token("deliver", self._mailboxes))
        content = bodies[0] if len(bodies) == 1 else {"deliveries": bodies}
        url = self.place.urls()
        try:
            answer = await http.post(f"{url}/v1/deliveries", headers=headers, json=content)
            said = answer.json()
        except (httpx2.HTTPError, OSError, ValueError):
            return [body for body in bodies if "key" in body]
        if not answer.is_success:
            self.learn(said)
            said = {"results": [{"error": said}] * len(bodies)}
        results = said.get("results", [said])
        again = []
        for body, attempt, result in zip(bodies, attempts, results, strict=True):
            if "error" in result:
                code = result["error"]["code"]
                recorder.note(history.Refused(attempt=attempt, code=code))
                if "key" in body:
                    again.append(body)
            else:
                id, duplicate = result["id"], result["duplicate"]
                recorder.note(history.Accepted(attempt=attempt, id=id, duplicate=duplicate))
        return again

    def _asked(self, body: dict[str, Any]) -> int:
        attempt = self.place.recorder.number()
        self.place.recorder.note(
            history.Asked(
                attempt=attempt,
                sender=self.person.did,
                mailbox=body["to"],
                payload=body["payload"],
                key=body.get("key"),
                ttl=body.get("ttl", 2592000),
            )
        )
        return attempt


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


def http_client() -> httpx2.AsyncClient:
    """Make a client that gives up where a request counts as unanswered."""
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(ANSWERED_WITHIN, pool=None),
        limits=httpx2.Limits(max_connections=CONNECTIONS),
        verify=_NO_TLS,
        trust_env=False,
    )


async def _send(socket: ClientConnection, type: str, **members: object) -> None:
    await socket.send(json.dumps({"type": type, **members}))
