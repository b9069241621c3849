"""The house stands as designed: imports go down only, and the pure parts stay pure."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    frozenset({"protocol"}),
    frozenset({"identity"}),
    frozenset({"bounds", "futures"}),
    frozenset({"incidents"}),
    frozenset({"allowance", "mailbox", "metrics", "resolvers"}),
    frozenset({"admission", "names", "rates"}),
    frozenset({"owners", "policies", "recipients", "rules"}),
    frozenset({"delivery", "hub", "pulse"}),
    frozenset({"web"}),
    frozenset({"settings", "ports", "logs", "keyfiles"}),
    frozenset({"app"}),
    frozenset({"asgi", "workers", "devhub"}),
    frozenset({"worker"}),
    frozenset({"serve"}),
    frozenset({"screen"}),
    frozenset({"demo", "talk"}),
    frozenset({"cli"}),
)
"""The parts of `pushd`, the lowest first. A part sees those below it, never a sibling."""

CLIENT_SEES = {"errors", "protocol", "identity", "resolvers"}
"""The client is a guest in the house: it shares what is pure, and the way to names."""

CLIENT_SEEN_BY = {"cli", "demo", "screen", "talk"}
"""Who may use the client."""

PURE = {"protocol", "identity"}
IMPURE = {
    *("asyncio", "concurrent", "threading", "multiprocessing", "subprocess", "anyio"),
    *("time", "random", "os", "io", "pathlib", "tempfile", "logging", "signal", "sys"),
    *("socket", "ssl", "select", "selectors", "http", "urllib.request"),
    *("redis", "hiredis", "starlette", "uvicorn", "httpx2", "websockets"),
    *("prometheus_client", "pydantic_settings", "typer", "rich"),
}
"""I/O, clocks, randomness and logging; `protocol` and `identity` import none of them."""

CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter"}
"""Methods that read a clock where they are called on a class of `datetime` or on `time`."""

RANDOMNESS = {"pushd/identity/keys.py", "pushd/identity/ecies.py"}
"""Where new keys, and the one-time keys of encryption, are drawn from `secrets`."""

CONCRETE = {"pushd.mailbox.redis", "pushd.mailbox.embedded"}
"""Storage as it is built; everyone else knows `pushd.mailbox.base` alone."""

COMPOSERS = {
    "pushd/app.py",  # the composition root
    "pushd/serve.py",  # the parent of all workers owns the embedded store
}


class Import(NamedTuple):
    """One imported module, in full, and where that is written."""

    module: str
    line: int


def imports(source: str) -> Iterator[Import]:
    """Yield every module a source imports, at any depth of nesting."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield Import(base, node.lineno)
            yield from (Import(f"{base}.{alias.name}", node.lineno) for alias in node.names)


def part(path: str) -> str:
    """Name the part of the house a file belongs to."""
    return path.split("/")[1].removesuffix(".py")


def height(name: str) -> int | None:
    """Tell the layer of a part, counted from the ground."""
    return next((at for at, layer in enumerate(LAYERS) if name in layer), None)


def may_see(here: str, there: str) -> bool:
    """Tell whether one part of the house may import another."""
    if here in ("__main__", there):
        return True
    if here == "client":
        return there in CLIENT_SEES
    if there == "client":
        return here in CLIENT_SEEN_BY
    floor, ceiling = height(there), height(here)
    if floor is None or ceiling is None:
        return False
    return floor < ceiling


def within(module: str, packages: set[str]) -> bool:
    """Tell whether a module is one of these packages, or inside one."""
    return any(module == name or module.startswith(f"{name}.") for name in packages)


def reads_clock(node: ast.AST) -> bool:
    """Tell whether a node is a call such as `datetime.now()` or `time.time()`."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=method)):
            return owner in {"datetime", "date", "time"} and method in CLOCKS
        case ast.Call(func=ast.Attribute(value=ast.Attribute(attr=owner), attr=method)):
            return owner in {"datetime", "date"} and method in CLOCKS
        case _:
            return False


def wrong_directions(path: str, source: str) -> Iterator[str]:
    """Yield what a file imports against the direction of the layers."""
    here = part(path)
    for module, line in imports(source):
        if module.startswith("."):
            yield f"{path}:{line}: imports are written in full"
        steps = module.split(".")
        if steps[0] != "pushd" or len(steps) < 2 or steps[1].startswith("__"):
            continue
        if not may_see(here, steps[1]):
            yield f"{path}:{line}: {here} may not see {module}"
        if within(module, CONCRETE) and path not in COMPOSERS and here != "mailbox":
            yield f"{path}:{line}: only {', '.join(sorted(COMPOSERS))} name {module}"


def impurities(path: str, source: str) -> Iterator[str]:
    """Yield what makes a file of a pure part impure."""
    if part(path) not in PURE:
        return
    for module, line in imports(source):
        if within(module, IMPURE):
            yield f"{path}:{line}: a pure part imports {module}"
        if within(module, {"secrets"}) and path not in RANDOMNESS:
            yield f"{path}:{line}: randomness is drawn in {', '.join(sorted(RANDOMNESS))}"
    for node in ast.walk(ast.parse(source)):
        if reads_clock(node):
            assert isinstance(node, ast.Call)
            yield f"{path}:{node.lineno}: a pure part reads a clock"


def complaints(path: str, source: str) -> list[str]:
    """Tell everything that is wrong with where a file reaches."""
    return [*wrong_directions(path, source), *impurities(path, source)]


def sources() -> list[Path]:
    """List every Python file of the package."""
    return sorted((ROOT / "pushd").rglob("*.py"))


def test_imports_go_down_only_and_pure_parts_are_pure() -> None:
    """No file of the package reaches where it may not."""
    found = [
        complaint
        for file in sources()
        for complaint in complaints(str(file.relative_to(ROOT)), file.read_text())
    ]

    assert found == []


def test_every_part_has_its_place() -> None:
    """A new file or folder of the package is given a layer before it lands."""
    placed = frozenset().union(*LAYERS) | {"client", "__main__", "__init__"}

    assert set() == {part(str(file.relative_to(ROOT))) for file in sources()} - placed


def test_every_file_opens_with_its_part_in_the_whole() -> None:
    """The first line of every file is one sentence."""
    silent = [
        str(file.relative_to(ROOT))
        for file in sources()
        if not (ast.get_docstring(ast.parse(file.read_text())) or "")
        .split("\n\n")[0]
        .endswith((".", ":"))
    ]

    assert silent == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pushd/errors.py", "import pushd.protocol.ids"),
        ("pushd/protocol/ids.py", "from pushd.identity import keys"),
        ("pushd/protocol/ids.py", "from pushd import identity"),
        ("pushd/identity/keys.py", "from pushd.mailbox.base import Entry"),
        ("pushd/metrics.py", "from pushd.mailbox.base import Entry"),
        ("pushd/mailbox/base.py", "from pushd.metrics import Metrics"),
        ("pushd/hub.py", "from pushd.delivery import Deliveries"),
        ("pushd/hub.py", "from pushd.web.stream import Stream"),
        ("pushd/hub.py", "def late():\n    from pushd.web.stream import Stream"),
        ("pushd/hub.py", "if TYPE_CHECKING:\n    from pushd.app import create_app"),
        ("pushd/web/stream.py", "from pushd.settings import Settings"),
        ("pushd/web/stream.py", "from pushd.mailbox.redis import RedisMailboxes"),
        ("pushd/web/stream.py", "from pushd.mailbox import embedded"),
        ("pushd/web/stream.py", "from .websocket import WebSocket"),
        ("pushd/settings.py", "from pushd.app import create_app"),
        ("pushd/app.py", "from pushd.cli import main"),
        ("pushd/cli/server.py", "from pushd.mailbox.embedded import EmbeddedStore"),
        ("pushd/client/sender.py", "from pushd.mailbox.base import Entry"),
        ("pushd/client/sender.py", "import pushd.metrics"),
        ("pushd/web/stream.py", "from pushd.client import Sender"),
        ("pushd/novelty.py", "from pushd.errors import PushdError"),
        ("pushd/protocol/session.py", "import asyncio"),
        ("pushd/protocol/session.py", "from asyncio import Future"),
        ("pushd/protocol/session.py", "def late():\n    import time"),
        ("pushd/protocol/session.py", "import urllib.request"),
        ("pushd/protocol/session.py", "import secrets"),
        ("pushd/identity/tokens.py", "from secrets import token_hex"),
        ("pushd/identity/tokens.py", "import logging"),
        ("pushd/identity/tokens.py", "import os.path"),
        ("pushd/identity/tokens.py", "import redis.asyncio"),
        ("pushd/identity/tokens.py", "at = datetime.now(UTC)"),
        ("pushd/identity/tokens.py", "at = datetime.datetime.now(UTC)"),
        ("pushd/identity/tokens.py", "at = time.time()"),
    ],
)
def test_a_planted_trespass_is_seen(path: str, source: str) -> None:
    """The checker complains of each trespass that is planted, so its silence counts."""
    assert complaints(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pushd/protocol/ids.py", "from pushd.errors import BadRequest"),
        ("pushd/identity/keys.py", "import secrets\nfrom datetime import UTC, datetime"),
        ("pushd/identity/tokens.py", "from urllib.parse import urlsplit\nnow = later(now)"),
        (
            "pushd/mailbox/redis.py",
            "import time\nfrom pushd.mailbox.coalesce import Hot",
        ),
        ("pushd/app.py", "from pushd.mailbox.redis import RedisMailboxes"),
        ("pushd/serve.py", "from pushd.mailbox.embedded import EmbeddedStore"),
        ("pushd/app.py", "from pushd.settings import Settings"),
        ("pushd/cli/server.py", "from pushd import __version__, errors"),
        (
            "pushd/client/sender.py",
            "import httpx2\nfrom pushd.identity import keys",
        ),
        ("pushd/__main__.py", "from pushd.cli import main"),
    ],
)
def test_what_is_allowed_is_left_alone(path: str, source: str) -> None:
    """The checker is silent about what the layers allow."""
    assert complaints(path, source) == []
