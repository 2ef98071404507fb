"""Turns request bodies into structs, or refusals that name the member at fault.

A body is first decoded strictly and fast. What that refuses is decoded a second time with case-blind member names and
unknown members dropped, as the original service did (contract 1.5): the slow way is only for unusual callers, and
words the refusals.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec
import orjson
from msgspec.inspect import ListType, Metadata, StructType, type_info

from shared.contract.errors import ApiError

T = TypeVar("T")

MAX_VALUES = 30_000
"""Values that a body may hold: handling so many takes about 20 ms."""
_MISSING = re.compile("Object missing required field `([^`]+)`")
"""What msgspec says of the object that a member is missing from."""


@cache
def _decoder(kind: type[Any]) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind).decode


def decode(body: bytes, kind: type[T], code: str = "BadRequest") -> T:
    """The struct in a body.

    Args:
        body: the JSON that came.
        kind: a msgspec struct.
        code: of the refusal of JSON that is not such a struct.

    Raises:
        ApiError: PayloadSizeExceeded when it holds very many values, BadRequest when it is no JSON object, else with
            the given code.
    """
    _check_values(body)
    try:
        decoded: T = _decoder(kind)(body)  # type: ignore[arg-type]
        return decoded
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        known = orjson.dumps(_known_members(json_object(body), kind))
    except orjson.JSONEncodeError as e:  # it reads 1024 levels, but writes 254
        raise ApiError("BadRequest", "The body is nested too deep.") from e
    try:
        return msgspec.json.decode(known, type=kind)
    except msgspec.ValidationError as e:
        problem, _, path = str(e).partition(" - at ")
        target = path.strip("`").removeprefix("$").removeprefix(".") or None
        if missing := _MISSING.fullmatch(problem):
            where = f"{target}.{missing[1]}" if target else missing[1]
            raise ApiError(code, f"{where} is required.", where) from e
        raise ApiError(code, f"{target or 'The body'}: {problem}.", target) from e


def _check_values(body: bytes) -> None:
    """Refuse a body of more values than may be looked at, without looking at them."""
    if len(body) <= MAX_VALUES:
        return
    # Behind each value but the last of its array or object stands a comma; those in strings are counted with them.
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > MAX_VALUES:
        message = f"The body has {values} commas and opening brackets; at most {MAX_VALUES} are allowed."
        raise ApiError("PayloadSizeExceeded", message)


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        ApiError: BadRequest when it holds anything else.
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise ApiError("BadRequest", f"The body is not JSON: {e}.") from e
    if not isinstance(given, dict):
        raise ApiError("BadRequest", "The body must be a JSON object.")
    return given


def _known_members(given: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """The members `kind` knows, under their own spelling; where a body has two spellings, the last one counts."""
    members = _members(kind)  # type: ignore[arg-type]
    known = {}
    for key, value in given.items():
        if (member := members.get(key.lower())) is None:
            continue
        name, element = member
        if element is not None and isinstance(value, list):
            value = [_known_members(item, element) if isinstance(item, dict) else item for item in value]
        known[name] = value
    return known


@cache
def _members(kind: type[Any]) -> dict[str, tuple[str, type[Any] | None]]:
    """By lower-case name: the member's own spelling and, where it is a list of structs, their type."""
    found: dict[str, tuple[str, type[Any] | None]] = {}
    info = type_info(kind)
    assert isinstance(info, StructType)  # noqa: S101 - for the type checker
    for field in info.fields:
        described = field.type.type if isinstance(field.type, Metadata) else field.type
        items = described.item_type if isinstance(described, ListType) else None
        element = items.cls if isinstance(items, StructType) else None
        found[field.encode_name.lower()] = field.encode_name, element
    return found
