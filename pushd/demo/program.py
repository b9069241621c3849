"""The demo as a program: a server, a second one, a Gaia hub and two people, until a signal.

The server is that of `serve.py`, whole and unchanged but for the playground's page. In
threads of their own run the Gaia hub, which keeps what the people write and knows their
names, and the other server, for Bob to change to.
"""

import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

import uvicorn
from rich.console import Console
from rich.text import Text
from starlette.applications import Starlette

from pushd import logs, ports, serve, worker
from pushd.app import create_app
from pushd.demo.people import NAMES, hub_port, key_path, playground, settle
from pushd.demo.places import (
    OTHER_PORT,
    command,
    listen,
    listen_beside,
    listen_hub,
    near,
    place_of,
)
from pushd.demo.watching import observe
from pushd.devhub import DevHub
from pushd.settings import Settings
from pushd.web.http import Http
from pushd.web.stream import Stream


def demo(directory: Path | None, port: int | None) -> None:
    """Serve Alice and Bob until SIGTERM or SIGINT.

    Args:
        directory: Where keys and messages are kept; None keeps nothing.
        port: Where to listen; None is `PORT`, or the next that is free.

    Raises:
        ConfigurationError: If the port is taken, or another demo has the directory.
    """
    logs.configure(level="warning")
    console = Console(highlight=False, markup=False)
    with (
        worker.stoppable(),
        place_of(directory) as place,
        listen(port, console) as listener,
        listen_hub(hub_port(place)) as hub_listener,
        listen_beside(OTHER_PORT) as other_listener,
    ):
        hub = DevHub(place / "devhub", url=ports.url(hub_listener))
        urls = [ports.url(one) for one in (hub_listener, listener, other_listener)]
        settings, other = (
            Settings.read(
                {},
                port=one.getsockname()[1],
                data_dir=place / name,
                names_api=hub.url,
                dev_hosts=tuple(urlsplit(url).netloc for url in urls),
                drain_seconds=1,  # whoever plays with it does not want to wait
            )
            for one, name in ((listener, "store"), (other_listener, "other-store"))
        )
        with (
            serve.store(settings) as store_url,
            serve.store(other) as other_url,
            _running(hub.app, hub_listener),
            _running(create_app(other, store_url=other_url), other_listener),
        ):
            people = settle(place, hub, settings)
            app = create_app(settings, store_url=store_url)
            app.router.routes += playground(people, hub, settings, other)
            observe(app, people, console)
            started = partial(greet, console, place, settings.public_url, hub.url)
            worker.run(settings, store_url, listener, started=started, app=app)
    console.print("Stopped." if directory is None else f"Stopped; {directory} stays.")


def greet(console: Console, place: Path, url: str, hub_url: str) -> None:
    """Say where everything is, and what to type into other terminals."""
    alice, bob = (near(key_path(place, name)) for name in NAMES)
    listening = [*command(), "listen", "--key", bob]
    sending = [*command(), "send", "--key", alice, "--to", NAMES[1], "Hello Bob"]
    serves = Text(f"pushd serves at {url}", style="bold")
    console.print(serves, f"and keeps all in {near(place)}.", soft_wrap=True)
    console.print(
        f"A Gaia hub at {hub_url} keeps what {' and '.join(NAMES)} write.\n",
        soft_wrap=True,
    )
    console.print("To listen as Bob, paste into another terminal:\n")
    console.print(f"    {shlex.join(listening)}\n", style="green", soft_wrap=True)
    console.print("To send to him as Alice, paste into a third:\n")
    console.print(f"    {shlex.join(sending)}\n", style="green", soft_wrap=True)
    console.print("Or see both of them, and the server between them, in a browser:\n")
    console.print(f"    {url}/playground\n", style="green", soft_wrap=True)
    console.print("Deliveries show below, as the server sees them. Ctrl-C stops it.\n")


@contextmanager
def _running(app: Starlette, listener: socket) -> Iterator[None]:
    """Run a Gaia hub, or a server, in a thread, which is over when the block is."""
    config = uvicorn.Config(
        app,
        http=Http,
        ws=Stream,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="beside")
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
