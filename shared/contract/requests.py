"""Turns the bodies of Rank, Reward and their multi-slot kin into checked requests (contract 1.4, 4.3).

Features stay undecoded here; `shared.ranking.features` is their only door.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shared.contract.decoding import decode
from shared.contract.errors import ApiError

MAX_ACTIONS = 50
"""Of a call, as Personalizer had it: where a loop's owner has not let it have more."""
MOST_ACTIONS = 1000
"""That an owner can let a loop have."""
MAX_SLOTS = 50
MAX_ID = 256
MAX_REWARD = 3e38
"""Rewards are 32-bit floats on the wire of the original; beyond this they would be infinite."""

_null = partial(msgspec.Raw, b"null")


def _is(text: str, **schema: Any) -> Meta:
    """What the API's description says of a member whose limits have a code of their own, and are checked below."""
    return Meta(description=text, extra_json_schema=schema)


_ID: dict[str, Any] = {"minLength": 1, "maxLength": MAX_ID}
_ACTION = _is("An action and its features.", **{"$ref": "#/components/schemas/RankableAction"})
_FEATURES: dict[str, Any] = {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/Features"}}
_Id = Annotated[str, _is("1 to 256 characters.", **_ID)]
_Actions = Annotated[
    list[Annotated[msgspec.Raw, _ACTION]],
    _is(
        "What there is to choose from, in the order that holds without learning; 50 at most, or what limits say.",
        **{"minItems": 1, "maxItems": MOST_ACTIONS},
    ),
]
_ContextFeatures = Annotated[msgspec.Raw, _is("What is known of the user and the moment.", **_FEATURES)]
_EventId = Annotated[_Id | None, _is("Rewards name the event by it; one is made where none is given.")]
_Deferred = Annotated[bool | None, _is("Whether the event counts only once it is activated.")]
_Value = Annotated[float, _is("How well it went: -1 to 1 as a rule.", minimum=-MAX_REWARD, maximum=MAX_REWARD)]


class RankRequest(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Actions to choose one of, and the context to choose it in.

    Contract 1.4. What stands in a `Raw` is JSON as it came, and `null` where none came.
    """

    actions: _Actions
    context_features: _ContextFeatures = msgspec.field(default_factory=_null)
    excluded_actions: Annotated[
        list[str] | None, _is("Ids of actions that are not to be chosen; unknown ones do no harm.")
    ] = None
    event_id: _EventId = None
    defer_activation: _Deferred = False


class SlotRequest(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A place that one of the actions is to stand in."""

    id: Annotated[_Id, _is("1 to 256 characters, no other slot's.")]
    baseline_action: Annotated[str, _is("The id of the action that stands there without learning; no other slot's.")]
    features: Annotated[msgspec.Raw, _is("What is known of the slot.", **_FEATURES)] = msgspec.field(
        default_factory=_null
    )
    excluded_actions: Annotated[list[str] | None, _is("Ids of actions that are not for this slot.")] = None


class MultiSlotRankRequest(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Actions, the slots to put them into, and the context to choose in."""

    actions: _Actions
    slots: Annotated[
        list[SlotRequest], _is("In their order; no more than there are actions.", minItems=1, maxItems=MAX_SLOTS)
    ]
    context_features: _ContextFeatures = msgspec.field(default_factory=_null)
    event_id: _EventId = None
    defer_activation: _Deferred = False


class RewardRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The reward of an event.

    Contract 4.3 on why the range is not enforced.
    """

    value: _Value


class SlotReward(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The reward of a slot."""

    slot_id: Annotated[
        str, Meta(description="One that the event does not have does no harm.", min_length=1, max_length=MAX_ID)
    ]
    value: _Value


class MultiSlotRewardRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The rewards of slots of an event, of all of them or a few."""

    reward: Annotated[list[SlotReward], _is("No more than an event may have.", maxItems=MAX_SLOTS)]


def rank_request(body: bytes, most: int = MAX_ACTIONS) -> RankRequest:
    """Decode and check a rank body.

    Args:
        body: of the call.
        most: actions that the loop may have in a call.

    Raises:
        ApiError: BadRequest when it cannot be decoded, InvalidRankRequest when it breaks a rule of contract 4.3.
    """
    request = decode(body, RankRequest)
    _check(request, most)
    return request


def multi_slot_rank_request(body: bytes, most: int = MAX_ACTIONS) -> MultiSlotRankRequest:
    """Decode and check a multi-slot rank body; arguments as of `rank_request`.

    Raises:
        ApiError: BadRequest when it cannot be decoded, InvalidRankRequest when it breaks a rule of contract 4.3.
    """
    request = decode(body, MultiSlotRankRequest)
    _check(request, most)
    slots = min(MAX_SLOTS, len(request.actions))
    if not 1 <= len(request.slots) <= slots:
        message = f"slots must hold 1 to {slots} slots, no more than there are actions; it holds {len(request.slots)}."
        raise ApiError("InvalidRankRequest", message, "slots")
    for n, slot in enumerate(request.slots):
        check_id(slot.id, f"slots[{n}].id", "InvalidRankRequest")
    _check_distinct([slot.id for slot in request.slots], "id")
    _check_distinct([slot.baseline_action for slot in request.slots], "baselineAction")
    return request


def _check_distinct(texts: list[str], member: str) -> None:
    if len(set(texts)) == len(texts):
        return
    n = next(n for n, text in enumerate(texts) if text in texts[:n])
    where = f"slots[{n}].{member}"
    raise ApiError("InvalidRankRequest", f"{where} must be no other slot's; {texts[n][:64]!r} is.", where)


def _check(request: RankRequest | MultiSlotRankRequest, most: int) -> None:
    count = len(request.actions)
    if not 1 <= count <= most:
        message = f"actions must hold 1 to {most} actions; it holds {count}."
        raise ApiError("InvalidRankRequest", message, "actions")
    if request.event_id is not None:
        check_event_id(request.event_id, "InvalidRankRequest")


def reward_request(body: bytes) -> float:
    """Decode and check a reward body.

    Returns:
        The reward's value.

    Raises:
        ApiError: BadRequest when it cannot be decoded, InvalidRewardRequest when the value is beyond `MAX_REWARD`.
    """
    value = decode(body, RewardRequest).value
    _check_value(value, "value")
    return value


def multi_slot_reward_request(body: bytes) -> list[tuple[str, float]]:
    """Decode and check a multi-slot reward body.

    Returns:
        Slot id and value, in the order of the body.

    Raises:
        ApiError: BadRequest when it cannot be decoded, InvalidRewardRequest when a value is beyond `MAX_REWARD`.
    """
    rewards = decode(body, MultiSlotRewardRequest).reward
    if len(rewards) > MAX_SLOTS:
        message = f"reward must hold {MAX_SLOTS} slots at most; it holds {len(rewards)}."
        raise ApiError("InvalidRewardRequest", message, "reward")
    for n, reward in enumerate(rewards):
        _check_value(reward.value, f"reward[{n}].value")
    return [(reward.slot_id, reward.value) for reward in rewards]


def _check_value(value: float, where: str) -> None:
    if not math.isfinite(value) or abs(value) > MAX_REWARD:
        message = f"{where} must be from {-MAX_REWARD:g} to {MAX_REWARD:g}; it is {value:g}."
        raise ApiError("InvalidRewardRequest", message, where)


def check_event_id(event_id: str, code: str) -> None:
    """Refuse an event id that is empty, longer than 256 characters, or no Unicode text.

    Raises:
        ApiError: with the given code.
    """
    check_id(event_id, "eventId", code)


def check_id(text: str, name: str, code: str) -> None:
    """Refuse an id that is empty, longer than 256 characters, or no Unicode text.

    Raises:
        ApiError: with the given code.
    """
    if not 1 <= len(text) <= MAX_ID:
        raise ApiError(code, f"{name} must have 1 to {MAX_ID} characters; it has {len(text)}.", name)
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise ApiError(code, f"{name} must be Unicode text; it holds a lone surrogate.", name)
