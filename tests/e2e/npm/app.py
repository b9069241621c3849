"""An app on the real npm packages, driven from Python: it does as `app.cjs` says.

    with Packages("stacks", log) as packages:
        alice = packages.sign_in(key, hub=hub)
        alice.call("putFile", "a.txt", "text", encrypt=False)

A call names a function as it is named there: of the packages, or of `client.cjs`. What an
app throws is raised as `Thrown`.
"""

import json
import shutil
import subprocess
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self

from pushd.devhub import DevHub
from pushd.identity.addresses import stacks_address
from pushd.identity.keys import PrivateKey, PublicKey, address, hash160
from pushd.identity.zonefiles import make_zone_file
from tests.processes import PATIENCE

HERE = Path(__file__).parent
FAMILIES = ("blockstack", "stacks")
"""blockstack.js 21, and the packages that came after it."""
ORIGIN = "https://app.example"
"""Of the app they are in."""

_numbers = count(1)


class Thrown(Exception):
    """The packages threw an error; the text begins with its name."""


class Packages:
    """A node process with one family of packages.

    Args:
        family: One of `FAMILIES`.
        log: File for what the packages write on their console.

    Attributes:
        family: As given.
    """

    def __init__(self, family: str, log: Path) -> None:
        with log.open("wb") as console:
            self._process = subprocess.Popen(
                ["node", "app.cjs", family],
                cwd=HERE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=console,
            )
        self.family = family
        self._log = log
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        self._reader = Thread(target=self._read, name="node")
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:  # which closes its pipes, and waits
            self._process.kill()
            self._reader.join()

    def sign_in(
        self, key: PrivateKey, *, hub: str = "", name: str | None = None, names: str = ""
    ) -> "App":
        """Make the app of a user; a new one knows nothing of what an older one did.

        Args:
            key: The app key, which the user's wallet derived.
            hub: URL of the user's Gaia hub.
            name: Name the user claims; None claims none.
            names: URL of the names API.
        """
        options = {"origin": ORIGIN, "appPrivateKey": key.to_hex(), "hubUrl": hub}
        names_url = f"{names}/v1/names"
        who = self.call("signIn", {**options, "name": name, "names": names_url})
        return App(self, who["publicKey"], who["address"], who["did"])

    def register(self, who: str, owner: PrivateKey, key: PrivateKey, *, hub: DevHub) -> str:
        """Give somebody a name of their own, which these packages can follow, too.

        Args:
            who: How it begins.
            owner: The key that owns it.
            key: The key of its owner in the app.
            hub: Keeps profile and name.
        """
        name = f"{who}-{next(_numbers)}.id.blockstack"
        hub.register(name, owner, {ORIGIN: key}, publish_keys=False)
        zone_file = make_zone_file(name, f"{hub.bucket_url(owner)}profile.json")
        hub.names.put(name, self.address(owner.public), zone_file)
        return name

    def address(self, key: PublicKey) -> str:
        """Return a key's address in the one form in which they know the owner of a name."""
        if self.family == "blockstack":
            return address(key.raw)
        return stacks_address(hash160(key.raw))

    def call(self, name: str, *arguments: object, user: str | None = None) -> Any:
        """Call a function and return its result.

        Raises:
            Thrown: If it throws.
        """
        given = [_write(argument) for argument in arguments]
        order = {"call": name, "arguments": given, "user": user}
        answer = self._exchange(json.dumps(order).encode() + b"\n")
        if "error" in answer:
            raise Thrown("{name}: {message}".format(**answer["error"]))
        return _read(answer.get("result"))

    def _exchange(self, order: bytes) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(order)
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._answers.get(timeout=PATIENCE))
        except (Empty, OSError, json.JSONDecodeError):
            self._process.kill()  # or a late answer would be taken for the next one
            raise AssertionError(self._log.read_text()) from None
        return answer

    def _read(self) -> None:
        """Read until the process ends; the end is an empty line."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")


class App:
    """The app of a user who is signed in.

    Attributes:
        public_key: Of the app key, in hexadecimal.
        address: Of the user's bucket.
        did: The user's.
    """

    def __init__(self, packages: Packages, public_key: str, address: str, did: str) -> None:
        self.packages = packages
        self.public_key = public_key
        self.address = address
        self.did = did

    def call(self, name: str, *arguments: object, **options: object) -> Any:
        """Call a function of the app and return its result; options are its last argument.

        Raises:
            Thrown: If it throws.
        """
        last = (options,) if options else ()
        return self.packages.call(name, *arguments, *last, user=self.address)


def installed() -> bool:
    """Tell whether there is a node, and the packages are in place."""
    return shutil.which("node") is not None and (HERE / "node_modules").is_dir()


def _write(value: object) -> object:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _read(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"hex"}:
        return bytes.fromhex(value["hex"])
    return value
