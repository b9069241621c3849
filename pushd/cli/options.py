"""Flags that several commands have, and where they say somebody is at home."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from pushd import talk
from pushd.keyfiles import Account, read_account

HOME = "Home, where the key file does not say it"

KeyOption = Annotated[
    Path, typer.Option("--key", metavar="FILE", help="Who speaks: a file of `keygen`.")
]
ServersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="The server, by the URL it calls its own; tokens are made for it alone."
        " Repeat it for more, the preferred one first.",
        show_default="of the key file, or http://127.0.0.1:8480",
    ),
]
AppOption = Annotated[
    str | None,
    typer.Option(
        metavar="ORIGIN",
        help="The app, a web origin like `https://app.example`; names belong to one.",
        rich_help_panel=HOME,
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Your own, like `alice.id.blockstack`.", rich_help_panel=HOME
    ),
]
HubOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The Gaia hub that takes your files: your messages, and how to reach you.",
        rich_help_panel=HOME,
    ),
]
NamesApiOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Where Blockstack names are looked up.", rich_help_panel=HOME
    ),
]
BnsApiOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Where `.btc` names are looked up.", rich_help_panel=HOME
    ),
]
DevHostsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dev-host",
        metavar="HOST:PORT",
        help="A host for development, where http is good enough. Repeat it for more.",
        rich_help_panel=HOME,
    ),
]
DEFAULT_SERVER = "http://127.0.0.1:8480"


def account_of(path: Path | None, **flags: str | list[str] | None) -> Account:
    """Return where somebody is at home.

    Args:
        path: Of the key file that says it; None: nothing does.
        flags: Members of the account; they count more.
    """
    account = Account() if path is None else read_account(path)
    changes = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in flags.items()
        if value
    }
    changed = msgspec.structs.replace(account, **changes)
    servers = tuple(map(talk.canonical, changed.servers))
    return msgspec.structs.replace(changed, servers=servers)


def at_some_server(account: Account) -> Account:
    """Return an account that has a server: its own, or else this machine's."""
    servers = account.servers or (DEFAULT_SERVER,)
    return msgspec.structs.replace(account, servers=servers)
