"""Alice of `make run` invites Bob to a party, and he comes."""

import asyncio
import sys
from pathlib import Path

import msgspec
from invitations import Calendar, Event
from rich import print

from pushd.client import Client
from pushd.keyfiles import read_account, read_key


def client_of(file: Path) -> Client:
    """Make the client of whoever has this key file."""
    return Client(read_key(file), **msgspec.structs.asdict(read_account(file)))


async def party(alice_file: Path, bob_file: Path) -> None:
    """Invite, read, change, read again, answer."""
    async with client_of(alice_file) as alice, client_of(bob_file) as bob:
        hers = Calendar(read_key(alice_file), alice)
        his = Calendar(read_key(bob_file), bob)
        picnic = Event("Picnic", "2026-06-01T12:00", "the lake")
        uid = await hers.invite(picnic, ["bob.id.blockstack"])
        await his.news.wait()
        print("Bob reads:", await his.read(uid))
        await hers.change(uid, Event("Picnic", "2026-06-01T13:00", "the lake"))
        print("Bob reads:", await his.read(uid))
        await his.answer(uid, coming=True)
        await hers.news.wait()
        print("Alice knows:", hers.guests[uid])


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "data/demo")
    asyncio.run(party(place / "alice.json", place / "bob.json"))
