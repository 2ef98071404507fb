"""Turns a decision that was taken elsewhere into a line of the joined log, as if this loop had taken it.

Whatever it was read from, its features come to VW by the same door as those of a rank call, and its label is made by
the join: so nothing in a file from outside can do what a caller cannot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from shared.contract.errors import ApiError
from shared.contract.requests import MAX_ACTIONS, MAX_REWARD, MAX_SLOTS, SlotRequest, check_event_id, check_id
from shared.log.buckets import iso
from shared.log.join import Rules, join
from shared.log.records import ONLINE, Observed, Ranked, RankedSlot, event_key
from shared.loops.policy import Policy, Problem
from shared.ranking.action_cache import ActionCache
from shared.ranking.budget import check_budget
from shared.ranking.decision import check_distinct, odd_ids
from shared.ranking.features import Action, Context, example, is_plain, sanitise_context
from shared.ranking.multi_slot import elements

CODE = "InvalidRequest"
"""Of the refusal of what cannot be learned from."""
TOO_LARGE = "PayloadSizeExceeded"
"""Of those of a file that holds too much."""
_SUM = 0.01
"""By which probabilities may differ from one in sum: logs round them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, among what, and what came of it.

    Attributes:
        order: actions by index, the chosen one first.
        probabilities: of the actions in `order`, as many of them as are known; that of the chosen one at least, which
            is in (0, 1].
        rewards: that counted; none where it got the default.
    """

    order: list[int]
    probabilities: list[float]
    rewards: list[float]


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot: its id, features, the actions that it admitted (None: all), the one without learning, and its choice."""

    id: str
    features: list[Any]
    allowed: list[int] | None
    baseline: int
    choice: Choice


@dataclass(frozen=True, slots=True)
class Past:
    """A decision that was taken elsewhere.

    Attributes:
        event_id: of it.
        time: when it was taken, in seconds since the epoch.
        context: objects of features, as a caller of Rank would send them.
        actions: id and objects of features of each, in the order in which they stood.
        choice: the decision; None in multi-slot.
        slots: the decisions in multi-slot, in their order.
        mode: the learning mode it was taken in.
    """

    event_id: str
    time: float
    context: list[Any]
    actions: list[tuple[str, list[Any]]]
    choice: Choice | None = None
    slots: list[Slot] = field(default_factory=list)
    mode: str = ONLINE


def too_large(most: int) -> ApiError:
    """The refusal of a file that has more than so many bytes."""
    return ApiError(TOO_LARGE, f"The file has more than {most} bytes, unpacked: import it in parts.")


def line(past: Past, rules: Rules, policy: Policy, cache: ActionCache, most_actions: int = MAX_ACTIONS) -> bytes:
    """The joined line of a past decision.

    Args:
        past: what was read.
        rules: the loop's, by which it is labelled.
        policy: the loop's; what its budget does not admit to Rank is not learned either.
        cache: of sanitised actions.
        most_actions: that a rank call of the loop may have.

    Raises:
        ApiError: InvalidRequest, or a refusal of Rank's, naming what is wrong.
    """
    check_event_id(past.event_id, CODE)
    if (past.choice is None) is not (policy.problem is Problem.MULTI_SLOT):
        own, other = ("multi-slot", "single-slot") if past.choice else ("single-slot", "multi-slot")
        raise ApiError(CODE, f"the loop's policy is {own}, and the decision is a {other} one")
    if not 1 <= len(past.actions) <= most_actions:
        raise ApiError(CODE, f"it has {len(past.actions)} actions; 1 to {most_actions} can be learned from")
    given = [_json({"id": name, "features": own}) for name, own in past.actions]
    actions = [cache.get(raw, n, is_plain(raw)) for n, raw in enumerate(given)]
    check_distinct(actions)
    context = _context(past.context)
    if past.choice is None:
        ranked, observed = _slots(past, context, actions, policy)
    else:
        check_budget(context, actions, policy)
        ranked, observed = _single(past, past.choice, example(context, actions), actions)
    [joined] = join([ranked], observed, [], rules).lines
    return joined


def _single(past: Past, choice: Choice, built: bytes, actions: Sequence[Action]) -> tuple[Ranked, list[Observed]]:
    order, probabilities = _checked(choice, range(len(actions)))
    listed = {"a": [n + 1 for n in order], "p": probabilities}
    dsjson = _dsjson(past, built, listed, odd_ids([action.id_json for action in actions]))
    ranked = Ranked(past.event_id, past.time, False, dsjson, order[0], probabilities[0], m=past.mode)
    key = event_key(past.event_id)
    return ranked, [Observed(key, past.time, "r", _reward(value)) for value in choice.rewards]


def _slots(past: Past, context: Context, actions: Sequence[Action], policy: Policy) -> tuple[Ranked, list[Observed]]:
    if not 1 <= len(past.slots) <= min(MAX_SLOTS, len(actions)):
        raise ApiError(CODE, f"it has {len(past.slots)} slots for {len(actions)} actions")
    for slot in past.slots:
        check_id(slot.id, "the id of a slot", CODE)
    if len({slot.id for slot in past.slots}) != len(past.slots):
        raise ApiError(CODE, "two of its slots have the same id")
    features = [
        sanitise_context(_json(slot.features), where=f"slots[{n}].features") for n, slot in enumerate(past.slots)
    ]
    check_budget(context, actions, policy, features)
    allowed = [_allowed(slot, len(actions)) for slot in past.slots]
    decided, observed, taken = [], [], set[int]()
    for slot, among in zip(past.slots, allowed, strict=True):
        left = [action for action in among if action not in taken]
        order, probabilities = _checked(slot.choice, left) if left else ([], [])
        taken.update(order[:1])
        decided.append(RankedSlot(slot.id, order, probabilities, slot.baseline))
        key = event_key(past.event_id)
        observed += [Observed(key, past.time, "r", s=[(slot.id, _reward(value))]) for value in slot.choice.rewards]
    seeds = [(past.event_id + slot.id).replace("\0", "_") for slot in past.slots]
    # VW draws nothing while it learns, so the seeds are for the form only.
    named = [SlotRequest(slot.id, "") for slot in past.slots]
    built = example(context, list(actions), elements(named, seeds, allowed, features, len(actions)))
    members = {"_ba": [slot.baseline for slot in past.slots]}
    dsjson = _dsjson(past, built, members, odd_ids([action.id_json for action in actions]))
    return Ranked(past.event_id, past.time, False, dsjson, s=decided, m=past.mode), observed


def _context(given: list[Any], where: str = "contextFeatures") -> Context:
    raw = _json(given)
    return sanitise_context(raw, is_plain(raw), where)


def _allowed(slot: Slot, actions: int) -> list[int]:
    if not 0 <= slot.baseline < actions:
        raise ApiError(CODE, f"the baseline of slot {slot.id[:64]!r} is none of its actions")
    if slot.allowed is None:
        return list(range(actions))
    allowed = sorted(set(slot.allowed))
    if not all(0 <= action < actions for action in allowed):
        raise ApiError(CODE, f"slot {slot.id[:64]!r} admits what is none of its actions")
    return allowed


def _checked(choice: Choice, among: Sequence[int]) -> tuple[list[int], list[float]]:
    """The whole order over some actions, and the probability of each: what is not known of the others is shared out."""
    order, known = choice.order, choice.probabilities
    if not order or len(set(order)) != len(order) or not set(order) <= set(among):
        raise ApiError(CODE, f"what was chosen, {order[:10]}, is not among its actions")
    if not known or not all(isinstance(p, float | int) and 0.0 <= p <= 1.0 for p in known) or known[0] <= 0.0:
        raise ApiError(CODE, "the probability that its action was chosen with must be in (0, 1]")
    order = [*order, *(action for action in among if action not in set(order))]
    if len(known) != len(order) or abs(sum(known) - 1.0) > _SUM:
        rest = len(order) - 1
        known = [known[0], *([(1.0 - known[0]) / rest] * rest if rest else [])]
    return order, [float(p) for p in known]


def _reward(value: float) -> float:
    if not math.isfinite(value) or abs(value) > MAX_REWARD:
        raise ApiError(CODE, "a reward must be a finite number")
    return float(value)


def _dsjson(past: Past, built: bytes, members: Mapping[str, object], odd: bytes) -> msgspec.Raw:
    """The members that the join takes over as they are; see `Ranked.r`. No version of this loop's has scored it."""
    try:
        stamp = iso(past.time)
    except (ValueError, OverflowError, OSError) as e:
        raise ApiError(CODE, "its time is none that a calendar has") from e
    head = _json({"Timestamp": stamp, "Version": "1", "EventId": past.event_id, **members})
    return msgspec.Raw(head[:-1] + b',"c":%b,"VWState":{"m":"N/A"}%b}' % (built, odd))


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, RecursionError) as e:  # nested too deep, or a number that JSON has not
        raise ApiError(CODE, f"its features cannot be written as JSON: {e}") from e
