"""Settings: what the environment may say, and how a mistake in it is told."""

import pytest

from pushd.errors import ConfigurationError
from pushd.identity.keys import PrivateKey
from pushd.settings import Settings, variable

MIB = 1024 * 1024


def refusal(**environ: str) -> str:
    """Return the sentences with which an environment is refused."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.read(environ)
    return str(caught.value)


def test_an_empty_environment_gives_the_defaults() -> None:
    """Nothing needs to be set to try the server on one machine."""
    settings = Settings.read({})

    assert settings.host == "127.0.0.1"
    assert settings.port == 8480
    assert settings.public_url == "http://127.0.0.1:8480"
    assert settings.durability == "fsync"
    assert settings.mailboxes == "open"
    assert settings.allowed_origins == ("*",)
    assert settings.max_payload == 4096
    assert settings.max_mailbox_messages == 100_000
    assert settings.max_mailbox_bytes == 64 * MIB
    assert settings.max_sessions == 20
    assert settings.max_ttl == 30 * 86_400
    assert settings.dedup == 7 * 86_400
    assert settings.deliver_token_lifetime == 3600
    assert settings.receive_token_lifetime == 86_400
    assert settings.redis_url is None


def test_every_setting_is_described() -> None:
    """`--help` and the documentation are made of the descriptions."""
    assert [n for n, f in Settings.model_fields.items() if not f.description] == []


def test_variables_are_read() -> None:
    """Each setting is the variable of its name."""
    settings = Settings.read(
        {
            "PUSHD_PORT": "9000",
            "PUSHD_WORKERS": "2",
            "PUSHD_DURABILITY": "memory",
            "PUSHD_LOG_FORMAT": "json",
            "HOME": "/root",
        }
    )

    assert settings.port == 9000
    assert settings.public_url == "http://127.0.0.1:9000"
    assert settings.workers == 2
    assert settings.durability == "memory"
    assert settings.log_format == "json"


def test_an_empty_variable_counts_as_unset() -> None:
    """Compose files pass on empty what nobody set."""
    assert Settings.read({"PUSHD_PORT": "", "PORT": ""}).port == 8480


def test_overrides_count_more_than_the_environment() -> None:
    """A flag wins over a variable, and one that was not given leaves it."""
    environ = {"PUSHD_PORT": "9000", "PUSHD_HOST": "10.0.0.1"}
    settings = Settings.read(environ, port=9001, host=None)

    assert settings.port == 9001
    assert settings.host == "10.0.0.1"


def test_conventions_of_process_hosts_are_honoured() -> None:
    """`PORT` and `REDIS_URL` count where nothing more particular is set."""
    host = {"PORT": "5000", "REDIS_URL": "redis://cache:6379"}

    assert Settings.read(host).port == 5000
    assert Settings.read(host).redis_url == "redis://cache:6379"
    assert Settings.read({**host, "PUSHD_PORT": "9000"}).port == 9000
    ours = "redis://ours:6379"
    assert ours == Settings.read({**host, "PUSHD_REDIS_URL": ours}).redis_url


def test_an_unknown_variable_is_refused_with_the_nearest() -> None:
    """A typo never silently means the default."""
    sentence = refusal(PUSHD_MAX_PAYLOD="1")

    assert "PUSHD_MAX_PAYLOD" in sentence
    assert "PUSHD_MAX_PAYLOAD" in sentence


SERVICE_LINKS = {
    "PUSHD_SERVICE_HOST": "10.96.0.9",
    "PUSHD_SERVICE_PORT": "80",
    "PUSHD_SERVICE_PORT_HTTP": "80",
    "PUSHD_PORT": "tcp://10.96.0.9:80",
    "PUSHD_PORT_80_TCP": "tcp://10.96.0.9:80",
    "PUSHD_PORT_80_TCP_PROTO": "tcp",
    "PUSHD_PORT_80_TCP_PORT": "80",
    "PUSHD_PORT_80_TCP_ADDR": "10.96.0.9",
}
"""What Kubernetes sets in pods beside a Service that is named pushd."""


@pytest.mark.parametrize(
    "environ",
    [
        {"PUSHD_PORT": "tcp://10.96.0.9:80"},
        SERVICE_LINKS,
        {**SERVICE_LINKS, "PUSHD_PORT": "8480"},
        {name.replace("D_", "D_STORE_", 1): v for name, v in SERVICE_LINKS.items()},
    ],
    ids=["the port alone", "all", "the port set", "another service"],
)
def test_the_links_of_a_service_are_told_by_their_cause(environ: dict[str, str]) -> None:
    """Not as typos, which they look like; whatever of them comes first."""
    assert "enableServiceLinks: false" in refusal(**environ)


def test_the_scheme_of_a_service_link_is_no_cause_elsewhere() -> None:
    """A store that was meant gets the sentence about stores."""
    assert "rediss://" in refusal(PUSHD_REDIS_URL="tcp://store:6379")


def test_every_wrong_value_is_told_at_once_with_its_variable() -> None:
    """The operator mends all in one go."""
    sentences = refusal(PUSHD_PORT="eighty", PUSHD_DURABILITY="maybe").split("\n")

    assert len(sentences) == 2
    assert sentences[0].startswith("PUSHD_PORT is 'eighty': ")
    assert sentences[1].startswith("PUSHD_DURABILITY is 'maybe': ")


def test_a_secret_is_never_shown() -> None:
    """The password in a store's URL shows in no error and no repr."""
    url = "http://user:hunter2@store:6379"
    assert "hunter2" not in refusal(PUSHD_REDIS_URL=url)
    assert "PUSHD_REDIS_URL" in refusal(PUSHD_REDIS_URL=url)
    settings = Settings.read({"PUSHD_REDIS_URL": "redis://user:hunter2@store:6379"})
    assert "hunter2" not in repr(settings)


def test_the_public_url_is_made_canonical() -> None:
    """Tokens name the server by one spelling."""
    environ = {"PUSHD_PUBLIC_URL": "HTTPS://Push.Example:443/"}
    assert Settings.read(environ).public_url == "https://push.example"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUSHD_PUBLIC_URL", "push.example"),
        ("PUSHD_PORT", "65536"),
        ("PUSHD_MAX_PAYLOAD", "4097"),
        ("PUSHD_MAX_TTL", "2592001"),
        ("PUSHD_MAX_SESSIONS", "0"),
        ("PUSHD_ALLOWED_ORIGINS", "https://app.example/"),
        ("PUSHD_ALLOWED_ORIGINS", "app.example"),
        ("PUSHD_OWNERS", "did:btc-addr:1"),
        ("PUSHD_LOG_LEVEL", "loud"),
    ],
)
def test_a_value_that_cannot_be_is_refused(name: str, value: str) -> None:
    """Bounds are kept, and what is wrong is told by the variable's name."""
    assert name in refusal(**{name: value})


def test_lists_are_separated_by_commas() -> None:
    """White space around them does not matter."""
    owners = [PrivateKey.generate().did, PrivateKey.generate().did]
    settings = Settings.read(
        {
            "PUSHD_MAILBOXES": "listed",
            "PUSHD_OWNERS": ", ".join(owners),
            "PUSHD_ALLOWED_ORIGINS": "https://app.example,http://localhost:3000",
        }
    )

    assert tuple(owners) == settings.owners
    assert settings.allowed_origins == ("https://app.example", "http://localhost:3000")


def test_what_this_version_cannot_do_is_refused() -> None:
    """Better no server than one that does something else than was asked."""
    assert "PUSHD_REDIS_URL" in refusal(PUSHD_DURABILITY="replicated")
    assert "PUSHD_OWNERS" in refusal(PUSHD_MAILBOXES="listed")
    assert "listed" in refusal(PUSHD_OWNERS=PrivateKey.generate().did)


@pytest.mark.parametrize(
    "hosts",
    ["127.0.0.1:8481", "localhost:80,[::1]:8481", "names.internal:8480 127.0.0.1:1"],
)
def test_hosts_for_development(hosts: str) -> None:
    """Each comes with its port."""
    assert len(Settings.read({"PUSHD_DEV_HOSTS": hosts}).dev_hosts) == 1 + (
        "," in hosts or " " in hosts
    )


@pytest.mark.parametrize(
    "host",
    ["localhost", "http://localhost:1", "a:0", "a:b", "u@a:1", "a:1/x", "A:1", "*:1"],
)
def test_what_is_no_host_and_port_is_refused(host: str) -> None:
    """A host without a port would open every port of it."""
    assert "127.0.0.1:8481" in refusal(PUSHD_DEV_HOSTS=host)


@pytest.mark.parametrize("variable", ["PUSHD_NAMES_API", "PUSHD_BNS_API"])
def test_the_apis_of_names(variable: str) -> None:
    """Over https, or from a host that is listed for development."""
    field = variable.removeprefix("PUSHD_").lower()
    local = {"PUSHD_DEV_HOSTS": "127.0.0.1:8481,names:80"}
    for url, environ in (
        ("https://api.example/", {}),
        ("http://127.0.0.1:8481/bns", local),
        ("http://names", local),
    ):
        settings = Settings.read({variable: url, **environ})
        assert getattr(settings, field) == url.rstrip("/")
    assert "PUSHD_DEV_HOSTS" in refusal(**{variable: "http://127.0.0.1:8482", **local})
    assert "PUSHD_DEV_HOSTS" in refusal(**{variable: "http://api.example"})
    assert variable in refusal(**{variable: "api.example"})


def test_settings_are_frozen() -> None:
    """What was read once holds for the life of the process."""
    with pytest.raises(ValueError, match="frozen"):
        Settings.read({}).port = 1


def test_variable_names_the_setting() -> None:
    """The documentation names variables by it."""
    assert variable("max_ttl") == "PUSHD_MAX_TTL"


@pytest.mark.parametrize("token", ["short", "x" * 31, "x" * 257, "x" * 31 + " ", "é" * 32])
def test_an_admin_token_is_long_and_never_shown(token: str) -> None:
    """One that could be guessed is refused, in a sentence that does not hold it."""
    with pytest.raises(ConfigurationError, match="openssl rand") as refused:
        Settings.read({"PUSHD_ADMIN_TOKEN": token})

    assert token not in str(refused.value)
    assert "x" * 32 not in repr(Settings.read({"PUSHD_ADMIN_TOKEN": "x" * 32}))
