"""The people of a demo: their keys and names, and their home on hub and server."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from starlette.routing import Route

from pushd.client import Client
from pushd.devhub import DevHub
from pushd.identity.keys import PrivateKey
from pushd.keyfiles import Account, create_key, read_account, read_key, write_account
from pushd.settings import Settings
from pushd.web.pages import PLAYGROUND, Page
from pushd.web.playground.people import Cast, Player, ShowPeople

APP = "https://demo.example"
NAMES = ("alice.id.blockstack", "bob.id.blockstack")


class Person(NamedTuple):
    """Somebody in the demo."""

    name: str
    path: Path
    key: PrivateKey


def settle(place: Path, hub: DevHub, settings: Settings) -> Sequence[Person]:
    """Give people keys where they have none yet, names, and a home on hub and server."""
    people = [_person(place, name) for name in NAMES]
    for person in people:
        hub.register(person.name, person.key, {APP: person.key})
        account = Account(
            app=APP,
            name=person.name,
            hub=hub.url,
            servers=(settings.public_url,),
            names_api=hub.url,
            dev_hosts=settings.dev_hosts,
        )
        write_account(person.path, account)
        asyncio.run(_publish(person.key, account))
    return people


def _person(place: Path, name: str) -> Person:
    path = key_path(place, name)
    return Person(name, path, read_key(path) if path.exists() else create_key(path))


def key_path(place: Path, name: str) -> Path:
    """Return where the key of somebody is kept."""
    return place / f"{name.partition('.')[0]}.json"


async def _publish(key: PrivateKey, account: Account) -> None:
    async with Client(key, **msgspec.structs.asdict(account)) as client:
        await client.publish()


def hub_port(place: Path) -> int | None:
    """Return the port the hub had for whoever was here before; None: nobody was."""
    path = key_path(place, NAMES[0])
    return urlsplit(read_account(path).hub or "").port if path.exists() else None


def playground(
    people: Sequence[Person], hub: DevHub, settings: Settings, other: Settings
) -> list[Route]:
    """Return the routes of the page on which these people write to each other."""
    servers = (settings.public_url, other.public_url)
    alice, bob = (Player(one.name, one.key.to_hex(), servers[0]) for one in people)
    cast = Cast(alice, bob, APP, hub.url, servers, settings.dev_hosts)
    show = ShowPeople(cast, urlsplit(settings.public_url).netloc)
    sockets = [server.replace("http", "ws", 1) for server in servers]
    page = Page("/playground", PLAYGROUND, connect=" ".join((hub.url, *servers, *sockets)))
    return [Route("/playground/people", show, methods=["GET"]), *page.routes()]
