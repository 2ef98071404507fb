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
    if plain:
        try:
            flat = _decode_flat_features(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # the walk below says what is wrong, or accepts what is merely not flat
        else:
            return Context(orjson.dumps(flat), sum(map(len, flat)))
    walk = _Walk()
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
            if flat.features:
                return _action(flat.id, _encode(flat.id), flat.features, sum(map(len, flat.features)))
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
    walk = _Walk()
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


_ENTRY = 280
"""Bytes that a kept action takes besides its JSON: ids, the objects' own headers, the dictionary; measured."""


class ActionCache:
    """Sanitised actions by their JSON bytes, least recently used out first; bounded in bytes.

    Two generations stand in for a linked list: what is used moves to the young one, and when that is full the old
    one is dropped. A look-up is one or two dictionary reads.
    """

    def __init__(self, max_bytes: int = 32 * 1024 * 1024) -> None:
        self.max_bytes = max_bytes
        self._half = max_bytes // 2
        self._young: dict[bytes, Action] = {}
        self._old: dict[bytes, Action] = {}
        self._young_bytes = 0
        self._old_bytes = 0

    @property
    def size(self) -> int:
        """How many bytes the kept actions take, about."""
        return self._young_bytes + self._old_bytes

    def __len__(self) -> int:
        """How many actions are kept."""
        return len(self._young.keys() | self._old.keys())

    def get(self, raw: bytes, index: int, plain: bool) -> Action:
        """The sanitised action of these bytes; see `sanitise_action` for arguments and errors."""
        if (action := self._young.get(raw)) is not None:
            return action
        action = self._old.pop(raw, None) or sanitise_action(raw, index, plain)
        size = len(raw) + len(action.example) + _ENTRY
        if size <= self._half // 8:  # one giant action may not empty the cache
            if self._young_bytes + size > self._half:
                self._old, self._old_bytes = self._young, self._young_bytes
                self._young, self._young_bytes = {}, 0
            self._young[raw] = action
            self._young_bytes += size
        return action


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
    """Rebuilds decoded JSON feature by feature, and counts the features."""

    def __init__(self) -> None:
        self.count = 0

    def feature_list(self, objects: Any, where: str, skip_null: bool = False) -> list[dict[str, Any]]:
        if not isinstance(objects, list):
            raise ApiError("BadRequest", f"{where} must be an array of objects, not {_name(objects)}.", where)
        return [self._object(o, 1, f"{where}[{n}]") for n, o in enumerate(objects) if not (skip_null and o is None)]

    def _object(self, given: Any, depth: int, where: str) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise _broken(where, f"must be an object of features, not {_name(given)}")
        if depth > MAX_DEPTH:
            raise _broken(where, f"is nested deeper than {MAX_DEPTH} levels")
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
