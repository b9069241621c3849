"""The documentation is true: its tables are the code's, its links and commands exist."""

import ast
import importlib
import re
import subprocess
from pathlib import Path

import pytest
import typer.core
from prometheus_client.parser import text_string_to_metric_families
from pydantic_core import PydanticUndefined

import pushd
from pushd import cli
from pushd.errors import ERRORS
from pushd.metrics import Metrics
from pushd.protocol.closing import ADVICE
from pushd.settings import Settings, variable

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
OUTSIDE = {".venv", "build", "node_modules", ".pytest_cache"}
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not OUTSIDE.intersection(page.relative_to(ROOT).parts)
)

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"(?:`|^    |^)make ([a-z0-9-]+)\b(?!s)", re.MULTILINE)
COMMAND = re.compile(r"pushdctl ([a-z]+)((?: +--?[a-z][a-z-]*(?:[ =][^\s`-][^\s`]*)?)*)")


def read(page: Path) -> str:
    """Return a page's text."""
    return page.read_text()


def name_of(page: Path) -> str:
    """Name a page for people."""
    return str(page.relative_to(ROOT))


def table(page: str, heading: str = "") -> dict[str, list[str]]:
    """Return the rows of all tables below a heading, by their first cell."""
    text = read(DOCS / page)
    text = text.split(f"{heading}\n", 1)[1].split("\n## ", 1)[0] if heading else text
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| (`|\d)", line)
    ]
    return {row[0].strip("`"): row[1:] for row in rows}


# --- tables --------------------------------------------------------------------------


def test_every_setting_is_documented_with_its_default() -> None:
    """docs/settings.md has exactly the settings, each with the default it has."""
    expected = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(default)
        elif isinstance(default, bool):
            default = str(default).lower()
        known = default not in (None, "", PydanticUndefined)
        expected[variable(name)] = f"`{default}`" if known else ""
    written = {name: cells[0] for name, cells in table("settings.md").items()}

    # The default of the public URL follows from the port.
    assert written.pop("PUSHD_PUBLIC_URL") == "`http://127.0.0.1:<port>`"
    expected.pop("PUSHD_PUBLIC_URL")
    assert expected == written


def test_every_error_is_documented_with_its_status() -> None:
    """docs/errors.md has exactly the codes of the error table."""
    written = {
        code: int(cells[0]) for code, cells in table("errors.md", "## Codes").items()
    }

    assert {code: error.status for code, error in ERRORS.items()} == written


def test_every_close_code_is_documented_with_its_advice() -> None:
    """docs/errors.md has exactly the close codes, with what the client does."""
    written = table("errors.md", "## Close codes")

    assert {str(int(code)) for code in ADVICE} == set(written)
    for code, advice in ADVICE.items():
        meaning, comes_back = written[str(int(code))]
        assert advice.meaning == meaning
        expected = "with a new token" if advice.new_token else "yes"
        assert (expected if advice.reconnect else "no") == comes_back


def test_every_metric_is_documented() -> None:
    """docs/metrics.md has exactly the metrics, with their kinds and sentences."""
    text = Metrics().render().decode()
    expected = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            family.documentation,
        )
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }
    written = {
        name: (cells[0].split(",")[0], LINK.sub(r"\1", cells[1]))
        for name, cells in table("metrics.md").items()
    }

    assert expected == written


def test_the_words_of_the_glossary_are_in_order() -> None:
    """The glossary is sorted, and explains no word twice."""
    words = re.findall(r"^\| \*\*(.+?)\*\*", read(DOCS / "glossary.md"), re.MULTILINE)

    assert sorted(set(words), key=str.casefold) == words


def test_the_changelog_begins_with_this_version() -> None:
    """The newest entry of the changelog is the version of the package."""
    newest = re.search(r"^## \[(.+?)\]", read(ROOT / "CHANGELOG.md"), re.MULTILINE)

    assert newest is not None
    assert pushd.__version__ == newest[1]


# --- links, commands, code -----------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made from their words."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file of the repository, and a heading that it has."""
    for _, link in LINK.findall(read(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_exists(page: Path) -> None:
    """`make X` is a target, `pushdctl X --flag` a command with that flag."""
    targets = re.findall(r"^([a-z0-9-]+):", read(ROOT / "Makefile"), re.MULTILINE)
    command_line = typer.main.get_command(cli.app)
    assert isinstance(command_line, typer.core.TyperGroup)

    assert set(MAKE.findall(read(page))) <= set(targets)
    for name, rest in COMMAND.findall(read(page)):
        command = command_line.commands[name]
        flags = {flag for parameter in command.params for flag in parameter.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest)) <= {*flags, "--help", "-h"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_setting_that_is_mentioned_exists(page: Path) -> None:
    """No page tells of a PUSHD_ variable that is none."""
    known = {variable(name) for name in Settings.model_fields}

    assert set(re.findall(r"\bPUSHD_[A-Z_]+[A-Z]\b", read(page))) <= known


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_python_example_compiles_and_finds_its_imports(page: Path) -> None:
    """The Python of a page is Python, and what it imports is there."""
    for language, code in FENCE.findall(read(page)):
        if language != "python":
            continue
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compile(code, name_of(page), "exec", flags)
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                assert all(hasattr(module, alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)


def test_make_alone_lists_every_command() -> None:
    """`make` says what there is, each with a sentence."""
    shown = subprocess.run(
        ["make", "--no-print-directory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    targets = re.findall(r"^([a-z0-9-]+):(?!=)", read(ROOT / "Makefile"), re.MULTILINE)

    assert targets == re.findall(r"^make ([a-z0-9-]+) +\S", shown, re.MULTILINE)
