"""The composition root: the only file that names concrete parts and puts them together."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pushd import logs
from pushd.admission import Admission, Line, Pace
from pushd.bounds import Bounds
from pushd.delivery import Deliveries
from pushd.errors import ConfigurationError
from pushd.hub import Hub
from pushd.identity.authenticator import Authenticator
from pushd.mailbox.base import Quota
from pushd.mailbox.embedded import EmbeddedStore
from pushd.mailbox.redis import RedisMailboxes
from pushd.metrics import Metrics
from pushd.names import Names
from pushd.owners import Owners
from pushd.policies import Policies
from pushd.protocol.messages import DIGEST_ONLY
from pushd.protocol.session import Terms
from pushd.pulse import Pulse
from pushd.rates import Rates
from pushd.recipients import Recipients
from pushd.resolvers.compose import make_directory
from pushd.resolvers.fetch import Fetcher
from pushd.rules import Rules
from pushd.settings import Settings
from pushd.web import admin
from pushd.web.addresses import Addresses
from pushd.web.admin.numbers import ShowNumbers
from pushd.web.cors import Cors
from pushd.web.deliver import Deliver
from pushd.web.entrance import Entrance
from pushd.web.health import Live, Ready, ShowMetrics
from pushd.web.messages import GetMessages, PostAcks
from pushd.web.pages import PLAYGROUND, Page
from pushd.web.parts import Parts
from pushd.web.policy import PolicyOf
from pushd.web.problems import Problems
from pushd.web.strangers import Strangers
from pushd.web.upgrade import StreamByHttp
from pushd.web.wellknown import FEATURES, About, Limits, WellKnown

log = logging.getLogger(__name__)

FLUSH = 1.0
"""Seconds between two moves of what the hot path counted into the metrics."""


def create_app(settings: Settings, *, store_url: str | None = None) -> Starlette:
    """Put a server together; nothing starts before the app's lifespan does.

    The app must be served with `web.http.Http` and `web.stream.Stream` as uvicorn's
    `http` and `ws`, as `pushdctl serve` does; else it has no stream.

    Args:
        settings: The server's settings.
        store_url: Where the mailboxes are; None: where the settings say, or else in an
            embedded store that this app starts, and shares with nobody.
    """
    recent = logs.Recent()
    return App(
        routes=[
            Route("/v1/deliveries", Deliver(), methods=["POST"]),
            Route("/v1/messages", GetMessages(), methods=["GET"]),
            Route("/v1/acks", PostAcks(), methods=["POST"]),
            Route("/v1/policy", PolicyOf(), methods=["GET", "PUT"]),
            Route("/v1/stream", StreamByHttp(), methods=["GET"]),
            Route("/.well-known/pushd", WellKnown(_about(settings)), methods=["GET"]),
            Route("/health/live", Live(), methods=["GET"]),
            Route("/health/ready", Ready(), methods=["GET"]),
            Route("/metrics", ShowMetrics(), methods=["GET"]),
            *_admin(settings, recent),
            *(Page("/playground", PLAYGROUND).routes() if settings.playground else ()),
        ],
        lifespan=_lifespan(settings, store_url, recent),
        origins=_origins(settings),
        charge_addresses=settings.address_rate > 0,
    )


def _admin(settings: Settings, recent: logs.Recent) -> list[Route]:
    """Return the routes of the operator's page, if there is one."""
    if settings.admin_token is None:
        return []
    numbers = ShowNumbers(settings.admin_token, recent.lines)
    return [
        Route("/admin/numbers", numbers, methods=["GET"]),
        *Page("/admin", Path(admin.__file__).parent).routes(),
    ]


class App(Starlette):
    """Starlette's routing, with error answers of our own.

    Starlette's two layers of error handling would answer in plain text, hide the CORS
    headers of a 500 from the page that needs them, and cost a request on every delivery.
    """

    def __init__(
        self,
        *,
        origins: frozenset[str] | None,
        charge_addresses: bool = False,
        **starlette: Any,
    ) -> None:
        super().__init__(**starlette)
        self.router.redirect_slashes = False
        self._origins = origins
        self._charge_addresses = charge_addresses

    def build_middleware_stack(self) -> ASGIApp:
        """Return what wraps the routes: errors as problem documents, CORS on all."""
        inner = Entrance(self.router) if self._charge_addresses else self.router
        return Cors(Problems(inner), self._origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; a configuration that cannot be is told in its sentence, untraced."""
        if scope["type"] == "lifespan":
            send = _plainly(send)
        await super().__call__(scope, receive, send)


def _plainly(send: Send) -> Send:
    async def send_plainly(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            mark = f"{ConfigurationError.__module__}.{ConfigurationError.__name__}: "
            _, found, sentence = message["message"].rpartition(mark)
            if found:
                message["message"] = sentence.strip()
        await send(message)

    return send_plainly


def _lifespan(
    settings: Settings, store_url: str | None, recent: logs.Recent
) -> Callable[[Starlette], AbstractAsyncContextManager[Mapping[str, Any]]]:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            if settings.admin_token is not None:
                logging.getLogger().addHandler(recent)
                stack.callback(logging.getLogger().removeHandler, recent)
            url = settings.redis_url or store_url or _embedded(settings, stack)
            yield await _start(settings, url, stack)

    return lifespan


def _embedded(settings: Settings, stack: AsyncExitStack) -> str:
    store = EmbeddedStore(settings.data_dir)
    url = store.start()
    stack.callback(store.stop)
    return url


async def _start(settings: Settings, url: str, stack: AsyncExitStack) -> Parts:
    """Start the parts; the stack stops them in reverse order."""
    bounds = Bounds(
        sessions=settings.capacity,
        strangers=settings.max_strangers,
        unsent_bytes=settings.max_unsent_bytes,
    )
    metrics = Metrics()
    metrics.watch(bounds)
    admission = Admission(bounds.delay)
    hub = Hub(
        max_sessions=settings.max_sessions,
        ping_interval=settings.ping_interval,
        room=bounds.sessions,
        admission=admission,
        metrics=metrics,
    )
    mailboxes = RedisMailboxes(
        url,
        subscriber=hub,
        quota=Quota(
            settings.max_mailbox_messages, settings.max_mailbox_bytes, settings.dedup
        ),
        durability=settings.durability,
        replicas=settings.replicas,
        observe=metrics.store_call,
        waiting=bounds.store_calls,
    )
    stack.push_async_callback(mailboxes.close)
    await mailboxes.start()
    hub.start(mailboxes)
    stack.callback(hub.stop)
    pulse = Pulse(mailboxes, admission)
    pulse.start()
    stack.callback(pulse.stop)
    _flush_regularly(metrics, stack)
    names = await _names(settings, bounds, metrics, stack)
    owners = Owners(settings.mailboxes, settings.owners, names)
    policies = Policies(mailboxes, names)
    authenticator = Authenticator(
        settings.public_url,
        deliver_lifetime=settings.deliver_token_lifetime,
        receive_lifetime=settings.receive_token_lifetime,
        dedup=settings.dedup,
        cache_bytes=settings.token_cache_bytes,
    )
    rates = Rates(
        mailboxes,
        sender=settings.sender_rate,
        mailbox=settings.mailbox_rate,
        address=settings.address_rate,
        metrics=metrics,
    )
    addresses = Addresses(rates, authenticator, settings.trusted_proxies)
    return Parts(
        acquainted=lambda: None,
        addresses=addresses,
        authenticator=authenticator,
        bounds=bounds,
        deliveries=Deliveries(
            mailboxes,
            recipients=Recipients(names),
            owners=owners,
            policies=policies,
            rules=Rules(max_payload=settings.max_payload, max_ttl=settings.max_ttl),
            admission=admission,
            rates=rates if settings.sender_rate or settings.mailbox_rate else None,
            metrics=metrics,
            hide_mailboxes=settings.hide_mailboxes,
            require_digest=settings.require_digest,
        ),
        hub=hub,
        line=Line(bounds.catchups),
        mailboxes=mailboxes,
        metrics=metrics,
        names=names,
        owners=owners,
        pace=Pace(),
        policies=policies,
        strangers=Strangers(
            bounds.strangers, each=settings.max_strangers_each, addresses=addresses
        ),
        terms=Terms(settings.public_url, settings.ping_interval),
        origins=_origins(settings),
        drain_seconds=settings.drain_seconds,
    )


async def _names(
    settings: Settings, bounds: Bounds, metrics: Metrics, stack: AsyncExitStack
) -> Names:
    fetcher = await stack.enter_async_context(Fetcher(dev_hosts=settings.dev_hosts))
    directory = make_directory(
        fetcher=fetcher,
        names_api=settings.names_api,
        bns_api=settings.bns_api,
        names_file=settings.names_file,
    )
    return Names(
        directory,
        server=settings.public_url,
        lookups=settings.lookups,
        metrics=metrics,
        under_way=bounds.lookups,
    )


def _flush_regularly(metrics: Metrics, stack: AsyncExitStack) -> None:
    """Let no count be older than a second, for other workers may show it."""

    async def flush() -> None:
        while True:
            await asyncio.sleep(FLUSH)
            metrics.flush()

    task = asyncio.create_task(flush())
    stack.callback(task.cancel)


def _origins(settings: Settings) -> frozenset[str] | None:
    """Return the allowed origins; None is any."""
    origins = frozenset(settings.allowed_origins)
    return None if "*" in origins else origins


def _about(settings: Settings) -> About:
    return About(
        server=settings.public_url,
        durability=settings.durability,
        features=FEATURES + ((DIGEST_ONLY,) if settings.require_digest else ()),
        limits=Limits(
            payload=settings.max_payload,
            mailbox_messages=settings.max_mailbox_messages,
            mailbox_bytes=settings.max_mailbox_bytes,
            sessions=settings.max_sessions,
            ttl=settings.max_ttl,
            dedup=settings.dedup,
            sender_rate=settings.sender_rate,
            mailbox_rate=settings.mailbox_rate,
            deliver_token=settings.deliver_token_lifetime,
            receive_token=settings.receive_token_lifetime,
            ping_interval=settings.ping_interval,
        ),
    )
