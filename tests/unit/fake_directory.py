"""A directory whose answers the test gives, and that counts how often it was asked."""

from typing import cast

from pushd.bounds import Bound
from pushd.errors import ResolverUnavailable, Unproven
from pushd.identity.names import form_of, validate_app
from pushd.identity.tokens import Token
from pushd.metrics import Metrics
from pushd.names import Names
from pushd.resolvers.base import Destination, Identity, Proof
from pushd.resolvers.directory import Directory

SERVER = "https://push.example"
APP = "https://app.example"


class FakeDirectory:
    """Knows what the test says; remembers like the real one, but for ever.

    Attributes:
        servers: Message servers by DID, as contact documents list them.
        down: Whether nobody answers.
        asked: The names that were looked up.
    """

    def __init__(self) -> None:
        self.servers: dict[str, tuple[str, ...]] = {}
        self.down = False
        self.asked: list[str] = []
        self._people: dict[tuple[str, str], str] = {}
        self._memory: dict[tuple[str, str], str | None] = {}

    def know(self, name: str, did: str, app: str = APP) -> None:
        """Know whose a name is."""
        self._people[name, app] = did

    def known(self, name: str, app: str) -> Identity | None:
        """Return what was asked before."""
        return self._identity(name, app) if (name, app) in self._memory else None

    def forget(self, name: str, app: str) -> None:
        """Look a name up anew next time."""
        self._memory.pop((name, app), None)

    async def identify(self, name: str, app: str) -> Identity:
        """Look a name up."""
        form_of(name)
        validate_app(app)
        if (name, app) not in self._memory:
            self._ask(name, app)
        return self._identity(name, app)

    async def reach(self, name: str, app: str) -> Destination:
        """Look up where to write to."""
        identity = await self.identify(name, app)
        self._ask(name, app)
        servers = self.servers.get(identity.did, ())
        return Destination(did=identity.did, key=None, servers=servers, proof=Proof.FILE)

    def _ask(self, name: str, app: str) -> None:
        self.asked.append(name)
        if self.down:
            raise ResolverUnavailable
        self._memory[name, app] = self._people.get((name, app))

    def _identity(self, name: str, app: str) -> Identity:
        did = self._memory[name, app]
        if did is None:
            raise Unproven("Nobody has that name.")
        return Identity(did=did, proof=Proof.FILE)


def names_of(
    directory: FakeDirectory,
    *,
    lookups: int = 0,
    metrics: Metrics | None = None,
    under_way: Bound | None = None,
) -> Names:
    """Return the names a server knows through a directory; time stands still."""
    return Names(
        cast(Directory, directory),
        server=SERVER,
        lookups=lookups,
        metrics=metrics or Metrics(),
        under_way=under_way,
        clock=lambda: 1_000_000.0,
    )


def token_of(did: str, name: str | None) -> Token:
    """Return a token as if verified; if it claims a name, for the app of these tests."""
    empty: frozenset[str] = frozenset()
    return Token(
        did=did,
        scope=empty,
        to=empty,
        audience=empty,
        name=name,
        app=APP if name is not None else None,
        issued_at=0.0,
        expires=1.0,
        jti="j",
        digest=None,
    )
