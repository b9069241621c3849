"""Two people who know each other's names only, in apps on the TypeScript client."""

import asyncio

import pytest

from pushd.client import Incoming
from tests.devhub import RunningHub
from tests.e2e.js.app import Apps, Thrown
from tests.e2e.js.conftest import APP, People
from tests.harness import serving

WAYS = ["websocket", "events", "polling"]


@pytest.mark.parametrize("way", WAYS)
async def test_python_writes_to_an_app(people: People, way: str) -> None:
    """What a client in Python sends, an app opens, whichever way it is connected."""
    bob = await people.in_an_app(f"bob-{way}", way=way)
    await bob.listen()
    alice = f"alice-{way}"
    async with people.in_python(alice) as client:
        sent = await client.send(people.name(f"bob-{way}"), "See you at nine. \u20ac")

        message = await bob.hears()

    assert (sent.id, "See you at nine. \u20ac") == (message["id"], message["content"])
    assert (client.identity, people.name(alice)) == (message["sender"], message["name"])
    assert message["app"] == APP


async def test_an_app_writes_to_python(people: People) -> None:
    """What an app sends, a client in Python opens, and proves the sender's name."""
    carol = await people.in_an_app("carol")
    async with people.in_python("dave") as dave:
        await dave.publish()
        heard = asyncio.Queue[Incoming]()
        dave.listen(heard.put_nowait)

        sent = await carol.call("send", people.name("dave"), "See you at ten.")

        message = await heard.get()
    assert (sent["id"], "See you at ten.") == (message.id, message.content)
    assert people.name("carol") == message.name


async def test_a_server_that_wants_a_token_for_each_delivery(
    store_url: str, devhub: RunningHub, apps: Apps
) -> None:
    """An app finds out by itself, and makes them."""
    hosts = (devhub.host_port,)
    with serving(
        store_url, require_digest=True, names_api=devhub.url, dev_hosts=hosts
    ) as server:
        people = People(devhub, server, apps)
        nina = await people.in_an_app("nina")
        await nina.listen()
        mallory = await people.in_an_app("mallory")
        for number in range(2):
            sent = await mallory.call("send", people.name("nina"), f"Message {number}")
            assert sent["id"] == (await nina.hears())["id"]


async def test_models_as_in_radiks(people: People, apps: Apps) -> None:
    """A listener of a class of models gets those, and no others."""
    judy = await people.in_an_app("judy")
    await people.in_an_app("ivan")
    await apps.call("models", who="judy")
    for kind, title in (("Reply", "Yes"), ("Invite", "Lunch")):
        attrs = {"title": title}
        await apps.call("model", who="ivan", kind=kind, to=people.name("judy"), attrs=attrs)

    model = await judy.hears("model")

    assert (model["title"], model["radiksType"]) == ("Lunch", "Invite")
    assert people.name("ivan") == model["from"]
    assert apps.events["judy", "model"].empty()


async def test_a_name_that_is_nobody_s(people: People) -> None:
    """A message to a name that nobody has is refused, and does not wait for ever."""
    erin = await people.in_an_app("erin")

    with pytest.raises(Thrown, match="Unproven"):
        await erin.call("send", "nobody.id.blockstack", "Hello?")

    assert await erin.call("queued") == []
