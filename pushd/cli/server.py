"""The commands that serve: a message server, the demo, a hub for development."""

import os
from collections.abc import Mapping
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pushd.errors import ConfigurationError
from pushd.keyfiles import read_key
from pushd.settings import Settings, variable

PANELS: Mapping[str, tuple[str, ...]] = {
    "Network": ("host", "port", "public_url", "allowed_origins"),
    "Store": ("data_dir", "redis_url", "durability"),
    "Mailboxes": (
        *("mailboxes", "owners", "hide_mailboxes"),
        *("max_payload", "max_mailbox_messages"),
        *("max_mailbox_bytes", "max_sessions", "max_ttl", "dedup"),
    ),
    "Names": ("names_api", "bns_api", "names_file", "dev_hosts", "lookups"),
    "Running": (
        *("workers", "notice_seconds", "drain_seconds", "ping_interval"),
        *("admin_token", "playground"),
        *("log_format", "log_level"),
    ),
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
    kinds: dict[Any, str] = {
        bool: "true|false",
        int: "NUMBER",
        Path: "DIRECTORY",
        str: "TEXT",
    }
    return kinds.get(field.annotation, "TEXT")


def _default(field: FieldInfo) -> str | bool:
    default = field.default
    if default in (None, PydanticUndefined, ()):
        return False
    if isinstance(default, bool):
        return str(default).lower()
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

    **SIGTERM or Ctrl-C** stops accepting once the notice is over, asks each session to come
    back, closes them spread over the drain time, stops the store last and exits with 0. A
    second one does not wait. Exit status 2 means that something asked for cannot be, and a
    sentence on the standard error says what to set.
    """
    from pushd import serve as server  # here, for the other commands need no server

    flags = {variable(name): value for name, value in settings.items() if value is not None}
    server.serve({**os.environ, **flags})


serve.__signature__ = _setting_flags()  # type: ignore[attr-defined] # read by typer


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
    from pushd.demo import program  # here, for the other commands need no server

    program.demo(None if throw_away else data_dir, port)


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
    from pushd import ports, worker  # here, for the other commands need no server
    from pushd.devhub import DevHub, program

    with worker.stoppable(), ports.claim(host, port) as listener:
        hub = DevHub(data_dir, url=ports.url(listener))
        if name and owner and origin and app_key:
            hub.register(name, read_key(owner), {origin: read_key(app_key)})
        elif name or owner or origin or app_key:
            raise ConfigurationError("--name needs --owner, --app and --app-key as well.")
        typer.echo(program.greeting(hub))
        program.serve(hub, listener)
