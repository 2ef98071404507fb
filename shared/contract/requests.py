"""Turns request bodies into checked requests; features stay undecoded (contract 1.4, 4.3).

A body is first decoded strictly and fast. What that refuses is decoded a second time with case-blind member names and
unknown members dropped, as the original service did (contract 1.5): the slow way is only for unusual callers, and
words the refusals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import orjson

from shared.contract.errors import ApiError

MAX_ACTIONS = 50
MAX_ID = 256
MAX_REWARD = 3e38
"""Rewards are 32-bit floats on the wire of the original; beyond this they would be infinite."""


_NULL = msgspec.Raw(b"null")


class RankRequest(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A rank call (contract 1.4), checked but for its features.

    Attributes:
        actions: 1 to 50 actions, each as the JSON the caller wrote.
        context_features: the JSON of the array; `null` where the caller sent none.
        excluded_actions: ids not to be chosen; unknown ones do no harm.
        event_id: 1 to 256 characters, or None: the service makes one.
        defer_activation: whether the event counts only once it is activated.
    """

    actions: list[msgspec.Raw]
    context_features: msgspec.Raw = _NULL
    excluded_actions: list[str] | None = None
    event_id: str | None = None
    defer_activation: bool | None = False


class RewardRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A reward call: any finite number (contract 4.3 on why the range is not enforced)."""

    value: float


T = TypeVar("T")
_decode_rank = msgspec.json.Decoder(RankRequest).decode
_decode_reward = msgspec.json.Decoder(RewardRequest).decode


def rank_request(body: bytes) -> RankRequest:
    """Decode and check a rank body.

    Raises:
        ApiError: BadRequest when it cannot be decoded, InvalidRankRequest when it breaks a rule of contract 4.3.
    """
    request = _decode(body, _decode_rank, RankRequest)
    count = len(request.actions)
    if not 1 <= count <= MAX_ACTIONS:
        message = f"actions must hold 1 to {MAX_ACTIONS} actions; it holds {count}."
        raise ApiError("InvalidRankRequest", message, "actions")
    if request.event_id is not None:
        check_event_id(request.event_id, "InvalidRankRequest")
    return request


def reward_request(body: bytes) -> float:
    """Decode and check a reward body.

    Returns:
        The reward's value.

    Raises:
        ApiError: BadRequest when it cannot be decoded, InvalidRewardRequest when the value is no finite 32-bit float.
    """
    value = _decode(body, _decode_reward, RewardRequest).value
    if not math.isfinite(value) or abs(value) > MAX_REWARD:
        raise ApiError("InvalidRewardRequest", "value must be a finite number.", "value")
    return value


def check_event_id(event_id: str, code: str) -> None:
    """Refuse an event id that is empty, longer than 256 characters, or no Unicode text.

    Raises:
        ApiError: with the given code.
    """
    if not 1 <= len(event_id) <= MAX_ID:
        message = f"eventId must have 1 to {MAX_ID} characters; it has {len(event_id)}."
        raise ApiError(code, message, "eventId")
    if not event_id.isascii() and any("\ud800" <= c <= "\udfff" for c in event_id):
        raise ApiError(code, "eventId must be Unicode text; it holds a lone surrogate.", "eventId")


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


def _decode(body: bytes, strict: Callable[[bytes], T], kind: type[T]) -> T:
    try:
        return strict(body)
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
        raise ApiError("BadRequest", f"{target or 'The body'}: {problem}.", target) from e


def _known_members(given: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """The members `kind` knows, under their own spelling; where a body has two spellings, the last one counts."""
    spelling = {name.lower(): name for name in (f.encode_name for f in msgspec.structs.fields(kind))}
    return {spelling[key.lower()]: value for key, value in given.items() if key.lower() in spelling}
