"""Turns what the log holds of an event id into its story; no clock, no storage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import UNSET, UnsetType

from shared.contract.stories import (
    ToldAction,
    ToldDecision,
    ToldEvent,
    ToldObservation,
    ToldRank,
    ToldReplay,
    ToldReward,
    ToldSlot,
    ToldWindow,
)
from shared.log import entry as entries
from shared.log.buckets import BUCKET, EARLY, Waits, bucket_of, iso, next_bucket
from shared.log.entry import Entry
from shared.log.history import History, Ranking
from shared.log.inbox import matching
from shared.log.records import Observed
from shared.ranking.model_cache import NO_MODEL
from shared.ranking.sampling import seed, uniform, uniform_hash


def tell(
    history: History, ranking: Ranking, loop_id: str, waits: Waits, trained_into: str | None, replay: ToldReplay
) -> ToldEvent:
    """The story of one time that the id was ranked.

    Args:
        history: of the id.
        ranking: that time, one of the history's.
        loop_id: the loop.
        waits: its reward waits.
        trained_into: the version that was the first to learn it.
        replay: the decision, computed anew.
    """
    entry, window = ranking.entry, ranking.window
    told = [] if ranking.retry else list(_observations(history, ranking, waits))
    pending = window is None and not ranking.retry
    return ToldEvent(
        event_id=entry.event_id,
        state="retry" if ranking.retry else "pending" if pending else "joined",
        ranked=_rank(ranking, loop_id),
        decision=_decision(entry),
        activated=next((o.time for o in told if o.kind == "activation" and o.counted is True), None),
        observations=told,
        pending_until=iso(joinable(ranking.time, waits)) if pending else None,
        window=ToldWindow(iso(window.start), iso(window.end)) if window else None,
        rewards=list(_rewards(entry)),
        trained_into=trained_into,
        replay=replay,
    )


def joinable(time: float, waits: Waits) -> float:
    """When an event that was ranked at a time can be joined at the earliest: its rewards' last bucket is closed."""
    bucket = bucket_of(time)
    return waits.closes(next_bucket(bucket + BUCKET + waits.at(bucket)) - BUCKET)


def decider(entry: Entry) -> str | None:
    """The model version that decided an event; None where none did."""
    return None if entry.scorer.version == NO_MODEL.decode() else entry.scorer.version


def _rank(ranking: Ranking, loop_id: str) -> ToldRank:
    entry = ranking.entry
    slots = entries.asked(entry).seeds
    seeds = [uniform_hash(text) for text in slots] or [seed(entry.event_id, loop_id)]
    return ToldRank(
        time=entry.timestamp,
        mode=entry.mode,
        model_version=decider(entry),
        exploration=entry.epsilon,
        seeds=seeds,
        draws=[uniform(one) for one in seeds],
        deferred=entry.deferred or entry.inactive,
        subject=entry.subject is not None,
        holdback=entry.holdback,
        holdback_share=entry.share or 0.0,
    )


def _decision(entry: Entry) -> ToldDecision:
    ids = entries.asked(entry).ids
    if entry.outcomes is None:
        ranking = [ToldAction(ids[n - 1], p) for n, p in zip(entry.order, entry.probabilities, strict=True)]
        return ToldDecision(ranking=ranking, excluded=[action_id for _, action_id in entry.excluded])
    slots = [
        ToldSlot(
            outcome.id,
            [ToldAction(ids[n], p) for n, p in zip(outcome.actions, outcome.probabilities, strict=True)],
            ids[baseline],
        )
        for outcome, baseline in zip(entry.outcomes, entry.baselines, strict=True)
    ]
    return ToldDecision(slots=slots)


def _rewards(entry: Entry) -> Iterator[ToldReward]:
    if entry.cost is not None and entry.raw_cost is not None:
        yield ToldReward(0.0 - entry.raw_cost, 0.0 - entry.cost)
    for outcome in entry.outcomes or ():
        if outcome.cost is not None and outcome.raw_cost is not None:
            yield ToldReward(0.0 - outcome.raw_cost, 0.0 - outcome.cost, outcome.id)


def _observations(history: History, ranking: Ranking, waits: Waits) -> Iterator[ToldObservation]:
    """The observations that count for the event, and those that would have, had they not come early, late or twice."""
    times = [other.time for other in history.rankings if not other.retry]
    known = ranking.time - EARLY >= history.observed_since
    left = _noted(ranking.entry) if ranking.window and known else None
    counting, end = _counting(history.observed, ranking, waits.at(bucket_of(ranking.time)), left)
    seen: set[tuple[str, str]] = set()
    for o in history.observed:
        arrived: Literal["early", "inTime", "late"] = (
            "early" if o.t - ranking.time <= -EARLY else "inTime" if o.t < end else "late"
        )
        repeated = False
        if o.q is not None and arrived != "early":
            repeated = (o.q, o.k) in seen
            seen.add((o.q, o.k))
        counted: bool | UnsetType = id(o) in counting
        if not known and arrived != "early" and not repeated and _weight(o, ranking.entry):
            counted = UNSET
        nearest = max((time for time in times if time <= o.t), default=times[0])
        if arrived == "inTime" or nearest == ranking.time:
            yield from _told(o, ranking.entry, arrived, counted, repeated)


def _counting(observed: Sequence[Observed], ranking: Ranking, wait: float, left: int | None) -> tuple[set[int], float]:
    """Those of the observations, by identity, that count for the event, and the time from which on one is late.

    Args:
        observed: in order of arrival.
        ranking: the event.
        wait: its reward wait by now, in seconds.
        left: how many its line holds, for the wait may have been another one when it was joined; None if not known.
    """
    time, entry, end = ranking.time, ranking.entry, ranking.time + wait
    counting: set[int] = set()
    for o in matching(observed, time, wait if left is None else math.inf).observations:
        if not (weight := _weight(o, entry)):
            continue
        if left is not None:
            if weight > left:
                return counting, min(end, o.t)
            left -= weight
            end = max(end, math.nextafter(o.t, math.inf))
        counting.add(id(o))
    return counting, end


def _told(
    o: Observed, entry: Entry, arrived: Literal["early", "inTime", "late"], counted: bool | UnsetType, repeated: bool
) -> Iterator[ToldObservation]:
    time = iso(o.t)
    if o.k == "a":
        yield ToldObservation(time, "activation", arrived, repeated, counted)
    elif o.s is None:
        yield ToldObservation(time, "reward", arrived, repeated, counted, o.v)
    else:
        known = _slots(entry)
        for slot, value in o.s:
            yield ToldObservation(time, "reward", arrived, repeated, counted if slot in known else False, value, slot)


def _noted(entry: Entry) -> int:
    """How many observations a joined line holds; one of several slots stands in each."""
    return len(entry.observed) + sum(len(outcome.observed) for outcome in entry.outcomes or ())


def _weight(o: Observed, entry: Entry) -> int:
    """As how many a joined line holds an observation that counts."""
    if entry.outcomes is None:
        return int(o.s is None)
    known = _slots(entry)
    return len(known) if o.k == "a" else sum(slot in known for slot, _ in o.s or ())


def _slots(entry: Entry) -> set[str]:
    return {outcome.id for outcome in entry.outcomes or ()}
