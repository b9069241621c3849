"""The specification says what the code does: schemas, documents and tables."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from starlette.routing import Route

from pushd.app import create_app
from pushd.errors import ERRORS
from pushd.protocol import messages
from pushd.protocol.closing import ADVICE, CloseCode
from pushd.settings import Settings
from pushd.web import problems, wellknown

SPEC = Path(__file__).parent.parent / "spec"
SCHEMAS = SPEC / "schemas"

Json = dict[str, Any]

CLIENT_FRAMES: dict[str, type] = {
    str(frame.__struct_config__.tag): frame for frame in get_args(messages.AnyClientFrame)
}
SERVER_FRAMES: dict[str, type] = {
    str(frame.__struct_config__.tag): frame for frame in get_args(messages.AnyServerFrame)
}
STRUCTS: dict[str, type] = {
    **{f"frames/{name}.json": struct for name, struct in CLIENT_FRAMES.items()},
    **{f"frames/{name}.json": struct for name, struct in SERVER_FRAMES.items()},
    "bodies/accepted.json": messages.Accepted,
    "bodies/acks.json": messages.Acks,
    "bodies/batch.json": messages.Batch,
    "bodies/delivery.json": messages.Delivery,
    "bodies/policy.json": messages.Policy,
    "bodies/problem.json": problems.Document,
    "bodies/removed.json": messages.Removed,
    "bodies/unread.json": messages.Unread,
    "common.json#/$defs/from": messages.From,
    "common.json#/$defs/message": messages.Message,
    "common.json#/$defs/overflow": messages.Overflow,
    "common.json#/$defs/problem": messages.Problem,
}
"""Each schema of the specification that a struct of the code stands for."""


@cache
def schema_file(path: Path) -> Json:
    """Read a schema."""
    schema: Json = json.loads(path.read_text())
    return schema


def retrieve(uri: str) -> Resource[Any]:
    """Resolve a reference from one schema file to another."""
    return Resource.from_contents(schema_file(Path(uri.removeprefix("file://"))))


REGISTRY: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg] # attrs field


def pointed(schema: Json, pointer: str) -> Json:
    """Follow a JSON pointer."""
    for step in pointer.strip("/").split("/") if pointer else ():
        schema = schema[step]
    return schema


def validator(name: str) -> Draft202012Validator:
    """Make a validator of a schema under `spec/schemas`."""
    uri = (SCHEMAS / name).as_uri()
    return Draft202012Validator(
        {"$ref": uri}, registry=REGISTRY, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def kinds(schema: Json, file: Path | None, defs: Json) -> set[str]:
    """Tell of which JSON types a value may be; empty is any."""
    if "$ref" in schema and "type" not in schema:
        target, _, pointer = schema["$ref"].partition("#")
        if file is None:
            return kinds(pointed({"$defs": defs}, pointer), None, defs)
        file = (file.parent / target).resolve() if target else file
        return kinds(pointed(schema_file(file), pointer), file, defs)
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return {"string"} if all(isinstance(value, str) for value in values) else {"?"}
    if "anyOf" in schema:
        return set().union(*(kinds(option, file, defs) for option in schema["anyOf"]))
    types = schema.get("type", [])
    return {types} if isinstance(types, str) else set(types)


def generated(struct: type) -> tuple[Json, Json]:
    """Return msgspec's schema of a struct, and the definitions it refers to."""
    (schema,), defs = msgspec.json.schema_components([struct])
    return pointed({"$defs": defs}, schema["$ref"].removeprefix("#")), defs


def references(value: Any) -> Iterator[str]:
    """Yield every `$ref` in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def document(name: str) -> Json:
    """Read one of the two YAML documents."""
    loaded: Json = yaml.safe_load((SPEC / name).read_text())
    return loaded


def dangling(name: str) -> list[str]:
    """List the references of a document that lead nowhere."""
    whole = document(name)
    missing = []
    for reference in references(whole):
        target, _, pointer = reference.partition("#")
        try:
            pointed(schema_file(SPEC / target) if target else whole, pointer)
        except (KeyError, FileNotFoundError):
            missing.append(reference)
    return missing


# --- schemas -------------------------------------------------------------------------


def test_every_schema_is_one() -> None:
    """Each file is valid JSON Schema of 2020-12, and its references lead somewhere."""
    for path in SCHEMAS.rglob("*.json"):
        Draft202012Validator.check_schema(schema_file(path))
        for reference in references(schema_file(path)):
            target, _, pointer = reference.partition("#")
            file = (path.parent / target).resolve() if target else path
            assert pointed(schema_file(file), pointer)


@pytest.mark.parametrize("name", STRUCTS)
def test_schema_and_struct_agree(name: str) -> None:
    """A schema has the members, the required ones and the types of the codec's struct."""
    file, _, pointer = name.partition("#")
    written = pointed(schema_file(SCHEMAS / file), pointer)
    made, defs = generated(STRUCTS[name])

    assert set(made["properties"]) == set(written["properties"])
    assert set(made["required"]) == set(written.get("required", ()))
    assert made.get("additionalProperties") == written.get("additionalProperties")
    for member, schema in made["properties"].items():
        ours, theirs = written["properties"][member], kinds(schema, None, defs)
        # A server leaves out what is null, so a schema need not allow it.
        assert theirs - kinds(ours, SCHEMAS / file, {}) <= {"null"}, member
        assert not theirs or kinds(ours, SCHEMAS / file, {}) <= theirs, member
        assert schema.get("default") == ours.get("default"), member


def test_every_frame_has_a_schema() -> None:
    """The two unions list the frames of the codec, each with a file of its name."""
    for side, frames in (("client", CLIENT_FRAMES), ("server", SERVER_FRAMES)):
        listed = schema_file(SCHEMAS / f"{side}-frame.json")["oneOf"]
        expected = [{"$ref": f"frames/{name}.json"} for name in frames]
        assert expected == listed
    assert {*CLIENT_FRAMES, *SERVER_FRAMES} == {
        path.stem for path in (SCHEMAS / "frames").glob("*.json")
    }


def test_the_tag_of_a_frame_is_its_type() -> None:
    """Each frame's schema asks for the `type` its file is named after."""
    for path in (SCHEMAS / "frames").glob("*.json"):
        assert {"const": path.stem} == schema_file(path)["properties"]["type"]


def is_allowed(name: str, text: str) -> bool:
    """Tell whether a text is JSON, in UTF-8, that a schema allows."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return validator(name).is_valid(value)


def test_the_schemas_allow_what_the_vectors_allow() -> None:
    """Every frame of the vectors that is to be accepted or refused, is, by the schemas."""
    vectors = json.loads((SPEC / "vectors" / "frames.json").read_text())
    client = vectors["client"]

    for case in [*client["valid"], *client["lenient"]]:
        assert is_allowed("client-frame.json", case["text"]), case["id"]
    for case in vectors["server"]:
        assert is_allowed("server-frame.json", case["text"]), case["id"]
    for case in client["refused"]:
        assert not is_allowed("client-frame.json", case["text"]), case["id"]


def test_the_server_describes_itself_as_specified() -> None:
    """`/.well-known/pushd` has exactly the members, limits and features of its schema."""
    schema = schema_file(SCHEMAS / "bodies" / "server.json")
    required = {
        field.name: 1
        for field in msgspec.structs.fields(wellknown.Limits)
        if field.default is msgspec.NODEFAULT
    }
    about: Json = msgspec.json.decode(
        messages.encode(
            wellknown.About(
                server="http://127.0.0.1:8480",
                durability="fsync",
                limits=wellknown.Limits(**required),
            )
        )
    )

    validator("bodies/server.json").validate(about)
    assert set(schema["properties"]) == set(about)
    assert set(schema["properties"]["limits"]["properties"]) == set(about["limits"])
    assert about["features"] == schema["properties"]["features"]["items"]["examples"]


# --- documents -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["openapi.yaml", "asyncapi.yaml"])
def test_documents_refer_to_what_exists(name: str) -> None:
    """No reference of the two documents dangles."""
    assert dangling(name) == []


def test_the_stream_document_has_every_frame() -> None:
    """The AsyncAPI document sends and receives exactly the frames of the codec."""
    whole = document("asyncapi.yaml")
    spoken = {
        operation["action"]: {
            reference["$ref"].rpartition("/")[2] for reference in operation["messages"]
        }
        for operation in whole["operations"].values()
    }

    # The document speaks for the server: it receives what clients send.
    assert {"receive": set(CLIENT_FRAMES), "send": set(SERVER_FRAMES)} == spoken
    assert spoken["receive"] | spoken["send"] == set(whole["components"]["messages"])


def test_the_http_document_has_every_route() -> None:
    """The OpenAPI document and the app know the same paths and methods."""
    routes = {
        (route.path, method)
        for route in create_app(Settings()).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    written = {
        (path, method.upper())
        for path, methods in document("openapi.yaml")["paths"].items()
        for method in methods
    }

    assert routes == written


def test_the_versions_agree() -> None:
    """Documents and subprotocol carry the protocol's version."""
    for name in ("openapi.yaml", "asyncapi.yaml"):
        assert str(messages.PROTOCOL) == document(name)["info"]["version"].split(".")[0]
    assert f"pushd.v{messages.PROTOCOL}" == messages.SUBPROTOCOL


# --- tables --------------------------------------------------------------------------


def rows(heading: str) -> dict[str, list[str]]:
    """Return the table below a heading of protocol.md, by its first cell."""
    text = (SPEC / "protocol.md").read_text()
    section = re.split(r"^#+ ", text.split(heading, 1)[1], maxsplit=1, flags=re.MULTILINE)[
        0
    ]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    return {row[0].strip("`"): row[1:] for row in cells[2:]}


def test_the_error_table_is_that_of_the_code() -> None:
    """protocol.md has every code of the error table, with its HTTP status."""
    written = {code: int(cells[0]) for code, cells in rows("### 5.5 Errors").items()}

    assert {code: error.status for code, error in ERRORS.items()} == written


def test_the_close_codes_are_those_of_the_code() -> None:
    """protocol.md has every close code, and says who comes back by itself."""
    written = {int(code): cells[1] for code, cells in rows("### 6.8 The end").items()}

    assert set(CloseCode) == set(written)
    for code, advice in ADVICE.items():
        assert advice.reconnect == written[code].startswith("reconnects")
        assert advice.new_token == ("newly made token" in written[code])


@pytest.mark.parametrize(
    ("heading", "expected"),
    [("### 6.1", CLIENT_FRAMES), ("### 6.2", SERVER_FRAMES)],
)
def test_the_frame_tables_are_those_of_the_code(
    heading: str, expected: dict[str, type]
) -> None:
    """protocol.md lists each frame with exactly the members of its struct."""
    written = {
        name: set(re.findall(r"`([a-z_]+)`", cells[0]))
        for name, cells in rows(heading).items()
    }

    assert {
        name: {field.encode_name for field in msgspec.structs.fields(struct)}
        for name, struct in expected.items()
    } == written


def test_every_error_code_is_in_the_http_document() -> None:
    """The problem's schema names every code of the error table."""
    problem = schema_file(SCHEMAS / "bodies" / "problem.json")

    assert set(ERRORS) == set(problem["properties"]["code"]["examples"])


REST = '"from":{"did":"did:btc-addr:1..."},"payload":"...","at":1,"expires":2}'
"""What the page leaves out of the messages it prints."""


def test_the_examples_of_protocol_md_are_frames() -> None:
    """What client and server say in the example dialogues is what the schemas allow."""
    text = (SPEC / "protocol.md").read_text()
    section = text.split("### 6.3", 1)[1].split("### 6.4", 1)[0].replace("\n        ", "")
    spoken = re.findall(r"^    ([CS])  (\{.*\})$", section, re.MULTILINE)
    whole = [
        (
            who,
            line.replace("...}", REST).replace(
                ":1...", ":1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"
            ),
        )
        for who, line in spoken
        if ",...," not in line
    ]

    assert len(whole) > 15
    for who, line in whole:
        side = "client" if who == "C" else "server"
        validator(f"{side}-frame.json").validate(json.loads(line))
