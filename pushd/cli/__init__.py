"""The command line `pushdctl`: what commands there are, and how a failure is told."""

import sys
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from pushd import __version__
from pushd.cli import contact, keys, messages, policy, server
from pushd.client import (
    GaiaError,
    NoBucket,
    NoServer,
    NotReachable,
    StreamClosed,
    Unreachable,
)
from pushd.errors import ConfigurationError, PushdError, Unproven
from pushd.logs import printable

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
contact_commands = typer.Typer(
    name="contact",
    help="Say how to write to you, and see what others say of themselves.",
    no_args_is_help=True,
)
policy_commands = typer.Typer(
    name="policy",
    help="See, and say, who may write to you.",
    no_args_is_help=True,
)

COMMANDS: Mapping[str, tuple[Callable[..., None], ...]] = {
    "Server": (server.serve, server.demo, server.devhub),
    "Keys and tokens": (keys.keygen, keys.token),
    "Messages": (messages.send, messages.listen),
}
"""The commands, by where the help shows them."""

for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
for command in (contact.publish, contact.show, contact.verify):
    contact_commands.command()(command)
policy_commands.command()(policy.show)
policy_commands.command("set")(policy.replace)
app.add_typer(contact_commands, rich_help_panel="Keys and tokens")
app.add_typer(policy_commands, rich_help_panel="Messages")


def main() -> None:
    """Run `pushdctl`; what cannot be is said in one sentence, never as a traceback.

    The sentence may be a server's, and that may be anybody's.
    """
    try:
        app()
    except ConfigurationError as error:
        _fail(str(error), status=2)
    except PushdError as error:
        _fail(printable(f"{error.detail} ({error.code})"), status=1)
    except _FAILURES as error:
        _fail(printable(str(error)), status=1)


_FAILURES = (
    *(GaiaError, NoBucket, NoServer, NotReachable),
    *(StreamClosed, Unproven, Unreachable),
)
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
