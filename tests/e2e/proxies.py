"""What every proxy of the examples has to do for pushd."""

import httpx2

from tests.contract.stores import until
from tests.harness import Person, bearer

CLAIM = {"X-Forwarded-For": "127.0.0.4"}
"""The clients' own word, which must not count."""


async def tells_addresses(url: str) -> None:
    """Flood from one address until it is shut out, and see that another is not."""
    alice, bob = Person(url), Person(url)
    path = f"{url}/v1/messages"
    async with _from("127.0.0.3") as flood:

        async def is_shut_out() -> bool:
            await flood.get(path, headers={**bearer("no"), **CLAIM})
            answer = await flood.get(path, headers={**alice.receive(), **CLAIM})
            return answer.status_code == 429

        await until(is_shut_out)
    async with _from("127.0.0.2") as other:
        answer = await other.get(path, headers={**bob.receive(), **CLAIM})
        assert answer.status_code == 200


def _from(address: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(local_address=address), timeout=60
    )
