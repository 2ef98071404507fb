"""Turns a caller's context and actions into the JSON that VW may see; nothing else ever reaches VW.

VW's JSON reader dies of some documents and misreads others (a key whose first byte is above 0x7F, `__aid`, a nested
`_slots`...), and every parse it refuses leaks memory. So each document is decoded, checked and written anew here;
docs/adr/0006-sanitise-features.md lists the rules and the measurements behind them.

Most features are flat objects of plain values: those take a typed decode that runs in C. Everything else takes the
walk in Python, which also finds the words for a refusal. Sanitised actions are kept, since the same actions come back
with most requests.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
import orjson

from shared.contract.errors import ApiError

MAX_DEPTH = 6
"""Levels of objects and arrays below the feature list; VW's reader recurses on its own stack."""
MAX_KEY = 256
MAX_STRING = 65_536
MAX_NODES = 20_000
"""Members, array items and objects of the context; walking them all takes about 30 ms."""
MAX_ACTION_NODES = 2_000
"""The same of an action, of which there may be fifty."""
MAX_NUMBER = 1e19
"""Features are 32-bit floats in VW: the product of two must not be infinite. Every signed 64-bit integer is below."""

_Scalar = (
    Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31)]
    | Annotated[float, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
    | Annotated[str, msgspec.Meta(max_length=MAX_STRING)]
    | bool
    | None
)
_FlatFeatures = list[dict[Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KEY)], _Scalar]]


class _FlatAction(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    features: _FlatFeatures


# What orjson.dumps returns holds on to a 4 kB buffer (measured); for ids, which are kept, that would be the most of it.
_encode = msgspec.json.Encoder().encode
_decode_flat_action = msgspec.json.Decoder(_FlatAction).decode
_decode_flat_features = msgspec.json.Decoder(_FlatFeatures).decode


class Action(msgspec.Struct, frozen=True, gc=False):
    """A rankable action, ready for VW and for the answer.

    Attributes:
        id: the caller's id, 1 to 256 characters.
        id_json: the id as JSON.
        example: the action as an element of VW's `_multi`.
        features: how many VW features the example makes at most, the two of namespace `i` included.
    """

    id: str
    id_json: bytes
    example: bytes
    features: int


class Context(msgspec.Struct, frozen=True, gc=False):
    """The context or a slot's features, ready for VW: a JSON array, and how many VW features it makes at most."""

    example: bytes
    features: int


_NO_CONTEXT = Context(b"[]", 0)


def is_plain(body: bytes) -> bool:
    """Whether the fast way may be tried on a request: asked once for all of it, since asking is half the work."""
    # Without escapes and without a quoted leading underscore no key is reserved and no string holds a NUL.
    return b'"_' not in body and b"\\" not in body


def sanitise_context(raw: bytes, plain: bool = False, where: str = "contextFeatures") -> Context:
    """Rebuild the `contextFeatures` array, or the features of a slot.

    Args:
        raw: the JSON of the array, as the caller wrote it; `null` is an empty one.
        plain: what `is_plain` says of it.
        where: the member, for messages.

    Raises:
        ApiError: BadRequest when it cannot be decoded, InvalidRankRequest when a feature breaks a rule.
    """
    if raw == b"null":
        return _NO_CONTEXT
    limit = MAX_NODES if where == "contextFeatures" else MAX_ACTION_NODES
    if plain:
        try:
            flat = _decode_flat_features(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # the walk below says what is wrong, or accepts what is merely not flat
        else:
            count = sum(map(len, flat))
            if count + len(flat) <= limit:
                return Context(orjson.dumps(flat), count)
    walk = _Walk(limit)
    objects = walk.feature_list(_loads(raw, where), where)
    return Context(orjson.dumps(objects), walk.count)


def sanitise_action(raw: bytes, index: int, plain: bool = False) -> Action:
    """Rebuild one element of `actions`.

    Args:
        raw: the JSON of the action, as the caller wrote it.
        index: its place in the request, for messages.
        plain: what `is_plain` says of it.

    Raises:
        ApiError: BadRequest when it cannot be decoded or is wrongly typed, InvalidRankRequest when it breaks a rule.
    """
    if plain:
        try:
            flat = _decode_flat_action(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # as above
        else:
            count = sum(map(len, flat.features))
            if flat.features and count + len(flat.features) <= MAX_ACTION_NODES:
                return _action(flat.id, _encode(flat.id), flat.features, count)
    where = f"actions[{index}]"
    given = _loads(raw, where)
    if given is None:
        raise ApiError("InvalidRankRequest", f"{where} is null; each action needs an id and features.", where)
    if not isinstance(given, dict):
        raise ApiError("BadRequest", f"{where} must be an object with id and features, not {_name(given)}.", where)
    members = {key.lower(): value for key, value in given.items()}
    action_id = members.get("id")
    if not isinstance(action_id, str):
        raise ApiError("BadRequest", f"{where}.id must be a string, not {_name(action_id)}.", f"{where}.id")
    if not 1 <= len(action_id) <= 256:
        message = f"{where}.id must have 1 to 256 characters; it has {len(action_id)}."
        raise ApiError("InvalidRankRequest", message, f"{where}.id")
    listed = members.get("features")
    if not isinstance(listed, list):
        message = f"{where}.features must be an array of objects, not {_name(listed)}."
        raise ApiError("BadRequest", message, f"{where}.features")
    walk = _Walk(MAX_ACTION_NODES)
    objects = walk.feature_list(listed, f"{where}.features", skip_null=True)
    if not objects:
        message = f"{where}.features must hold at least one object that is not null."
        raise ApiError("InvalidRankRequest", message, f"{where}.features")
    return _action(action_id, _encode(action_id.replace("\0", "_")), objects, walk.count)


def example(context: Context, actions: list[Action], slots: list[bytes] | None = None) -> bytes:
    """The whole example in Personalizer's own layout, which its exported models expect (contract 6).

    Args:
        context: sanitised.
        actions: sanitised.
        slots: in multi-slot, the elements of `_slots`, which VW reads behind the actions.
    """
    return b'{"FromUrl":%b,"_multi":[%b]%b}' % (
        context.example,
        b",".join([action.example for action in actions]),
        b"" if slots is None else b',"_slots":[%b]' % b",".join(slots),
    )


def _action(action_id: str, id_feature: bytes, objects: list[Any], count: int) -> Action:
    named = b'{"_tag":' + id_feature + b',"i":{"constant":1,"id":' + id_feature
    return Action(action_id, _encode(action_id), named + b'},"j":' + orjson.dumps(objects) + b"}", count + 2)


def _loads(raw: bytes, where: str) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as e:
        raise ApiError("BadRequest", f"{where} cannot be decoded: {e.msg}.", where) from e


def _name(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


class _Walk:
    """Rebuilds decoded JSON feature by feature, and counts the features; gives up after so many nodes."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        self._left = limit

    def _visit(self, nodes: int, where: str) -> None:
        self._left -= nodes
        if self._left < 0:
            raise _broken(where, "has too many members, objects and array items")

    def feature_list(self, objects: Any, where: str, skip_null: bool = False) -> list[dict[str, Any]]:
        if not isinstance(objects, list):
            raise ApiError("BadRequest", f"{where} must be an array of objects, not {_name(objects)}.", where)
        self._visit(len(objects), where)
        return [self._object(o, 1, f"{where}[{n}]") for n, o in enumerate(objects) if not (skip_null and o is None)]

    def _object(self, given: Any, depth: int, where: str) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise _broken(where, f"must be an object of features, not {_name(given)}")
        if depth > MAX_DEPTH:
            raise _broken(where, f"is nested deeper than {MAX_DEPTH} levels")
        self._visit(len(given), where)
        built: dict[str, Any] = {}
        for name, value in given.items():
            key = name.replace("\0", "_")
            if key.startswith("_"):
                continue  # reserved by VW; Personalizer documents that it ignores them
            at = f"{where}.{key[:64]}"
            if not key:
                raise _broken(where, "has a feature with an empty name")
            if len(key) > MAX_KEY:
                raise _broken(at, f"has a name of {len(key)} characters; at most {MAX_KEY} are allowed")
            if isinstance(value, dict):
                built[_namespace(key)] = self._object(value, depth + 1, at)
            elif isinstance(value, list):
                built[_namespace(key)] = self._array(value, depth + 1, at)
            elif value is not None:
                built[key] = self._scalar(value, at)
        return built

    def _array(self, given: list[Any], depth: int, where: str) -> list[Any]:
        if depth > MAX_DEPTH:
            raise _broken(where, f"is nested deeper than {MAX_DEPTH} levels")
        self._visit(len(given), where)
        if given and all(isinstance(item, dict) for item in given):
            return [self._object(item, depth, f"{where}[{n}]") for n, item in enumerate(given)]
        built = []
        for n, item in enumerate(given):
            if item is None:
                continue
            at = f"{where}[{n}]"
            if isinstance(item, bool) or not isinstance(item, int | float):
                raise _broken(at, f"must be a number, since feature arrays hold numbers, not {_name(item)}")
            built.append(self._scalar(item, at))
        return built

    def _scalar(self, value: Any, where: str) -> Any:
        self.count += 1
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            if len(value) > MAX_STRING:
                raise _broken(where, f"has {len(value)} characters; at most {MAX_STRING} are allowed")
            return value.replace("\0", "_")
        if not (math.isfinite(value) and abs(value) <= MAX_NUMBER):
            raise _broken(where, f"must be a number of at most {MAX_NUMBER:g} in size")
        return float(value) if abs(value) > 2**31 else value


def _namespace(key: str) -> str:
    # VW indexes a table of 256 with a namespace's first byte, as a signed char; `:` and `|` end names in its text form.
    return key if 32 < ord(key[0]) < 126 and key[0] not in ":|" else "x" + key


def _broken(where: str, problem: str) -> ApiError:
    return ApiError("InvalidRankRequest", f"{where} {problem}.", where)
