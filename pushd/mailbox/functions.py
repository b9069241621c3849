"""The libraries of functions that ship with this release, each named by its own text.

So a release calls its own functions and no other's, and several releases on one store, as
during an upgrade, keep out of each other's way; nobody can forget to count a version up.
What they keep in the store they share: the rules for that are at the head of
`functions.lua`.
"""

from hashlib import blake2b
from importlib.resources import files
from typing import NamedTuple

PLACE = "VERSION"
"""What stands in a text where its version belongs."""


class Library(NamedTuple):
    """A library as the store takes it.

    Attributes:
        name: Its name, and the prefix of its functions.
        code: Its text, with its name in it.
    """

    name: str
    code: str


def named(text: str) -> Library:
    """Name a library by its text."""
    version = blake2b(text.encode(), digest_size=5).hexdigest()
    code = text.replace(PLACE, version)
    return Library(code.partition("name=")[2].split()[0], code)


def text_of(file: str) -> str:
    """Read a text that ships with this release."""
    return files("pushd.mailbox").joinpath(file).read_text("utf-8")


MAILBOXES = named(text_of("functions.lua"))
"""What a mailbox does in one step."""
LIMITS = named(text_of("limits.lua"))
"""What was done lately, counted over all servers."""
