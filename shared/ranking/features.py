"""Turns a caller's context and actions into the JSON that VW may see; nothing else ever reaches VW.

VW's JSON reader dies of some documents and misreads others (a key whose first byte is above 0x7F, `__aid`, a nested
`_slots`...), and every parse it refuses leaks memory. So each document is decoded, checked and written anew here;
docs/adr/0006-sanitise-features.md lists the rules and the measurements behind them.

Most features are flat objects of plain values: those take a typed decode that runs in C. Everything else takes the
walk in Python, which also finds the words for a refusal. Sanitised actions are kept, since the same actions come back
with most requests.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import orjson

from shared.contract.errors import ApiError
from shared.ranking.walk import (
    MAX_ACTION_NODES,
    MAX_KEY,
    MAX_NODES,
    MAX_NUMBER,
    MAX_STRING,
    Namespaces,
    Walk,
    same,
    type_name,
)

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
        namespaces: of the example, the two features of namespace `i` included.
        nodes: members, array items and objects that were read for it.
    """

    id: str
    id_json: bytes
    example: bytes
    namespaces: Namespaces
    nodes: int


class Context(msgspec.Struct, frozen=True, gc=False):
    """The context or a slot's features, ready for VW: a JSON array; the rest as of an action."""

    example: bytes
    namespaces: Namespaces
    nodes: int


_NO_CONTEXT = Context(b"[]", frozenset(), 0)


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
    # The initials of `FromUrl`, where VW finds the context, and of `sj`, where it finds a slot's features.
    limit, initial = (MAX_NODES, "F") if where == "contextFeatures" else (MAX_ACTION_NODES, "s")
    if plain:
        try:
            flat = _decode_flat_features(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # the walk below says what is wrong, or accepts what is merely not flat
        else:
            count = sum(map(len, flat))
            if count + len(flat) <= limit:
                return Context(
                    orjson.dumps(flat), same(frozenset([(initial, count)] if count else [])), count + len(flat)
                )
    walk = Walk(limit)
    objects = walk.feature_list(_loads(raw, where), where, initial)
    return Context(orjson.dumps(objects), walk.namespaces, walk.nodes)


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
            if flat.features and (nodes := count + len(flat.features)) <= MAX_ACTION_NODES:
                return _action(
                    flat.id,
                    _encode(flat.id),
                    flat.features,
                    same(frozenset([_OF_ID, ("j", count)] if count else [_OF_ID])),
                    nodes,
                )
    where = f"actions[{index}]"
    given = _loads(raw, where)
    if given is None:
        raise ApiError("InvalidRankRequest", f"{where} is null; each action needs an id and features.", where)
    if not isinstance(given, dict):
        raise ApiError("BadRequest", f"{where} must be an object with id and features, not {type_name(given)}.", where)
    members = {key.lower(): value for key, value in given.items()}
    action_id = members.get("id")
    if not isinstance(action_id, str):
        raise ApiError("BadRequest", f"{where}.id must be a string, not {type_name(action_id)}.", f"{where}.id")
    if not 1 <= len(action_id) <= 256:
        message = f"{where}.id must have 1 to 256 characters; it has {len(action_id)}."
        raise ApiError("InvalidRankRequest", message, f"{where}.id")
    listed = members.get("features")
    if not isinstance(listed, list):
        message = f"{where}.features must be an array of objects, not {type_name(listed)}."
        raise ApiError("BadRequest", message, f"{where}.features")
    walk = Walk(MAX_ACTION_NODES)
    walk.count(*_OF_ID)
    objects = walk.feature_list(listed, f"{where}.features", "j", skip_null=True)
    if not objects:
        message = f"{where}.features must hold at least one object that is not null."
        raise ApiError("InvalidRankRequest", message, f"{where}.features")
    return _action(action_id, _encode(action_id.replace("\0", "_")), objects, walk.namespaces, walk.nodes)


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


_OF_ID = ("i", 2)
"""The features that every action has besides its own: a constant, and its id."""


def _action(action_id: str, id_feature: bytes, objects: list[Any], namespaces: Namespaces, nodes: int) -> Action:
    named = b'{"_tag":' + id_feature + b',"i":{"constant":1,"id":' + id_feature
    built = named + b'},"j":' + orjson.dumps(objects) + b"}"
    return Action(action_id, _encode(action_id), built, namespaces, nodes)


def _loads(raw: bytes, where: str) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as e:
        raise ApiError("BadRequest", f"{where} cannot be decoded: {e.msg}.", where) from e
