"""The live parts of the server, as requests and streams find them in their state."""

from collections.abc import Callable
from typing import TypedDict

from pushd.admission import Line, Pace
from pushd.bounds import Bounds
from pushd.delivery import Deliveries
from pushd.hub import Hub
from pushd.identity.authenticator import Authenticator
from pushd.mailbox.base import Mailboxes
from pushd.metrics import Metrics
from pushd.names import Names
from pushd.owners import Owners
from pushd.policies import Policies
from pushd.protocol.session import Terms
from pushd.web.addresses import Addresses
from pushd.web.strangers import Strangers


class Parts(TypedDict):
    """What the lifespan made; each part is named once, in `app.py`.

    Attributes:
        addresses: Where requests come from; asked only where addresses have a limit.
        acquainted: Called when a request has shown a good token; each connection puts its
            own here.
        bounds: How much there may be, of what others can make this process hold.
        line: Those who want something dear of the store.
        pace: Those whose token is to be verified.
        strangers: The connections that have shown no good token yet.
        terms: What all sessions share.
        origins: Web origins that may open a stream; None is any.
        drain_seconds: Time in which sessions are closed when the server stops.
    """

    acquainted: Callable[[], None]
    addresses: Addresses
    authenticator: Authenticator
    bounds: Bounds
    deliveries: Deliveries
    hub: Hub
    line: Line
    mailboxes: Mailboxes
    metrics: Metrics
    names: Names
    owners: Owners
    pace: Pace
    policies: Policies
    strangers: Strangers
    terms: Terms
    origins: frozenset[str] | None
    drain_seconds: float
