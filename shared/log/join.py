"""Turns the rank lines and observation lines of a window into joined dsjson lines; no clock, no storage.

Contract 5.2 gives the rules, contract 5.8 the line. What goes in are closed buckets, so the same window always gives
the same bytes, whoever computes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import orjson

from shared.log.buckets import EARLY, Waits
from shared.log.inbox import matching, order
from shared.log.minutes import Minutes, of_event
from shared.log.records import (
    APPRENTICE,
    ONLINE,
    Observed,
    Ranked,
    RankedSlot,
    decode_observed,
    decode_ranked,
    digest_of,
    event_key,
    readable,
    unmark,
)
from shared.log.reward import aggregate

MIN_PROBABILITY = 0.001
"""Learning divides by the probability: one event logged with 1e-30 would ruin a model (docs/adr/0006)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a loop's settings say of the join.

    Attributes:
        wait: seconds after its rank within which a reward counts; equal is too late.
        default_reward: the reward of an event without any.
        aggregation: see `reward.AGGREGATIONS`.
        reward_range: the lowest and highest reward that learning sees; the log keeps the raw values beside it.
    """

    wait: float
    default_reward: float
    aggregation: str
    reward_range: tuple[float, float]

    @property
    def labels(self) -> str:
        """What of them says how observations become a label, as text: alike where labels are."""
        low, high = self.reward_range
        return f"{self.aggregation} {self.default_reward!r} {low!r} {high!r}"


@dataclass(frozen=True, slots=True)
class LoopRules:
    """A loop as the join sees it: its waits, and its rules at a wait."""

    loop_id: str
    waits: Waits
    default_reward: float
    aggregation: str
    reward_range: tuple[float, float]

    def at(self, bucket: int) -> Rules:
        """The rules of events that were ranked in this bucket."""
        return Rules(self.waits.at(bucket), self.default_reward, self.aggregation, self.reward_range)


class Earned(NamedTuple):
    """What an event has earned.

    Attributes:
        event: the event.
        reward: as the rewards came to it, or the default; in multi-slot the sum over slots.
        imitated_reward: what of it is of a draw that was the baseline's action.
        imitated: whether the draw was, of every slot in multi-slot.
    """

    event: Ranked
    reward: float
    imitated_reward: float
    imitated: bool


@dataclass(slots=True)
class Joined:
    """A window's joined lines, and what became of the rest.

    Attributes:
        lines: dsjson, in order of arrival.
        events: the events of `lines`.
        rewarded: events with at least one reward.
        retries: repeated event ids within two minutes, left out: a client's retry of the same decision.
        repeated: the digests of them.
        inactive: deferred events that were never activated; they are in `lines`, marked `_skipLearn`.
        duplicates: observations of an event repeated under one request id, left out.
        surplus: observations of events that have more than a thousand, left out; see `inbox.MOST`.
        empty_slots: slots for which earlier ones had left no action; they are in `lines`, without a label.
        late: events of rows that storage took behind their slice, left out; see `router.Router.routed`.
        earned: of active events that were decided in Apprentice mode or under a holdback, in order of arrival.
        minutes: all of it by minute.
    """

    lines: list[bytes] = field(default_factory=list)
    events: list[Ranked] = field(default_factory=list)
    rewarded: int = 0
    retries: int = 0
    repeated: set[bytes] = field(default_factory=set)
    inactive: int = 0
    duplicates: int = 0
    surplus: int = 0
    empty_slots: int = 0
    late: int = 0
    earned: list[Earned] = field(default_factory=list)
    minutes: Minutes = field(default_factory=Minutes)


def decode_events(lines: Iterable[bytes]) -> list[Ranked]:
    """The rank lines of a window, in order of arrival; see `readable`."""
    # Sorted as text first, so that the order in which rows are read decides nothing, not even between twins.
    return sorted(readable(decode_ranked, sorted(lines)), key=lambda event: (event.t, event.e))


def observations_of(keys: Set[str], lines: Iterable[bytes]) -> list[Observed]:
    """Those of the observation lines that are of the events with these keys; see `readable`."""
    return [observation for observation in readable(decode_observed, lines) if observation.e in keys]


def join(events: Sequence[Ranked], observed: Iterable[Observed], earlier: Iterable[bytes], rules: Rules) -> Joined:
    """Join one window.

    Args:
        events: the rank calls of the window's buckets, in order of arrival.
        observed: their observations, from every bucket in which one can stand, in any order.
        earlier: the marks of the rank rows in the two minutes before the window.
        rules: see `Rules`.
    """
    result = Joined()
    observations: dict[str, list[Observed]] = defaultdict(list)
    for o in sorted(observed, key=order):
        observations[o.e].append(o)
    last_seen: dict[bytes, float] = {}
    for marks in earlier:
        for digest, time in unmark(marks):
            last_seen[digest] = max(time, last_seen.get(digest, time))
    for event in events:
        digest = digest_of(event.e)
        before, last_seen[digest] = last_seen.get(digest), event.t
        if before is not None and event.t - before < EARLY:
            result.retries += 1
            result.repeated.add(digest)
            result.minutes.repeated(event)
            continue
        found = matching(observations.get(event_key(event.e), ()), event.t, rules.wait)
        result.duplicates += found.duplicates
        result.surplus += found.surplus
        result.lines.append(_line(event, found.observations, rules, result))
        result.events.append(event)
    return result


def _line(event: Ranked, observations: Sequence[Observed], rules: Rules, result: Joined) -> bytes:
    flags: dict[str, object] = {}
    if event.d and not any(o.k == "a" for o in observations):
        flags["_skipLearn"] = True
        result.inactive += 1
        result.minutes.inactive(event)
    if event.m != ONLINE:
        flags["mode"] = event.m
    if event.held:
        flags["holdback"] = True
    active, trial = "_skipLearn" not in flags, event.h is not None or event.m == APPRENTICE
    dsjson = bytes(event.r)
    if event.s is None:
        rewarded = any(o.k == "r" and o.s is None for o in observations)
        result.rewarded += rewarded
        outcome = _outcome(event, observations, rules)
        if active:
            reward, probability = _reward(outcome), cast(float, outcome["_label_probability"])
            result.minutes.decision(event, reward, rewarded, probability, event.a == 0, event.i, of_event(event))
        if active and trial:
            result.earned.append(_earned(event, [(outcome, event.a == 0)]))
        return orjson.dumps({**flags, **outcome})[:-1] + b"," + dsjson[1:]
    known = {slot.id for slot in event.s}
    result.rewarded += any(name in known for o in observations for name, _ in o.s or ())
    result.empty_slots += sum(not slot.actions for slot in event.s)
    slots = [_slot_outcome(slot, event, observations, rules) for slot in event.s]
    if active:
        result.minutes.slots(event, [_slot_reward(slot) if slot["_a"] else None for slot in slots])
    if active and trial:
        chosen = [(o, s.actions[0] == s.baseline) for o, s in zip(slots, event.s, strict=True) if s.actions]
        result.earned.append(_earned(event, chosen))
    outcomes = orjson.dumps(slots)
    # VW reads the outcomes only behind the slots in `c`, which is in dsjson.
    return (orjson.dumps(flags)[:-1] + b"," if flags else b"{") + dsjson[1:-1] + b',"_outcomes":' + outcomes + b"}"


def _earned(event: Ranked, outcomes: Sequence[tuple[dict[str, object], bool]]) -> Earned:
    """What an event has earned, of its outcomes with whether the draw was the baseline's action."""
    rewards = [(_reward(outcome), imitated) for outcome, imitated in outcomes]
    of_draws = sum((reward for reward, imitated in rewards if imitated), 0.0)
    return Earned(event, sum(reward for reward, _ in rewards), of_draws, all(imitated for _, imitated in rewards))


def _reward(outcome: dict[str, object]) -> float:
    """What an outcome earned, whatever learning sees of it."""
    return 0.0 - cast(float, outcome["_original_label_cost"])


def _slot_reward(outcome: dict[str, object]) -> tuple[float, bool, float]:
    """Of a slot with actions: what it earned, whether there was a reward, and the draw's probability."""
    rewarded = any("v" in o for o in cast(list[dict[str, object]], outcome["_o"]))
    return _reward(outcome), rewarded, cast(list[float], outcome["_p"])[0]


def _outcome(event: Ranked, observations: Sequence[Observed], rules: Rules) -> dict[str, object]:
    observed = [o for o in observations if o.s is None]
    costs = label_costs([o.v for o in observed if o.k == "r"], event.a == 0, event.m, rules)
    return {
        "_label_cost": costs["_label_cost"],
        "_label_probability": max(event.p, MIN_PROBABILITY),
        "_label_Action": event.a + 1,
        "_labelIndex": event.a,
        "_original_label_cost": costs["_original_label_cost"],
        "o": [{**({"v": o.v} if o.k == "r" else {}), "EventId": event.e, "ActionTaken": o.k == "a"} for o in observed],
    }


def _slot_outcome(slot: RankedSlot, event: Ranked, observations: Sequence[Observed], rules: Rules) -> dict[str, object]:
    rewards: list[float] = []
    observed: list[dict[str, object]] = []
    for o in observations:
        if o.k == "a":
            observed.append({"EventId": event.e, "Index": slot.id, "ActionTaken": True})
        for name, value in o.s or ():
            if name == slot.id:
                rewards.append(value)
                observed.append({"v": value, "EventId": event.e, "Index": slot.id, "ActionTaken": False})
    outcome: dict[str, object] = {"_id": slot.id, "_a": slot.actions, "_p": slot.probabilities, "_o": observed}
    if not slot.actions:
        return outcome  # VW learns nothing of an outcome without a cost and without actions
    costs = label_costs(rewards, slot.actions[0] == slot.baseline, event.m, rules)
    return {
        "_label_cost": costs["_label_cost"],
        **outcome,
        "_p": [max(slot.probabilities[0], MIN_PROBABILITY), *slot.probabilities[1:]],
        "_original_label_cost": costs["_original_label_cost"],
    }


def label_costs(rewards: Sequence[float], imitates: bool, mode: str, rules: Rules) -> dict[str, float]:
    """What an event or a slot cost by the rules: as learning sees it, and as it was.

    Learning sees the reward within its range; in apprentice mode, whether the draw was the baseline's action (contract
    5.4).
    """
    reward = aggregate(rewards, rules.aggregation, rules.default_reward)
    low, high = rules.reward_range
    label = float(imitates) if mode == APPRENTICE else min(high, max(low, reward))
    return {"_label_cost": _cost(label), "_original_label_cost": _cost(reward)}


def _cost(reward: float) -> float:
    return 0.0 - reward  # not -reward, which would write a reward of 0 as -0.0
