"""Policies: what is asked about the names in them, and what verdicts that comes to."""

import asyncio
from typing import cast

import msgspec
import pytest

from pushd.errors import BadRequest, RateLimited, ResolverUnavailable
from pushd.identity.keys import PrivateKey
from pushd.identity.tokens import Token
from pushd.mailbox.base import Mailboxes, Verdicts
from pushd.policies import OPEN, Policies
from pushd.protocol.messages import MAX_POLICY, MAX_POLICY_NAMES, Policy
from tests.unit.fake_directory import APP, FakeDirectory, names_of, token_of

ALICE, BOB, CAROL, DAVE = (PrivateKey.generate().did for _ in range(4))
ALICES_NAME, CAROLS_NAME = "alice.id.blockstack", "carol.id.blockstack"


class Cabinet:
    """Keeps one policy, as the store does."""

    def __init__(self) -> None:
        self.kept: Verdicts | None = None
        self.written = 0

    async def policy(self, mailbox: str) -> bytes:
        """Return the record."""
        return b"" if self.kept is None else self.kept.record

    async def set_policy(
        self, mailbox: str, verdicts: Verdicts | None, *, instead: bytes = b""
    ) -> None:
        """Keep another, in place of this one."""
        assert mailbox == BOB
        if not instead or (self.kept is not None and self.kept.record == instead):
            self.kept = verdicts
            self.written += 1


class Office:
    """Bob's policy, and those who know names."""

    def __init__(self, lookups: int = 0) -> None:
        self.directory = FakeDirectory()
        self.directory.know(ALICES_NAME, ALICE)
        self.directory.know(CAROLS_NAME, CAROL)
        self.cabinet = Cabinet()
        names = names_of(self.directory, lookups=lookups)
        self.policies = Policies(cast(Mailboxes, self.cabinet), names)

    async def put(self, policy: Policy, token: Token | None = None) -> Verdicts | None:
        """Set Bob's policy."""
        self.cabinet.kept = await self.policies.read(token or bob(), policy)
        return self.cabinet.kept

    async def refreshed(self) -> Verdicts:
        """Look the names up anew, and return what they come to."""
        await self.policies.refresh(BOB)
        assert self.cabinet.kept is not None
        return self.cabinet.kept


def bob(app: str | None = APP) -> Token:
    """Return Bob's token."""
    return msgspec.structs.replace(token_of(BOB, None), app=app)


@pytest.fixture
async def office() -> Office:
    """Return Bob's office."""
    return Office()


async def test_keys_are_verdicts_as_they_stand(office: Office) -> None:
    """Nobody is asked about them, and they never get stale; who is blocked is blocked."""
    verdicts = await office.put(Policy("refuse", [ALICE, CAROL], [CAROL, DAVE]), bob(None))
    assert verdicts is not None
    assert not verdicts.others
    assert verdicts.senders == {ALICE: True, CAROL: False, DAVE: False}
    assert verdicts.fresh == 0
    assert office.directory.asked == []


async def test_the_policy_everybody_begins_with_is_none(office: Office) -> None:
    """What accepts everything costs the store nothing, and reads as if it was written."""
    assert await office.put(OPEN) is None
    assert await office.policies.get(BOB) == OPEN
    assert await office.put(Policy("accept", [ALICE])) is not None


async def test_a_policy_is_told_as_it_was_written(office: Office) -> None:
    """With the names, not with what they lead to."""
    policy = Policy("refuse", [ALICES_NAME, DAVE, DAVE], [CAROLS_NAME])
    await office.put(policy)
    assert await office.policies.get(BOB) == policy


async def test_names_count_as_whose_they_are(office: Office) -> None:
    """For as long as names are believed."""
    verdicts = await office.put(Policy("accept", [ALICES_NAME], [CAROLS_NAME]))
    assert verdicts is not None
    assert verdicts.senders == {ALICE: True, CAROL: False}
    assert verdicts.fresh == 600


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Policy("accept", ["did:key:z"]), "allow[0]"),
        (Policy("accept", [ALICE], [DAVE, "No Name"]), "block[1]"),
        (Policy("accept", [], [ALICES_NAME, "nobody.id"]), "block[1]"),
        (Policy("accept", [ALICE] * (MAX_POLICY + 1)), "`allow`"),
        (Policy("accept", [], [ALICE] * (MAX_POLICY + 1)), "`block`"),
        (Policy("accept", [f"{n}.id" for n in range(MAX_POLICY_NAMES + 1)]), "names"),
    ],
)
async def test_an_entry_that_cannot_be_is_told(
    office: Office, policy: Policy, said: str
) -> None:
    """No DID, no name, nobody's name, or too many of them."""
    with pytest.raises(BadRequest) as refused:
        await office.policies.read(bob(), policy)
    assert said in refused.value.detail


async def test_names_need_an_app(office: Office) -> None:
    """They mean nothing without."""
    with pytest.raises(BadRequest, match="app"):
        await office.policies.read(bob(None), Policy("accept", [ALICES_NAME]))


async def test_a_name_that_cannot_be_looked_up_now_is_no_bad_request(
    office: Office,
) -> None:
    """The owner may try again, whoever is to blame."""
    office.directory.down = True
    with pytest.raises(ResolverUnavailable):
        await office.policies.read(bob(), Policy("accept", [ALICES_NAME]))
    busy = Office(lookups=1)
    with pytest.raises(RateLimited):
        await busy.policies.read(bob(), Policy("accept", [ALICES_NAME], [CAROLS_NAME]))


# --- names that are stale ------------------------------------------------------------


async def test_a_name_that_leads_elsewhere_counts_for_whom_it_leads_to(
    office: Office,
) -> None:
    """In both lists; who had it before is one of the others again."""
    await office.put(Policy("refuse", [ALICES_NAME], [CAROLS_NAME]))
    office.directory.know(ALICES_NAME, DAVE)
    assert (await office.refreshed()).senders == {DAVE: True, CAROL: False}
    office.directory.know(CAROLS_NAME, DAVE)
    assert (await office.refreshed()).senders == {DAVE: False}


async def test_a_name_that_is_nobodys_allows_nobody_and_blocks_still(
    office: Office,
) -> None:
    """A blocked sender does not get in by giving up the name."""
    await office.put(Policy("refuse", [ALICES_NAME], [CAROLS_NAME]))
    office.directory.know(ALICES_NAME, DAVE, app="https://elsewhere.example")
    office.directory._people.clear()
    verdicts = await office.refreshed()
    assert verdicts.senders == {CAROL: False}
    assert verdicts.fresh == 600


async def test_a_source_that_is_down_neither_allows_nor_refuses(office: Office) -> None:
    """Whom a name allowed waits, whom it blocked is blocked; it is asked again soon."""
    await office.put(Policy("refuse", [ALICES_NAME, DAVE], [CAROLS_NAME]))
    office.directory.down = True
    verdicts = await office.refreshed()
    assert verdicts.senders == {ALICE: None, DAVE: True, CAROL: False}
    assert verdicts.fresh == 10
    office.directory.down = False
    verdicts = await office.refreshed()
    assert verdicts.senders == {ALICE: True, DAVE: True, CAROL: False}
    assert verdicts.fresh == 600


async def test_who_is_allowed_by_key_too_does_not_wait_for_a_name(office: Office) -> None:
    """Whichever stands first."""
    for allow in ([ALICES_NAME, ALICE], [ALICE, ALICES_NAME]):
        office.directory.down = False
        await office.put(Policy("refuse", allow))
        office.directory.down = True
        assert (await office.refreshed()).senders == {ALICE: True}


async def test_names_are_looked_up_anew_once_for_all_who_wait(office: Office) -> None:
    """However many deliveries find the policy stale."""
    await office.put(Policy("refuse", [ALICES_NAME]))
    office.directory.asked.clear()
    await asyncio.gather(*[office.policies.refresh(BOB) for _ in range(5)])
    assert office.directory.asked == [ALICES_NAME]
    assert office.cabinet.written == 1
    await office.policies.refresh(BOB)
    assert office.directory.asked == [ALICES_NAME] * 2


async def test_a_policy_that_was_changed_meanwhile_stays_changed(office: Office) -> None:
    """What was looked up for the old one is of no use for the new."""
    await office.put(Policy("refuse", [ALICES_NAME]))
    refreshing = asyncio.create_task(office.policies.refresh(BOB))
    await asyncio.sleep(0)
    await office.put(Policy("refuse", [DAVE]))
    await refreshing
    assert office.cabinet.kept is not None
    assert office.cabinet.kept.senders == {DAVE: True}
