"""The commands about contact documents: to publish one's own, to see those of others."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from pushd import talk
from pushd.cli.options import (
    AppOption,
    BnsApiOption,
    DevHostsOption,
    HubOption,
    KeyOption,
    NamesApiOption,
    ServersOption,
    account_of,
)
from pushd.errors import ConfigurationError
from pushd.keyfiles import is_file, read_key
from pushd.logs import printable


def publish(
    key: KeyOption,
    server: ServersOption = None,
    app: AppOption = None,
    hub: HubOption = None,
    dev_host: DevHostsOption = None,
) -> None:
    """Write your contact document and your public key into your bucket.

    They say to others how to encrypt to you and at which servers you are, the preferred
    one first; published anew with other servers, you have moved. What is right already is
    left as it is. Prints the paths that were written.
    """
    account = account_of(key, app=app, hub=hub, servers=server, dev_hosts=dev_host)
    if not account.servers:
        raise ConfigurationError("--server, or the key file, has to name your server.")
    for path in asyncio.run(talk.publish(talk.client(read_key(key), account))):
        typer.echo(path)


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who to look up.")],
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file of `keygen` that says the rest."),
    ] = None,
    app: AppOption = None,
    names_api: NamesApiOption = None,
    bns_api: BnsApiOption = None,
    dev_host: DevHostsOption = None,
) -> None:
    """Look up a name, and print who it is, how that is known, and how to write to them."""
    account = account_of(
        key, app=app, names_api=names_api, bns_api=bns_api, dev_hosts=dev_host
    )
    found = asyncio.run(talk.reach(account, name))
    typer.echo(f"did         {found.did}")
    typer.echo(f"proof       {found.proof}")
    typer.echo(f"public key  {'none' if found.key is None else found.key.raw.hex()}")
    for server in found.servers:
        typer.echo(f"server      {printable(server)}")
    if not found.servers:
        typer.echo("server      none: it cannot be reached by push")


def verify(
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME", help="A contact document, or whose in their bucket."
        ),
    ],
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file of `keygen` that says the rest."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            metavar="DID",
            help="Whose the file has to be; without it, of whoever the key in it is.",
        ),
    ] = None,
    app: AppOption = None,
    names_api: NamesApiOption = None,
    bns_api: BnsApiOption = None,
    dev_host: DevHostsOption = None,
) -> None:
    """Tell whether a contact document is good; if it is not, why, with exit status 1."""
    account = account_of(
        key, app=app, names_api=names_api, bns_api=bns_api, dev_hosts=dev_host
    )
    if is_file(what):
        did, servers = talk.verify_contact(Path(what), account, of)
    else:
        found = asyncio.run(talk.reach(account, what))
        did, servers = found.did, found.servers
    listed = printable(", ".join(servers)) or "no server"
    typer.echo(f"Good: {did} is at {listed}.")
