"""Turns lines of dsjson logs, Personalizer's, learning-loop's or VW's own, into decisions that were taken elsewhere.

Contract 5.8 describes the lines, contract 6 the layout that Personalizer gave contexts. Other layouts are read as far
as theirs says the same: what stands beside `_multi` is context, what stands in its elements are features of actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from shared.contract import instants
from shared.contract.errors import ApiError
from shared.log.records import APPRENTICE, MODES, ONLINE
from shared.warmstart.past import CODE, Choice, Past, Slot


class _Outcome(msgspec.Struct, gc=False):
    id: str | None = msgspec.field(name="_id", default=None)
    actions: int | list[int] = msgspec.field(name="_a", default_factory=list)
    probabilities: float | list[float] = msgspec.field(name="_p", default_factory=list)
    cost: float | None = msgspec.field(name="_label_cost", default=None)
    raw_cost: float | None = msgspec.field(name="_original_label_cost", default=None)
    observed: list[dict[str, Any]] | None = msgspec.field(name="_o", default=None)


class _Line(msgspec.Struct, gc=False):
    context: dict[str, Any] = msgspec.field(name="c")
    event_id: str | None = msgspec.field(name="EventId", default=None)
    timestamp: str | None = msgspec.field(name="Timestamp", default=None)
    mode: str = ONLINE
    holdback: bool = False
    skip: bool = msgspec.field(name="_skipLearn", default=False)
    dropped: float = msgspec.field(name="pdrop", default=0.0)
    order: list[int] = msgspec.field(name="a", default_factory=list)
    probabilities: list[float] = msgspec.field(name="p", default_factory=list)
    index: int | None = msgspec.field(name="_labelIndex", default=None)
    action: int | None = msgspec.field(name="_label_Action", default=None)
    probability: float | None = msgspec.field(name="_label_probability", default=None)
    cost: float | None = msgspec.field(name="_label_cost", default=None)
    raw_cost: float | None = msgspec.field(name="_original_label_cost", default=None)
    observed: list[dict[str, Any]] | None = msgspec.field(name="o", default=None)
    baselines: list[int] | None = msgspec.field(name="_ba", default=None)
    outcomes: list[_Outcome] | None = msgspec.field(name="_outcomes", default=None)


_decode: Final = msgspec.json.Decoder(_Line).decode


def read(line: bytes, event_id: str, time: float) -> Past | None:
    """The decision of a line.

    Args:
        line: JSON.
        event_id: of a line that names none.
        time: of a line that names none, in seconds since the epoch.

    Returns:
        None where there is nothing to learn: it was never activated, was left out of the log's sample, or was decided
        without the model for comparison.

    Raises:
        ApiError: InvalidRequest, saying what cannot be read.
    """
    try:
        held = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise ApiError(CODE, f"it is no line of a dsjson log: {e}") from e
    if held.skip or held.holdback or held.dropped >= 1.0:
        return None
    if held.mode not in MODES:
        raise ApiError(CODE, f"its mode must be one of {', '.join(MODES)}; it is {held.mode[:64]!r}")
    try:
        when = time if held.timestamp is None else instants.parse(held.timestamp)
    except ValueError as e:
        raise ApiError(CODE, f"Timestamp: {e}") from e
    listed = held.context.get("_multi")
    if not isinstance(listed, list):
        raise ApiError(CODE, "c._multi must be an array of the actions")
    actions = [_action(given, n) for n, given in enumerate(listed)]
    context = _features(held.context, "FromUrl")
    past = Past(held.event_id or event_id, when, context, actions, mode=held.mode)
    if held.outcomes is None:
        return replace(past, choice=_choice(held))
    return replace(past, slots=_slots(held, held.outcomes))


def _choice(held: _Line) -> Choice:
    given = [action - 1 for action in held.order]
    if held.index is not None:
        chosen = held.index
    elif held.action is not None:
        chosen = held.action - 1
    elif given:
        chosen = given[0]
    else:
        raise ApiError(CODE, "it must name the action that was chosen: _labelIndex, _label_Action or a")
    order = [chosen, *(action for action in given if action != chosen)]
    # The label's probability accounts for a sampled log (contract 5.8); the list beside it does not.
    known = list(held.probabilities)
    if held.probability is not None:
        known[:1] = [held.probability]
    elif known:
        known[0] *= 1.0 - held.dropped
    if given != order:
        known = known[:1]  # the others' belong to another order
    cost = held.cost if held.raw_cost is None and held.mode != APPRENTICE else held.raw_cost
    return Choice(order, known, _rewards(held.observed, cost))


def _slots(held: _Line, outcomes: list[_Outcome]) -> list[Slot]:
    listed = held.context.get("_slots")
    if not isinstance(listed, list) or not all(isinstance(slot, dict) for slot in listed):
        raise ApiError(CODE, "c._slots must be an array of the slots")
    if len(listed) != len(outcomes):
        raise ApiError(CODE, f"it has {len(listed)} slots and {len(outcomes)} outcomes")
    found = []
    for n, (slot, outcome) in enumerate(zip(listed, outcomes, strict=True)):
        named = outcome.id if outcome.id is not None else slot.get("_id")
        allowed = slot.get("_inc")
        if allowed is not None and not (isinstance(allowed, list) and all(type(action) is int for action in allowed)):
            raise ApiError(CODE, f"c._slots[{n}]._inc must be an array of indices")
        order = outcome.actions if isinstance(outcome.actions, list) else [outcome.actions]
        known = outcome.probabilities if isinstance(outcome.probabilities, list) else [outcome.probabilities]
        cost = outcome.cost if outcome.raw_cost is None and held.mode != APPRENTICE else outcome.raw_cost
        choice = Choice(order, known, _rewards(outcome.observed, cost) if order else [])
        baseline = held.baselines[n] if held.baselines and n < len(held.baselines) else n
        name = named if isinstance(named, str) and named else str(n)
        found.append(Slot(name, _features(slot, "sj"), allowed, baseline, choice))
    return found


def _rewards(observed: list[dict[str, Any]] | None, cost: float | None) -> list[float]:
    """What was observed, to be aggregated anew; the label's own reward where a log does not tell that."""
    values = [value for one in observed or () if isinstance(value := one.get("v"), int | float)]
    if values:
        return [float(value) for value in values]
    if observed is not None and not any("v" in one for one in observed):
        return []  # nothing came, so it gets the default of the loop that learns it
    if cost is None:
        raise ApiError(CODE, "it must tell what came of it: o or _label_cost")
    return [0.0 - cost]


def _action(given: Any, n: int) -> tuple[str, list[Any]]:
    if not isinstance(given, dict):
        raise ApiError(CODE, f"c._multi[{n}] must be an object")
    own = given.get("i")
    named = given.get("_tag") or (own.get("id") if isinstance(own, dict) else None)
    # The features of `i` that Rank gives each action itself.
    rest = (
        {name: value for name, value in own.items() if name not in ("id", "constant")} if isinstance(own, dict) else {}
    )
    others = {name: value for name, value in given.items() if name != "i"} | ({"i": rest} if rest else {})
    return named if isinstance(named, str) and named else str(n), _features(others, "j") or [{}]


def _features(given: Mapping[str, Any], own: str) -> list[Any]:
    """The objects of features: those of the namespace that Personalizer put them in, and all that stands beside it."""
    found = given.get(own, [])
    objects = list(found) if isinstance(found, list) else [found]
    beside = {name: value for name, value in given.items() if name != own and not name.startswith("_")}
    return [*objects, beside] if beside else objects
