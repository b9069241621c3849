"""Who may write to a mailbox: its owner's policy, with the names in it looked up.

The store decides, for it alone sees every delivery, and it knows keys. So a policy is kept
there as verdicts on keys, beside the record of what its owner wrote and of whose the names
were. That is believed for as long as names are; then the next delivery finds the policy
stale, and whoever brought it has the names looked up anew.

A name that nobody can look up right now is neither believed nor denied: deliveries that
depend on it have to wait. But what blocks goes on to block, also when the name became
nobody's: a policy does not open by itself.
"""

import asyncio
from collections.abc import Mapping
from functools import partial

import msgspec
from msgspec import Struct

from pushd.errors import BadRequest, PushdError, UnknownMailbox
from pushd.futures import each
from pushd.identity.keys import validate_did
from pushd.identity.names import form_of, is_name
from pushd.identity.tokens import Token
from pushd.mailbox.base import Mailboxes, Verdicts
from pushd.names import Names
from pushd.protocol.messages import MAX_POLICY, MAX_POLICY_NAMES, Policy
from pushd.resolvers.cache import FRESH, RETRY

OPEN = Policy("accept")
"""The policy of a mailbox whose owner never said any."""


class _Record(Struct, frozen=True):
    """A policy as its owner wrote it.

    Attributes:
        policy: The policy.
        app: Web origin its names belong to; empty without names.
        found: Whose its names are, by DID; None: nobody can tell, or nobody's.
        unknown: The names of which nobody can tell.
    """

    policy: Policy
    app: str = ""
    found: dict[str, str | None] = {}
    unknown: list[str] = []


_decode = msgspec.json.Decoder(_Record).decode


class Policies:
    """The policies of all mailboxes.

    Args:
        mailboxes: Where they are kept, and count.
        names: Finds out whose the names in them are.
    """

    def __init__(self, mailboxes: Mailboxes, names: Names) -> None:
        self._mailboxes = mailboxes
        self._names = names
        self._refreshing: dict[str, asyncio.Task[None]] = {}

    async def get(self, mailbox: str) -> Policy:
        """Return a mailbox's policy.

        Raises:
            UnknownMailbox: If it is not there.
        """
        record = await self._mailboxes.policy(mailbox)
        return _decode(record).policy if record else OPEN

    async def read(self, token: Token, policy: Policy) -> Verdicts | None:
        """Return what a policy means to the store, its names looked up; None: nothing.

        Args:
            token: The owner's.
            policy: What the owner wants.

        Raises:
            BadRequest: If an entry is neither a DID nor somebody's name, or there are too
                many; the detail says which.
            RateLimited: If the owner had too many names looked up.
            ResolverUnavailable: If nobody can tell right now whose a name is.
        """
        names = _names_in(policy)
        if names and token.app is None:
            raise BadRequest(
                "Names in a policy need the `app` they belong to in the token."
            )
        if policy == OPEN:
            return None
        app = token.app or ""

        async def find(name: str) -> str:
            try:
                return await self._names.find(name, app, asker=token.did)
            except UnknownMailbox as error:
                raise BadRequest(f"`{names[name]}`: {name}: {error.detail}") from None

        return _verdicts(_Record(policy, app, await each(names, find)))

    # --- names that are stale ------------------------------------------------------------

    async def refresh(self, mailbox: str) -> None:
        """Look up the names in a mailbox's policy anew. Safe to cancel.

        Raises:
            PushdError: If the store refuses, or is away.
        """
        task = self._refreshing.get(mailbox)
        if task is None:
            task = asyncio.create_task(self._refresh(mailbox))
            self._refreshing[mailbox] = task
            task.add_done_callback(lambda _: self._refreshing.pop(mailbox))
        await asyncio.shield(task)

    async def _refresh(self, mailbox: str) -> None:
        text = await self._mailboxes.policy(mailbox)
        if not text:
            return
        record = _decode(text)
        answers = await each(record.found, partial(self._ask, mailbox, record.app))
        fresh = _learn(record, answers)
        await self._mailboxes.set_policy(mailbox, _verdicts(fresh), instead=text)

    async def _ask(self, mailbox: str, app: str, name: str) -> str | PushdError:
        try:
            return await self._names.find(name, app, asker=mailbox, anew=True)
        except PushdError as error:
            return error


def _names_in(policy: Policy) -> dict[str, str]:
    """Check the entries of a policy; return the names among them, and where they stand.

    Raises:
        BadRequest: If one is no DID of a mailbox and no name, or there are too many.
    """
    names: dict[str, str] = {}
    for list_name, entries in (("allow", policy.allow), ("block", policy.block)):
        if len(entries) > MAX_POLICY:
            raise BadRequest(f"`{list_name}` has at most {MAX_POLICY} entries.")
        for at, entry in enumerate(entries):
            member = f"{list_name}[{at}]"
            try:
                if is_name(entry):
                    form_of(entry)
                    names.setdefault(entry, member)
                else:
                    validate_did(entry)
            except BadRequest as error:
                raise BadRequest(f"`{member}`: {error.detail}") from None
    if len(names) > MAX_POLICY_NAMES:
        raise BadRequest(f"A policy has at most {MAX_POLICY_NAMES} names; write the DIDs.")
    return names


def _learn(record: _Record, answers: Mapping[str, str | PushdError]) -> _Record:
    """Return a policy with what was found out about its names."""
    found: dict[str, str | None] = {}
    unknown: list[str] = []
    for name, answer in answers.items():
        if isinstance(answer, str):
            found[name] = answer
            continue
        if not isinstance(answer, UnknownMailbox | BadRequest):
            unknown.append(name)
        keep = name in record.policy.block or name in unknown
        found[name] = record.found[name] if keep else None
    return msgspec.structs.replace(record, found=found, unknown=unknown)


def _verdicts(record: _Record) -> Verdicts:
    policy = record.policy
    senders: dict[str, bool | None] = {}
    for entry in policy.allow:
        did = record.found.get(entry, entry)
        if did is not None and entry not in record.unknown:
            senders[did] = True
        elif did is not None:
            senders.setdefault(did, None)
    for entry in policy.block:
        did = record.found.get(entry, entry)
        if did is not None:
            senders[did] = False
    return Verdicts(
        record=msgspec.json.encode(record),
        others=policy.default == "accept",
        senders=senders,
        fresh=int(RETRY if record.unknown else FRESH) if record.found else 0,
    )
