"""The commands about a policy: to see who may write to oneself, and to say it."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pushd import talk
from pushd.cli.options import (
    AppOption,
    KeyOption,
    NameOption,
    ServersOption,
    account_of,
    at_some_server,
)
from pushd.client import OwnPolicy, Policy
from pushd.keyfiles import read_key
from pushd.logs import printable


class Default(StrEnum):
    """What holds for whom neither list names."""

    ACCEPT = "accept"
    REFUSE = "refuse"


def show(
    key: KeyOption,
    server: ServersOption = None,
    app: AppOption = None,
    name: NameOption = None,
) -> None:
    """Print who may write to you, as your preferred server has it."""
    own = _own(key, app=app, name=name, servers=server)
    policy = asyncio.run(talk.policy(own))
    typer.echo(f"default  {policy.default}")
    for entry in policy.allow:
        typer.echo(f"allow    {printable(entry)}")
    for entry in policy.block:
        typer.echo(f"block    {printable(entry)}")


def replace(
    key: KeyOption,
    default: Annotated[
        Default, typer.Option(help="What holds for whom neither list names.")
    ],
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|DID", help="Who may write. Repeat it for more."),
    ] = None,
    block: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|DID",
            help="Who may not, whatever else is said. Repeat it for more.",
        ),
    ] = None,
    server: ServersOption = None,
    app: AppOption = None,
    name: NameOption = None,
) -> None:
    """Say who may write to you, at all your servers; it counts at once.

    It takes the place of what was said before. Names belong to an app, and need one.
    """
    own = _own(key, app=app, name=name, servers=server)
    new = Policy(default.value, allow or [], block or [])
    asyncio.run(talk.set_policy(own, new))


def _own(key: Path, **flags: str | list[str] | None) -> OwnPolicy:
    account = at_some_server(account_of(key, **flags))
    return talk.own_policy(read_key(key), account)
