"""Who owns which name: the names API of BNS V1, and the one of BNS V2 under `/bns`.

`PUT /dev/names/{name}` with `{"address", "zonefile"}` makes a name, or gives it a new
owner, and `DELETE` takes it away. Both are for development alone: they ask nobody who
they are, so whoever reaches the port owns every name. Browsers do not let a page send
them, for they are answered without CORS.
"""

import secrets
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pushd.errors import BadRequest
from pushd.identity.addresses import hash160_of
from pushd.identity.keys import hash160
from pushd.identity.names import Form, form_of

MAX_RECORD = 64 * 1024
"""Bytes of what is put."""


class Record(Struct, frozen=True):
    """What the chain knows of a name.

    Attributes:
        address: Of its owner, `S...` or `1...`.
        zonefile: The text of its zone file; of a .btc name it is JSON.
        transaction: The one that wrote this.
    """

    address: str
    zonefile: str
    transaction: str = ""


class Names:
    """All names, and the routes to ask for them.

    Args:
        directory: Where they last; None keeps them in memory only.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._records: dict[str, Record] = {}
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            for path in directory.glob("*.json"):
                record = msgspec.json.decode(path.read_bytes(), type=Record)
                self._records[path.name.removesuffix(".json")] = record
        self.routes = [
            Route("/v1/names/{name}", self._name),
            Route("/v1/names/{name}/zonefile", self._zone_file),
            Route("/v1/addresses/{blockchain}/{address}", self._names_of),
            Route("/bns/names/{name}", self._bns_name),
            Route("/bns/zonefile/{name}/raw", self._bns_zone_file),
            Route("/dev/names/{name}", self._put, methods=["PUT"]),
            Route("/dev/names/{name}", self._forget, methods=["DELETE"]),
        ]

    def put(self, name: str, address: str, zone_file: str) -> None:
        """Give a name to an owner.

        Args:
            name: A Blockstack name, or one of BNS V2.
            address: The owner.
            zone_file: Its text.

        Raises:
            BadRequest: If it is no such name, or no address.
        """
        if form_of(name) not in (Form.BLOCKSTACK, Form.BNS):
            raise BadRequest("Only Blockstack names and .btc names are registered.")
        hash160_of(address)
        record = Record(address, zone_file, f"0x{secrets.token_hex(32)}")
        if self._directory is not None:
            (self._directory / f"{name}.json").write_bytes(msgspec.json.encode(record))
        self._records[name] = record

    def forget(self, name: str) -> None:
        """Let a name be nobody's, if it was anybody's."""
        if self._records.pop(name, None) and self._directory is not None:
            (self._directory / f"{name}.json").unlink(missing_ok=True)

    def _of(self, request: Request, form: Form) -> Record | None:
        """Return the record of a name; each API knows only names of its own form."""
        name = request.path_params["name"]
        record = self._records.get(name)
        return record if record is not None and form_of(name) is form else None

    # --- BNS V1 ----------------------------------------------------------------------

    async def _name(self, request: Request) -> Response:
        name, record = request.path_params["name"], self._of(request, Form.BLOCKSTACK)
        third = name.count(".") == 2
        if record is None:
            return _missing(f"cannot find {'subdomain' if third else 'name'} {name}")
        return JSONResponse(
            {
                "address": record.address,
                "blockchain": "stacks",
                "last_txid": record.transaction,
                "status": "registered_subdomain" if third else "name-register",
                "zonefile": record.zonefile,
                "zonefile_hash": hash160(record.zonefile.encode()).hex(),
            }
        )

    async def _zone_file(self, request: Request) -> Response:
        record = self._of(request, Form.BLOCKSTACK)
        if record is None:
            return _missing("No such name or zonefile does not exist")
        return JSONResponse({"zonefile": record.zonefile})

    async def _names_of(self, request: Request) -> Response:
        if request.path_params["blockchain"] != "stacks":
            return _missing("Unsupported blockchain")
        address = request.path_params["address"]
        names = sorted(
            name
            for name, record in list(self._records.items())
            if record.address == address and form_of(name) is Form.BLOCKSTACK
        )
        return JSONResponse({"names": names})

    # --- BNS V2 ----------------------------------------------------------------------

    async def _bns_name(self, request: Request) -> Response:
        name, record = request.path_params["name"], self._of(request, Form.BNS)
        if record is None:
            return _missing("Name not found")
        label, _, namespace = name.partition(".")
        return JSONResponse(
            {
                "current_burn_block": 900_000,
                "status": "active",
                "is_managed": False,
                "data": {
                    "name_string": label,
                    "namespace_string": namespace,
                    "full_name": name,
                    "owner": record.address,
                    "renewal_height": "0",
                    "revoked": False,
                    "is_valid": True,
                },
            }
        )

    async def _bns_zone_file(self, request: Request) -> Response:
        name, record = request.path_params["name"], self._of(request, Form.BNS)
        if record is None:
            return _missing("Name not found, expired or revoked")
        if not record.zonefile:
            return _missing("No zonefile found for this name")
        zone_file = _decoded(record.zonefile)
        if not isinstance(zone_file, dict) or zone_file.get("owner") != record.address:
            error = "Zonefile owner does not match name owner"
            return JSONResponse({"error": error}, status_code=400)
        return JSONResponse({"full_name": name, "zonefile": zone_file})

    # --- development -----------------------------------------------------------------

    async def _put(self, request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_RECORD:
                return PlainTextResponse("This is too long for a name.", status_code=413)
        try:
            record = msgspec.json.decode(bytes(body), type=Record)
            self.put(request.path_params["name"], record.address, record.zonefile)
        except (msgspec.DecodeError, RecursionError) as error:
            return PlainTextResponse(f"The body: {error}.", status_code=400)
        except BadRequest as error:
            return PlainTextResponse(error.detail, status_code=400)
        return Response(status_code=204)

    async def _forget(self, request: Request) -> Response:
        self.forget(request.path_params["name"])
        return Response(status_code=204)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _missing(what: str) -> Response:
    return JSONResponse({"error": what}, status_code=404)
