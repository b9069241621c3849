"""The commands about keys: to make one, and to make tokens with it."""

import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from pushd.cli.options import (
    AppOption,
    BnsApiOption,
    DevHostsOption,
    HubOption,
    KeyOption,
    NameOption,
    NamesApiOption,
    ServersOption,
    account_of,
    at_some_server,
)
from pushd.errors import ConfigurationError
from pushd.identity.keys import Algorithm
from pushd.identity.names import form_of, validate_app
from pushd.identity.tokens import make_token
from pushd.keyfiles import contact_path, create_key, read_contact, read_key


def keygen(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write it, such as `me.json`.")
    ],
    algorithm: Annotated[
        Algorithm,
        typer.Option(help="`ES256K` is secp256k1, the one kind that can be encrypted to."),
    ] = Algorithm.ES256K,
    app: AppOption = None,
    name: NameOption = None,
    hub: HubOption = None,
    server: ServersOption = None,
    names_api: NamesApiOption = None,
    bns_api: BnsApiOption = None,
    dev_host: DevHostsOption = None,
) -> None:
    """Make a key, and so an identity.

    The private key goes to *FILE*, which only you can read; nothing that is there already
    is overwritten. What others need to write to you, the DID and the public key, goes to
    `<FILE>.pub.json` beside it and to the standard output. App, name, hub and servers go
    to *FILE* too, so that no other command needs to be told them.
    """
    account = account_of(
        None,
        app=app,
        name=name,
        hub=hub,
        servers=server,
        names_api=names_api,
        bns_api=bns_api,
        dev_hosts=dev_host,
    )
    if app is not None:
        validate_app(app)
    if name is not None:
        form_of(name)
    key = create_key(file, algorithm, account)
    typer.echo(f"did         {key.did}")
    typer.echo(f"public key  {key.public.raw.hex()}")
    typer.echo(f"{file} stays yours; {contact_path(file)} is for others.", err=True)


def token(
    key: KeyOption,
    scope: Annotated[
        str,
        typer.Option(
            metavar="deliver|receive", help="What it allows; both in quotes allow both."
        ),
    ],
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DID|FILE",
            help="With `deliver`: a recipient. Repeat it for up to 100.",
        ),
    ] = None,
    server: ServersOption = None,
    lifetime: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="How long it counts; servers take at most 3600 with `deliver`, 86400"
            " without.",
        ),
    ] = 3600,
) -> None:
    """Make a bearer token and print it.

    Whoever has it speaks as you until it expires, so it belongs into an `Authorization`
    header or a first websocket frame, never into a URL.
    """
    scopes = set(scope.split())
    if not scopes or not scopes <= {"deliver", "receive"}:
        raise ConfigurationError("--scope is deliver, receive, or 'deliver receive'.")
    if ("deliver" in scopes) != bool(to):
        raise ConfigurationError("--to belongs to the scope deliver, at least one of it.")
    typer.echo(
        make_token(
            read_key(key),
            audience=at_some_server(account_of(key, servers=server)).servers,
            scope=" ".join(sorted(scopes)),
            to=[read_contact(one).did for one in to or ()],
            now=time.time(),
            lifetime=lifetime,
            jti=secrets.token_urlsafe(16),
        )
    )
