"""What ships around the code is in step with it: locks, container, Procfile, workflow."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pushd
from pushd.settings import HOST_CONVENTIONS, PREFIX, Settings, variable

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VARIABLES = {variable(field) for field in Settings.model_fields}

PIN = re.compile(r"^([a-zA-Z0-9_.-]+)==(\S+)(?: ; [^\\]+)? \\$")


def locked(name: str) -> dict[str, str]:
    """Return the version of each package a lock names."""
    lines = (ROOT / name).read_text().splitlines()
    pins = [match for line in lines if (match := PIN.match(line))]
    return {canonicalize_name(match[1]): match[2] for match in pins}


# --- locks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        (
            "requirements-dev.lock",
            [
                *PROJECT["project"]["dependencies"],
                *PROJECT["dependency-groups"]["dev"],
                *PROJECT["build-system"]["requires"],
            ],
        ),
    ],
)
def test_the_lock_is_in_step_with_the_project(lock: str, requirements: list[str]) -> None:
    """Each requirement is locked, at a version it allows; `make lock` mends it if not."""
    pins = locked(lock)
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_the_locks_agree() -> None:
    """What is developed with is what runs."""
    development = locked("requirements-dev.lock")

    assert locked("requirements.lock").items() <= development.items()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_files_by_hash_and_no_place(lock: str) -> None:
    """Every package has hashes, and nothing says from where it is to be had."""
    text = (ROOT / lock).read_text()
    packages = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]

    assert len(locked(lock)) == len(packages)
    assert all("--hash=sha256:" in package for package in packages)
    assert re.findall(r"://|--index|--find-links|--trusted|\bfile:", text) == []


@pytest.mark.parametrize("directory", ["js", "tests/e2e/npm"])
def test_an_npm_lock_names_files_by_hash_and_no_place(directory: str) -> None:
    """The packages are exact versions, from wherever npm looks."""
    package = json.loads((ROOT / directory / "package.json").read_text())
    packages = json.loads((ROOT / directory / "package-lock.json").read_text())["packages"]
    kinds = [kind for kind in ("dependencies", "devDependencies") if kind in package]
    wanted = {name: version for kind in kinds for name, version in package[kind].items()}

    own = packages.pop("")
    assert {kind: package[kind] for kind in kinds} == {kind: own[kind] for kind in kinds}
    assert wanted == {name: packages[f"node_modules/{name}"]["version"] for name in wanted}
    assert all("integrity" in package for package in packages.values())
    assert not any("resolved" in package for package in packages.values())


def test_the_typescript_client_has_the_version_of_the_server() -> None:
    """Both are released together."""
    package = json.loads((ROOT / "js" / "package.json").read_text())

    assert pushd.__version__ == package["version"]


# --- container and process hosts -----------------------------------------------------


def test_the_container_sets_only_what_is_a_setting() -> None:
    """The image's PUSHD_ variables are settings, else the server would not start."""
    text = (ROOT / "Dockerfile").read_text()

    assert set(re.findall(rf"\b{PREFIX}[A-Z_]+", text)) <= VARIABLES
    assert "--require-hashes" in text
    assert re.search(r"^USER 10001$", text, re.MULTILINE)


def test_the_container_stands_on_one_release() -> None:
    """A build tomorrow takes the same Python on the same Debian, with their repairs."""
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert {"python:3.11-slim-trixie"} == set(bases)
    assert PROJECT["project"]["requires-python"] == ">=3.11"


def test_the_versions_agree() -> None:
    """What is packaged is what the code says it is."""
    assert PROJECT["project"]["version"] == pushd.__version__


def test_the_procfile_listens_where_the_host_looks() -> None:
    """A process host sets PORT and looks from outside the process's own loopback."""
    assert (ROOT / "Procfile").read_text() == "web: pushdctl serve --host 0.0.0.0\n"
    assert {"PORT", "REDIS_URL"} == set(HOST_CONVENTIONS)


# --- the workflow --------------------------------------------------------------------


def test_the_workflow_runs_what_ci_runs() -> None:
    """The hosted workflow calls `.ci/run`, without rights it does not need."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    workflow = yaml.safe_load(text)
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]

    assert {"run": "bash .ci/run"} in steps
    assert workflow["permissions"] == {}
    assert all(job["timeout-minutes"] <= 15 for job in workflow["jobs"].values())
