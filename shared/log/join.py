"""Turns the rank lines and observation lines of a window into joined dsjson lines; no clock, no storage.

Contract 5.2 gives the rules, contract 5.8 the line. What goes in are closed buckets, so the same window always gives
the same bytes, whoever computes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

import orjson

from shared.log.buckets import EARLY
from shared.log.records import Observed, Ranked, decode_observed, decode_ranked, event_key, mark, unmark
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


@dataclass(slots=True)
class Joined:
    """A window's joined lines, and what became of the rest.

    Attributes:
        lines: dsjson, in order of arrival.
        rewarded: events with at least one reward.
        retries: repeated event ids within two minutes, left out: a client's retry of the same decision.
        inactive: deferred events that were never activated; they are in `lines`, marked `_skipLearn`.
        duplicates: observations repeated under one request id, left out.
    """

    lines: list[bytes] = field(default_factory=list)
    rewarded: int = 0
    retries: int = 0
    inactive: int = 0
    duplicates: int = 0


def decode_events(lines: Iterable[bytes]) -> list[Ranked]:
    """The rank lines of a window, in order of arrival."""
    # Sorted as text first, so that the order in which rows are read decides nothing, not even between twins.
    return sorted(map(decode_ranked, sorted(lines)), key=lambda event: (event.t, event.e))


def observations_of(keys: Set[str], lines: Iterable[bytes]) -> list[Observed]:
    """Those of the observation lines that are of the events with these keys."""
    return [observation for observation in map(decode_observed, lines) if observation.e in keys]


def join(events: Sequence[Ranked], observed: Iterable[Observed], earlier: Iterable[bytes], rules: Rules) -> Joined:
    """Join one window.

    Args:
        events: the rank calls of the window's buckets, in order of arrival.
        observed: their observations, from every bucket in which one can stand, in any order.
        earlier: the marks of the rank rows in the two minutes before the window.
        rules: see `Rules`.
    """
    result = Joined()
    observations = _by_event(observed, result)
    last_seen: dict[bytes, float] = {}
    for marks in earlier:
        for digest, time in unmark(marks):
            last_seen[digest] = max(time, last_seen.get(digest, time))
    for event in events:
        digest = mark(event.e, 0.0)[:8]
        before, last_seen[digest] = last_seen.get(digest), event.t
        if before is not None and event.t - before < EARLY:
            result.retries += 1
            continue
        matching = [o for o in observations.get(event_key(event.e), ()) if -EARLY < o.t - event.t < rules.wait]
        result.lines.append(_line(event, matching, rules, result))
    return result


def _by_event(observed: Iterable[Observed], result: Joined) -> dict[str, list[Observed]]:
    """Observations by event in order of arrival, none twice under one request id."""
    found: dict[str, list[Observed]] = defaultdict(list)
    seen: set[tuple[str, str, str]] = set()
    for o in sorted(observed, key=lambda o: (o.t, o.q or "", o.v, o.k)):
        if o.q is not None and (o.e, o.q, o.k) in seen:
            result.duplicates += 1
            continue
        if o.q is not None:
            seen.add((o.e, o.q, o.k))
        found[o.e].append(o)
    return found


def _line(event: Ranked, observations: Sequence[Observed], rules: Rules, result: Joined) -> bytes:
    rewards = [o.v for o in observations if o.k == "r"]
    result.rewarded += bool(rewards)
    reward = aggregate(rewards, rules.aggregation, rules.default_reward)
    low, high = rules.reward_range
    head: dict[str, object] = {
        "_label_cost": _cost(min(high, max(low, reward))),
        "_label_probability": max(event.p, MIN_PROBABILITY),
        "_label_Action": event.a + 1,
        "_labelIndex": event.a,
        "_original_label_cost": _cost(reward),
    }
    if event.d and not any(o.k == "a" for o in observations):
        head["_skipLearn"] = True
        result.inactive += 1
    head["o"] = [
        {"EventId": event.e, "ActionTaken": True}
        if o.k == "a"
        else {"v": o.v, "EventId": event.e, "ActionTaken": False}
        for o in observations
    ]
    return orjson.dumps(head)[:-1] + b"," + bytes(event.r)[1:]


def _cost(reward: float) -> float:
    return 0.0 - reward  # not -reward, which would write a reward of 0 as -0.0
