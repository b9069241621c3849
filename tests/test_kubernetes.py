"""The manifests are Kubernetes' own, fit each other, and say of pushd what is true.

They are held against the schemas of the oldest Kubernetes they are for and of the newest
there is. Where `kubectl` is, the overlays are also built, and what comes out is held
against the same; a cluster is not needed for either.
"""

import json
import re
import shutil
import subprocess
from functools import cache
from importlib.resources import files
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

import pushd
from pushd.app import create_app
from pushd.errors import ConfigurationError
from pushd.mailbox.embedded import STOP_SECONDS
from pushd.metrics import Metrics
from pushd.resolvers import guard
from pushd.settings import Settings
from pushd.worker import GRACE

Manifest = dict[str, Any]

ROOT = Path(__file__).parent.parent
K8S = ROOT / "k8s"
SCHEMAS = files("kubernetes_validate") / "kubernetes-json-schema"
VERSIONS = ("1.25", "1.37")
OVERLAYS = ("small", "large")
STORE = "redis://store:6379"

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="There is no kubectl.")


def load(name: str) -> Manifest:
    """Return what a file below k8s says; each holds one object."""
    manifest: Manifest = yaml.safe_load((K8S / name).read_text())
    return manifest


def kustomization(directory: str) -> Manifest:
    """Return what a directory is made of."""
    return load(f"{directory}/kustomization.yaml")


def resources(directory: str) -> list[str]:
    """Return the files a directory brings in whole, from below k8s."""
    return [
        f"{directory}/{name}"
        for name in kustomization(directory)["resources"]
        if name != "../base"
    ]


def patches(directory: str) -> list[str]:
    """Return the files that change what the base brings, from below k8s."""
    return [f"{directory}/{p['path']}" for p in kustomization(directory).get("patches", [])]


def environment(directory: str) -> dict[str, str]:
    """Return the variables of the file of settings in a directory."""
    lines = (K8S / directory / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def image_environment() -> dict[str, str]:
    """Return the settings the image comes with."""
    text = (ROOT / "Dockerfile").read_text()
    return dict(re.findall(r"\b(PUSHD_[A-Z_]+)=(\S+)", text))


POD: Manifest = load("base/deployment.yaml")["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
WHOLE = [name for d in ("base", *OVERLAYS) for name in resources(d)]
PARTS = [name for d in OVERLAYS for name in patches(d)]


# --- schemas -------------------------------------------------------------------------


@cache
def validator(version: str, api: str, kind: str) -> Draft202012Validator:
    """Return what knows one kind of a version of Kubernetes, and no field besides."""
    directory = SCHEMAS / f"v{version}.0-local-strict"
    definitions = json.loads((directory / "_definitions.json").read_text())
    group = api.partition("/")[0].partition(".")[0] + "-" if "/" in api else ""
    name = f"{kind.lower()}-{group}{api.rpartition('/')[2]}.json"
    schema = json.loads((directory / name).read_text())
    registry: Registry[Any] = Registry().with_resource(
        definitions["$id"], Resource.from_contents(definitions)
    )
    return Draft202012Validator(schema, registry=registry)


def problems(manifest: Manifest, version: str, *, whole: bool = True) -> list[str]:
    """Return what Kubernetes would refuse; of a patch, not that it lacks something."""
    found = validator(version, manifest["apiVersion"], manifest["kind"])
    return [
        f"{error.json_path}: {error.message}"
        for error in found.iter_errors(manifest)
        if whole or error.validator != "required"
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", WHOLE)
def test_every_resource_fits_its_schema(name: str, version: str) -> None:
    """Each file is complete by itself."""
    assert problems(load(name), version) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", PARTS)
def test_every_patch_fits_its_schema(name: str, version: str) -> None:
    """What it says is sound; what it leaves out, the base has."""
    assert problems(load(name), version, whole=False) == []


@pytest.mark.parametrize("whole", [True, False])
def test_a_field_that_does_not_exist_is_noticed(whole: bool) -> None:
    """The schemas are strict, at any depth; else a typo would pass for a setting."""
    manifest = load("base/deployment.yaml")
    manifest["spec"]["template"]["spec"]["enableServiceLink"] = False

    assert len(problems(manifest, VERSIONS[-1], whole=whole)) == 1


# --- base and overlays ---------------------------------------------------------------


@pytest.mark.parametrize("directory", ["base", *OVERLAYS])
def test_every_file_is_used(directory: str) -> None:
    """What lies in a directory is a part of it."""
    used = {f"{directory}/kustomization.yaml", *resources(directory), *patches(directory)}
    there = {str(path.relative_to(K8S)) for path in (K8S / directory).glob("*.yaml")}

    assert there == used
    (generator,) = kustomization(directory)["configMapGenerator"]
    assert generator["envs"] == ["settings.env"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_changes_what_the_base_has(overlay: str) -> None:
    """A patch or settings of another name would stand beside, and change nothing."""
    (generator,) = kustomization(overlay)["configMapGenerator"]
    (patch,) = map(load, patches(overlay))
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    base = load("base/deployment.yaml")

    assert "../base" in kustomization(overlay)["resources"]
    assert [{"pairs": POD["metadata"]["labels"]}] == kustomization(overlay)["labels"]
    assert generator["behavior"] == "merge"
    assert generator["name"] == kustomization("base")["configMapGenerator"][0]["name"]
    assert [{"configMapRef": {"name": generator["name"]}}] == CONTAINER["envFrom"]
    assert (patch["kind"], patch["metadata"]) == (base["kind"], base["metadata"])
    assert container["name"] == CONTAINER["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_leaves_the_pod_as_safe_as_it_is(overlay: str) -> None:
    """Patches touch neither rights nor probes nor the time to stop."""
    (patch,) = map(load, patches(overlay))
    pod = patch["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert set(pod) <= {"containers", "volumes", "topologySpreadConstraints"}
    assert set(container) <= {"name", "env", "resources", "volumeMounts"}


def test_every_selector_finds_the_pods() -> None:
    """One label says which pods are meant, to all who look for them."""
    labels = POD["metadata"]["labels"]
    patch = load("large/deployment.yaml")["spec"]["template"]["spec"]
    (spread,) = patch["topologySpreadConstraints"]

    assert labels == load("base/service.yaml")["spec"]["selector"]
    assert [{"matchLabels": labels}] * 5 == [
        load("base/deployment.yaml")["spec"]["selector"],
        load("base/networkpolicy.yaml")["spec"]["podSelector"],
        load("large/networkpolicy.yaml")["spec"]["podSelector"],
        load("large/pdb.yaml")["spec"]["selector"],
        spread["labelSelector"],
    ]


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_overlay_builds(overlay: str) -> None:
    """What would be applied is sound, and each part of it is as its file says.

    The label that marks everything must not reach selectors: it would tell the name
    servers of the cluster apart from those that have it.
    """
    built = build(overlay)
    config = built.pop(("ConfigMap", "pushd"))
    deployment = built.pop(("Deployment", "pushd"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]

    assert config["data"] == {**environment("base"), **environment(overlay)}
    assert container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    assert CONTAINER.keys() <= container.keys()
    for manifest in (config, deployment, *built.values()):
        assert POD["metadata"]["labels"] == manifest["metadata"].pop("labels")
        assert [problems(manifest, version) for version in VERSIONS] == [[], []]
    alone = {*resources("base"), *resources(overlay)} - {"base/deployment.yaml"}
    assert sorted(built.values(), key=str) == sorted(map(load, alone), key=str)


def build(overlay: str) -> dict[tuple[str, str], Manifest]:
    """Return what an overlay comes to, by kind and name without the hash of its content."""
    command = [KUBECTL or "kubectl", "kustomize", str(K8S / overlay)]
    text = subprocess.run(command, check=True, capture_output=True, timeout=30).stdout
    return {
        (one["kind"], re.sub(r"-[a-z0-9]{10}$", "", one["metadata"]["name"])): one
        for one in yaml.safe_load_all(text)
    }


# --- settings ------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_settings_are_accepted(overlay: str) -> None:
    """Each is one that the server knows, with a value that it takes."""
    environ = {**image_environment(), **environment("base"), **environment(overlay)}
    environ |= dict.fromkeys(secrets(overlay), STORE)

    settings = Settings.read(environ)

    assert settings.host == "0.0.0.0"
    assert settings.public_url.startswith("https://")
    assert settings.workers == 1
    assert settings.redis_url == (STORE if overlay == "large" else None)


@pytest.mark.parametrize("directory", ["base", *OVERLAYS])
def test_no_secret_is_in_a_file(directory: str) -> None:
    """The URL of the store has a password in it, so it is referred to alone."""
    assert "PUSHD_REDIS_URL" not in environment(directory)
    assert secrets("large") == {
        "PUSHD_REDIS_URL": {"secretKeyRef": {"name": "pushd-store", "key": "url"}}
    }


def secrets(overlay: str) -> dict[str, Any]:
    """Return which variables come from elsewhere, and from where."""
    (patch,) = map(load, patches(overlay))
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["valueFrom"] for one in container.get("env", [])}


def test_service_links_are_off() -> None:
    """With them no pod would start, for what they set is refused."""
    name = load("base/service.yaml")["metadata"]["name"]

    assert POD["spec"]["enableServiceLinks"] is False
    with pytest.raises(ConfigurationError, match="enableServiceLinks: false"):
        Settings.read({f"{name.upper()}_PORT": "tcp://10.96.0.9:80"})


# --- the pod -------------------------------------------------------------------------


def test_the_pods_run_this_version() -> None:
    """The tag is the version; whoever has a registry names the digest there."""
    assert f"pushd:{pushd.__version__}" == CONTAINER["image"]


def test_the_pod_has_no_rights() -> None:
    """What the Pod Security Standard `restricted` asks for, and no token either."""
    pod = POD["spec"]
    uid = re.search(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert uid is not None
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(uid[1]),
        "runAsGroup": int(uid[1]),
        "fsGroup": int(uid[1]),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


def test_the_pod_can_write_where_it_must() -> None:
    """Temporary files always, and the store where there is one in the pod."""
    (patch,) = map(load, patches("small"))
    pod = patch["spec"]["template"]["spec"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    (volume,) = pod["volumes"]

    assert CONTAINER["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    assert [volume["name"] for volume in POD["spec"]["volumes"]] == ["tmp"]
    assert mount == {"name": volume["name"], "mountPath": "/data"}
    assert mount["mountPath"] == image_environment()["PUSHD_DATA_DIR"]
    claim = load("small/volume.yaml")["metadata"]["name"]
    assert volume["persistentVolumeClaim"] == {"claimName": claim}


def test_a_volume_has_one_user() -> None:
    """Two servers never share a data directory, not even while one replaces the other."""
    spec = load("small/deployment.yaml")["spec"]

    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("probe", "path"),
    [
        ("startupProbe", "/health/live"),
        ("livenessProbe", "/health/live"),
        ("readinessProbe", "/health/ready"),
    ],
)
def test_a_probe_asks_what_it_should(probe: str, path: str) -> None:
    """A pod whose store is away takes no clients, and is not restarted."""
    assert CONTAINER[probe]["httpGet"] == {"path": path, "port": "http"}
    assert path in {getattr(r, "path", None) for r in create_app(Settings()).routes}


def test_all_mean_the_same_port() -> None:
    """The server, its container, the service, the scrape and the network policy."""
    (port,) = CONTAINER["ports"]
    (service,) = load("base/service.yaml")["spec"]["ports"]
    (ingress,) = load("base/networkpolicy.yaml")["spec"]["ingress"]
    annotations = POD["metadata"]["annotations"]

    assert port == {"name": "http", "containerPort": 8480}
    assert service["targetPort"] == port["name"]
    assert ingress == {"ports": [{"port": port["name"]}]}
    assert environment("base")["PUSHD_PORT"] == str(port["containerPort"])
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    assert annotations["prometheus.io/path"] == "/metrics"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_has_the_time_to_drain(overlay: str) -> None:
    """It is killed only when preStop, sessions, requests and store had all of theirs."""
    command, pause = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    settings = Settings.read(environment("base") | environment(overlay))

    assert command == "sleep"
    needed = int(pause) + settings.drain_seconds + GRACE + STOP_SECONDS
    assert needed < POD["spec"]["terminationGracePeriodSeconds"]


# --- the network ---------------------------------------------------------------------

NAME_SERVERS, NAMES = load("base/networkpolicy.yaml")["spec"]["egress"]


def test_pods_reach_the_addresses_that_the_guard_allows() -> None:
    """Neither one's own network nor the address of a cloud's metadata is among them."""
    blocks = [
        (ip_network(block["cidr"]), {ip_network(network) for network in block["except"]})
        for block in (rule["ipBlock"] for rule in NAMES["to"])
    ]

    assert blocks == [
        (ip_network("0.0.0.0/0"), set(guard._NOT_GLOBAL_V4)),
        (guard._UNICAST_V6, set(guard._NOT_GLOBAL_V6)),
    ]


@pytest.mark.parametrize("port", [22, 25, 80, 442, 443, 444, 1023, 1024, 8443, 65535])
def test_pods_reach_the_ports_that_the_guard_allows(port: int) -> None:
    """Names that lead somewhere lead there in a cluster too."""
    open_in_cluster = any(
        rule["port"] <= port <= rule.get("endPort", rule["port"]) for rule in NAMES["ports"]
    )
    try:
        guard.Guard().check_url(f"https://names.example:{port}/")
    except guard.Refused:
        assert not open_in_cluster
    else:
        assert open_in_cluster


def test_pods_reach_the_name_servers() -> None:
    """Those of the cluster, over both protocols."""
    assert NAME_SERVERS["ports"] == [
        {"port": 53, "protocol": "UDP"},
        {"port": 53, "protocol": "TCP"},
    ]
    (servers,) = NAME_SERVERS["to"]
    assert servers["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}


def test_every_way_out_says_where_to() -> None:
    """A rule without `to` would open its ports on every address."""
    for name in ("base/networkpolicy.yaml", "large/networkpolicy.yaml"):
        policy = load(name)["spec"]
        assert "Egress" in policy["policyTypes"]
        assert all(rule["to"] and rule["ports"] for rule in policy["egress"])


# --- scaling -------------------------------------------------------------------------


def test_pods_are_as_many_as_sessions_need() -> None:
    """The metric is one the server has; the number of pods is the scaler's alone."""
    scaler = load("large/hpa.yaml")["spec"]
    deployment = load("base/deployment.yaml")
    sessions, _ = scaler["metrics"]

    assert re.search(
        rf"^{sessions['pods']['metric']['name']} ",
        Metrics().render().decode(),
        re.MULTILINE,
    )
    assert scaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in deployment["spec"]
    assert "replicas" not in load("large/deployment.yaml")["spec"]


def test_some_pods_always_stay() -> None:
    """Neither scaling down nor draining a node takes the last one."""
    assert load("large/pdb.yaml")["spec"]["maxUnavailable"] == 1
    assert load("large/hpa.yaml")["spec"]["minReplicas"] >= 2
