"""The command line `pushdctl`: every command, its flags and what they mean."""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Mapping
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pushd import __version__, talk
from pushd.client import GaiaError, NoBucket, NotReachable, StreamClosed, Unreachable
from pushd.errors import ConfigurationError, PushdError, Unproven
from pushd.identity.keys import Algorithm
from pushd.identity.names import form_of, is_name, validate_app
from pushd.identity.tokens import make_token
from pushd.keyfiles import (
    Account,
    contact_path,
    create_key,
    is_file,
    read_account,
    read_contact,
    read_key,
)
from pushd.logs import printable
from pushd.settings import Settings, variable

app = typer.Typer(
    name="pushdctl",
    help="A real-time push service for apps whose users own their keys.",
    epilog="Begin with `pushdctl demo`: it serves, and prints two commands to try.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SERVER, KEYS, MESSAGES = "Server", "Keys and tokens", "Messages"
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


def main() -> None:
    """Run `pushdctl`; what cannot be is said in one sentence, never as a traceback."""
    try:
        app()
    except ConfigurationError as error:
        _fail(str(error), status=2)
    except PushdError as error:
        _fail(f"{error.detail} ({error.code})", status=1)
    except _FAILURES as error:
        _fail(str(error), status=1)


_FAILURES = (GaiaError, NoBucket, NotReachable, StreamClosed, Unproven, Unreachable)
"""What may happen to whoever asked for something that could have been."""


def _fail(sentence: str, *, status: int) -> None:
    typer.echo(f"pushdctl: {sentence}", err=True)
    sys.exit(status)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"pushdctl {__version__}")
        raise typer.Exit


@app.callback()
def _pushdctl(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Tell the version."
        ),
    ] = False,
) -> None:
    pass


# --- the server ----------------------------------------------------------------------

PANELS: Mapping[str, tuple[str, ...]] = {
    "Network": ("host", "port", "public_url", "allowed_origins"),
    "Store": ("data_dir", "redis_url", "durability"),
    "Mailboxes": (
        *("mailboxes", "owners", "max_payload", "max_mailbox_messages"),
        *("max_mailbox_bytes", "max_sessions", "max_ttl", "dedup"),
    ),
    "Names": ("names_api", "bns_api", "names_file", "dev_hosts", "lookups"),
    "Running": ("workers", "drain_seconds", "ping_interval", "log_format", "log_level"),
}
"""Where the help shows which setting; one that is not here is shown under Other."""


def _setting_flags() -> Signature:
    """Make a flag of every setting, documented as the setting is."""
    panel = {name: title for title, names in PANELS.items() for name in names}
    names = sorted(Settings.model_fields, key=[*panel, *Settings.model_fields].index)
    return Signature([_flag(name, panel.get(name, "Other")) for name in names])


def _flag(name: str, panel: str) -> Parameter:
    field = Settings.model_fields[name]
    option = typer.Option(
        help=field.description,
        metavar=_metavar(field),
        envvar=variable(name),
        show_default=_default(field),
        rich_help_panel=panel,
    )
    annotation = Annotated[str | None, option]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _metavar(field: FieldInfo) -> str:
    choices = get_args(field.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        return "|".join(choices)
    kinds: dict[Any, str] = {int: "NUMBER", Path: "DIRECTORY", str: "TEXT"}
    return kinds.get(field.annotation, "TEXT")


def _default(field: FieldInfo) -> str | bool:
    default = field.default
    if default in (None, PydanticUndefined, ()):
        return False
    return ",".join(default) if isinstance(default, tuple) else str(default)


def serve(**settings: str | None) -> None:
    """Run a message server.

    Without a flag it serves this machine alone, on port 8480, and keeps everything in
    `./data` with a store of its own. A flag counts more than its variable, a variable
    more than the default. Times are seconds, sizes are bytes. A variable `PUSHD_...` that
    is not listed here is refused: it would be a typo.

    **For others to reach it** set `--host 0.0.0.0` and `--public-url` to the https URL
    your proxy answers on. **For more than one machine** set `--redis-url` to a Redis or
    Valkey with `maxmemory-policy noeviction` and `appendfsync always`; all servers on one
    store are one service. Process hosts may set `PORT` and `REDIS_URL` instead.

    **SIGTERM or Ctrl-C** stops accepting, asks each session to come back, closes them
    spread over the drain time, stops the store last and exits with 0. A second one does
    not wait. Exit status 2 means that something asked for cannot be, and a sentence on
    the standard error says what to set.
    """
    from pushd import serve as server  # here, for the other commands need no server

    flags = {variable(name): value for name, value in settings.items() if value is not None}
    server.serve({**os.environ, **flags})


serve.__signature__ = _setting_flags()  # type: ignore[attr-defined] # read by typer
app.command(rich_help_panel=SERVER)(serve)


@app.command(rich_help_panel=SERVER)
def demo(
    data_dir: Annotated[
        Path,
        typer.Option(metavar="DIRECTORY", help="Where the keys and the messages stay."),
    ] = Path("data/demo"),
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="NUMBER",
            help="TCP port to listen on, this or none; 0 is any that is free.",
            show_default="8480, or the next that is free",
        ),
    ] = None,
    throw_away: Annotated[
        bool,
        typer.Option("--throw-away", help="Keep nothing: use a directory that vanishes."),
    ] = False,
) -> None:
    """Run a server with two ready identities, Alice and Bob, and show what passes.

    It prints two commands to paste into other terminals, and then every delivery as the
    server sees it: who wrote to whom, when, and a ciphertext. The next start finds the
    same keys and all unread messages. `PUSHD_...` variables do not count here.
    """
    from pushd import demo as demonstration  # here, for the other commands need no server

    demonstration.demo(None if throw_away else data_dir, port)


@app.command(rich_help_panel=SERVER)
def devhub(
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            metavar="NUMBER",
            help="TCP port to listen on; 0 is any that is free.",
        ),
    ] = 8481,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Where to listen; this machine alone."),
    ] = "127.0.0.1",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Where buckets and names last. Without it nothing does.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Register a name, like `alice.id.blockstack`."),
    ] = None,
    owner: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key that owns the name.")
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--app", metavar="ORIGIN", help="The app its owner uses: `https://app.example`."
        ),
    ] = None,
    app_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key its owner has there.")
    ] = None,
) -> None:
    """Run a Gaia hub and a names API for development, as strict as the real ones.

    Apps store files there, and a server finds names there; it prints the variables that
    server needs. `--name`, `--owner`, `--app` and `--app-key` together register somebody,
    as a wallet would. A running hub takes names by `PUT /dev/names/NAME` with
    `{"address", "zonefile"}`, from anybody who reaches its port: keep it on this machine.
    """
    from pushd import ports, serve  # here, for the other commands need no server
    from pushd.devhub import DevHub, program

    with serve.stoppable(), ports.claim(host, port) as listener:
        hub = DevHub(data_dir, url=ports.url(listener))
        if name and owner and origin and app_key:
            hub.register(name, read_key(owner), {origin: read_key(app_key)})
        elif name or owner or origin or app_key:
            raise ConfigurationError("--name needs --owner, --app and --app-key as well.")
        typer.echo(program.greeting(hub))
        program.serve(hub, listener)


# --- keys and tokens -----------------------------------------------------------------


@app.command(rich_help_panel=KEYS)
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
    account = _account(
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


@app.command(rich_help_panel=KEYS)
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
            audience=_at_some_server(_account(key, servers=server)).servers,
            scope=" ".join(sorted(scopes)),
            to=[read_contact(one).did for one in to or ()],
            now=time.time(),
            lifetime=lifetime,
            jti=secrets.token_urlsafe(16),
        )
    )


def _account(path: Path | None, **flags: str | list[str] | None) -> Account:
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


def _at_some_server(account: Account) -> Account:
    servers = account.servers or (DEFAULT_SERVER,)
    return msgspec.structs.replace(account, servers=servers)


# --- messages ------------------------------------------------------------------------


@app.command(rich_help_panel=MESSAGES)
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
    account = _account(
        key,
        app=app,
        name=name,
        hub=hub,
        servers=server,
        names_api=names_api,
        bns_api=bns_api,
        dev_hosts=dev_host,
    )
    account = _at_some_server(account)
    whole = account.app is not None and account.hub is not None
    if whole and raw is None and bucket is None:
        if message is None:
            raise ConfigurationError("There is nothing to send: give a text.")
        recipient = talk.recipient(to, to_key, account)
        client = talk.client(sender, account, give_up_after=give_up_after)
        typer.echo(asyncio.run(talk.send_message(client, recipient, message)))
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
    typer.echo(asyncio.run(sending))


@app.command(rich_help_panel=MESSAGES)
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
    account = _account(
        key,
        app=app,
        name=name,
        servers=server,
        names_api=names_api,
        bns_api=bns_api,
        dev_hosts=dev_host,
    )
    account = _at_some_server(account)
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


# --- contact documents ---------------------------------------------------------------

contact_commands = typer.Typer(
    name="contact",
    help="Say how to write to you, and see what others say of themselves.",
    no_args_is_help=True,
)
app.add_typer(contact_commands, rich_help_panel=KEYS)


@contact_commands.command()
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
    account = _account(key, app=app, hub=hub, servers=server, dev_hosts=dev_host)
    if not account.servers:
        raise ConfigurationError("--server, or the key file, has to name your server.")
    for path in asyncio.run(talk.publish(talk.client(read_key(key), account))):
        typer.echo(path)


@contact_commands.command()
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
    account = _account(
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


@contact_commands.command()
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
    account = _account(
        key, app=app, names_api=names_api, bns_api=bns_api, dev_hosts=dev_host
    )
    if is_file(what):
        did, servers = talk.verify_contact(Path(what), account, of)
    else:
        found = asyncio.run(talk.reach(account, what))
        did, servers = found.did, found.servers
    listed = printable(", ".join(servers)) or "no server"
    typer.echo(f"Good: {did} is at {listed}.")
