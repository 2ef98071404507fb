"""Turns the end of a loop's log into the latest events, rewards and activations, without any feature of theirs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from shared.app import App
from shared.contract.errors import ApiError
from shared.edge.calls import Call, Reply, reply_json
from shared.log import entry as entries
from shared.log import recent
from shared.log.buckets import iso
from shared.log.history import Ranking
from shared.log.records import Observed
from shared.ranking.story import decider

MOST, USUAL = 200, 50


class RecentSlot(msgspec.Struct, rename="camel", omit_defaults=True):
    """A slot of a multi-slot event, or a reward of one."""

    id: str
    action: Annotated[str | UnsetType | None, Meta(description="That was drawn; null where none was left.")] = UNSET
    propensity: Annotated[float | UnsetType, Meta(description="The probability that it was drawn with.")] = UNSET
    value: Annotated[float | UnsetType, Meta(description="Of a reward.")] = UNSET


class RecentEvent(msgspec.Struct, rename="camel", omit_defaults=True):
    """A call that is in the log."""

    event_id: str
    time: Annotated[
        str, Meta(description="By the storage's clock, ISO 8601.", examples=["2026-01-31T00:00:00.000000Z"])
    ]
    kind: Literal["rank", "reward", "activate"]
    action: Annotated[str | UnsetType, Meta(description="Of a rank: the id that was drawn.")] = UNSET
    propensity: Annotated[float | UnsetType, Meta(description="Of a rank: the probability that it was drawn with.")] = (
        UNSET
    )
    slots: Annotated[list[RecentSlot] | UnsetType, Meta(description="In multi-slot, in place of the others.")] = UNSET
    value: Annotated[float | UnsetType, Meta(description="Of a reward.")] = UNSET
    version: Annotated[str | UnsetType | None, Meta(description="The model that decided; null where none did.")] = UNSET
    mode: Annotated[str | UnsetType, Meta(description="The learning mode of a rank.")] = UNSET
    deferred: Annotated[bool | UnsetType, Meta(description="Whether a rank waits for its activation.")] = UNSET
    holdback: Annotated[bool | UnsetType, Meta(description="Whether a rank was held back from the model.")] = UNSET
    joined: Annotated[bool | UnsetType, Meta(description="Whether a rank is in the joined log already.")] = UNSET


class RecentEvents(msgspec.Struct):
    """The latest of the log."""

    events: Annotated[list[RecentEvent], Meta(description="The newest first.")]


async def list_recent(app: App, call: Call) -> Reply:
    """GET rankloop/v1/events: the latest of the journal, and of what was joined last."""
    most = _limit(call.query.get("limit", str(USUAL)))
    await app.clock.ensure()
    found = await recent.latest(app.tables, app.blobs, call.loop.id, most, app.clock.now())
    return reply_json(RecentEvents([_observed(one) if isinstance(one, Observed) else _ranked(one) for one in found]))


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MOST):
        raise ApiError(
            "InvalidRequest", f"limit must be a whole number from 1 to {MOST}; it is {text[:64]!r}.", "limit"
        )
    return int(text)


def _ranked(ranking: Ranking) -> RecentEvent:
    entry = ranking.entry
    ids = entries.asked(entry).ids
    told = RecentEvent(
        entry.event_id,
        iso(ranking.time),
        "rank",
        version=decider(entry),
        mode=entry.mode,
        deferred=entry.deferred or entry.inactive,
        holdback=entry.holdback,
        joined=ranking.window is not None,
    )
    if entry.outcomes is None:
        told.action, told.propensity = ids[entry.order[0] - 1], entry.probabilities[0]
    else:
        told.slots = [
            RecentSlot(slot.id, ids[slot.actions[0]], slot.probabilities[0])
            if slot.actions
            else RecentSlot(slot.id, None)
            for slot in entry.outcomes
        ]
    return told


def _observed(observed: Observed) -> RecentEvent:
    if observed.k == "a":
        return RecentEvent(observed.e, iso(observed.t), "activate")
    if observed.s is None:
        return RecentEvent(observed.e, iso(observed.t), "reward", value=observed.v)
    slots = [RecentSlot(name, value=value) for name, value in observed.s]
    return RecentEvent(observed.e, iso(observed.t), "reward", slots=slots)
