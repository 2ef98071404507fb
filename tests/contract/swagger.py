"""Turns a published swagger document into the requests of its examples, and an answer into what is wrong with it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from jsonschema import Draft4Validator, FormatChecker

Json = Any
"""What a JSON document or a schema may hold."""
_BINARY = "application/octet-stream"
_ERROR = {"$ref": "#/definitions/ErrorResponse"}
_PLACE = {"name", "in", "required", "description"}
"""What a parameter says beside its schema, when it has none of its own."""
_INT32 = range(-(2**31), 2**31)
_DURATION = re.compile(r"-?P(?=[\dT])(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?", re.ASCII)
# As recorded from the service: with up to seven digits of a second, and with or without a zone (contract 1.5).
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_FORMATS = FormatChecker(formats=())


class Sent(NamedTuple):
    """A request, relative to a loop's endpoint."""

    method: str
    path: str
    body: bytes | None
    headers: dict[str, str]


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Example:
    """One example of an operation.

    Attributes:
        name: of its file, without the ending.
        operation: the operation's part of the document, with `method` and `path` added.
        parameters: by name, as the file has them.
        responses: by status, as the file has them.
    """

    name: str
    operation: Json
    parameters: dict[str, Json]
    responses: dict[str, Json]

    @property
    def printed_status(self) -> int:
        (status,) = self.responses
        return int(status)

    @property
    def printed_body(self) -> Json:
        """The answer's body in the file; None when there is none."""
        return self.responses[str(self.printed_status)].get("body")

    def sent(self, without: frozenset[str] = frozenset()) -> Sent:
        """The request, but for some members of its body; endpoint and key are the caller's."""
        path, query, body, headers = self.operation["path"], {}, None, {}
        for parameter in self.operation.get("parameters", ()):
            name, place = parameter["name"], parameter["in"]
            if name not in self.parameters:
                assert not parameter.get("required"), f"{self.name} lacks {name}"
                continue
            value = self.parameters[name]
            if place == "path":
                path = path.replace(f"{{{name}}}", quote(value, safe=""))
            elif place == "query":
                query[name] = json.dumps(value) if isinstance(value, bool) else value
            elif self.operation["consumes"] == [_BINARY]:
                body, headers = value.encode(), {"Content-Type": _BINARY}
            else:
                kept = {member: part for member, part in value.items() if member not in without}
                body, headers = json.dumps(kept).encode(), {"Content-Type": "application/json"}
        method = self.operation["method"].upper()
        return Sent(method, f"{path}?{urlencode(query)}" if query else path, body, headers)


class Swagger:
    """A version's published document.

    Args:
        folder: where Personalizer.json and the examples are.
        extra: members that answers may hold beyond those of the document, by definition.
    """

    def __init__(self, folder: Path, extra: Mapping[str, frozenset[str]] | None = None) -> None:
        self.folder = folder
        self._extra = extra or {}
        self._document: Json = json.loads((folder / "Personalizer.json").read_text())

    @cached_property
    def examples(self) -> dict[str, Example]:
        """All of its examples, by the name of their file."""
        found = {}
        for operation in self.operations.values():
            for reference in operation["x-ms-examples"].values():
                file = self.folder / reference["$ref"]
                example = json.loads(file.read_text())
                found[file.stem] = Example(file.stem, operation, example["parameters"], example["responses"])
        return found

    @cached_property
    def operations(self) -> dict[str, Json]:
        """By id; each with its method and its path below the endpoint."""
        return {
            operation["operationId"]: {**operation, "method": method, "path": self._document["basePath"] + path}
            for path, methods in self._document["paths"].items()
            for method, operation in methods.items()
        }

    def problems(self, operation: Json, got: Got) -> list[str]:
        """What an answer has that the document does not allow: its status, headers or body; empty when all is well."""
        responses = operation["responses"]
        declared = responses.get(str(got.status))
        if declared is None and got.status < 400:
            return [f"status {got.status} is none of {sorted(responses)}"]
        # Where a version documents no errors of an operation, its errors look like those of the others.
        declared = declared or responses.get("default") or {"schema": _ERROR}
        absent = [f"header {name} is missing" for name in declared.get("headers", ()) if name not in got.headers]
        return [*absent, *self._body_problems(declared.get("schema"), got)]

    def request_problems(self, example: Example) -> list[str]:
        """What an example's own request has that the document does not allow."""
        return [
            problem
            for parameter in example.operation.get("parameters", ())
            if parameter["name"] in example.parameters
            for problem in self._violations(
                parameter.get("schema") or {name: parameter[name] for name in parameter if name not in _PLACE},
                example.parameters[parameter["name"]],
                sent=True,
            )
        ]

    def _body_problems(self, schema: Json, got: Got) -> list[str]:
        kind = got.headers.get_content_type() if "Content-Type" in got.headers else None
        if schema is None:
            return [f"a body where none is declared: {got.body[:80]!r}"] if got.body else []
        if schema.get("type") == "file":
            return [] if kind == _BINARY else [f"the file's type is {kind!r}"]
        try:
            body = json.loads(got.body, parse_constant=_refuse)
        except ValueError as e:
            return [f"the body is no JSON: {e}: {got.body[:80]!r}"]
        violations = self._violations(schema, body)
        return violations if kind == "application/json" else [f"the JSON's type is {kind!r}", *violations]

    def _violations(self, schema: Json, value: Json, sent: bool = False) -> list[str]:
        whole = {**_json_schema(schema, sent), "definitions": self._definitions[sent]}
        found = Draft4Validator(whole, format_checker=_FORMATS).iter_errors(value)
        return [f"{'.'.join(map(str, error.absolute_path)) or 'body'}: {error.message}" for error in found]

    @cached_property
    def _definitions(self) -> dict[bool, Json]:
        """For what is received, and for what is sent."""
        definitions = self._document["definitions"].items()
        return {
            sent: {name: _json_schema(part, sent, self._extra.get(name, frozenset())) for name, part in definitions}
            for sent in (False, True)
        }


def missing(printed: Json, given: Json, where: str = "") -> Iterator[str]:
    """The members of an example's answer that a given answer lacks; of arrays the first elements are compared.

    The published schemas require next to nothing of an answer, so that `{}` would do: the examples say what is there.
    """
    if isinstance(printed, dict) and isinstance(given, dict):
        for name, part in printed.items():
            if name in given:
                yield from missing(part, given[name], f"{where}{name}.")
            else:
                yield f"{where}{name}"
    elif isinstance(printed, list) and isinstance(given, list) and printed and given:
        yield from missing(printed[0], given[0], where)


def _json_schema(schema: Json, sent: bool, extra: frozenset[str] = frozenset()) -> Json:
    """A swagger schema as one of JSON Schema (draft 4, from which swagger 2.0 took it).

    Objects are closed, so that a member shows which a version does not know, or which is read-only and was sent. A
    modelled enum is open: the SDKs take its values as strings, and new ones may come.
    """
    if isinstance(schema, list):
        return [_json_schema(part, sent) for part in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {name: _json_schema(part, sent) for name, part in schema.items() if name not in ("properties", "enum")}
    if "enum" in schema and not schema.get("x-ms-enum", {}).get("modelAsString"):
        converted["enum"] = schema["enum"]
    if "properties" in schema:
        known = {name: part for name, part in schema["properties"].items() if not (sent and part.get("readOnly"))}
        converted["properties"] = {
            **{name: _json_schema(part, sent) for name, part in known.items()},
            **{name: {} for name in extra},
        }
        converted["additionalProperties"] = False
    return converted


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


@_FORMATS.checks("int32")
def _is_int32(value: object) -> bool:
    return not isinstance(value, int) or value in _INT32


@_FORMATS.checks("duration")
def _is_duration(value: object) -> bool:
    return not isinstance(value, str) or _DURATION.fullmatch(value) is not None


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    return _DATE_TIME.fullmatch(value) is not None and datetime.fromisoformat(value) is not None
