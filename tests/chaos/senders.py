"""Senders: each asks until it is answered, and writes down what it asked and was told."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import httpx2

from tests.chaos import history
from tests.chaos.people import Place, Someone, http_client
from tests.harness import bearer

AT_ONCE = 6
"""Requests a sender has under way; what it cannot get rid of waits in line."""
LAST_WORDS = 1.0
"""Seconds in which each sender's last delivery to each mailbox falls."""


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
        self._line = asyncio.Semaphore(AT_ONCE)

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
        async with self._line:
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
