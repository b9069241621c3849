"""The server's settings: the one reader of the environment, refusing what it does not know.

Every setting is a variable `PUSHD_<NAME>`. A variable that begins with `PUSHD_` and is
none of them is an error, for a typo must not silently mean the default. An empty variable
counts as unset. Times are seconds, sizes are bytes.
"""

import difflib
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from pushd.errors import BadRequest, ConfigurationError
from pushd.identity.keys import validate_did
from pushd.mailbox.address import FORMS, SCHEMES
from pushd.protocol.urls import canonical_url

PREFIX = "PUSHD_"

HOST_CONVENTIONS = {"PORT": "port", "REDIS_URL": "redis_url"}
"""What process hosts set; each counts where its `PUSHD_` variable is unset."""

MINUTE = 60
DAY = 86_400
MIB = 1024 * 1024

_HOST_AND_PORT = re.compile(r"([a-z0-9.-]+|\[[0-9a-f:.]+\]):[1-9][0-9]{0,4}")

_ADMIN_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,256}")

_SERVICE_LINK = re.compile(r"PUSHD_(\w+_)?PORT(_[0-9]+_TCP)?")

SECRETS = ("redis_url", "admin_token")
"""Settings that are never shown, or may hold what must not be."""

LISTS = ("owners", "allowed_origins", "dev_hosts", "trusted_proxies")
"""Settings that are lists: separated by commas or white space."""


class Settings(BaseModel):
    """Everything an operator may set. Frozen; `read` makes it from an environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` is every IPv4 address of the machine."""

    port: int = Field(default=8480, ge=0, le=65535)
    """TCP port to listen on; 0 is any that is free. `PORT` counts where this is unset."""

    public_url: str = Field(
        default_factory=lambda earlier: f"http://127.0.0.1:{earlier['port']}"
    )
    """The URL by which clients know this server; tokens must name it as their audience.
    Unset: `http://127.0.0.1:<port>`, which is good for one machine only."""

    data_dir: Path = Path("data")
    """Directory of the embedded store; unused with a store of your own."""

    redis_url: str | None = Field(default=None, repr=False)
    """Redis or Valkey, 7.0 or newer: `redis://`, `redis+sentinel://`, `redis+cluster://`,
    each with `rediss` for TLS, or `unix://`. `REDIS_URL` counts where this is unset;
    without either the server starts a private store."""

    mailboxes: Literal["open", "declared", "listed"] = "open"
    """Who may have a mailbox: `open` everyone, from their first receive token; `declared`
    those whose contact document names this server, whose receive token says where it is
    by a name; `listed` the identities of `PUSHD_OWNERS`."""

    owners: tuple[str, ...] = ()
    """DIDs that may have a mailbox when `PUSHD_MAILBOXES` is `listed`; with commas
    between them."""

    names_api: str | None = None
    """Base URL of the names API that knows Blockstack names (`alice.id.blockstack`).
    Unset: this server proves none of them."""

    bns_api: str | None = None
    """Base URL of the API that knows the names of BNS V2 (`alice.btc`). Unset: this server
    proves none of them."""

    names_file: Path | None = None
    """JSON file of names that count without being looked up; for development."""

    dev_hosts: tuple[str, ...] = ()
    """Hosts, each with its port, that may be fetched from by http and at private addresses,
    such as `127.0.0.1:8481`; for development, and for a names API of your own network."""

    lookups: int = Field(default=60, ge=0)
    """Names not remembered that one identity may have looked up in a minute, and all
    together 20 times as many; 0: any number."""

    workers: int = Field(default=1, ge=1, le=64)
    """Processes that serve, all on one port and one store."""

    durability: Literal["memory", "fsync", "replicated"] = "fsync"
    """What an accepted message survives: `memory` whatever the store does by itself,
    `fsync` the loss of power, `replicated` the loss of a machine too."""

    replicas: int = Field(default=1, ge=1, le=16)
    """Replicas that must have what is accepted, with durability `replicated`."""

    allowed_origins: tuple[str, ...] = ("*",)
    """Web origins whose pages may use this server, with commas between them; `*` is any,
    which is safe because no cookie ever counts."""

    hide_mailboxes: bool = False
    """Whether a sender whom a recipient's policy refuses is told that there is no mailbox,
    so that nobody finds out who has one."""

    require_digest: bool = False
    """Whether each delivery needs a token for it alone, with the digest of its body; then
    there are none over the stream."""

    max_payload: int = Field(default=4096, ge=1, le=4096)
    """Bytes of the largest payload."""

    max_mailbox_messages: int = Field(default=100_000, ge=1)
    """Unread messages one mailbox holds."""

    max_mailbox_bytes: int = Field(default=64 * MIB, ge=8192)
    """Bytes of unread messages one mailbox holds, estimated."""

    max_sessions: int = Field(default=20, ge=1)
    """Sessions one mailbox may have in each process."""

    max_ttl: int = Field(default=30 * DAY, ge=1, le=30 * DAY)
    """Seconds until a message expires, at most; also what a delivery without `ttl` gets."""

    dedup: int = Field(default=7 * DAY, ge=MINUTE)
    """Seconds an idempotency key is remembered, at least."""

    deliver_token_lifetime: int = Field(default=3600, ge=MINUTE)
    """Seconds from `iat` to `exp` of a deliver token, at most."""

    receive_token_lifetime: int = Field(default=DAY, ge=MINUTE)
    """Seconds from `iat` to `exp` of a receive token, at most."""

    token_cache_bytes: int = Field(default=16 * MIB, ge=0)
    """Bytes of verified tokens that are remembered, so that each is verified once."""

    sender_rate: int = Field(default=0, ge=0)
    """Deliveries of one sender in a minute, over all servers of the store; 0: any
    number."""

    mailbox_rate: int = Field(default=0, ge=0)
    """Deliveries to one mailbox in a minute, over all servers of the store; 0: any
    number."""

    address_rate: int = Field(default=0, ge=0)
    """Tokens never seen before that one client address (of IPv6, one /64) may show in a
    minute; one that does not verify counts for ten; 0: any number."""

    capacity: int = Field(default=50_000, ge=1)
    """Sessions that each process has, of all mailboxes together."""

    max_strangers: int = Field(default=2000, ge=1)
    """Connections of each process that have not shown a good token."""

    max_strangers_each: int = Field(default=0, ge=0)
    """As many of them from one client address (of IPv6, one /64); 0: any number."""

    max_unsent_bytes: int = Field(default=64 * MIB, ge=MIB)
    """Bytes of each process that wait for clients that do not keep up; beyond that
    nothing is pushed, and all is read later."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies, whose `X-Forwarded-For` says where a client is;
    nobody else's counts."""

    ping_interval: int = Field(default=25, ge=2, le=300)
    """Seconds between the pings of a session; two silent intervals close it."""

    notice_seconds: int = Field(default=0, ge=0, le=600)
    """Seconds a server that is to stop goes on as before, but not ready, so that load
    balancers learn to send nobody there any more."""

    drain_seconds: int = Field(default=10, ge=0, le=600)
    """Seconds over which a stopping server spreads the closing of its sessions."""

    admin_token: str | None = Field(default=None, repr=False)
    """Opens the operator's page, `/admin`, to whoever knows it; 32 characters or more.
    Unset: there is no such page. Better a variable than a flag, which others may see."""

    playground: bool = False
    """Whether `/playground` is served: a page on which two people, whom it makes up itself,
    write to each other over this server."""

    log_format: Literal["text", "json"] = "text"
    """How log lines look: `text` for people, `json` for machines."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe log line that is written."""

    @classmethod
    def read(cls, environ: Mapping[str, str], **overrides: object) -> Self:
        """Read the settings.

        Args:
            environ: The environment; only `PUSHD_*`, `PORT` and `REDIS_URL` are looked at.
            overrides: Settings that count more than the environment, such as the flags of
                a command; None leaves the environment's.

        Raises:
            ConfigurationError: If a variable is unknown or a value cannot be; the
                sentences say which to set, and never show a secret.
        """
        values = _named(environ)
        values.update((k, v) for k, v in overrides.items() if v is not None)
        try:
            return cls(**values)
        except ValidationError as error:
            raise ConfigurationError("\n".join(_sentences(error))) from None

    @field_validator("public_url", mode="after")
    @classmethod
    def _canonical(cls, url: str) -> str:
        try:
            return canonical_url(url)
        except BadRequest as error:
            raise ValueError(error.detail) from None

    @field_validator("redis_url", mode="after")
    @classmethod
    def _store_scheme(cls, url: str | None) -> str | None:
        if url is not None and url.partition("://")[0] not in SCHEMES:
            raise ValueError(f"it looks like {FORMS}.")
        return url

    @field_validator("admin_token", mode="after")
    @classmethod
    def _long(cls, token: str | None) -> str | None:
        if token is not None and not _ADMIN_TOKEN.fullmatch(token):
            raise ValueError(
                "it has 32 to 256 letters, digits and - or _; make one with "
                "`openssl rand -hex 32`."
            )
        return token

    @field_validator(*LISTS, mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("owners", mode="after")
    @classmethod
    def _dids(cls, owners: tuple[str, ...]) -> tuple[str, ...]:
        for owner in owners:
            try:
                validate_did(owner)
            except BadRequest as error:
                raise ValueError(
                    f"{owner} is no DID of a mailbox: {error.detail}"
                ) from None
        return owners

    @field_validator("allowed_origins", mode="after")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if origin != "*" and origin != f"{parts.scheme}://{parts.netloc}".lower():
                raise ValueError(
                    f"{origin} is no origin, which looks like https://app.example: "
                    "lower case, no path, no trailing slash."
                )
        return origins

    @field_validator("names_api", "bns_api", mode="after")
    @classmethod
    def _api(cls, url: str | None) -> str | None:
        return None if url is None else cls._canonical(url)

    @field_validator("dev_hosts", mode="after")
    @classmethod
    def _hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _HOST_AND_PORT.fullmatch(host):
                raise ValueError(f"{host} is no host and port, like 127.0.0.1:8481.")
        return hosts

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ip_network(proxy)
            except ValueError:
                raise ValueError(
                    f"{proxy} is no address or network, like 10.0.0.1 or 10.0.0.0/8."
                ) from None
        return proxies

    @model_validator(mode="after")
    def _apis_fit(self) -> Self:
        for name, url in (("names_api", self.names_api), ("bns_api", self.bns_api)):
            if url is not None and url.startswith("http:"):
                parts = urlsplit(url)
                host = parts.netloc if parts.port else f"{parts.netloc}:80"
                if host not in self.dev_hosts:
                    raise ValueError(
                        f"{variable(name)} is fetched by https alone, unless its host and"
                        f" port, {host}, are in PUSHD_DEV_HOSTS."
                    )
        return self

    @model_validator(mode="after")
    def _replicas_can_be(self) -> Self:
        if self.durability == "replicated" and self.redis_url is None:
            raise ValueError(
                "PUSHD_DURABILITY=replicated needs PUSHD_REDIS_URL: the private store has"
                " no replicas."
            )
        return self

    @model_validator(mode="after")
    def _owners_fit(self) -> Self:
        if self.mailboxes == "listed" and not self.owners:
            raise ValueError(
                "PUSHD_MAILBOXES=listed needs PUSHD_OWNERS, the DIDs that may have a "
                "mailbox."
            )
        if self.owners and self.mailboxes != "listed":
            raise ValueError("PUSHD_OWNERS counts only with PUSHD_MAILBOXES=listed.")
        return self


def variable(field: str) -> str:
    """Return the name of the variable that holds a setting."""
    return PREFIX + field.upper()


def _named(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values the environment sets, by the setting's name."""
    _refuse_service_links(environ)
    known = {variable(field): field for field in Settings.model_fields}
    values: dict[str, Any] = {}
    for name, value in environ.items():
        if name.startswith(PREFIX) and name not in known:
            raise ConfigurationError(_unknown(name, list(known)))
        if name in known and value:
            values[known[name]] = value
    for name, field in HOST_CONVENTIONS.items():
        if environ.get(name) and field not in values:
            values[field] = environ[name]
    return values


def _refuse_service_links(environ: Mapping[str, str]) -> None:
    """Name the cause of variables like `PUSHD_PORT=tcp://10.0.0.1:80`.

    They come with others of the same prefix, of which each would look like a typo.
    """
    for name, value in environ.items():
        if _SERVICE_LINK.fullmatch(name) and value.startswith("tcp://"):
            raise ConfigurationError(
                f"{name} begins with tcp://: a Kubernetes Service named pushd, or pushd-..."
                ", sets this; set enableServiceLinks: false on the pod."
            )


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0)
    return f"{name} is no setting of this server; did you mean {close[0]}?"


def _sentences(error: ValidationError) -> list[str]:
    """Say of each value that cannot be what is wrong with it."""
    sentences = []
    for problem in error.errors(include_url=False, include_context=False):
        if problem["type"] == "default_factory_not_called":
            continue  # follows from another error
        what = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            sentences.append(what)
            continue
        field = str(problem["loc"][0])
        value = "" if field in SECRETS else f" is {problem['input']!r}"
        sentences.append(f"{variable(field)}{value}: {what[0].lower()}{what[1:]}")
    return sentences
