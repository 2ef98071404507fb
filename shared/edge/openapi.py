"""Turns the table of operations, and the types that decode their bodies, into the API's OpenAPI 3.1 description.

It is made once, when it is first asked for; nothing that answers other calls imports this.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from shared.access.roles import HEADERS as KEY_HEADERS
from shared.access.roles import Role
from shared.contract.errors import STATUS
from shared.contract.versions import ALL, BEFORE_2022, FROM_P1, ONLY_2022, Version
from shared.edge import events
from shared.edge.calls import Reply
from shared.edge.descriptions import AREAS, DESCRIPTIONS, HEADERS, Description
from shared.edge.job_descriptions import JOBS
from shared.edge.log_descriptions import LOGS
from shared.edge.metric_descriptions import METRICS
from shared.edge.operating_descriptions import OPERATING, Probe, probes
from shared.edge.parameters import IN_PATH, REPEATED, SUBJECT
from shared.edge.routes import MAX_UPLOAD, PERSONALIZER, RANKLOOP, Route
from shared.edge.schemas import HAND_WRITTEN, ErrorResponse, RankableAction
from shared.edge.trial_descriptions import TRIALS
from shared.edge.version_descriptions import VERSIONS

BINARY = "application/octet-stream"
_JSON = "application/json"
_REF = "#/components/schemas/{name}"
_HOLE = re.compile(r"\{(\w+)\}")
_ASK_AGAIN: Final = {"cache-control": "no-cache"}
"""Whoever keeps the document is to ask whether it is the same still."""
_VERSION: Final = "1.0"
"""Of Rankloop's own operations; Personalizer's have theirs."""

EVERY: Final = {**DESCRIPTIONS, **LOGS, **JOBS, **METRICS, **OPERATING, **TRIALS, **VERSIONS}
"""What callers are told of every operation."""
ANY_CALL: Final = ("Unauthorized", "Forbidden", "FrontEndNotFound", "InternalServerError", "OperationNotAllowed")
"""Codes that any operation may answer."""
_ONLY_IN: Final = {
    "IncompatibleEvaluationVersion": FROM_P1,
    "InvalidContainer": BEFORE_2022,
    "InvalidLearningModeServiceConfiguration": FROM_P1,
    "InvalidModelRetrainDays": ONLY_2022,
    "InvalidRequest": ONLY_2022,
    "InvalidSasUri": ONLY_2022,
}
"""The versions of codes that not all have."""

_TEXT: Final = """\
Rankloop decides which action to show and learns from how it went. It answers as Azure AI Personalizer did, in each of
its versions, and has a few operations of its own.

A deployment holds many loops. The default one answers at the deployment's own address, a loop named `news` below
`/loops/news`; both have the same paths. A loop's keys may call, read and manage it; the deployment's key opens
everything. Members of a body that an operation does not know are ignored, and members without a value are left out of
answers. Every refusal has its code in the header `x-ms-error-code`, too; its message is for people and may change.
Where a call holds `x-ms-return-client-request-id: true`, its `x-ms-client-request-id` comes back."""


def reply(if_none_match: str) -> Reply:
    """The document, or word that the caller has it already.

    Args:
        if_none_match: the header of that name; empty for none.
    """
    body, etag = _encoded()
    held = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    if etag in held or held == ["*"]:
        return Reply(304, headers={"ETag": etag, **_ASK_AGAIN})
    return Reply(200, body, {"ETag": etag, **_ASK_AGAIN})


@cache
def _encoded() -> tuple[bytes, str]:
    body = msgspec.json.encode(document())
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


@cache
def document() -> dict[str, Any]:
    """The description as a JSON document."""
    operations = list(_operations())
    types = [*_types(operations), RankableAction, ErrorResponse, Probe]
    _, components = msgspec.json.schema_components(types, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route, version in operations:
        paths.setdefault(_path(route, version), {})[route.method.lower()] = _operation(route, version)
    paths.update(probes(_schema(Probe), lambda codes: _refusals(codes, "GET")))
    return {
        "openapi": "3.1.1",
        "info": {"title": "Rankloop", "version": _VERSION, "description": _TEXT, "license": {"name": "MIT"}},
        "servers": [
            {"url": "/", "description": "The default loop."},
            {
                "url": "/loops/{loop}",
                "description": "Any loop.",
                "variables": {"loop": {"default": "default", "description": "The loop's name."}},
            },
        ],
        "security": [{"key": []}, {"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in AREAS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted({**_public(components), **HAND_WRITTEN}.items())),
            "responses": {code: _response([code]) for code in sorted(STATUS)},
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Ocp-Apim-Subscription-Key",
                    "description": f"A key of the loop or of the deployment. `{KEY_HEADERS[1]}` is taken, too.",
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token of Microsoft Entra ID with app roles such as `Rankloop.Call`.",
                },
            },
        },
    }


def operation_id(route: Route, version: Version | None) -> str:
    """The id of an operation in a version, or of one of Rankloop's own, by which generated clients name it."""
    name = route.operation.__name__
    if sum(other.operation is route.operation for other in PERSONALIZER) > 1:
        name = f"{route.method}_{route.path.rpartition('/')[2]}".lower()
    return name if version is None else f"{name}_{re.sub(r'[^a-z0-9]', '_', version.value)}"


def _operations() -> Iterator[tuple[Route, Version | None]]:
    for version in ALL:
        yield from ((route, version) for route in PERSONALIZER if version in route.versions)
    yield from ((route, None) for route in RANKLOOP)


def _path(route: Route, version: Version | None) -> str:
    if version is None:
        return f"/rankloop/v1/{route.path}"
    return f"/personalizer/{route.path}" if version is Version.V2022 else f"/personalizer/{version.value}/{route.path}"


def described(route: Route) -> Description:
    """What callers are told of a route's operation."""
    return EVERY[route.operation]


def _of(value: Any, version: Version | None) -> Any:
    """What a table by version says of one; what is no such table is the same for all."""
    by_version = isinstance(value, dict) and all(isinstance(key, Version) for key in value)
    return value[version] if by_version else value


def codes(route: Route, version: Version | None) -> list[str]:
    """The codes of all refusals that an operation may answer."""
    told = described(route)
    found = {code for code in told.codes if version is None or version in _ONLY_IN.get(code, ALL)} | set(ANY_CALL)
    if route.role is Role.CALL:
        found.add("TooManyRequests")
    if route.method in ("POST", "PUT"):
        found.add("PayloadSizeExceeded")
    if route.body not in (None, bytes) or version is Version.V2022:
        found.add("BadRequest")
    return sorted(found)


def _types(operations: Iterable[tuple[Route, Version | None]]) -> Iterator[Any]:
    for route, version in operations:
        told = described(route)
        yield from (kind for kind in (_of(route.body, version), _of(told.answer, version)) if kind not in (None, bytes))
        yield from (parameter.type for parameter in told.query)


def _schema(kind: Any) -> dict[str, Any]:
    """The schema of a type, in which structs are references."""
    shown: dict[str, Any] = _public(msgspec.json.schema_components([kind], ref_template=_REF)[0][0])
    return shown


def _public(schema: Any) -> Any:
    """A schema as callers are to see it.

    Of a docstring the first paragraph is for them; unknown members are taken, though the fast decoder refuses them;
    and a default of null says no more than that the member may be left out.
    """
    if isinstance(schema, list):
        return [_public(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    shown = {name: _public(part) for name, part in schema.items()}
    if isinstance(text := shown.get("description"), str):
        shown["description"] = " ".join(text.partition("\n\n")[0].split())
    if shown.get("additionalProperties") is False:
        del shown["additionalProperties"]
    if "default" in shown and shown["default"] is None:
        del shown["default"]
    return shown


def _operation(route: Route, version: Version | None) -> dict[str, Any]:
    told, body = described(route), _of(route.body, version)
    shown: dict[str, Any] = {
        "operationId": operation_id(route, version),
        "tags": [told.area],
        "summary": told.summary,
        "description": f"{told.details} Takes the role Rankloop.{(route.role.name or '').title()}.".strip(),
        "parameters": list(_parameters(route, version)),
        "responses": {**_success(route, version), **_refusals(codes(route, version), route.method)},
    }
    if body is bytes:
        shown["requestBody"] = {
            "required": True,
            "description": f"At most {MAX_UPLOAD} bytes.",
            "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}},
        }
    elif body is not None:
        content = {"schema": _schema(body), "example": _of(told.example, version)}
        shown["requestBody"] = {"required": True, "content": {_JSON: content}}
    return shown


def _parameters(route: Route, version: Version | None) -> Iterator[dict[str, Any]]:
    for name in _HOLE.findall(route.path):
        yield {"name": name, "in": "path", "required": True, "schema": _schema(IN_PATH[name])}
    if version is Version.V2022:
        schema = {"type": "string", "enum": [version.value]}
        yield {"name": "api-version", "in": "query", "required": True, "schema": schema}
    for parameter in described(route).query:
        if version in parameter.versions:
            schema = _schema(parameter.type)
            yield {"name": parameter.name, "in": "query", "required": parameter.required, "schema": schema}
    if route.operation in (events.rank, events.rank_slots):
        yield SUBJECT
    if route.method == "POST" and route.path.startswith(("events/", "multislot/events/")):
        yield REPEATED


def _success(route: Route, version: Version | None) -> dict[str, Any]:
    told = described(route)
    if told.status is None:
        return {}
    answer = _of(told.answer, version)
    shown: dict[str, Any] = {"description": HTTPStatus(told.status).phrase + "."}
    if told.headers:
        shown["headers"] = {name: HEADERS[name] for name in told.headers}
    if answer is bytes:
        content: dict[str, Any] = {BINARY: {"schema": {"type": "string", "format": "binary"}}}
    else:
        content = {_JSON: {"schema": _schema(answer)}} if answer else {}
    if content and route.method != "HEAD":
        shown["content"] = content
    return {str(told.status): shown}


def _refusals(codes: Iterable[str], method: str) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(STATUS[code], []).append(code)
    return {str(status): _refusal(by_status[status], method) for status in sorted(by_status)}


def _refusal(codes: list[str], method: str) -> dict[str, Any]:
    """The answer with one of some codes, all of one status."""
    if method == "HEAD":
        shown = _response(codes)
        del shown["content"]
        return shown
    return {"$ref": f"#/components/responses/{codes[0]}"} if len(codes) == 1 else _response(codes)


def _response(codes: Sequence[str]) -> dict[str, Any]:
    *others, last = codes
    headers: dict[str, Any] = {
        "x-ms-error-code": {"required": True, "schema": {"type": "string", "enum": list(codes)}},
    }
    if not {"OperationNotAllowed", "TooManyRequests"}.isdisjoint(codes):
        text = "Seconds after which to repeat the call; left out where that makes no sense."
        headers["Retry-After"] = {"description": text, "schema": {"type": "integer"}}
    return {
        "description": f"{', '.join(others)} or {last}." if others else f"{last}.",
        "headers": headers,
        "content": {_JSON: {"schema": _schema(ErrorResponse)}},
    }
