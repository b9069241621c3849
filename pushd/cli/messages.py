"""The commands about messages: to send one, and to listen."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from pushd import talk
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
from pushd.identity.names import is_name
from pushd.keyfiles import is_file, read_contact, read_key
from pushd.logs import printable


def send(
    key: KeyOption,
    to: Annotated[
        str,
        typer.Option(
            metavar="NAME|DID|FILE",
            help="Who gets it: a name, a DID, or a contact file. With a name, key and"
            " servers are found where its owner published them.",
        ),
    ],
    message: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="What to say. Without a hub to keep it, this is the ID of a message that"
            " is kept elsewhere; a random one if it is not given.",
        ),
    ] = None,
    to_key: Annotated[
        str | None,
        typer.Option(
            metavar="HEX", help="Public key to encrypt to, where `--to` is a bare DID."
        ),
    ] = None,
    bucket: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Read URL of your bucket, where the message already is under its ID;"
            f" without it, and without a hub, the bucket of your key under {talk.GAIA}.",
        ),
    ] = None,
    raw: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Send this payload as it is, encrypt nothing."),
    ] = None,
    server: ServersOption = None,
    give_up_after: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long to try again where no server answers, or a busy one.",
        ),
    ] = 10,
    app: AppOption = None,
    name: NameOption = None,
    hub: HubOption = None,
    names_api: NamesApiOption = None,
    bns_api: BnsApiOption = None,
    dev_host: DevHostsOption = None,
) -> None:
    """Send a message, and print the id the recipient's mailbox gave it.

    The message stays in your bucket, encrypted to the recipient. What is delivered is its
    ID, in an envelope that only the recipient can open; the server sees who wrote to whom.
    """
    if raw is not None and message is not None:
        raise ConfigurationError("A payload is either --raw or a text, not both.")
    sender = read_key(key)
    account = account_of(
        key,
        app=app,
        name=name,
        hub=hub,
        servers=server,
        names_api=names_api,
        bns_api=bns_api,
        dev_hosts=dev_host,
    )
    account = at_some_server(account)
    whole = account.app is not None and account.hub is not None
    if whole and raw is None and bucket is None:
        if message is None:
            raise ConfigurationError("There is nothing to send: give a text.")
        recipient = talk.recipient(to, to_key, account)
        client = talk.client(sender, account, give_up_after=give_up_after)
        typer.echo(printable(asyncio.run(talk.send_message(client, recipient, message))))
        return
    if is_name(to) and not is_file(to):
        raise ConfigurationError(
            "To send a text to a name, --app and --hub, or the key file, have to say where"
            " you are at home."
        )
    contact = read_contact(to, to_key)
    payload = raw
    if payload is None:
        payload = talk.seal(sender, contact, message, bucket)
    sending = talk.send_sealed(
        sender,
        contact.did,
        payload,
        server=account.servers[0],
        give_up_after=give_up_after,
    )
    typer.echo(printable(asyncio.run(sending)))


def listen(
    key: KeyOption,
    server: ServersOption = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Where to remember how far you have read. Without it every start begins"
            " with the first unread message.",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, metavar="NUMBER", help="End after so many messages."),
    ] = None,
    no_ack: Annotated[
        bool, typer.Option("--no-ack", help="Show messages and leave them unread.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, for scripts.")
    ] = False,
    app: AppOption = None,
    name: NameOption = None,
    names_api: NamesApiOption = None,
    bns_api: BnsApiOption = None,
    dev_host: DevHostsOption = None,
) -> None:
    """Show messages as they arrive, the unread ones first, and acknowledge them.

    With an app, from the key file or by `--app`, each is fetched from its sender's bucket,
    verified, and shown with the sender's name if that is proven; what cannot be is told,
    and stays unread. Without an app only envelopes are opened. A lost connection comes
    back by itself.
    """
    owner = read_key(key)
    account = account_of(
        key,
        app=app,
        name=name,
        servers=server,
        names_api=names_api,
        bns_api=bns_api,
        dev_hosts=dev_host,
    )
    account = at_some_server(account)
    how: dict[str, Any] = {
        "state_dir": state_dir,
        "count": count,
        "ack": not no_ack,
        "json": json,
    }
    if account.app is not None:
        asyncio.run(talk.listen(owner, account, **how))
    else:
        asyncio.run(talk.listen_sealed(owner, server=account.servers[0], **how))
